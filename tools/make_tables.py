# SPDX-License-Identifier: Apache-2.0
"""Compute the canonical Gaussian tables in 60-digit arithmetic and write glc/tables/canonical.npz.

    python tools/make_tables.py            writes the file
    python tools/make_tables.py --check    compares it with a fresh computation

The tables are part of the format: once files of a frozen version exist, this must never change.

Rows: 64 scales from 0.11 to 64, even in the warped coordinate
    w(scale) = -5/12 / scale^2            below scale sqrt(5/24) = 0.456...,
    w(scale) = 4 ln scale + a constant    above, joined smoothly.
Where nearly all symbols are zero, the probability of the others goes like exp(-1/(8 scale^2)): even
steps there keep its error, and so the bits lost, alike in every row. Against steps even in ln scale
this cuts the loss from 0.6 % to 0.1 % of a photograph's file at the lowest rates.
Before them four rows go down to 0.03 in even steps of the logarithm. These, and the next few, have
a single symbol besides the escape. Their frequencies are equal; they exist so that a skip threshold
has finer steps where nearly all symbols are zero. An escape there costs 14 bits and its gamma
number, less than its ideal cost (a nonzero symbol at scale 0.09 would be worth 23 bits), and a zero
costs 2^-13.5 bits.

Why 14 bits: the coder's own loss grows as a table's total nears the state's lower bound of 2^16,
and eats what a finer table saves.

Bounds: geometric means of neighbouring scales, rounded to float32.

A row: symbols -n..n, probability of each the mass between half-integers, as far as it reaches
2^-15; what is left goes to the escape bin, the last. Probabilities are rounded to multiples of
2^-40 of their sum and apportioned to 2^14 as glc.cdf.normalise documents.
"""

from __future__ import annotations

import argparse
import heapq
import io
import sys
import zipfile
from decimal import ROUND_HALF_UP, Decimal, getcontext
from itertools import pairwise
from pathlib import Path

import numpy as np

getcontext().prec = 60

BITS = 14
N_SINGLE = 4
N_SCALES = 64
SMALLEST, LOW, HIGH = Decimal("0.03"), Decimal("0.11"), Decimal(64)
FLOOR = Decimal(1) / 2 ** (BITS + 1)
BEND = (Decimal(5) / 24).sqrt()  # where both warps have the same slope
RESOLUTION = 1 << 40
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
OUTPUT = Path(__file__).resolve().parent.parent / "glc" / "tables" / "canonical.npz"


def spaced(low: Decimal, high: Decimal, n: int) -> list[Decimal]:
    """Space n values evenly in the logarithm, both ends included."""
    ratio = (high / low).ln()
    return [(low.ln() + ratio * i / (n - 1)).exp() for i in range(n)]


def warp(scale: Decimal) -> Decimal:
    """Map a scale to the coordinate in which rows are even."""
    if scale <= BEND:
        return -Decimal(5) / 12 / scale**2
    return 4 * (scale / BEND).ln() - 2


def unwarp(w: Decimal) -> Decimal:
    """Invert `warp`."""
    return (-Decimal(5) / 12 / w).sqrt() if w <= -2 else BEND * ((w + 2) / 4).exp()


def scales() -> list[Decimal]:
    """Return the scale that each row stands for."""
    first, last = warp(LOW), warp(HIGH)
    even = [first + (last - first) * i / (N_SCALES - 1) for i in range(N_SCALES)]
    return spaced(SMALLEST, LOW, N_SINGLE + 1)[:-1] + [unwarp(w) for w in even]


def bounds() -> list[Decimal]:
    """Return the bounds between neighbouring rows."""
    values = scales()
    return [(a * b).sqrt() for a, b in pairwise(values)]


def half_mass(z: Decimal) -> Decimal:
    """Integrate the standard Gaussian from 0 to z by its Taylor series."""
    if z > 15:
        return Decimal("0.5")
    term = total = z
    n = 0
    while abs(term) > Decimal(10) ** -58 * total:
        n += 1
        term = term * z * z / (2 * n + 1)
        total += term
    return total * (-z * z / 2).exp() / (2 * PI).sqrt()


def pmf(scale: Decimal) -> list[Decimal]:
    """Return the probabilities of -n..n and of everything else."""
    inner = half_mass(Decimal("0.5") / scale)
    centre = 2 * inner
    side: list[Decimal] = []
    while True:
        outer = half_mass((len(side) + Decimal("1.5")) / scale)
        if outer - inner < FLOOR:
            break
        side.append(outer - inner)
        inner = outer
    return [*reversed(side), centre, *side, 1 - 2 * inner]


def apportion(probabilities: list[Decimal]) -> list[int]:
    """Turn probabilities into frequencies that sum to 2^BITS, each at least 1."""
    total = 1 << BITS
    counts = [max(1, int((p * RESOLUTION).to_integral_value(ROUND_HALF_UP))) for p in probabilities]
    freqs = [max(1, c * total // sum(counts)) for c in counts]
    change = total - sum(freqs)
    sign = 1 if change > 0 else -1
    # Largest gain first when adding, smallest loss first when taking away. Comparing count / odd
    # in exact integers would need a key class; with 2^54 possible values a scaled integer division
    # is just as exact, because two fractions below that size differ by more than 2^-56.
    heap = [
        (-sign * (c << 80) // (2 * f + sign), i)
        for i, (c, f) in enumerate(zip(counts, freqs, strict=True))
        if sign > 0 or f > 1
    ]
    heapq.heapify(heap)
    for _ in range(abs(change)):
        _, i = heapq.heappop(heap)
        freqs[i] += sign
        if sign > 0 or freqs[i] > 1:
            heapq.heappush(heap, (-sign * (counts[i] << 80) // (2 * freqs[i] + sign), i))
    return freqs


def build() -> dict[str, np.ndarray]:
    """Return the arrays of the file."""
    rows = [apportion(pmf(scale)) for scale in scales()]
    n_bins = np.array([len(row) for row in rows], "<i4")
    return {
        "freqs": np.array([freq for row in rows for freq in row], "<u2"),
        "n_bins": n_bins,
        "offsets": -(n_bins - 2) // 2,
        "bounds": np.array([float(bound) for bound in bounds()], "<f4"),
    }


def write(path: Path) -> None:
    """Write an uncompressed npz whose bytes depend on nothing but the arrays."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in build().items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version=(1, 0))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.output)
        return 0
    stored = np.load(arguments.output)
    same = all(np.array_equal(stored[name], array) for name, array in build().items())
    print("equal" if same else "different")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
