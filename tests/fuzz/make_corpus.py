# SPDX-License-Identifier: Apache-2.0
"""Write the golden files as seeds for fuzz_container and fuzz_payload, and for fuzz_codec.

python tests/fuzz/make_corpus.py FOLDER
"""

import json
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
WHOLE_FILE = bytes([0, 4])  # of fuzz_codec: a file, all of its parts

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for path in sorted((GOLDEN / "files").glob("v*.json")):
    for n, case in enumerate(json.loads(path.read_text(encoding="utf-8"))["files"]):
        (folder / f"{path.stem}-{n}.glc").write_bytes(bytes.fromhex(case["file"]))
for path in sorted((GOLDEN / "decoder").glob("v*/*.glc")):
    (folder / f"codec-{path.parent.name}-{path.name}").write_bytes(WHOLE_FILE + path.read_bytes())
