# SPDX-License-Identifier: Apache-2.0
"""What the forward pass of a rate leaves for its backward pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from glc import _core
from glc.ops import _cuda
from glc.ops._expected import Foreseen, Values
from glc.ops._foresight_cuda import Foresight, foresight_for
from glc.ops._layout import lend_rows, new_like, spread_of
from glc.ops._op import borrow_rows

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]  # by y, mean and scale


class Ahead(NamedTuple):
    """What a forward pass leaves on the CPU."""

    foreseen: Foreseen | None  # the gradient of bits it counted on; None: 1, for slopes
    out: Gradients


class AheadOnDevice(NamedTuple):
    """What a forward pass leaves on a device that foresees the gradient of bits, or room for it."""

    foresight: Foresight
    out: Gradients


_ONE = torch.ones(1, 1, dtype=torch.float32, device="cpu")


def lend_outputs(*outputs: Tensor | None) -> list[object | None]:
    """Lend maps to write, those that are wanted."""
    return [None if out is None else lend_rows(out)[0] for out in outputs]


def lend_ahead(ahead: Ahead | AheadOnDevice | None) -> tuple[object, ...] | None:
    """Lend what a forward pass is to leave, as its native call takes it."""
    if ahead is None:
        return None
    if isinstance(ahead, AheadOnDevice):
        return *ahead.foresight.lend(), lend_outputs(*ahead.out)
    column = _ONE if ahead.foreseen is None else ahead.foreseen.column
    return borrow_rows(column), lend_outputs(*ahead.out)


def column_of(grad: Tensor, shape: torch.Size) -> Tensor | None:
    """Return the values, [n, 1], of a gradient [b] or of a sum of all, or spread from such."""
    return grad.reshape(-1, 1) if grad.shape != shape else spread_of(grad)


def lend_grad(grad: Tensor, like: Tensor) -> object:
    """Lend a gradient like `like`, or [b], or of a sum of all."""
    column = column_of(grad, like.shape)
    return lend_rows(like, grad)[1] if column is None else borrow_rows(column)


def _new_outputs(y: Tensor, wanted: Sequence[bool]) -> Gradients:
    by_y, by_mean, by_scale = (new_like(y) if want else None for want in wanted)
    return by_y, by_mean, by_scale


def new_ahead(y: Tensor, wanted: Sequence[bool], foreseen: Foreseen | None) -> Ahead | None:
    """Make room for what a forward pass leaves: it costs little, and spares the backward pass more.

    Gradients where it foresees that of the bits, or else slopes: by those the backward pass has but
    to multiply.
    """
    if not y.is_cpu or y.dtype != torch.float32 or y.numel() == 0 or not any(wanted):
        return None
    by_y, by_mean, by_scale = wanted
    if foreseen is None:
        by_y, by_mean = by_y or by_mean, False
    return Ahead(foreseen, _new_outputs(y, (by_y, by_mean, by_scale)))


def new_ahead_on_device(
    y: Tensor, wanted: Sequence[bool], kind: Hashable, per_sample: bool
) -> AheadOnDevice | None:
    """Make room for gradients on a device, of a total; no slopes, which it reads no faster."""
    if y.numel() == 0 or not any(wanted):
        return None
    n = y.shape[0] if per_sample else 1
    foresight = foresight_for(y, _cuda.stream_of(y), (kind, y.dtype), n)
    return None if foresight is None else AheadOnDevice(foresight, _new_outputs(y, wanted))


def _scaled(grad: Tensor, slopes: Gradients, wanted: Sequence[bool]) -> Gradients | None:
    """Gradients from slopes, in their memory; None where those do not tell them."""
    by_y, _, by_scale = slopes
    like = by_scale if by_y is None else by_y
    assert like is not None
    by_mean = None
    if wanted[1]:  # one of the two takes the slopes' place
        by_mean = new_like(like) if wanted[0] else by_y
    out = (by_y if wanted[0] else None, by_mean, by_scale)
    told = _core.gaussian_bits_backward(
        lend_grad(grad, like), lend_outputs(by_y, by_scale), lend_outputs(*out)
    )
    return out if told else None


def taken(
    ahead: Ahead, grad: Tensor, values: Values | None, wanted: Sequence[bool]
) -> Gradients | None:
    """Return the gradients that a forward pass left, if it left those for this grad."""
    if ahead.foreseen is None:
        return _scaled(grad, ahead.out, wanted)
    return ahead.out if values == ahead.foreseen.values else None
