# SPDX-License-Identifier: Apache-2.0
"""Streams written once are read, and written, the same for ever."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from binascii import crc_hqx
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glc import cdf, rans, rans_reference
from glc.errors import BitstreamError

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "tests" / "golden" / "rans").glob("v*.json"))


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


STREAMS = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in FILES
    for case in load(path)["streams"]
]


def tables_of(case: dict[str, Any]) -> rans.TableSet:
    if "canonical" in case:
        tables, _ = cdf.canonical()
        assert tables.digest.hex() == case["canonical"]
        return tables
    return rans.TableSet.from_exact_freqs(**case)


def test_there_are_golden_streams() -> None:
    assert STREAMS


@pytest.mark.parametrize("case", STREAMS)
def test_golden_stream(case: dict[str, Any]) -> None:
    stream = bytes.fromhex(case["stream"])
    decoder = rans.Decoder(stream)
    encoder = rans.Encoder(case["lanes"], case.get("segment_symbols"))
    for push in case["pushes"]:
        tables = tables_of(push["tables"])
        assert decoder.pull(push["rows"], tables).tolist() == push["symbols"]
        encoder.push(push["symbols"], push["rows"], tables)
    decoder.finish()
    assert encoder.finish() == stream


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_bytes(path: Path) -> None:
    for case in load(path)["bytes"]:
        data, coded = bytes.fromhex(case["data"]), bytes.fromhex(case["coded"])
        assert rans.decode_bytes(coded) == data
        assert rans.encode_bytes(data) == coded


def test_the_check_of_plain_bytes() -> None:
    # one value needs no words: head, descriptor, then the state in which everything begins
    data = b"\xfe" * 301
    coded = rans.encode_bytes(data)
    words = np.frombuffer(data + b"\0", "<u2").astype(int)
    weighted = (2 * (np.arange(words.size) % 64) + 1) * words
    check = (crc_hqx(coded[:-5], 0) + int(weighted.sum())) % 2**16
    assert coded[-5] == 0
    assert coded[-4:] == b"\1\0" + check.to_bytes(2, "little")


def test_plain_bytes_from_before_the_check_are_refused() -> None:
    unchecked = bytes.fromhex("01ac0280ff000800800001000000")  # 300 times 255
    with pytest.raises(BitstreamError, match="initial state"):
        rans.decode_bytes(unchecked)


def test_the_example_of_the_format_is_golden() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("format*"))]
    dump = re.search(r"^08 +one lane.*\n(.*)\n(.*)$", "\n".join(texts), re.MULTILINE)
    assert dump is not None
    stream = bytes.fromhex("".join(re.match(r"[0-9a-f ]*", row)[0] for row in dump[0].split("\n")))
    row = rans_reference.Row([128, 64, 64], 0, 8, escape=True)
    assert rans_reference.decode(stream, [[row] * 3]) == [[0, 1, 7]]
    (case,) = [c for c in load(FILES[0])["streams"] if c["name"].startswith("example")]
    assert case["stream"] == stream.hex()


def test_golden_files_are_not_overwritten() -> None:
    before = [path.read_bytes() for path in FILES]
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_golden.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 2
    assert "not overwritten" in result.stderr
    assert [path.read_bytes() for path in FILES] == before
