# SPDX-License-Identifier: Apache-2.0
"""Integer cdf tables: from counts, from probabilities, and the canonical set. Needs numpy only."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from glc import _core
from glc._arguments import as_array, as_floats, in_range
from glc.errors import InvalidArgumentError
from glc.rans import TableSet

__all__ = [
    "TableSet",
    "canonical",
    "gaussian_rows",
    "histogram",
    "index_tables",
    "normalise",
    "ranked_index_tables",
    "uniform_index_tables",
]

LOW_BITS = 7
"""A codebook index is coded as index >> LOW_BITS, then its low bits."""


def normalise(weights: Any, bits: int = 14) -> npt.NDArray[np.uint32]:
    """Scale counts or probabilities to integer frequencies.

    freq ~ weight * 2^bits / sum, exact in total; a positive weight gives at least 1, zero gives 0.
    From max(1, floor(freq)) on, one is added where weight / (2 freq + 1) is largest, or taken where
    weight / (2 freq - 1) is smallest, until the sum is right; the lower index on a tie. That is
    where the coded size gains most or suffers least. Floats are first rounded to multiples of
    2^-40 of their sum.

    Args:
        weights: [n] integers >= 0 of sum at most 2^46, or floats >= 0, finite. 1 to `1 << bits`
            of them positive.
        bits: Precision, 8..16.

    Returns:
        [n] uint32 summing to `1 << bits`. Identical on every machine for identical weights.

    Raises:
        InvalidArgumentError: weights or bits outside these limits.
    """
    bits = in_range("cdf: bits", bits, 8, 16)
    array = as_array(weights, "weights", "iuf", op="cdf")
    if array.ndim != 1:
        raise InvalidArgumentError(f"cdf: weights: expected one dimension, got {array.shape}")
    freqs = np.empty(array.shape, np.uint32)
    if array.dtype.kind == "f":
        pmf = as_floats(array, "weights", np.float64, op="cdf")
        _core.cdf_normalise_pmf(pmf, bits, freqs)
    else:
        if array.size and int(array.min()) < 0:
            raise InvalidArgumentError(f"cdf: weights: expected >= 0, got {array.min()}")
        counts = np.ascontiguousarray(array, np.uint64)
        _core.cdf_normalise_counts(counts, bits, freqs)
    return freqs


def histogram(values: Any, n_bins: int) -> npt.NDArray[np.uint64]:
    """Count the values 0 .. n_bins - 1.

    Args:
        values: integers, any shape.
        n_bins: 1 .. 2^31.

    Returns:
        [n_bins] uint64.

    Raises:
        InvalidArgumentError: a value outside 0 .. n_bins - 1; an n_bins outside its range.
    """
    n_bins = in_range("cdf: n_bins", n_bins, 1, 1 << 31)
    array = as_array(values, "values", op="cdf")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < n_bins:
        raise InvalidArgumentError(
            f"cdf: values: expected 0..{n_bins - 1}, got {array.min()}..{array.max()}"
        )
    counts = np.empty(n_bins, np.uint64)
    _core.cdf_histogram(np.ascontiguousarray(array, np.int32), counts)
    return counts


def gaussian_rows(scale: Any, bounds: Any) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Pick the table row for each Gaussian scale.

    row = number of bounds strictly below scale; NaN or scale <= 0 gives row 0.

    Args:
        scale: numbers, taken as float32, any shape, latent units.
        bounds: [rows - 1] numbers, taken as float32, strictly increasing; at most 65535.

    Returns:
        Rows shaped like scale; uint8 up to 256 rows, else uint16.

    Raises:
        InvalidArgumentError: bounds not increasing, or too many; not numbers.
    """
    steps = as_floats(bounds, "bounds", np.float32, op="cdf")
    if steps.ndim != 1 or np.isnan(steps).any() or not bool(np.all(steps[1:] > steps[:-1])):
        raise InvalidArgumentError("cdf: bounds: expected one increasing dimension")
    if steps.size > 65535:
        raise InvalidArgumentError(f"cdf: bounds: expected at most 65535, got {steps.size}")
    values = as_floats(scale, "scale", np.float32, op="cdf")
    rows = np.where(values > 0, np.searchsorted(steps, values, side="left"), 0)
    return rows.astype(np.uint8) if steps.size < 256 else rows.astype(np.uint16)


def index_tables(counts: Any) -> TableSet:
    """Make tables for numbers below k from how often each occurs.

    A number is two symbols: high = number >> 7 with row 0, then low = number & 127 with row
    1 + high. Compared with one table of k entries this costs next to nothing in size.

    Args:
        counts: [k] integers >= 0 of sum at most 2^46, k in 1 .. 2^20; a zero counts as one, so that
            every number can be coded.

    Returns:
        Tables without escape, 16 bits, 1 + ceil(k / 128) rows.

    Raises:
        InvalidArgumentError: another shape, dtype or k.
    """
    array = as_array(counts, "counts", op="cdf")
    if array.ndim != 1 or not 1 <= array.size <= 1 << 20:
        raise InvalidArgumentError(
            f"cdf: counts: expected [k], k in 1..2^20, got {list(array.shape)}"
        )
    if int(array.min()) < 0:
        raise InvalidArgumentError(f"cdf: counts: expected >= 0, got {array.min()}")
    if int(array.max()) > 1 << 46:  # before sums go round at 2^64
        raise InvalidArgumentError("cdf: counts: expected a sum of at most 2^46")
    raised = np.maximum(array, 1).astype(np.uint64)
    lows = [raised[i : i + (1 << LOW_BITS)] for i in range(0, raised.size, 1 << LOW_BITS)]
    highs = np.array([low.sum() for low in lows], np.uint64)
    return TableSet.from_freqs([highs, *lows], bits=16)


def ranked_index_tables(logits: Any) -> tuple[npt.NDArray[np.int32], TableSet]:
    """Make tables for codebook indices from the logits of a categorical distribution.

    weight_j = floor(2^30 exp(logit_j - max)); the likeliest index has rank 0, the lower index on a
    tie. What is coded is the rank, as `index_tables` says, so that a row's entries are alike.

    Args:
        logits: [k] float32, finite, k in 1 .. 2^16.

    Returns:
        rank of every index, [k] int32, and the tables. Identical on every machine.

    Raises:
        InvalidArgumentError: another shape or k, or a logit that is not finite.
    """
    array = as_floats(logits, "logits", np.float32, op="cdf")
    if array.ndim != 1 or not 1 <= array.size <= 1 << 16:
        raise InvalidArgumentError(
            f"cdf: logits: expected [k], k in 1..2^16, got {list(array.shape)}"
        )
    weights = np.empty(array.size, np.int32)
    _core.cdf_softmax_weights(array, weights)
    order = np.argsort(-weights.astype(np.int64), kind="stable")
    rank = np.empty(array.size, np.int32)
    rank[order] = np.arange(array.size, dtype=np.int32)
    return rank, index_tables(weights[order])


def uniform_index_tables(k: int) -> TableSet:
    """Make tables for codebook indices that are all alike.

    Args:
        k: codebook size, 1 .. 2^20.

    Returns:
        Tables as index_tables makes them; exactly log2(k) bits an index when k is a power of two
        (of at least 128).

    Raises:
        InvalidArgumentError: k out of range.
    """
    return _uniform_index_tables(in_range("cdf: k", k, 1, 1 << 20))


@cache
def _uniform_index_tables(k: int) -> TableSet:
    return index_tables(np.ones(k, np.uint64))


@cache
def canonical() -> tuple[TableSet, npt.NDArray[np.float32]]:
    """Load the canonical Gaussian tables, which every model without its own uses.

    Row r stands for one scale: four single-symbol rows from 0.03, then 64 from 0.11 to 64, closest
    where zeros dominate. They are data, computed once in high precision by
    tools/make_tables.py, never from a float function at load.

    Returns:
        Tables of 68 rows at 14 bits, with escape; and bounds [67] float32, read-only, for
        gaussian_rows.
    """
    with resources.files("glc.tables").joinpath("canonical.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        tables = TableSet.from_exact_freqs(
            data["freqs"], data["n_bins"], data["offsets"], bits=14, escape=True
        )
        bounds = np.ascontiguousarray(data["bounds"], np.float32)
    bounds.flags.writeable = False
    return tables, bounds
