# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.ops import gaussian_rows, gaussian_symbols
from glc.ops.gaussian_symbols import _gaussian_rows_op, _gaussian_symbols_op
from tests.ops.test_gaussian import BOUNDS, SIZES, inputs


@pytest.mark.parametrize("shape", SIZES)
def test_rows_and_symbols_match_the_reference(shape):
    y, mean, scale = inputs(shape)
    rows = gaussian_rows(scale, BOUNDS)
    symbols, symbol_rows = gaussian_symbols(y, mean, scale, BOUNDS)
    expected_symbols, expected_rows = gaussian_symbols.reference(y, mean, scale, BOUNDS)
    assert rows.dtype == torch.uint8
    assert symbols.dtype == torch.int32
    assert torch.equal(rows, gaussian_rows.reference(scale, BOUNDS))
    assert torch.equal(rows, expected_rows)
    assert torch.equal(symbol_rows, expected_rows)
    assert torch.equal(symbols, expected_symbols)
    assert torch.equal(gaussian_symbols.plain(y, mean, scale, BOUNDS)[0], symbols)


def test_rows_at_the_very_bounds():
    below = torch.nextafter(BOUNDS, torch.tensor(0.0))
    above = torch.nextafter(BOUNDS, torch.tensor(math.inf))
    number = torch.arange(67, dtype=torch.uint8)
    assert torch.equal(gaussian_rows(below, BOUNDS), number)
    assert torch.equal(gaussian_rows(BOUNDS, BOUNDS), number)
    assert torch.equal(gaussian_rows(above, BOUNDS), number + 1)


def test_rows_of_odd_scales():
    scale = torch.tensor([math.nan, -math.nan, -1.0, -0.0, 0.0, -math.inf, 1e-45, math.inf, 1e38])
    assert gaussian_rows(scale, BOUNDS).tolist() == [0, 0, 0, 0, 0, 0, 0, 67, 67]


@pytest.mark.parametrize(
    "bounds",
    [
        torch.empty(0),
        torch.tensor([1.0]),
        torch.tensor([1e-45, 3e-45, 1e-40, 3e38]),
        1.0 + torch.arange(1, 256) * 2.0**-23,  # all inside one interval of the lookup
        torch.logspace(-30, 30, 255),
    ],
)
def test_rows_of_unusual_bounds(bounds):
    scale = torch.cat([bounds, bounds * 1.0000001, torch.tensor([0.5, 1.0, 1.00001, 2.0])])
    assert torch.equal(gaussian_rows(scale, bounds), gaussian_rows.reference(scale, bounds))


def test_symbols_round_half_to_even_up_to_32_bits():
    y = torch.tensor([0.5, 1.5, -0.5, -1.5, 2.5, 8388607.5, 8388609.0, -(2.0**31), 2.0**31 - 128])
    zero, one = torch.zeros(9), torch.ones(9)
    symbols, _ = gaussian_symbols(y, zero, one, BOUNDS)
    expected = [0, 2, 0, -2, 2, 8388608, 8388609, -(2**31), 2**31 - 128]
    assert symbols.tolist() == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("argument", ["y", "mean", "scale"])
def test_symbols_refuse_what_is_not_finite(argument, bad):
    args = dict(zip(("y", "mean", "scale"), inputs((1500,)), strict=True))
    args[argument][1234] = bad
    with pytest.raises(InvalidArgumentError, match=f"{argument}: expected finite.* element 1234"):
        gaussian_symbols(**args, bounds=BOUNDS)


def test_symbols_refuse_what_does_not_fit():
    zero, one = torch.zeros(1), torch.ones(1)
    for value in (2.0**31, -(2.0**31) - 256, 3e38):
        with pytest.raises(InvalidArgumentError, match="residuals that fit 32 bits"):
            gaussian_symbols(torch.tensor([value]), zero, one, BOUNDS)


@pytest.mark.parametrize(
    "bounds", [[1.0, 1.0], [2.0, 1.0], [0.0, 1.0], [-1.0, 1.0], [1.0, math.nan], [1.0, math.inf]]
)
def test_bad_bounds_are_refused(bounds):
    with pytest.raises(InvalidArgumentError, match="bounds: expected finite, positive, strictly"):
        gaussian_rows(torch.ones(3), torch.tensor(bounds))


def test_other_bad_arguments_are_refused():
    one = torch.ones(3)
    with pytest.raises(InvalidArgumentError, match="scale: expected dtype float32"):
        gaussian_rows(one.double(), BOUNDS)
    with pytest.raises(InvalidArgumentError, match="at most 255 values, got 256"):
        gaussian_rows(one, torch.arange(1.0, 257.0))
    with pytest.raises(InvalidArgumentError, match="mean: expected the shape of y"):
        gaussian_symbols(one, one[:2], one, BOUNDS)


def test_rows_and_symbols_opcheck():
    y, mean, scale = inputs((3, 5))
    torch.library.opcheck(_gaussian_rows_op, (scale, BOUNDS))
    torch.library.opcheck(_gaussian_symbols_op, (y, mean, scale, BOUNDS))
