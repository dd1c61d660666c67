# SPDX-License-Identifier: Apache-2.0
"""docs/format.md is normative: we write its worked file, and its words alone decode it."""

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from glc import bitstream, cdf, rans_reference
from glc.rans_reference import Row

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
FINGERPRINT = hashlib.sha256(b"worked example").digest()


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def dump() -> bytes:
    (block,) = re.findall(r"^```text\n( 0  47.*?)^```", section("A worked file"), re.M | re.S)
    data = b""
    for line in block.splitlines():
        offset, content = re.fullmatch(r"([ \d]\d)  ((?:[0-9a-f]{2} )+) .*", line).groups()
        assert int(offset) == len(data), line
        data += bytes.fromhex(content)
    return data


def test_example_code_writes_the_dump(dump):
    (block,) = re.findall(r"^```python\n(.*?)^```", section("A worked file"), re.M | re.S)
    names: dict = {}
    exec(compile(block, "docs/format.md", "exec"), names)
    assert names["data"] == dump


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def canonical_row(number: int) -> Row:
    with np.load(ROOT / "glc" / "tables" / "canonical.npz") as file:
        ends = np.cumsum(file["n_bins"])
        first = int(ends[number] - file["n_bins"][number])
        freqs = [int(f) for f in file["freqs"][first : ends[number]]]
        return Row(freqs, int(file["offsets"][number]), bits=14, escape=True)


def test_words_of_the_document_decode_the_dump(dump):
    # An outsider's reader: nothing of the native module takes part.
    assert dump[:4] == b"GLC\x11"
    assert dump[4:6] == FINGERPRINT[:2]
    level, flags = dump[6], dump[7]
    width, at = varint(dump, 8)
    height, at = varint(dump, at)
    (crc,) = struct.unpack_from("<I", dump, at)
    payload = dump[at + 4 :]
    assert crc == crc32c(FINGERPRINT + dump[:at] + payload)
    assert (level, width, height) == (42, 200, 40)
    assert list(payload[:4]) == [40, 2, 68, 68]

    even = [65536 // 8] * 8  # 1024 indices: 8 high halves, alike
    low = [65536 // 128] * 128
    y40, y2 = canonical_row(40), canonical_row(2)
    pulls = [
        [Row(even, 0, 16, escape=False)],
        [Row(low, 0, 16, escape=False)],
        [y40] * 4,
        [y2] * 6,
    ]
    high, rest, part0, part1 = rans_reference.decode(bytes([flags & 15]) + payload[4:], pulls)
    assert high[0] << 7 | rest[0] == 300
    assert part0 == [1, 0, -1, 0]
    assert part1 == [0, 0, 0, 0, 0, 1]


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_stated_sizes_are_the_codes():
    tables, bounds = cdf.canonical()
    assert tables.rows == 68
    assert bounds.shape == (67,)
    assert bitstream.MAX_PIXELS == 178_956_970
    assert "178 956 970" in PAGE


def test_table_of_parts_is_the_models_order():
    from glc.models.context import part_index

    table = re.findall(r"^\| (\d) \| p(\d) \| p(\d) \| p(\d) \| p(\d) \|$", PAGE, re.M)
    assert [row[0] for row in table] == ["0", "1", "2", "3"]
    n_channels, h, w = 8, 4, 6
    for part, *phases in table:
        expected = [
            (channel * h + row) * w + column
            for channel in range(n_channels)
            for row in range(h)
            for column in range(w)
            if 2 * (row % 2) + column % 2 == int(phases[channel // 2])
        ]
        assert list(part_index(n_channels, h, w, int(part))) == expected
