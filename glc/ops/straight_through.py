# SPDX-License-Identifier: Apache-2.0
"""Bounds, rounding and replacement whose gradients pass straight through."""

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


class _ReplaceSte(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Save nothing: the gradient depends on none of it."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


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

    (Bengio et al. 2013)

    Args:
        x: any shape, floating point.

    Returns:
        Like x, integer valued.
    """
    return _RoundSte.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def replace_ste(x: Tensor, value: Tensor) -> Tensor:
    """Give another value; the gradient passes straight through to x, none to the value.

    What quantised vectors do, whose rows no gradient of theirs reaches.     (facts F)

    Args:
        x: any shape, floating point.
        value: like x.

    Returns:
        Like value.
    """
    return _ReplaceSte.apply(x, value)  # type: ignore[no-any-return, no-untyped-call]
