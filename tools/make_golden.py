# SPDX-License-Identifier: Apache-2.0
"""Write the golden coder streams of the current format version: tests/golden/rans/v<N>.json.

    make golden

A file of an existing version is never overwritten: streams that have been written must stay
readable. Raise FORMAT_VERSION when, and only when, the format's version rises.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glc import cdf, rans

FORMAT_VERSION = 0
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "rans"


def numbers(seed: int) -> Iterator[int]:
    """Yield 32-bit numbers that no library version can change (Numerical Recipes' LCG)."""
    state = seed
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state


def describe(tables: rans.TableSet) -> dict[str, Any]:
    """Spell tables out, except the canonical ones, which have a name."""
    if tables.digest == cdf.canonical()[0].digest:
        return {"canonical": tables.digest.hex()}
    freqs, n_bins, offsets = (array.tolist() for array in tables.arrays())
    return {
        "freqs": freqs,
        "n_bins": n_bins,
        "offsets": offsets,
        "bits": tables.bits,
        "escape": tables.escape,
    }


def gaussian_like(n: int, seed: int, outlier_every: int) -> tuple[list[int], list[int]]:
    """Draw rows of the canonical tables and a symbol of each, mostly near zero."""
    freqs, n_bins, offsets = cdf.canonical()[0].arrays()
    begins = np.cumsum([0, *n_bins])
    random = numbers(seed)
    symbols, rows = [], []
    for i in range(n):
        row = next(random) // 2**16 % len(n_bins)
        cumulative = np.cumsum(freqs[begins[row] : begins[row + 1] - 1])
        slot = next(random) // 2**16 % int(cumulative[-1])
        symbol = int(np.searchsorted(cumulative, slot, side="right")) + int(offsets[row])
        if outlier_every and i % outlier_every == outlier_every - 1:
            symbol = next(random) - 2**31
        symbols.append(symbol)
        rows.append(row)
    return symbols, rows


def streams() -> Iterator[tuple[str, int | None, list[tuple[rans.TableSet, list[int], list[int]]]]]:
    """Yield name, lanes and pushes (tables, symbols, rows) of every stream."""
    canonical, _ = cdf.canonical()
    example = rans.TableSet.from_exact_freqs([128, 64, 64], [3], [0], 8, escape=True)
    yield "example of docs/format.md", 1, [(example, [0, 1, 7], [0, 0, 0])]
    yield "nothing", 4, []
    for lanes in (1, 2, 4, 8, 16, 32):
        yield f"{lanes} lanes", lanes, [(canonical, *gaussian_like(75, lanes, 25))]
    int32 = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]
    yield "int32 extremes", 2, [(canonical, int32, [0, 3, 10, 20, 40, 67])]

    random = numbers(99)
    index_tables = cdf.uniform_index_tables(1000)
    index = [next(random) // 2**16 % 1000 for _ in range(20)]
    high, low = [i >> 7 for i in index], [i & 127 for i in index]
    parts = [(canonical, *gaussian_like(21, 100 + part, 0)) for part in range(4)]
    yield (
        "an image: indices, then four parts",
        None,
        [
            (index_tables, high, [0] * 20),
            (index_tables, low, [1 + h for h in high]),
            *parts,
        ],
    )
    coarse = rans.TableSet.from_freqs([[5, 0, 1, 2], [1, 1, 1, 1]], [-1, 7], 8)
    fine = rans.TableSet.from_freqs([[1, 60000], [3, 0]], 0, 16)
    yield (
        "8 and 16 bits in one stream",
        4,
        [
            (coarse, [-1, 1, 2, -1, 7, 10, 9, 8, -1], [0, 0, 0, 0, 1, 1, 1, 1, 0]),
            (fine, [1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]),
            (coarse, [10], [1]),
        ],
    )


def blocks() -> Iterator[bytes]:
    """Yield inputs of encode_bytes: empty, stored, one value, skewed bytes."""
    yield b""
    yield bytes(range(16))
    yield b"\xff" * 300
    random = numbers(7)
    yield bytes(min(next(random) >> 28, next(random) >> 27) for _ in range(600))


def build() -> dict[str, Any]:
    """Encode everything."""
    cases = []
    for name, lanes, pushes in streams():
        encoder = rans.Encoder(lanes)
        for tables, symbols, rows in pushes:
            encoder.push(symbols, rows, tables)
        cases.append(
            {
                "name": name,
                "lanes": lanes,
                "pushes": [
                    {"tables": describe(tables), "symbols": symbols, "rows": rows}
                    for tables, symbols, rows in pushes
                ],
                "stream": encoder.finish().hex(),
            }
        )
    coded = [{"data": data.hex(), "coded": rans.encode_bytes(data).hex()} for data in blocks()]
    return {"format_version": FORMAT_VERSION, "streams": cases, "bytes": coded}


def main() -> int:
    """Write the file, unless it is there."""
    path = FOLDER / f"v{FORMAT_VERSION}.json"
    if path.exists():
        sys.stderr.write(
            f"{path.name} exists and is not overwritten: raise FORMAT_VERSION when the format's "
            "version has risen\n"
        )
        return 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(build(), separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
