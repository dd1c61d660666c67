# SPDX-License-Identifier: Apache-2.0
"""Files of a whole model decode to the same symbols for ever, on every machine, bit for bit."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import glc
from glc.codec import Codec

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden" / "codec").glob("v*.json"))
CASES = [
    pytest.param(json.loads(path.read_text(encoding="utf-8")), id=path.stem) for path in GOLDEN
]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden", ROOT / "tools" / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_symbols_of_golden_files(case: dict[str, Any], tool: ModuleType, n_threads: int) -> None:
    codec = Codec(tool.rule_made_model())
    assert codec.fingerprint.hex() == case["fingerprint"]
    before = glc.get_num_threads()
    glc.set_num_threads(n_threads)
    try:
        for file in case["files"]:
            data = bytes.fromhex(file["file"])
            assert codec.verify(data).portable
            _, pieces = codec._read(data, 10**6)
            assert [tool.hashes(piece.symbols) for piece in pieces] == file["pieces"]
    finally:
        glc.set_num_threads(before)


def test_golden_pictures_can_be_drawn(tool: ModuleType) -> None:
    codec = Codec(tool.rule_made_model())
    for file in CASES[-1].values[0]["files"]:
        assert codec.decode(bytes.fromhex(file["file"])).shape == (200, 130, 3)
