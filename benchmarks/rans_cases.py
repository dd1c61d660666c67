# SPDX-License-Identifier: Apache-2.0
"""What the coder is measured on, and our side of it.

W2: int32 symbols of 64 Gaussian rows, escapes allowed; each symbol names its row. "mid" is 2.0 bits
a symbol, "low" 0.4, near what a learned codec produces, "high" 5. W1: bytes, order 0.

`GLC_BENCH_FAST=1` makes the messages short. `GLC_BENCH_THREADS` says how many threads the cases for
several use; 1 leaves those out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import glc
from benchmarks.harness import FAST
from glc import rans

N_SCALES = 64
N_THREADS = int(os.environ.get("GLC_BENCH_THREADS") or os.cpu_count() or 1)
OUR_BITS = 14  # precision of our tables, the default

# scales are log-uniform between these
_SCALES = {"low": (0.11, 0.5), "mid": (0.2, 4.0), "high": (2.0, 30.0)}
_SIZES = {
    "8K": 8192,
    "400K": 40_000 if FAST else 400_000,
    "8M": 100_000 if FAST else 8_000_000,
}
CASES = [f"{level} {size}" for size in _SIZES for level in _SCALES]

N_BYTES = (1 << 18) if FAST else (1 << 24)
# standard deviation of the normal distribution that the bytes are rounded from
_DEVIATIONS = {"0.8 bit": 0.35, "3.5 bit": 2.73, "7.8 bit": 70.0}
BYTE_CASES = list(_DEVIATIONS)
BYTE_SEGMENTS = {"1M": 1 << 20, "64K": 1 << 16}  # bytes that a segment codes


@dataclass(frozen=True)
class Message:
    """Symbols with the table row of each."""

    symbols: np.ndarray  # int32 [n]
    rows: np.ndarray  # uint8 [n]
    tables: rans.TableSet
    ideal_bytes: float  # by tables of 16 bits, the same for every coder

    @property
    def scales(self) -> np.ndarray:
        """Scale of each symbol's row, float64 [n]."""
        return scale_table()[self.rows]


def scale_table() -> np.ndarray:
    return np.exp(np.linspace(np.log(0.11), np.log(64), N_SCALES))


@cache
def tables(bits: int) -> rans.TableSet:
    return rans.TableSet.from_gaussian(scale_table(), bits)


@cache
def message(case: str) -> Message:
    """Draw the message of one of CASES."""
    level, size = case.split()
    n, (low, high) = _SIZES[size], _SCALES[level]
    rng = np.random.default_rng(0)
    table = scale_table()
    wanted = rng.uniform(np.log(low), np.log(high), n)
    between = (np.log(table)[1:] + np.log(table)[:-1]) / 2
    rows = np.searchsorted(between, wanted).astype(np.uint8)
    symbols = np.rint(rng.normal(size=n) * table[rows]).astype(np.int32)
    ideal = tables(16).cost_bits(symbols, rows) / 8
    return Message(symbols, rows, tables(OUR_BITS), ideal)


@dataclass(frozen=True)
class Coder:
    """Ours or another coder of one message: decode(encode()) gives the symbols or bytes back."""

    encode: Callable[[], Any]
    decode: Callable[[Any], Any]
    size: Callable[[Any], int] = len  # bytes of what encode() returned


def our_symbols(m: Message, threads: int = 1) -> Coder:
    """Our side of W2."""

    def encode() -> bytes:
        glc.set_num_threads(threads)
        return rans.encode(m.symbols, m.rows, m.tables)

    def decode(stream: bytes) -> np.ndarray:
        glc.set_num_threads(threads)
        return rans.decode(stream, m.rows, m.tables)

    return Coder(encode, decode)


def our_bytes(data: bytes, segment_bytes: int | None = None, threads: int = 1) -> Coder:
    """Our side of W1."""

    def encode() -> bytes:
        glc.set_num_threads(threads)
        return rans.encode_bytes(data, segment_bytes)

    def decode(coded: bytes) -> bytes:
        glc.set_num_threads(threads)
        return rans.decode_bytes(coded)

    return Coder(encode, decode)


@cache
def byte_data(case: str) -> bytes:
    """Draw the bytes of one of BYTE_CASES."""
    values = np.random.default_rng(1).normal(128, _DEVIATIONS[case], N_BYTES)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


def entropy_bytes(data: bytes) -> float:
    """Order-0 entropy of all of data, in bytes."""
    counts = np.bincount(np.frombuffer(data, np.uint8))
    share = counts[counts > 0] / len(data)
    return float(-np.sum(share * np.log2(share)) * len(data) / 8)
