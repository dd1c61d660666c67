# SPDX-License-Identifier: Apache-2.0
"""The coder stream in plain Python integers: slow, short, and written from docs/format.md.

The native coder must produce these bytes and read these symbols. For reading and for tests; code
with `glc.rans`.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from glc.errors import BitstreamError

__all__ = ["Row", "decode", "encode"]

LOW = 1 << 16
"""Every state lies in [LOW, LOW << 16)."""
SUM_FACTOR = 0x83F0BB55
"""Of the sum of symbols that the lanes begin with."""


@dataclass(frozen=True)
class Row:
    """One cdf: symbol offset + i has freqs[i]; with escape, the last bin is the escape."""

    freqs: Sequence[int]
    offset: int
    bits: int
    escape: bool
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", [0, *accumulate(self.freqs)])

    @property
    def n_direct(self) -> int:
        """Number of bins that stand for a symbol."""
        return len(self.freqs) - self.escape


def encode(pushes: Sequence[tuple[Sequence[int], Sequence[Row]]], lanes: int) -> bytes:
    """Code pushes of (symbols, row of each) with a given number of lanes."""
    steps: list[tuple[int, int, Row]] = []  # lane, bin, row, in decoder order
    escapes = ""
    for symbols, rows in pushes:
        for i, (symbol, row) in enumerate(zip(symbols, rows, strict=True)):
            v = symbol - row.offset
            if not 0 <= v < row.n_direct:
                raw = 2 * (v - row.n_direct) if v >= 0 else -2 * v - 1
                digits = f"{raw + 1:b}"
                escapes += "0" * (len(digits) - 1) + digits
                v = row.n_direct
            steps.append((i % lanes, v, row))

    escapes += "0" * (-len(escapes) % 8)
    section = int(escapes or "0", 2).to_bytes(len(escapes) // 8, "big")
    states = _start(lanes, section, [s for symbols, _ in pushes for s in symbols])
    words: list[int] = []
    for lane, v, row in reversed(steps):
        x, freq = states[lane], row.freqs[v]
        if x >= freq << (32 - row.bits):
            words.append(x & 0xFFFF)
            x >>= 16
        states[lane] = (x // freq << row.bits) + x % freq + row.starts[v]
    for x in reversed(states):
        words += [x & 0xFFFF, x >> 16]

    head = bytes([lanes.bit_length() - 1 | (8 if escapes else 0)])
    if escapes:
        head += _varint(len(section)) + section
    return head + b"".join(word.to_bytes(2, "little") for word in reversed(words))


def decode(data: bytes, pulls: Sequence[Sequence[Row]]) -> list[list[int]]:
    """Decode pulls of one row per symbol; the whole stream must be used up.

    Raises:
        BitstreamError: anything that docs/format.md calls an error.
    """
    reader = _Reader(data)
    (descriptor,) = reader.take(1)
    lanes = 1 << (descriptor & 7)
    _expect(descriptor < 16 and lanes <= 32, "descriptor")
    section = reader.take(reader.varint()) if descriptor & 8 else b""
    _expect(bool(section) == bool(descriptor & 8), "empty escape section")
    escapes = "".join(f"{byte:08b}" for byte in section)
    states = [reader.word() << 16 | reader.word() for _ in range(lanes)]
    _expect(min(states) >= LOW, "state below 2^16")

    out = []
    for rows in pulls:
        symbols = []
        for i, row in enumerate(rows):
            x = states[i % lanes]
            slot = x % (1 << row.bits)
            v = next(v for v, end in enumerate(row.starts[1:]) if slot < end)
            x = row.freqs[v] * (x >> row.bits) + slot - row.starts[v]
            states[i % lanes] = x if x >= LOW else x << 16 | reader.word()
            if row.escape and v == row.n_direct:
                width = escapes.find("1") + 1
                _expect(0 < width <= 34 and len(escapes) >= 2 * width - 1, "escape")
                raw = int(escapes[width - 1 : 2 * width - 1], 2) - 1
                escapes = escapes[2 * width - 1 :]
                v = -(raw + 1) // 2 if raw % 2 else raw // 2 + row.n_direct
            symbols.append(v + row.offset)
        _expect(all(-(2**31) <= symbol < 2**31 for symbol in symbols), "escape outside int32")
        out.append(symbols)
    _expect(reader.at == len(data), "bytes too many")
    _expect(states == _start(lanes, section, [s for part in out for s in part]), "final state")
    _expect(len(escapes) < 8 and "1" not in escapes, "unused escape bits")
    return out


def _start(lanes: int, section: bytes, symbols: Sequence[int]) -> list[int]:
    """Give the states in which the encoder starts and the decoder ends."""
    check = 0
    for symbol in symbols:
        check = (check * SUM_FACTOR + symbol) % 2**32
    check = check * SUM_FACTOR + crc_hqx(section, 0)
    return [LOW + check % LOW, LOW + check // LOW % LOW, *[LOW] * lanes][:lanes]


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise BitstreamError(f"rans: {what}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        _expect(self.at + n <= len(self.data), "truncated")
        self.at += n
        return self.data[self.at - n : self.at]

    def word(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def varint(self) -> int:
        groups = list(self.take(1))
        while groups[-1] & 0x80:
            groups += self.take(1)
        _expect(len(groups) == 1 or groups[-1] != 0, "varint longer than needed")
        value = sum((group & 0x7F) << 7 * i for i, group in enumerate(groups))
        _expect(value < 1 << 32, "escape section of 4 GiB or more")
        return value
