# SPDX-License-Identifier: Apache-2.0
"""Gaussian rates, rows and symbols beside plain torch, one thread each."""

import math

import pytest
import torch

from glc import cdf
from glc.ops import gaussian_bits, gaussian_rows, gaussian_symbols

pytestmark = pytest.mark.usefixtures("one_thread")

PROBABILITY_FLOOR = 1e-5


def cases():
    shapes = [(1, 256, 32, 48), (1, 256, 68, 120)]  # y of a 768x512 and of a 1920x1088 picture
    return [pytest.param(shape, id="x".join(map(str, shape))) for shape in shapes]


def inputs(shape):
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp(torch.randn(shape, generator=generator) - 1.0)
    mean = torch.randn(shape, generator=generator)
    y = mean + scale * torch.randn(shape, generator=generator)
    return y, mean, scale


def eager_bits(y, mean, scale):
    """Spelt out in torch, the gradient left to autograd."""
    residual = y - mean
    symbol = residual + (residual.round() - residual).detach()
    inverse = 1.0 / (scale.clamp(1e-5, 1e10) * math.sqrt(2.0))
    probability = 0.5 * (torch.erf((symbol + 0.5) * inverse) - torch.erf((symbol - 0.5) * inverse))
    return (-torch.log(probability + PROBABILITY_FLOOR) / math.log(2.0)).clamp_min(0.0)


def with_gradients(bits, tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    total = bits(*leaves).sum()
    return total.detach(), torch.autograd.grad(total, leaves)


@pytest.mark.parametrize("shape", cases())
def bench_bits_forward_backward(race, shape):
    tensors = inputs(shape)

    def check(ours, peers):
        total, grads = peers["eager torch"]
        reference = gaussian_bits.reference(*tensors, rounding="ste").sum()
        assert abs(ours[0].double() / reference - 1) < 1e-5
        assert abs(total / ours[0] - 1) < 1e-3
        for mine, theirs in zip(ours[1], grads, strict=True):
            assert (mine - theirs).abs().mean() < 1e-3

    race(
        lambda: with_gradients(lambda *t: gaussian_bits(*t, rounding="ste"), tensors),
        {"eager torch": lambda: with_gradients(eager_bits, tensors)},
        check=check,
        work=tensors[0].numel(),
        unit="sym",
    )


@pytest.mark.parametrize("shape", cases())
def bench_bits_forward(race, shape):
    tensors = inputs(shape)

    def eager():
        with torch.no_grad():
            return eager_bits(*tensors)

    def check(ours, peers):
        torch.testing.assert_close(ours.sum(), peers["eager torch"].sum(), rtol=1e-3, atol=0)

    race(
        lambda: gaussian_bits.plain(*tensors, rounding="round"),
        {"eager torch": eager},
        check=check,
        work=tensors[0].numel(),
        unit="sym",
    )


@pytest.mark.parametrize("shape", cases())
def bench_symbols_and_rows(race, shape):
    y, mean, scale = inputs(shape)
    bounds = torch.from_numpy(cdf.canonical()[1].copy())

    def by_bucketize():
        return (y - mean).round().to(torch.int32), torch.bucketize(scale, bounds)

    def by_comparisons():
        """As codecs do that loop over their scale table."""
        rows = torch.zeros(scale.shape, dtype=torch.int32)
        for bound in bounds:
            rows += bound < scale
        return (y - mean).round().to(torch.int32), rows

    def check(ours, peers):
        for symbols, rows in peers.values():
            assert torch.equal(ours[0], symbols)
            assert torch.equal(ours[1].long(), rows.long())

    race(
        lambda: gaussian_symbols.plain(y, mean, scale, bounds),
        {"bucketize": by_bucketize, "a comparison a row": by_comparisons},
        check=check,
        work=y.numel(),
        unit="sym",
    )


@pytest.mark.parametrize("shape", cases())
def bench_rows(race, shape):
    _, _, scale = inputs(shape)
    bounds = torch.from_numpy(cdf.canonical()[1].copy())

    def check(ours, peers):
        assert torch.equal(ours.long(), peers["bucketize"])

    race(
        lambda: gaussian_rows.plain(scale, bounds),
        {"bucketize": lambda: torch.bucketize(scale, bounds)},
        check=check,
        work=scale.numel(),
        unit="row",
    )
