# SPDX-License-Identifier: Apache-2.0
"""A reader of `.glc` files in plain Python, written from docs/format.md alone.

It recovers every symbol of a file: hyper indices and the four parts. What it does not have is the
model, whose networks say which table row a symbol uses; the golden files bring those rows along.

    python examples/read_glc.py tests/golden/files/v1.json
"""

import json
import sys
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

Rows = Sequence[Sequence[Sequence[int]]]  # of every piece, part and symbol


class BadFileError(ValueError):
    """The bytes are not a sound file of this model."""


class UnsupportedFileError(BadFileError):
    """The file is of another version, or holds something that must be understood and is not."""


def expect(condition: bool, what: str, at: int) -> None:
    """Refuse the file unless condition holds."""
    if not condition:
        raise BadFileError(f"{what} (at byte {at})")


@dataclass
class Row:
    """One cdf: bin i stands for offset + i; with escape, the last bin stands for all the rest."""

    freqs: Sequence[int]
    offset: int = 0
    bits: int = 16
    escape: bool = False
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [0, *accumulate(self.freqs)]


class Bytes:
    """A place in the file that moves forward and never past the end."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def take(self, n: int, what: str) -> bytes:
        """Give the next n bytes."""
        expect(n <= self.end - self.at, f"{what}: truncated", self.at)
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int, what: str) -> int:
        """Give the next n bytes as a number."""
        return int.from_bytes(self.take(n, what), "little")

    def varint(self, what: str, low: int, high: int) -> int:
        """Give a varint between two bounds."""
        start, groups = self.at, [self.number(1, what)]
        while groups[-1] & 0x80 and len(groups) < 10:
            groups.append(self.number(1, what))
        value = sum((group & 0x7F) << 7 * i for i, group in enumerate(groups))
        expect(groups[-1] < 0x80, f"{what}: too long", start)
        expect(len(groups) == 1 or groups[-1] > 0, f"{what}: longer than needed", start)
        expect(low <= value <= high, f"{what}: {value} is not in {low}..{high}", start)
        return value


def crc32c(data: bytes) -> int:
    """Compute the checksum of section Header, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@dataclass
class File:
    """What stands in front of the payload, and behind it."""

    version: int
    profile: int
    level: int
    descriptor: int
    width: int
    height: int
    tile: int  # pixels; 0: one piece
    payload: Bytes
    chunks: dict[int, bytes]


def read_file(data: bytes, fingerprint: bytes, max_pixels: int = 178_956_970) -> File:
    """Read all but the payload, and verify the checksum."""
    b = Bytes(data)
    expect(b.take(3, "magic") == b"GLC", "magic", 0)
    version, profile = divmod(b.number(1, "version"), 16)
    if version != 1 or profile > 1:
        raise UnsupportedFileError(f"version {version}, profile {profile} (at byte 3)")
    model_id = b.take(2, "model id")
    level = b.number(1, "level")
    expect(level <= 63, "level", 6)
    flags = b.number(1, "flags")
    descriptor, has_chunks, has_tiles = flags & 0x1F, flags & 0x20, flags & 0x40
    expect(flags < 0x80 and good_descriptor(descriptor), "flags", 7)
    expect(not has_tiles or descriptor == 0, "flags", 7)
    width = b.varint("width", 1, 2**32 - 1)
    height = b.varint("height", 1, 2**32 - 1)
    expect(width * height <= max_pixels, "size", 8)
    tile = 64 * b.varint("tile", 1, 2**26 - 1) if has_tiles else 0
    n_payload = b.varint("payload bytes", 4, len(data)) if has_chunks else None
    crc_at, crc = b.at, b.number(4, "crc")
    payload = Bytes(data, b.at, len(data) if n_payload is None else b.at + n_payload)
    expect(b.at + 4 <= payload.end <= len(data), "payload", b.at)
    chunks: dict[int, bytes] = {}
    b.at = payload.end
    while has_chunks and (b.at < len(data) or not chunks):
        tag, at = b.number(1, "chunk tag"), b.at - 1
        expect(tag > max(chunks, default=0), "chunk tag", at)
        if tag >= 128:
            raise UnsupportedFileError(f"chunk {tag} (at byte {at})")
        chunks[tag] = b.take(b.varint("chunk length", 0, len(data)), "chunk")
    expect(model_id == fingerprint[:2], "model id", 4)
    expect(crc == crc32c(fingerprint + data[:crc_at] + data[crc_at + 4 :]), "crc", crc_at)
    return File(version, profile, level, descriptor, width, height, tile, payload, chunks)


def good_descriptor(descriptor: int) -> bool:
    """Whether such a coder stream exists."""
    return descriptor == 0x10 or (descriptor < 0x10 and descriptor & 7 <= 5)


class Stream:
    """A coder stream: symbols are pulled in the order in which they were pushed."""

    def __init__(self, b: Bytes, descriptor: int) -> None:
        self.b, self.segmented = b, descriptor == 0x10
        if self.segmented:
            expect(b.take(3, "descriptor") == bytes(3), "descriptor", b.at)
            return
        section = b""
        if descriptor & 8:
            section = b.take(b.varint("escapes", 1, 2**32 - 1), "escapes")
        self.section, self.escapes = section, bits_of(section)
        self.states = read_states(b, 1 << (descriptor & 7))

    def pull(self, rows: Sequence[Row]) -> list[int]:
        """Decode one push, given the row of each symbol."""
        if self.segmented:
            return self.pull_record(rows)
        bins = decode_words(self.b, self.states, rows)
        symbols, self.escapes = fill_escapes(bins, rows, self.escapes, self.b.at)
        return symbols

    def pull_record(self, rows: Sequence[Row]) -> list[int]:
        """Decode one push of a stream of segments."""
        b, start = self.b, self.b.at
        head, zero = b.number(1, "record"), b.take(3, "record")
        expect(head < 16 and head & 7 <= 5 and zero == bytes(3), "record", start)
        size, n_segments = b.number(4, "segment symbols"), b.number(4, "segments")
        expect(size % 32 == 0 and 32 <= size <= 2**30, "segment symbols", start + 4)
        expect(n_segments == -(-len(rows) // size), "segments", start + 8)
        ends = [4 * b.number(4, "ends") for _ in range(n_segments)]
        base, symbols = b.at, list[int]()
        for s in range(n_segments):
            expect(base + ends[s] <= b.end and ends[s] >= b.at - base, "ends", base)
            part, own = Bytes(b.data, b.at, base + ends[s]), rows[s * size : (s + 1) * size]
            states = read_states(part, 1 << (head & 7))
            bins = decode_words(part, states, own)
            escapes = bits_of(part.data[part.at : part.end]) if head & 8 else ""
            found, rest = fill_escapes(bins, own, escapes, part.at)
            padding = rest if head & 8 else bits_of(part.data[part.at : part.end])
            expect("1" not in padding and len(padding) < 32, "segment", part.at)
            n_used = (len(escapes) - len(rest) + 7) // 8
            expect_start(states, part.data[part.at : part.at + n_used], part.at)
            symbols += found
            b.at = part.end
        return symbols

    def finish(self) -> None:
        """Check that nothing is left and every lane is back at its start."""
        expect(self.b.at == self.b.end, "bytes too many", self.b.at)
        if not self.segmented:
            expect_start(self.states, self.section, self.b.at)
            expect(len(self.escapes) < 8 and "1" not in self.escapes, "escapes", self.b.at)


def bits_of(data: bytes) -> str:
    """Write bytes as binary digits."""
    return "".join(f"{byte:08b}" for byte in data)


def read_states(b: Bytes, lanes: int) -> list[int]:
    """Read the state of every lane."""
    states = [b.number(2, "state") << 16 | b.number(2, "state") for _ in range(lanes)]
    expect(min(states) >= 1 << 16, "state", b.at)
    return states


def expect_start(states: list[int], escapes: bytes, at: int) -> None:
    """Check that every lane is back where the encoder began."""
    check = crc_hqx(escapes, 0)
    expect(states == [(1 << 16) + check] + [1 << 16] * (len(states) - 1), "final state", at)


def decode_words(b: Bytes, states: list[int], rows: Sequence[Row]) -> list[int]:
    """Decode the bin of every symbol."""
    bins = []
    for i, row in enumerate(rows):
        x = states[i % len(states)]
        slot = x % (1 << row.bits)
        found = next(v for v, end in enumerate(row.starts[1:]) if slot < end)
        x = row.freqs[found] * (x >> row.bits) + slot - row.starts[found]
        states[i % len(states)] = x if x >= 1 << 16 else x << 16 | b.number(2, "words")
        bins.append(found)
    return bins


def fill_escapes(
    bins: list[int], rows: Sequence[Row], escapes: str, at: int
) -> tuple[list[int], str]:
    """Turn bins into symbols; give what is left of the escapes, too."""
    symbols = []
    for v, row in zip(bins, rows, strict=True):
        n = len(row.freqs) - 1
        if row.escape and v == n:
            width = escapes.find("1") + 1
            expect(0 < width <= 34 and len(escapes) >= 2 * width - 1, "escape", at)
            raw = int(escapes[width - 1 : 2 * width - 1], 2) - 1
            escapes = escapes[2 * width - 1 :]
            v = -(raw + 1) // 2 if raw % 2 else raw // 2 + n
        symbols.append(v + row.offset)
        expect(-(2**31) <= symbols[-1] < 2**31, "escape", at)
    return symbols, escapes


def frequencies(weights: Sequence[int], bits: int = 16) -> list[int]:
    """Scale weights to frequencies, as section Tables says."""
    total, target = sum(weights), 1 << bits
    freqs = [max(1, w * target // total) if w else 0 for w in weights]
    present = [i for i, w in enumerate(weights) if w]
    while sum(freqs) < target:  # w / (2f + 1) is largest; exact, as a fraction
        best = present[0]
        for i in present[1:]:
            if weights[i] * (2 * freqs[best] + 1) > weights[best] * (2 * freqs[i] + 1):
                best = i
        freqs[best] += 1
    while sum(freqs) > target:  # w / (2f - 1) is smallest
        above = [i for i in present if freqs[i] > 1]
        best = above[0]
        for i in above[1:]:
            if weights[i] * (2 * freqs[best] - 1) < weights[best] * (2 * freqs[i] - 1):
                best = i
        freqs[best] -= 1
    return freqs


def read_pieces(
    file: File, weights: Sequence[int], canonical: Sequence[Row], rows: Rows
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Yield hyper indices and the four parts of the picture, or of each tile."""
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    ranked = [max(1, weights[index]) for index in order]
    groups = [ranked[i : i + 128] for i in range(0, len(ranked), 128)]
    index_rows = [Row(frequencies(w)) for w in ([sum(group) for group in groups], *groups)]
    side = file.tile or max(file.width, file.height)
    boxes = [
        (min(side, file.width - x), min(side, file.height - y))
        for y in range(0, file.height, side)
        for x in range(0, file.width, side)
    ]
    for piece, (width, height) in enumerate(boxes):
        b, descriptor = file.payload, file.descriptor
        if file.tile:
            end = file.payload.varint("tile bytes", 1, len(b.data)) + file.payload.at
            expect(end <= file.payload.end, "tile bytes", b.at)
            b, file.payload.at = Bytes(b.data, b.at, end), end
            descriptor = b.number(1, "descriptor")
            expect(good_descriptor(descriptor), "descriptor", b.at)
        thresholds = b.take(4, "thresholds")
        expect(max(thresholds) <= len(canonical), "thresholds", b.at)
        stream = Stream(b, descriptor)
        high = stream.pull([index_rows[0]] * (-(-width // 64) * -(-height // 64)))
        low = stream.pull([index_rows[1 + h] for h in high])
        parts = []
        for part, threshold in enumerate(thresholds):
            all_rows = rows[piece][part]
            coded = iter(stream.pull([canonical[r] for r in all_rows if r >= threshold]))
            parts.append([next(coded) if r >= threshold else 0 for r in all_rows])
        stream.finish()
        yield [order[h << 7 | rest] for h, rest in zip(high, low, strict=True)], parts
    expect(file.payload.at == file.payload.end, "bytes too many", file.payload.at)


def main() -> None:
    """Decode every file of a golden collection and compare."""
    golden = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    canonical = [Row(r["freqs"], r["offset"], 14, escape=True) for r in golden["canonical"]]
    for case in golden["files"]:
        file = read_file(bytes.fromhex(case["file"]), bytes.fromhex(case["fingerprint"]))
        rows = [piece["rows"] for piece in case["pieces"]]
        found = read_pieces(file, case["weights"], canonical, rows)
        for (z_index, parts), expected in zip(found, case["pieces"], strict=True):
            assert z_index == expected["z_index"], case["name"]
            assert parts == expected["symbols"], case["name"]
        chunks = {int(tag): bytes.fromhex(text) for tag, text in case["chunks"].items()}
        assert file.chunks == chunks, case["name"]
        print(f"{case['name']}: {file.width}x{file.height}, {len(case['file']) // 2} bytes, good")


if __name__ == "__main__":
    main()
