# SPDX-License-Identifier: Apache-2.0
"""Bounds and rounding whose gradients pass straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _LowerBound(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, bound: float) -> Tensor:
        return x.clamp_min(bound)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.bound = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        blocked = (x < ctx.bound) & (grad >= 0)
        return grad.masked_fill(blocked, 0.0), None


class _RoundSte(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Save nothing: the gradient depends on none of it."""

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
