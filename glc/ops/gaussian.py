# SPDX-License-Identifier: Apache-2.0
"""Gaussian entropy parameters: differentiable rates, and the symbols and rows that are coded."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError

Rounding = Literal["noise", "ste", "round"]

SCALE_MIN = 1e-5
SCALE_MAX = 1e10
PROBABILITY_FLOOR = 1e-5  # added to every probability, so no symbol costs more than 16.61 bit


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        passes = (x >= ctx.bound) | (grad < 0)
        return grad * passes, None


class _RoundSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Clamp from below, but let gradients through that pull the input back up.

    max(x, bound); the gradient passes where x >= bound or where it is negative, so a value stuck
    below the bound can still recover under gradient descent.     (Balle et al. 2018)

    Args:
        x: any shape, floating point.
        bound: the smallest value returned.

    Returns:
        Like x.
    """
    return _LowerBound.apply(x, bound)  # type: ignore[no-any-return, no-untyped-call]


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes straight through.

    Args:
        x: any shape, floating point.

    Returns:
        Like x, integer valued.
    """
    return _RoundSte.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def _symbols(y: Tensor, mean: Tensor, rounding: Rounding) -> Tensor:
    residual = y - mean
    if rounding == "noise":
        return residual + (torch.rand_like(residual) - 0.5)
    if rounding == "ste":
        return round_ste(residual)
    if rounding == "round":
        return residual.round()
    raise InvalidArgumentError(
        f"gaussian_bits: rounding: expected 'noise', 'ste' or 'round', got {rounding!r}"
    )


def _symbol_bits(symbol: Tensor, scale: Tensor) -> Tensor:
    inverse = 1.0 / (scale.clamp(SCALE_MIN, SCALE_MAX) * math.sqrt(2.0))
    upper = torch.erf((symbol + 0.5) * inverse)
    lower = torch.erf((symbol - 0.5) * inverse)
    probability = 0.5 * (upper - lower)
    bits = torch.log(probability + PROBABILITY_FLOOR) * (-1.0 / math.log(2.0))
    return lower_bound(bits, 0.0)


def gaussian_bits(
    y: Tensor, mean: Tensor, scale: Tensor, *, rounding: Rounding = "noise"
) -> Tensor:
    """Estimate the bits each quantised latent costs under its Gaussian.

    s = symbol(y - mean);  P = Phi((s + .5) / scale) - Phi((s - .5) / scale)
    bits = max(0, -log2(P + 1e-5)), scale clamped to [1e-5, 1e10]     (Jia et al. 2024)

    The bound at 0 lets gradients through as `lower_bound` does.

    Args:
        y: [...] float32, latent units.
        mean: [...] float32, same shape as y.
        scale: [...] float32, same shape as y; may be zero or negative, then it counts as 1e-5.
        rounding: how the symbol is made. "noise" adds U(-.5, .5), for training; "ste" rounds half
            to even and passes the gradient straight through; "round" rounds and passes none.

    Returns:
        [...] float32, bits per symbol, in [0, 16.61]; differentiable in y, mean and scale.

    Raises:
        InvalidArgumentError: unknown rounding, or shapes that disagree.
    """
    if y.shape != mean.shape or y.shape != scale.shape:
        raise InvalidArgumentError(
            f"gaussian_bits: mean and scale: expected the shape of y {tuple(y.shape)}, "
            f"got {tuple(mean.shape)} and {tuple(scale.shape)}"
        )
    symbol = _symbols(y.float(), mean.float(), rounding)
    return _symbol_bits(symbol, scale.float())
