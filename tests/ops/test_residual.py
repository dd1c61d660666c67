# SPDX-License-Identifier: Apache-2.0
"""Bits of rounded symbols, with the slope of the residual that was rounded."""

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.ops import gaussian_bits
from glc.ops._gaussian_formulas import PROBABILITY_FLOOR
from glc.ops.residual import residual_bits

SLOPE_TOLERANCE = 2e-3  # float32 tails against float64; slopes reach 40 bits a unit


def arguments(n=4001, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y, mean = (3 * torch.randn(n, generator=generator) for _ in range(2))
    scale = torch.rand(n, generator=generator) * 2 + 0.05
    return tuple(t.requires_grad_() for t in (y, mean, scale))


def test_value_and_scale_slope_are_those_of_the_rounded_symbol():
    y, mean, scale = arguments()
    ours, rounded = residual_bits(y, mean, scale), gaussian_bits(y, mean, scale, rounding="round")
    torch.testing.assert_close(ours, rounded, rtol=0, atol=1e-6)
    slopes = [torch.autograd.grad(bits.sum(), scale)[0] for bits in (ours, rounded)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


def test_slope_is_that_of_the_unrounded_residual():
    y, mean, scale = arguments()
    by_y, by_mean = torch.autograd.grad(residual_bits(y, mean, scale).sum(), (y, mean))
    residual = (y.detach() - mean.detach()).double().requires_grad_()
    normal = torch.distributions.Normal(0.0, scale.detach().double())
    probability = normal.cdf(residual + 0.5) - normal.cdf(residual - 0.5)
    (wanted,) = torch.autograd.grad(-torch.log2(probability + PROBABILITY_FLOOR).sum(), residual)
    torch.testing.assert_close(by_y.double(), wanted, rtol=SLOPE_TOLERANCE, atol=SLOPE_TOLERANCE)
    assert torch.equal(by_mean, -by_y)


def test_a_zero_symbol_has_a_slope_that_straight_through_lacks():
    y = torch.tensor([0.4, -0.4, 0.0], requires_grad=True)
    mean, scale = torch.zeros(3), torch.full((3,), 0.2)
    (ours,) = torch.autograd.grad(residual_bits(y, mean, scale).sum(), y)
    (ste,) = torch.autograd.grad(gaussian_bits(y, mean, scale, rounding="ste").sum(), y)
    assert ours[0] > 1
    assert ours[1] < -1
    assert ours[2] == 0
    assert (ste == 0).all()


def test_a_step_across_a_symbol_costs_what_the_symbols_differ_by():
    """The slope adds up, from one integer to the next, to the difference in bits."""
    n = 20001
    y = torch.linspace(0, 1, n, requires_grad=True)
    scale = torch.full((n,), 0.4)
    (slope,) = torch.autograd.grad(residual_bits(y, torch.zeros(n), scale).sum(), y)
    zero, one = gaussian_bits(torch.tensor([0.0, 1.0]), torch.zeros(2), scale[:2], rounding="round")
    assert torch.trapezoid(slope, y.detach()).item() == pytest.approx(float(one - zero), rel=1e-3)


def test_a_second_derivative_is_refused():
    y, mean, scale = (torch.full((3,), v, requires_grad=True) for v in (0.3, 0.1, 0.7))
    (slope,) = torch.autograd.grad(residual_bits(y, mean, scale).sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.sum().backward()


def test_shapes_that_disagree_are_refused():
    with pytest.raises(InvalidArgumentError, match="mean"):
        residual_bits(torch.zeros(3), torch.zeros(2), torch.ones(3))
