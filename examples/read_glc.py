# SPDX-License-Identifier: Apache-2.0
"""A reader of `.glc` files in plain Python, written from docs/format.md alone.

It recovers every symbol of a file: hyper indices and the four parts. What it does not have is the
model, whose networks say which table row a symbol uses; the golden files bring those rows along.

    python examples/read_glc.py tests/golden/files/v1.json
"""

import argparse
import json
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from functools import cmp_to_key
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple


class BadFileError(ValueError):
    """The bytes are not a sound file of this model."""


class UnsupportedFileError(BadFileError):
    """The file is of another version, or holds something that must be understood and is not."""


def expect(good: bool, what: str, at: int, error: type[BadFileError] = BadFileError) -> None:
    """Refuse the file unless it is good."""
    if not good:
        raise error(f"{what} (at byte {at})")


class Bytes:
    """A place in the file that moves forward and never past the end."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

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
        while groups[-1] >= 0x80 and len(groups) < 10:
            groups.append(self.number(1, what))
        value = sum((group & 0x7F) << 7 * i for i, group in enumerate(groups))
        shortest = groups[-1] < 0x80 and (groups[-1] > 0 or len(groups) == 1)
        expect(shortest and low <= value <= high, what, start)
        return value

    def rest(self) -> str:
        """Give all that is left as binary digits, and stay."""
        return "".join(f"{byte:08b}" for byte in self.data[self.at : self.end])


# ---------------------------------------------------------------- header, checksum, chunks


class File(NamedTuple):
    """What stands in front of the payload, and behind it."""

    level: int
    descriptor: int
    width: int
    height: int
    tile: int  # pixels; 0: one piece
    payload: Bytes
    chunks: dict[int, bytes]


def crc32c(data: bytes) -> int:
    """Compute the checksum of section Header, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def good_descriptor(descriptor: int) -> bool:
    """Whether such a coder stream exists."""
    return descriptor == 0x10 or (descriptor < 0x10 and descriptor & 7 <= 5)


def read_file(data: bytes, fingerprint: bytes, max_pixels: int = 178_956_970) -> File:
    """Read all but the payload, and verify the checksum."""
    b = Bytes(data, 0, len(data))
    expect(b.take(3, "magic") == b"GLC", "magic", 0)
    expect(b.number(1, "version") in (0x10, 0x11), "version", 3, UnsupportedFileError)
    model_id, level, flags = b.take(2, "model id"), b.number(1, "level"), b.number(1, "flags")
    expect(level <= 63, "level", 6)
    descriptor, has_chunks, has_tiles = flags & 0x1F, flags & 0x20, flags & 0x40
    expect(flags < 0x80 and good_descriptor(descriptor), "flags", 7)
    expect(not has_tiles or descriptor == 0, "flags", 7)
    width, height = b.varint("width", 1, 2**32 - 1), b.varint("height", 1, 2**32 - 1)
    expect(width * height <= max_pixels, "size", 8)
    tile = 64 * b.varint("tile", 1, 2**26 - 1) if has_tiles else 0
    n_payload = b.varint("payload bytes", 4, len(data)) if has_chunks else None
    crc_at, crc = b.at, b.number(4, "crc")
    payload = Bytes(data, b.at, len(data) if n_payload is None else b.at + n_payload)
    expect(b.at + 4 <= payload.end <= len(data), "payload", b.at)
    chunks: dict[int, bytes] = {}
    b.at = payload.end
    while has_chunks and (b.at < len(data) or not chunks):
        at, tag = b.at, b.number(1, "chunk tag")
        expect(tag > max(chunks, default=0), "chunk tag", at)
        expect(tag < 128, f"chunk {tag}", at, UnsupportedFileError)
        chunks[tag] = b.take(b.varint("chunk length", 0, len(data)), "chunk")
    expect(model_id == fingerprint[:2], "model id", 4)
    expect(crc == crc32c(fingerprint + data[:crc_at] + data[crc_at + 4 :]), "crc", crc_at)
    return File(level, descriptor, width, height, tile, payload, chunks)


# ---------------------------------------------------------------- the coder stream


class Row(NamedTuple):
    """One cdf: bin i stands for offset + i; with escape, the last bin stands for all the rest."""

    freqs: Sequence[int]
    offset: int = 0
    bits: int = 16
    escape: bool = False


class Lanes:
    """The states of a stream or segment, and its escape numbers as binary digits."""

    def __init__(self, b: Bytes, descriptor: int, escapes: str = "") -> None:
        words = [b.number(2, "state") for _ in range(2 << (descriptor & 7))]
        self.states = [high << 16 | low for high, low in zip(words[::2], words[1::2], strict=True)]
        self.b, self.escapes, self.used, self.sum = b, escapes, "", 0
        expect(min(self.states) >= 1 << 16, "state", b.at)

    def bins(self, rows: Sequence[Row]) -> list[int]:
        """Decode the bin of every symbol."""
        bins = []
        for i, row in enumerate(rows):
            lane, ends = i % len(self.states), list(accumulate(row.freqs))
            slot = self.states[lane] % (1 << row.bits)
            found = next(v for v, end in enumerate(ends) if slot < end)
            x = row.freqs[found] * ((self.states[lane] >> row.bits) + 1) + slot - ends[found]
            self.states[lane] = x if x >= 1 << 16 else x << 16 | self.b.number(2, "words")
            bins.append(found)
        return bins

    def symbol(self, v: int, row: Row) -> int:
        """Turn a bin into its symbol, with the next escape number if it needs one."""
        n = len(row.freqs) - 1
        if row.escape and v == n:
            width = self.escapes.find("1") + 1
            digits, self.escapes = self.escapes[: 2 * width - 1], self.escapes[2 * width - 1 :]
            expect(0 < width <= 34 and len(digits) == 2 * width - 1, "escape", self.b.at)
            self.used += digits
            raw = int(digits, 2) - 1
            v = -(raw + 1) // 2 if raw % 2 else raw // 2 + n
        expect(-(2**31) <= v + row.offset < 2**31, "escape", self.b.at)
        self.sum = (self.sum * 0x83F0BB55 + v + row.offset) % 2**32
        return v + row.offset

    def finish(self, padding_bits: int) -> None:
        """Check that every lane is where the encoder began, and that only padding is left."""
        self.used += "0" * (-len(self.used) % 8)
        crc = crc_hqx(int(self.used or "0", 2).to_bytes(len(self.used) // 8, "big"), 0)
        high, low = divmod((self.sum * 0x83F0BB55 + crc) % 2**32, 1 << 16)
        ends = [low, high, *[0] * len(self.states)][: len(self.states)]
        expect(self.states == [(1 << 16) + end for end in ends], "final state", self.b.at)
        expect(len(self.escapes) < padding_bits and "1" not in self.escapes, "padding", self.b.at)


class Stream:
    """A coder stream: symbols are pulled in the order in which they were pushed."""

    def __init__(self, b: Bytes, descriptor: int) -> None:
        self.b, self.lanes = b, None
        if descriptor == 0x10:
            expect(b.take(3, "descriptor") == bytes(3), "descriptor", b.at)
            return
        n_escapes = b.varint("escapes", 1, 2**32 - 1) if descriptor & 8 else 0
        section = b.take(n_escapes, "escapes")
        self.lanes = Lanes(b, descriptor, Bytes(section, 0, n_escapes).rest())

    def pull(self, rows: Sequence[Row]) -> list[int]:
        """Decode one push, given the row of each symbol."""
        if self.lanes:
            return [
                self.lanes.symbol(*pair) for pair in zip(self.lanes.bins(rows), rows, strict=True)
            ]
        b, start = self.b, self.b.at
        head, zero = b.number(1, "record"), b.take(3, "record")
        expect(head < 16 and head & 7 <= 5 and zero == bytes(3), "record", start)
        size, n_segments = b.number(4, "segment symbols"), b.number(4, "segments")
        expect(size % 32 == 0 and 32 <= size <= 2**30, "segment symbols", start + 4)
        expect(n_segments == -(-len(rows) // size), "segments", start + 8)
        ends = [4 * b.number(4, "ends") for _ in range(n_segments)]
        base, symbols = b.at, list[int]()
        for s, end in enumerate(ends):
            expect(b.at - base <= end <= b.end - base, "ends", base)
            segment, own = Bytes(b.data, b.at, base + end), rows[s * size : (s + 1) * size]
            lanes = Lanes(segment, head)
            bins = lanes.bins(own)
            lanes.escapes = segment.rest() if head & 8 else ""
            symbols += [lanes.symbol(*pair) for pair in zip(bins, own, strict=True)]
            lanes.escapes = lanes.escapes if head & 8 else segment.rest()
            lanes.finish(padding_bits=32)
            b.at = segment.end
        return symbols

    def finish(self) -> None:
        """Check that nothing is left and every lane is back at its start."""
        expect(self.b.at == self.b.end, "bytes too many", self.b.at)
        if self.lanes:
            self.lanes.finish(padding_bits=8)


# ---------------------------------------------------------------- tables and payload


def frequencies(weights: Sequence[int], bits: int = 16) -> list[int]:
    """Scale weights to frequencies, as section Tables says."""
    present = [i for i, w in enumerate(weights) if w]
    freqs = [max(1, (w << bits) // sum(weights)) if w else 0 for w in weights]
    while missing := (1 << bits) - sum(freqs):
        one = 1 if missing > 0 else -1

        def compare(i: int, j: int, one: int = one) -> int:  # w / (2f + 1), or - 1, in integers
            return weights[i] * (2 * freqs[j] + one) - weights[j] * (2 * freqs[i] + one)

        by_share = cmp_to_key(compare)
        above = [i for i in present if freqs[i] > 1]
        freqs[max(present, key=by_share) if missing > 0 else min(above, key=by_share)] += one
    return freqs


def read_pieces(
    file: File,
    weights: Sequence[int],
    canonical: Sequence[Row],
    rows: Sequence[Sequence[Sequence[int]]],  # of every piece, part and symbol
    multiple: int = 64,  # the model's `pad_multiple`, pixels per hyper index
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Yield hyper indices and the four parts of the picture, or of each tile."""
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    ranked = [max(1, weights[index]) for index in order]
    groups = [ranked[i : i + 128] for i in range(0, len(ranked), 128)]
    index_rows = [Row(frequencies(w)) for w in ([sum(group) for group in groups], *groups)]
    side = file.tile or max(file.width, file.height)
    corners = [(x, y) for y in range(0, file.height, side) for x in range(0, file.width, side)]
    for (x, y), piece_rows in zip(corners, rows, strict=True):
        b, descriptor = file.payload, file.descriptor
        if file.tile:
            end = b.varint("tile bytes", 1, len(b.data)) + b.at
            expect(end <= b.end, "tile bytes", b.at)
            b, file.payload.at = Bytes(b.data, b.at, end), end
            descriptor = b.number(1, "descriptor")
            expect(good_descriptor(descriptor), "descriptor", b.at)
        thresholds = b.take(4, "thresholds")
        expect(max(thresholds) <= len(canonical), "thresholds", b.at)
        stream = Stream(b, descriptor)
        left = (file.width - x, file.height - y)
        z_width, z_height = (-(-min(side, n) // multiple) for n in left)
        high = stream.pull([index_rows[0]] * (z_width * z_height))
        low = stream.pull([index_rows[1 + h] for h in high])
        parts = []
        for threshold, part_rows in zip(thresholds, piece_rows, strict=True):
            coded = iter(stream.pull([canonical[r] for r in part_rows if r >= threshold]))
            parts.append([next(coded) if r >= threshold else 0 for r in part_rows])
        stream.finish()
        yield [order[h << 7 | rest] for h, rest in zip(high, low, strict=True)], parts
    expect(file.payload.at == file.payload.end, "bytes too many", file.payload.at)


def main() -> None:
    """Decode every file of a golden collection and compare."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("golden", type=Path, help="such as tests/golden/files/v1.json")
    golden = json.loads(parser.parse_args().golden.read_text(encoding="utf-8"))
    canonical = [Row(r["freqs"], r["offset"], 14, escape=True) for r in golden["canonical"]]
    for case in golden["files"]:
        file = read_file(bytes.fromhex(case["file"]), bytes.fromhex(case["fingerprint"]))
        rows = [piece["rows"] for piece in case["pieces"]]
        found = list(read_pieces(file, case["weights"], canonical, rows))
        assert found == [(piece["z_index"], piece["symbols"]) for piece in case["pieces"]]
        assert file.chunks == {int(t): bytes.fromhex(text) for t, text in case["chunks"].items()}
        print(f"{case['name']}: {file.width}x{file.height}, {len(case['file']) // 2} bytes, good")


if __name__ == "__main__":
    main()
