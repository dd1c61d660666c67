# SPDX-License-Identifier: Apache-2.0
"""The coder beside other coders: a table row per symbol (W2), and plain bytes (W1).

W2: int32 symbols of 64 Gaussian rows, escapes allowed. "mid" is about 2 bits a symbol, "low" about
0.4, near what a learned codec produces. Peers get the same symbols and their own natural arguments:
constriction builds its Gaussians as it codes, CompressAI takes 16-bit cdfs through Python lists.
W1: 16 MiB of bytes at about 3.5 bits. zlib in Huffman-only mode is the order-0 coder at hand.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import FAST, Race
from glc import rans

N_BYTES = (1 << 20) if FAST else (1 << 24)
N_SCALES = 64
PEERS = ("constriction", "compressai.ans")


@dataclass(frozen=True)
class Message:
    """Symbols with the table row and the scale of each."""

    symbols: np.ndarray  # int32 [n]
    rows: np.ndarray  # uint8 [n]
    scales: np.ndarray  # float64 [n], of the row
    tables: rans.TableSet
    ideal_bytes: float

    def notes(self, stream: bytes) -> dict[str, Any]:
        """Say how long the message and the stream are, and which peers are missing."""
        absent = [name for name in PEERS if module(name) is None]
        return {
            "bits/sym": 8 * self.ideal_bytes / self.symbols.size,
            "size over ideal %": 100 * (len(stream) / self.ideal_bytes - 1),
            "lanes": rans.Decoder(stream).lanes,
            **({"skipped, not installed": " ".join(absent)} if absent else {}),
        }


CASES = {
    "mid 8K": (8192, 0.2, 4.0),
    "low 8K": (8192, 0.11, 0.5),
    "mid 400K": (400_000, 0.2, 4.0),
    "low 400K": (400_000, 0.11, 0.5),
}


@cache
def module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def scale_table() -> np.ndarray:
    return np.exp(np.linspace(np.log(0.11), np.log(64), N_SCALES))


@cache
def message(case: str) -> Message:
    n, low, high = CASES[case]
    rng = np.random.default_rng(0)
    table = scale_table()
    wanted = np.exp(rng.uniform(np.log(low), np.log(high), n))
    rows = np.abs(np.log(wanted)[:, None] - np.log(table)).argmin(1).astype(np.uint8)
    symbols = np.rint(rng.normal(size=n) * table[rows]).astype(np.int32)
    tables = rans.TableSet.from_gaussian(table)
    ideal = tables.cost_bits(symbols, rows) / 8
    return Message(symbols, rows, table[rows], tables, ideal)


@dataclass(frozen=True)
class Peer:
    """Another coder: encode() and decode(encoded) -> symbols."""

    encode: Callable[[], Any]
    decode: Callable[[Any], Any]


def constriction(m: Message) -> Peer:
    stream = module("constriction").stream
    reach = max(500, int(np.abs(m.symbols).max()))
    family = stream.model.QuantizedGaussian(-reach, reach)
    means = np.zeros(m.symbols.size)

    def encode() -> np.ndarray:
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(m.symbols, family, means, m.scales)
        return coder.get_compressed()

    def decode(words: np.ndarray) -> np.ndarray:
        return stream.stack.AnsCoder(words).decode(family, means, m.scales)

    return Peer(encode, decode)


def compressai(m: Message) -> Peer:
    ans = module("compressai.ans")
    freqs, n_bins, offsets = rans.TableSet.from_gaussian(scale_table(), bits=16).arrays()
    rows = np.split(freqs, np.cumsum(n_bins)[:-1])
    cdfs = [[0, *np.cumsum(row).tolist()] for row in rows]
    sizes, first = (n_bins + 1).tolist(), offsets.tolist()
    encoder, decoder = ans.RansEncoder(), ans.RansDecoder()

    # the conversions to lists belong to its Python interface and are timed
    def encode() -> bytes:
        return encoder.encode_with_indexes(m.symbols.tolist(), m.rows.tolist(), cdfs, sizes, first)

    def decode(data: bytes) -> np.ndarray:
        out = decoder.decode_with_indexes(data, m.rows.tolist(), cdfs, sizes, first)
        return np.array(out, np.int32)

    return Peer(encode, decode)


def peers(m: Message) -> dict[str, Peer]:
    made = {"constriction": constriction, "compressai.ans": compressai}
    return {name: make(m) for name, make in made.items() if module(name) is not None}


@pytest.mark.parametrize("case", CASES)
def bench_encode(race: Race, case: str) -> None:
    m = message(case)
    others = peers(m)

    def check(stream: bytes, results: Mapping[str, Any]) -> None:
        np.testing.assert_array_equal(rans.decode(stream, m.rows, m.tables), m.symbols)
        for name, result in results.items():
            np.testing.assert_array_equal(others[name].decode(result), m.symbols)

    race(
        lambda: rans.encode(m.symbols, m.rows, m.tables),
        {name: peer.encode for name, peer in others.items()},
        check=check,
        work=m.symbols.size,
        unit="sym",
        notes=m.notes(rans.encode(m.symbols, m.rows, m.tables)),
    )


@pytest.mark.parametrize("case", CASES)
def bench_decode(race: Race, case: str) -> None:
    m = message(case)
    stream = rans.encode(m.symbols, m.rows, m.tables)
    sides = {}
    for name, peer in peers(m).items():
        encoded = peer.encode()
        sides[name] = lambda peer=peer, encoded=encoded: peer.decode(encoded)

    def check(symbols: np.ndarray, results: Mapping[str, Any]) -> None:
        for result in (symbols, *results.values()):
            np.testing.assert_array_equal(result, m.symbols)

    race(
        lambda: rans.decode(stream, m.rows, m.tables),
        sides,
        check=check,
        work=m.symbols.size,
        unit="sym",
        notes=m.notes(stream),
    )


@cache
def byte_data() -> bytes:
    values = np.random.default_rng(1).normal(128, 2.73, N_BYTES)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


def huffman(data: bytes) -> bytes:
    coder = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def byte_notes(coded: bytes, data: bytes) -> dict[str, Any]:
    counts = np.bincount(np.frombuffer(data, np.uint8))
    share = counts[counts > 0] / len(data)
    ideal = -np.sum(share * np.log2(share)) * len(data) / 8
    return {
        "size over ideal %": 100 * (len(coded) / ideal - 1),
        "zlib over ideal %": 100 * (len(huffman(data)) / ideal - 1),
    }


def bench_encode_bytes(race: Race) -> None:
    data = byte_data()

    def check(coded: bytes, results: Mapping[str, Any]) -> None:
        assert rans.decode_bytes(coded) == data
        assert zlib.decompress(results["zlib huffman"], -15) == data

    race(
        lambda: rans.encode_bytes(data),
        {"zlib huffman": lambda: huffman(data)},
        check=check,
        work=len(data),
        unit="B",
        notes=byte_notes(rans.encode_bytes(data), data),
    )


def bench_decode_bytes(race: Race) -> None:
    data = byte_data()
    coded, peer = rans.encode_bytes(data), huffman(data)

    def check(out: bytes, results: Mapping[str, Any]) -> None:
        assert out == data
        assert results["zlib huffman"] == data

    race(
        lambda: rans.decode_bytes(coded),
        {"zlib huffman": lambda: zlib.decompress(peer, -15)},
        check=check,
        work=len(data),
        unit="B",
        notes=byte_notes(coded, data),
    )
