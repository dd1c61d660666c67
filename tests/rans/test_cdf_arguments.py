# SPDX-License-Identifier: Apache-2.0
"""Whatever is passed where numbers are wanted, glc.cdf answers with its own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from glc import cdf, rans
from glc.errors import InvalidArgumentError

NO_NUMBERS = ([[1, 2], [3]], "text", ["text"], None, [None], [1j], {1: 2})
FLOAT32_BOUNDS = np.arange(1, 4, dtype=np.float32)
TAKE_NUMBERS: dict[str, Callable[[Any], object]] = {
    "weights": cdf.normalise,
    "values": lambda values: cdf.histogram(values, 4),
    "scale": lambda scale: cdf.gaussian_rows(scale, FLOAT32_BOUNDS),
    "bounds": lambda bounds: cdf.gaussian_rows([1.0], bounds),
    "counts": cdf.index_tables,
    "logits": cdf.ranked_index_tables,
}


@pytest.mark.parametrize("name", TAKE_NUMBERS)
@pytest.mark.parametrize("values", NO_NUMBERS, ids=str)
def test_what_is_no_array_of_numbers(name: str, values: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^cdf: {name}: expected "):
        TAKE_NUMBERS[name](values)


@pytest.mark.parametrize("count", ["4", None, 4.0, [4], 0, -1, 2**31 + 1, 10**30], ids=str)
def test_what_is_no_count(count: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^cdf: n_bins: expected "):
        cdf.histogram([1], count)
    with pytest.raises(InvalidArgumentError, match=r"^cdf: k: expected "):
        cdf.uniform_index_tables(count)


@pytest.mark.parametrize("escape", ["no", None, 2, 0.0, np.array([True, False])], ids=str)
def test_what_is_no_flag(escape: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^rans: escape: expected True or False"):
        rans.TableSet.from_freqs([1, 2], escape=escape)
    with pytest.raises(InvalidArgumentError, match=r"^rans: escape: expected True or False"):
        rans.TableSet.from_exact_freqs([100, 156], [2], [0], 8, escape)
    assert rans.TableSet.from_freqs([1, 2], escape=np.bool_(True)).escape


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_the_type_are_infinite() -> None:
    assert cdf.gaussian_rows([1e300, -1e300, 2.5], FLOAT32_BOUNDS).tolist() == [3, 0, 2]
    assert cdf.gaussian_rows(1e300, FLOAT32_BOUNDS).shape == ()
    with pytest.raises(InvalidArgumentError, match="finite"):
        cdf.ranked_index_tables([1e300, 1.0])


def test_bounds_are_as_many_as_a_row_can_count() -> None:
    most = np.arange(65535)
    assert cdf.gaussian_rows([1e9, 0.5], most).tolist() == [65535, 1]
    with pytest.raises(InvalidArgumentError, match="at most 65535, got 65536"):
        cdf.gaussian_rows([1e9], np.arange(65536))
    for bounds in ([np.nan], [1.0, np.nan], [[1.0, 2.0]], 1.0):
        with pytest.raises(InvalidArgumentError, match="one increasing dimension"):
            cdf.gaussian_rows([1.0], bounds)


def test_counts_whose_sum_goes_round() -> None:
    for counts in ([2**63] * 256, [2**64 - 1, 1], [2**46 + 1]):
        with pytest.raises(InvalidArgumentError, match=r"sum of at most 2\^46"):
            cdf.index_tables(np.array(counts, np.uint64))
