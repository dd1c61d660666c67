# SPDX-License-Identifier: Apache-2.0
"""What native calls make of the strides of [b, c, h, w]."""

import itertools

import pytest
import torch

from glc import _core, cdf
from glc.errors import InvalidArgumentError
from glc.ops import (
    categorical_bits,
    exact_conv2d,
    four_part_pick,
    four_part_step,
    four_part_step_,
    gaussian_bits,
    gaussian_rows,
    vq_quantize,
)

SHAPES = [(b, c, h, w) for b in (0, 1, 2) for c in (1, 4) for h in (1, 3) for w in (1, 5)]


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


FORMS = {
    "dense": lambda x: x,
    "channels_last": last,
    "some channels": lambda x: torch.cat([x, x], 1)[:, x.shape[1] :],
    "some channels of channels_last": lambda x: last(torch.cat([x, x], 1))[:, : x.shape[1]],
    "every other pixel": lambda x: last(x.repeat_interleave(2, 3))[..., ::2],
    "every other line": lambda x: last(x.repeat_interleave(2, 2))[:, :, ::2],
    "every other sample": lambda x: last(x.repeat_interleave(2, 0))[::2],
    "pixels as a list": lambda x: (
        x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2).unflatten(2, x.shape[2:])
    ),
    "turned": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_strides_never_change_what_comes_out(shape, form):
    bounds = torch.from_numpy(cdf.canonical()[1].copy())
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 8
    given = FORMS[form](scale)
    assert torch.equal(given, scale)
    assert torch.equal(gaussian_rows.plain(given, bounds), gaussian_rows.plain(scale, bounds))


@pytest.mark.parametrize("form", ["every other line", "turned"])
def test_other_strides_are_refused_by_the_native_call(form):
    scale = FORMS[form](torch.rand(2, 4, 3, 5))
    rows = torch.empty(2 * 3 * 5, 4, dtype=torch.uint8)
    with pytest.raises(InvalidArgumentError, match="scale: expected a contiguous tensor, got str"):
        _core.gaussian_rows(scale, torch.ones(1), rows)


def negated(x):
    """Make x a view that negates its memory, as the imaginary part of a conjugate is."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def test_a_view_that_negates_is_read_as_what_it_is():
    x = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    rows, index = x.view(16, 6), torch.arange(16) % 6
    weight = torch.eye(4)[:, :, None, None]
    calls = [
        lambda x, _: gaussian_bits(x, 2 * x, x, rounding="ste"),
        lambda x, _: four_part_step(x, 2 * x, x, 1),
        lambda x, _: four_part_pick(x, 1),
        lambda x, _: exact_conv2d(x, weight, None),
        lambda _, rows: categorical_bits(rows, index),
        lambda _, rows: vq_quantize(rows, rows[::2]).z_hat,
    ]
    assert negated(x).is_neg()
    for call in calls:
        assert torch.equal(call(negated(x), negated(rows)), call(x, rows))


def test_a_gradient_that_negates_is_read_as_what_it_is():
    y, mean = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    bits = gaussian_bits(y, mean, y.exp(), rounding="ste")
    grad = torch.rand(2, 3)
    (expected,) = torch.autograd.grad(bits, y, grad, retain_graph=True)
    assert torch.equal(torch.autograd.grad(bits, y, negated(grad))[0], expected)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 4, 3, 5), (1, 4, 3, 1)])
def test_an_expanded_gradient_is_read_as_what_it_is(shape):
    generator = torch.Generator().manual_seed(0)
    y, mean, scale = (torch.randn(shape, generator=generator) for _ in range(3))
    leaves = [y.requires_grad_(), mean.requires_grad_(), scale.exp().requires_grad_()]
    for sizes in itertools.product(*({1, n} for n in shape)):
        grad = torch.rand(sizes, generator=generator).expand(shape)
        got, expected = (
            torch.autograd.grad(gaussian_bits(*leaves, rounding="ste"), leaves, given)
            for given in (grad, grad.clone(memory_format=torch.contiguous_format))
        )
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_a_view_that_negates_is_not_written():
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(InvalidArgumentError, match="a view that negates"):
        four_part_step_(x, x, negated(x), 0)
