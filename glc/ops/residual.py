# SPDX-License-Identifier: Apache-2.0
"""The rate term for training at a twentieth of a bit per pixel: rounded bits, honest slopes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glc.ops._gaussian_formulas import PROBABILITY_FLOOR, SCALE_MAX, SCALE_MIN, unbounded_bits
from glc.ops._op import is_transformed
from glc.ops.gaussian import gaussian_bits
from glc.ops.straight_through import lower_bound


class _WithSlope(torch.autograd.Function):
    """Bits as they are, with the slope of other bits for y and mean.

    Written out, the slope costs the forward pass nothing and the backward pass a dozen operations;
    as the derivative of what it is the slope of, it took four times as many, and their maps.
    """

    @staticmethod
    def forward(ctx: Any, bits: Tensor, y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(y, mean, scale)
        return bits.view_as(bits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, scale = ctx.saved_tensors
        (grad,) = grads
        if not any(ctx.needs_input_grad[1:3]):
            return grad, None, None, None
        residual = y.float() - mean.float()
        inverse = 1 / (scale.float().clamp(SCALE_MIN, SCALE_MAX) * math.sqrt(2.0))
        near, far = ((residual.abs() + d) * inverse for d in (-0.5, 0.5))
        # upper tails do not cancel
        probability = 0.5 * (torch.erfc(near) - torch.erfc(far)) + PROBABILITY_FLOOR
        density = (torch.exp(-near.square()) - torch.exp(-far.square())) * inverse
        slope = density / (probability * (math.sqrt(math.pi) * math.log(2.0))) * residual.sign()
        blocked = (probability > 1) & (grad >= 0)  # of a bound at 0 bit, as `lower_bound` does
        by_y = (grad * slope).masked_fill(blocked, 0.0)
        return grad, by_y.to(y.dtype), (-by_y).to(mean.dtype), None


def residual_bits(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Estimate the bits of rounded symbols; let y and its mean feel each other.

    value and d/dscale: bits of round(y - mean);  d/dy = -d/dmean: slope of the bits at y - mean

    Rounding straight through has no slope at a zero symbol, whose bits are at their minimum
    whatever y - mean is; with 97 % zeros nothing then trains the means. The unrounded residual has
    a slope everywhere, and between two integers it adds up to the same difference in bits.

    Args:
        y: [...] floating point, latent units; computed in float32, also under autocast.
        mean: [...] like y.
        scale: [...] like y; counts as 1e-5 where smaller.

    Returns:
        [...] float32, bits per symbol, in [0, 16.61], equal to those of `gaussian_bits` with
        rounding "round".

    Raises:
        InvalidArgumentError: shapes that disagree.
        RuntimeError: a second derivative is asked for.
    """
    bits = gaussian_bits(y.detach(), mean.detach(), scale, rounding="ste")
    if is_transformed():
        slope = lower_bound(unbounded_bits(y.float() - mean.float(), scale.detach().float()), 0.0)
        return bits + (slope - slope.detach())
    return _WithSlope.apply(bits, y, mean, scale.detach())  # type: ignore[no-any-return, no-untyped-call]
