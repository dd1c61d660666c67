# SPDX-License-Identifier: Apache-2.0
"""Files written once are read the same for ever, by us and by a reader written from the document.

The compatibility matrix: every version's golden files x the native reader and the plain one.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from glc import _core, bitstream
from glc.entropy_path import NumpyKit
from glc.errors import BitstreamError, UnsupportedError
from glc.payload import PayloadReader, PayloadTables, split_tiles
from glc.pieces import boxes
from tests.outsider import canonical_rows, load_outsider

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden" / "files").glob("v*.json"))
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in GOLDEN
    for case in json.loads(path.read_text(encoding="utf-8"))["files"]
]
VERSION_0 = bytes.fromhex(  # the worked file of version 0's document
    "474c4300650c2a08c80128d14b51eb28024444018001003f5fec585f1e"
)


@pytest.fixture(scope="module")
def outsider() -> ModuleType:
    return load_outsider()


@pytest.fixture(scope="module")
def canonical(outsider: ModuleType) -> list[Any]:
    return canonical_rows(outsider)


def tables_of(case: dict[str, Any]) -> PayloadTables:
    logits = np.float32([float.fromhex(text) for text in case["logits"]])
    weights = np.empty(logits.size, np.int32)
    _core.cdf_softmax_weights(logits, weights)
    assert weights.tolist() == case["weights"]
    return PayloadTables(logits[None])


def read_natively(case: dict[str, Any], data: bytes) -> list[tuple[list[int], list[list[int]]]]:
    """All symbols of a file, given the rows that its model would supply."""
    fingerprint = bytes.fromhex(case["fingerprint"])
    bitstream.check(data, fingerprint)
    header, payload = bitstream.parse(data)
    coded = [(header.coder, payload)]
    if header.tile:
        bitstream.accounting(data)
        coded = list(split_tiles(payload))
    places = boxes(header.height, header.width, header.tile)
    found, empty, kit = [], np.empty(0, np.float32), NumpyKit()
    for (rows, columns), (descriptor, body), piece in zip(
        places, coded, case["pieces"], strict=True
    ):
        reader = PayloadReader(tables_of(case), header.level, descriptor, body)
        sides = (-(-(side.stop - side.start) // 64) for side in (rows, columns))
        z_index = reader.z_index(*sides).flatten().tolist()
        parts = []
        for part in range(4):
            part_rows = np.array(piece["rows"][part], np.uint8)
            symbols, _ = reader.symbols(kit, part, part_rows, empty, empty)
            parts.append(symbols.tolist())
        reader.finish()
        found.append((z_index, parts))
    return found


def read_plainly(
    case: dict[str, Any], data: bytes, outsider: ModuleType, canonical: list[Any]
) -> list[tuple[list[int], list[list[int]]]]:
    file = outsider.read_file(data, bytes.fromhex(case["fingerprint"]))
    rows = [piece["rows"] for piece in case["pieces"]]
    return list(outsider.read_pieces(file, case["weights"], canonical, rows))


def test_every_version_has_golden_files() -> None:
    assert [path.stem for path in GOLDEN] == ["v1"]
    assert len(CASES) >= 9


@pytest.mark.parametrize("case", CASES)
def test_golden_file(case: dict[str, Any], outsider: ModuleType, canonical: list[Any]) -> None:
    data = bytes.fromhex(case["file"])
    expected = [(piece["z_index"], piece["symbols"]) for piece in case["pieces"]]
    assert read_natively(case, data) == expected
    assert read_plainly(case, data, outsider, canonical) == expected
    chunks = {int(tag): bytes.fromhex(text) for tag, text in case["chunks"].items()}
    assert bitstream.chunks(data) == chunks
    assert bitstream.accounting(data).total == 8 * len(data)


@pytest.mark.parametrize("case", CASES)
def test_damage_is_told_by_both_readers(
    case: dict[str, Any], outsider: ModuleType, canonical: list[Any]
) -> None:
    data = bytes.fromhex(case["file"])
    for size in range(len(data)):
        with pytest.raises(BitstreamError):
            read_natively(case, data[:size])
        with pytest.raises(outsider.BadFileError):
            outsider.read_file(data[:size], bytes.fromhex(case["fingerprint"]))
    for bit in range(0, 8 * len(data), 1 if len(data) < 100 else 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((BitstreamError, UnsupportedError)):
            bitstream.check(damaged, bytes.fromhex(case["fingerprint"]))
        with pytest.raises(outsider.BadFileError):
            outsider.read_file(bytes(damaged), bytes.fromhex(case["fingerprint"]))


def forged(case: dict[str, Any], data: bytes, at: int, value: int) -> bytes:
    """The file with one byte changed and its checksum made to fit."""
    head = (
        len(data)
        - len(bitstream.parse(data)[1])
        - sum(2 + len(text) // 2 for text in case["chunks"].values())
    )
    changed = bytearray(data)
    changed[at] = value
    crc_at = head - 4
    covered = bytes.fromhex(case["fingerprint"]) + changed[:crc_at] + changed[head:]
    changed[crc_at:head] = bitstream.crc32c(covered).to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("case", CASES)
def test_both_readers_agree_on_forged_payloads(
    case: dict[str, Any], outsider: ModuleType, canonical: list[Any]
) -> None:
    """What one reader refuses the other refuses, and what both read is the same."""
    data = bytes.fromhex(case["file"])
    if sum(map(len, case["chunks"].values())) > 200:  # whose length takes two bytes
        return
    start = (
        len(data)
        - len(bitstream.parse(data)[1])
        - sum(2 + len(text) // 2 for text in case["chunks"].values())
    )
    refused = 0
    for at in range(start, len(data), max(1, len(data) // 60)):
        for value in (data[at] ^ 1, data[at] ^ 0x80, 255):
            changed = forged(case, data, at, value)
            try:
                native: Any = read_natively(case, changed)
            except (BitstreamError, UnsupportedError):
                native = None
            try:
                plain: Any = read_plainly(case, changed, outsider, canonical)
            except outsider.BadFileError:
                plain = None
            assert native == plain, (at, value)
            refused += native is None
    assert refused > 20


def test_version_0_is_refused_with_its_reason(outsider: ModuleType) -> None:
    with pytest.raises(UnsupportedError, match=r"version: expected 1, got 0: .*never portable"):
        bitstream.parse(VERSION_0)
    with pytest.raises(outsider.UnsupportedFileError):
        outsider.read_file(VERSION_0, bytes(32))


def test_the_example_runs() -> None:
    command = [sys.executable, ROOT / "examples" / "read_glc.py", GOLDEN[-1]]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.count("good") == len(CASES)


def test_the_example_says_what_it_wants() -> None:
    command = [sys.executable, ROOT / "examples" / "read_glc.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "usage: read_glc.py" in result.stderr
