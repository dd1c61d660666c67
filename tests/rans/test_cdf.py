# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import importlib.util
import math
import pickle
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glc import cdf, rans
from glc.errors import InvalidArgumentError

CANONICAL_DIGEST = "002b113a451f379c8298cf5de331c5a1ff4aed110a95e55c9030cb56a9936f9e"
# normalise weighs a step as count / (freq +- 1/2), which is 4 % off the logarithm at freq = 1
GREEDY_SLACK = 1e-3
MAKE_TABLES = Path(__file__).resolve().parents[2] / "tools" / "make_tables.py"


@pytest.fixture(scope="module")
def make_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", MAKE_TABLES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=256).filter(any), st.integers(8, 16))
@settings(max_examples=200, deadline=None)
def test_normalise_is_exact(counts: list[int], bits: int) -> None:
    freqs = cdf.normalise(counts, bits)
    assert freqs.dtype == np.uint32
    assert int(freqs.sum()) == 1 << bits
    assert [bool(f) for f in freqs] == [bool(c) for c in counts]
    np.testing.assert_array_equal(cdf.normalise(freqs, bits), freqs)


def normalise_by_the_rule(weights: list[int], bits: int) -> list[int]:
    """The rule of docs/format.md, in exact fractions."""
    total = sum(weights)
    freqs = [max(1, w * 2**bits // total) if w else 0 for w in weights]
    while sum(freqs) < 2**bits:
        gains = [Fraction(w, 2 * f + 1) for w, f in zip(weights, freqs, strict=True)]
        freqs[gains.index(max(gains))] += 1
    while sum(freqs) > 2**bits:
        losses = [
            Fraction(w, 2 * f - 1) if f > 1 else Fraction(total)
            for w, f in zip(weights, freqs, strict=True)
        ]
        freqs[losses.index(min(losses))] -= 1
    return freqs


@given(
    st.lists(st.integers(0, 9) | st.integers(0, 2**40), min_size=1, max_size=60).filter(any),
    st.sampled_from([8, 12, 16]),
)
@settings(max_examples=100, deadline=None)
def test_normalise_follows_the_rule(weights: list[int], bits: int) -> None:
    assert cdf.normalise(weights, bits).tolist() == normalise_by_the_rule(weights, bits)


@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=100).filter(any), st.integers(8, 16))
@settings(max_examples=200, deadline=None)
def test_normalise_probabilities(pmf: list[float], bits: int) -> None:
    freqs = cdf.normalise(np.array(pmf), bits)
    assert int(freqs.sum()) == 1 << bits
    assert [bool(f) for f in freqs] == [bool(p) for p in pmf]


def coded_bits(counts: np.ndarray, freqs: np.ndarray, bits: int) -> float:
    return float(np.sum(counts * (bits - np.log2(freqs))))


def test_normalise_is_hardly_improved_by_moving_one() -> None:
    rng = np.random.default_rng(0)
    for bits in (8, 12):
        for _ in range(20):
            counts = np.rint(np.exp(rng.uniform(0, 12, 40))).astype(np.int64)
            freqs = cdf.normalise(counts, bits).astype(np.int64)
            best = coded_bits(counts, freqs, bits)
            for source in np.flatnonzero(freqs > 1):
                for target in range(freqs.size):
                    if target == source:
                        continue
                    moved = freqs.copy()
                    moved[source] -= 1
                    moved[target] += 1
                    assert coded_bits(counts, moved, bits) > best * (1 - GREEDY_SLACK)


def test_normalise_refuses() -> None:
    for weights in ([], [0, 0], [-1, 2], [[1, 2]], [np.nan], [np.inf, 1.0], [-0.5, 1.0], ["a"]):
        with pytest.raises(InvalidArgumentError):
            cdf.normalise(np.array(weights))
    with pytest.raises(InvalidArgumentError):
        cdf.normalise(np.ones(257, int), 8)
    for bits in (7, 17):
        with pytest.raises(InvalidArgumentError):
            cdf.normalise([1], bits)


def test_histogram() -> None:
    values = np.random.default_rng(1).integers(0, 9, (30, 40))
    np.testing.assert_array_equal(cdf.histogram(values, 9), np.bincount(values.ravel()))
    assert cdf.histogram([], 3).tolist() == [0, 0, 0]
    for bad in ([9], [-1], [2**31], [0.5]):
        with pytest.raises(InvalidArgumentError):
            cdf.histogram(bad, 9)
    with pytest.raises(InvalidArgumentError):
        cdf.histogram([0], 0)


@pytest.mark.parametrize("bits", range(8, 17))
def test_tables_at_every_precision(bits: int) -> None:
    for escape in (False, True):
        tables = rans.TableSet.from_freqs([[1, 0, 7, 2], [5, 5, 5, 5]], [0, -2], bits, escape)
        freqs, n_bins, offsets = tables.arrays()
        assert freqs.reshape(2, 4).sum(1).tolist() == [1 << bits] * 2
        assert bool(freqs[1]) == escape
        assert n_bins.tolist() == [4, 4]
        assert offsets.tolist() == [0, -2]
        assert (tables.rows, tables.bits, tables.escape) == (2, bits, escape)
        assert tables.nbytes > 0
    one = rans.TableSet.from_freqs([3], bits=bits)  # one sure symbol costs nothing
    assert one.cost_bits([0] * 100, 0) == 0
    assert len(rans.encode([0] * 100, 0, one)) == 5


@pytest.mark.parametrize(
    ("rows", "bins", "bits", "expected"),
    [(1, 256, 14, 168_992), (1, 256, 16, 332_832), (4096, 2, 14, 10_764_292)],
)
def test_tables_take_the_memory_that_is_documented(
    rows: int, bins: int, bits: int, expected: int
) -> None:
    tables = rans.TableSet.from_freqs(np.ones((rows, bins), np.int64), bits=bits)
    assert tables.nbytes == expected
    page = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
    assert f"{expected:,}".replace(",", " ") in page.read_text(encoding="utf-8")


def test_gaussian_tables_have_a_limit() -> None:
    with pytest.raises(InvalidArgumentError, match="at most 16777216 bins in all"):
        rans.TableSet.from_gaussian(np.full(65536, 1024.0), bits=16)


@pytest.mark.parametrize("bits", range(8, 17))
def test_every_maker_at_every_precision(bits: int) -> None:
    """From frequencies, a histogram, cdfs and Gaussian scales: all symbols come back."""
    rng = np.random.default_rng(bits)
    drawn = np.minimum(rng.geometric(0.2, 1000) - 1, 40)
    counts = cdf.histogram(drawn, 41)
    total = 1 << bits
    cdfs = np.zeros((2, 130), np.int64)
    for row, size in enumerate((130, 3)):
        inner = np.sort(rng.choice(np.arange(1, total), size - 2, replace=False))
        cdfs[row, :size] = [0, *inner, total]
    makers = {
        "freqs": rans.TableSet.from_freqs([[1, 2, 3, 250], [7] * 30], [-3, 5], bits),
        "counts": rans.TableSet.from_freqs(counts, 0, bits),
        "counts with escape": rans.TableSet.from_freqs(counts, -20, bits, escape=True),
        "cdfs": rans.TableSet.from_cdfs(cdfs, [130, 3], [-64, 0], bits),
        "gaussian": rans.TableSet.from_gaussian([0.01, 0.5, 7.0, 1024.0], bits),
    }
    for name, tables in makers.items():
        freqs, n_bins, offsets = tables.arrays()
        rows = np.repeat(np.arange(tables.rows, dtype=np.int32), n_bins)
        first = np.repeat(np.cumsum(n_bins) - n_bins, n_bins)
        symbols = (np.arange(freqs.size) - first + offsets[rows])[freqs > 0]
        rows = rows[freqs > 0]
        for lanes in (1, 32):
            stream = rans.encode(symbols, rows, tables, lanes)
            np.testing.assert_array_equal(rans.decode(stream, rows, tables), symbols, name)
        sums = np.add.reduceat(freqs, np.cumsum(n_bins) - n_bins)
        assert sums.tolist() == [total] * tables.rows, name


def test_compressai_tables() -> None:
    rng = np.random.default_rng(2)
    width, sizes = 12, np.array([12, 3, 7], np.int32)
    cdfs = np.zeros((3, width), np.int32)
    for row, size in enumerate(sizes):
        inner = np.sort(rng.choice(np.arange(1, 65536), size - 2, replace=False))
        cdfs[row, :size] = [0, *inner, 65536]
    offsets = np.array([-5, 0, -2], np.int32)
    tables = rans.TableSet.from_cdfs(cdfs, sizes, offsets)
    freqs, n_bins, _ = tables.arrays()
    assert n_bins.tolist() == [11, 2, 6]
    np.testing.assert_array_equal(freqs[:11], np.diff(cdfs[0]))
    assert tables.escape
    assert tables.bits == 16
    rows = rng.integers(0, 3, 500)
    symbols = rng.integers(-9, 9, 500)
    np.testing.assert_array_equal(
        rans.decode(rans.encode(symbols, rows, tables), rows, tables), symbols
    )


@pytest.mark.parametrize(
    ("cdf_row", "size", "what"),
    [
        ([1, 9, 65536], 3, "0 first"),
        ([0, 9, 65535], 3, "last"),
        ([0, 9, 9, 65536], 4, "strictly increasing"),
        ([0, 9, 5, 65536], 4, "strictly increasing"),
        ([0, 65536, 0], 4, "size"),
        ([0, 65536], 1, "size"),
        ([0, 65536], -(2**31), "size"),
    ],
)
def test_compressai_tables_are_validated(cdf_row: list[int], size: int, what: str) -> None:
    with pytest.raises(InvalidArgumentError, match=what):
        rans.TableSet.from_cdfs([cdf_row], [size], [0])


def test_tables_refuse() -> None:
    make = rans.TableSet.from_freqs
    for freqs in ([], [[]], [0, 0], [[[1]]], [1.5], [-1, 2]):
        with pytest.raises(InvalidArgumentError):
            make(freqs)
    with pytest.raises(InvalidArgumentError, match="int32"):
        make([1, 1], 2**31 - 1)
    with pytest.raises(InvalidArgumentError, match="int32"):
        make([1, 1], 2**31)
    with pytest.raises(InvalidArgumentError, match="offsets"):
        make([[1, 1], [1, 1]], [0, 0, 0])
    with pytest.raises(InvalidArgumentError):
        rans.TableSet.from_cdfs([0, 65536], [2], [0])
    with pytest.raises(InvalidArgumentError, match="CPU array"):
        rans.TableSet.from_cdfs([[0, 65536], [0, 1, 65536]], [2, 3], [0, 0])
    for scales in ([0.0], [-1.0], [np.nan], [np.inf], [2000.0]):
        with pytest.raises(InvalidArgumentError):
            rans.TableSet.from_gaussian(scales)


def test_digest_tells_tables_apart() -> None:
    make = rans.TableSet.from_freqs
    same = make([1, 3], 0, 14).digest
    assert make([4096, 12288], 0, 14).digest == same
    others = [make([1, 2]), make([1, 3], 1), make([1, 3], bits=13), make([1, 3], escape=True)]
    others.append(make([[1, 3], [1, 3]]))
    assert len({same, *(tables.digest for tables in others)}) == 6
    assert len(same) == 32


def test_tables_can_be_copied_and_pickled() -> None:
    tables = rans.TableSet.from_freqs([[1, 0, 3], [2, 2, 9]], [5, -1], 9)
    for copied in (copy.deepcopy(tables), pickle.loads(pickle.dumps(tables))):
        assert copied.digest == tables.digest
        assert rans.encode([5], 0, copied) == rans.encode([5], 0, tables)
    assert repr(tables) == "TableSet(2 rows, 9 bits)"
    assert repr(cdf.canonical()[0]) == "TableSet(68 rows, 14 bits, escape)"


@pytest.mark.parametrize("bits", [8, 14, 16])
def test_gaussian_rows_follow_the_error_function(bits: int) -> None:
    scales = [0.05, 0.3, 1.0, 7.0, 40.0]
    freqs, n_bins, offsets = rans.TableSet.from_gaussian(scales, bits).arrays()
    begin = 0
    for scale, n, offset in zip(scales, n_bins, offsets, strict=True):
        row = freqs[begin : begin + n]
        begin += n
        assert offset == -(n - 2) // 2
        edges = (np.arange(offset, offset + n) - 0.5) / (scale * math.sqrt(2))
        mass = np.diff([0.5 * math.erfc(-edge) for edge in edges])
        assert np.all(mass[mass < 2.0 ** -(bits + 1)] > 2.0 ** -(bits + 2)) or n == 2
        # half a unit of rounding, and one for the apportioning
        assert np.all(np.abs(row[:-1] - np.maximum(mass * 2**bits, 1)) <= 1.5 + 2e-3 * row[:-1])
        left, right = row[:-offset], row[-offset + 1 : -1]
        assert np.all(np.abs(left[::-1].astype(int) - right.astype(int)) <= 1)


def test_canonical_tables_are_pinned() -> None:
    tables, bounds = cdf.canonical()
    assert (tables.rows, tables.bits, tables.escape) == (68, 14, True)
    assert tables.digest.hex() == CANONICAL_DIGEST
    assert bounds.dtype == np.float32
    assert bounds.shape == (67,)
    assert np.all(np.diff(bounds) > 0)
    assert not bounds.flags.writeable
    assert cdf.canonical()[0] is tables


def test_canonical_tables_come_from_the_committed_script(make_tables: ModuleType) -> None:
    tables, bounds = cdf.canonical()
    freqs, n_bins, offsets = tables.arrays()
    begins = np.cumsum([0, *n_bins])
    scales = make_tables.scales()
    for row in (0, 3, 4, 5, 6, 7, 20, 45, 67):  # all of them by `make_tables.py --check`
        expected = make_tables.apportion(make_tables.pmf(scales[row]))
        assert freqs[begins[row] : begins[row + 1]].tolist() == expected
        assert offsets[row] == -(len(expected) - 2) // 2
    np.testing.assert_array_equal(bounds, [np.float32(float(b)) for b in make_tables.bounds()])


def test_two_ways_to_the_canonical_tables(make_tables: ModuleType) -> None:
    tables = rans.TableSet.from_gaussian([float(scale) for scale in make_tables.scales()])
    assert tables.digest.hex() == CANONICAL_DIGEST


def test_gaussian_rows_count_the_bounds_below() -> None:
    _, bounds = cdf.canonical()
    below, above = np.nextafter(bounds, np.float32(0)), np.nextafter(bounds, np.float32(100))
    np.testing.assert_array_equal(cdf.gaussian_rows(bounds, bounds), np.arange(67))
    np.testing.assert_array_equal(cdf.gaussian_rows(below, bounds), np.arange(67))
    np.testing.assert_array_equal(cdf.gaussian_rows(above, bounds), np.arange(1, 68))
    special = np.array([np.nan, -np.nan, 0, -0.0, -5, -np.inf, 1e-30, np.inf], np.float32)
    assert cdf.gaussian_rows(special, bounds).tolist() == [0, 0, 0, 0, 0, 0, 0, 67]
    assert cdf.gaussian_rows(np.ones((2, 3)), bounds).shape == (2, 3)
    assert cdf.gaussian_rows([1.0], bounds).dtype == np.uint8
    with pytest.raises(InvalidArgumentError):
        cdf.gaussian_rows([1.0], bounds[::-1])


@pytest.mark.parametrize("k", [1, 2, 127, 128, 129, 1024, 16384])
def test_indices_as_two_symbols(k: int) -> None:
    tables = cdf.uniform_index_tables(k)
    assert tables.bits == 16
    assert tables.rows == 1 + -(-k // 128)
    index = np.random.default_rng(k).integers(0, k, 96)
    index[0], index[1] = 0, k - 1
    high, low = index >> 7, index & 127
    encoder = rans.Encoder()
    encoder.push(high, 0, tables)
    encoder.push(low, 1 + high, tables)
    decoder = rans.Decoder(encoder.finish())
    got = decoder.pull(0, tables, count=96)
    low_got = decoder.pull(1 + got, tables)
    decoder.finish()
    np.testing.assert_array_equal(got << 7 | low_got, index)
    bits = tables.cost_bits(high, 0) + tables.cost_bits(low, 1 + high)
    power_of_two = k & (k - 1) == 0
    assert bits == pytest.approx(96 * math.log2(k), abs=1e-9 if power_of_two else 0.2)


def test_index_tables_follow_the_counts() -> None:
    counts = np.zeros(300, int)
    counts[7] = 10_000
    tables = cdf.index_tables(counts)
    seven = tables.cost_bits([0], 0) + tables.cost_bits([7], 1)
    other = tables.cost_bits([1], 0) + tables.cost_bits([3], 2)
    assert seven < 0.1
    assert 12 < other < 20
    for bad in ([], [[1]], [-1, 2], [0.5]):
        with pytest.raises(InvalidArgumentError):
            cdf.index_tables(bad)
    for k in (0, -1, 2**20 + 1):
        with pytest.raises(InvalidArgumentError):
            cdf.uniform_index_tables(k)
