# SPDX-License-Identifier: Apache-2.0
"""The four-part step: mask, residual, quantise and dequantise one part of y in one pass.

A map [b, c, h, w] has four equal groups of channels and four phases of pixels; `part` 0..3 takes
one phase of each group (`csrc/include/glc/four_part.h`). Masks are never made: kernels walk the
positions. NCHW and channels_last maps, and slices of channels of either, are read in place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._layout import lend_rows, new_like
from glc.ops._op import (
    Op,
    borrow,
    is_traced,
    is_transformed,
    require_no_gradients,
    require_same_device,
)
from glc.ops.parts import (
    ALL_PARTS,
    EACH_PART,
    PARTS,
    Spread,
    eager_spread,
    note_written,
    part_mask,
    require_dense,
    require_maps,
    shape_of,
    spread_op,
)
from glc.ops.straight_through import round_ste


def _native_step(y: Tensor, mean: Tensor, before: Tensor | None, y_hat: Tensor, part: int) -> None:
    """Write y_hat: the part's positions anew, `before` elsewhere, or zeros for None."""
    rest = () if before is None else (before,)
    to, *latents = lend_rows(y_hat, y, mean, *rest)
    if before is None:
        latents.append(None)
    _core.four_part_step(shape_of(y_hat), part, *latents, to, *_cuda.stream_for(y_hat))


# ---------------------------------------------------------------- four_part_step_


def _step_in_place(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    require_maps("four_part_step_", part, y_hat=y_hat, y=y, mean=mean)
    if not _cuda.has_kernels(y):
        new = (y - mean).round() + 0.0 + mean
        y_hat.copy_(torch.where(part_mask(y.shape, part, y.device), new, y_hat))
        return
    require_dense("four_part_step_", y_hat)
    _native_step(y, mean, y_hat, y_hat, part)


@torch.library.custom_op("glc::four_part_step_", mutates_args=("y_hat",))
def _in_place_op(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    _step_in_place(y, mean, y_hat, part)


@_in_place_op.register_fake
def _(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    return None


def four_part_step_(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    """Add a part to y_hat in place, as `four_part_step` does; no gradient.

    Args:
        y: [b, c, h, w] float32, divided by the quantisation step.
        mean: like y.
        y_hat: like y, contiguous or channels_last; written at the part's positions only.
        part: 0..3.

    Raises:
        InvalidArgumentError: shapes, devices or dtypes that disagree, channels not a multiple of 4,
            part out of range, or a y_hat with other strides or that requires a gradient.
    """
    if torch.compiler.is_compiling():
        _in_place_op(y, mean, y_hat, part)
        return
    require_no_gradients("four_part_step_", [y_hat], "train through four_part_step")
    _step_in_place(y, mean, y_hat, part)
    note_written(y_hat)


# ---------------------------------------------------------------- four_part_step


def _require_step(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> None:
    if y_hat is None:
        require_maps("four_part_step", part, y=y, mean=mean)
    else:
        require_maps("four_part_step", part, y_hat=y_hat, y=y, mean=mean)


def _step_plain(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
    _require_step(y, mean, y_hat, part)
    if not _cuda.has_kernels(y):
        new = (y - mean).round() + 0.0 + mean
        before = torch.zeros_like(new) if y_hat is None else y_hat
        return torch.where(part_mask(y.shape, part, y.device), new, before)
    out = new_like(y if y_hat is None else y_hat)
    _native_step(y, mean, y_hat, out, part)
    return out


@torch.library.custom_op("glc::four_part_step", mutates_args=())
def _step_op(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
    return _step_plain(y, mean, y_hat, part)


@_step_op.register_fake
def _(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
    return new_like(y if y_hat is None else y_hat)


def _save_part(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.part = inputs[-1]
    ctx.first = inputs[-2] is None


def _step_gradients(spread: Spread, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    this = EACH_PART[ctx.part]
    by_y, *by_y_hat = spread(grad, None, [this] if ctx.first else [this, ALL_PARTS ^ this])
    return by_y, None, by_y_hat[0] if by_y_hat else None, None


_step_op.register_autograd(functools.partial(_step_gradients, spread_op), setup_context=_save_part)


class _Step(torch.autograd.Function):
    """The registered op without torch's registry: see `is_traced`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
        _save_part(ctx, (y, mean, y_hat, part), y)
        return _step_plain(y, mean, y_hat, part)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _step_gradients(eager_spread, ctx, *grads)


def _four_part_step(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
    """Add a part to y_hat: quantised around its mean there, as it was elsewhere.

    y_hat = round(y - mean) + mean at the part's positions, half to even     (Jia et al. 2024)

    Rounding passes the gradient straight through, so y gets it and the mean, which is taken off and
    put back, none. One rounding per operation, in this order: the bits are the same everywhere.

    Args:
        y: [b, c, h, w] floating point, divided by the quantisation step; computed in float32.
        mean: like y.
        y_hat: like y; the parts before this one. None where there are none: zeros.
        part: 0..3.

    Returns:
        Like y_hat, float32. Identical on every backend.

    Raises:
        InvalidArgumentError: as `four_part_step_`.
    """
    _require_step(y, mean, y_hat, part)
    before = None if y_hat is None else y_hat.float()
    if is_transformed():
        return _step_reference(y.float(), mean.float(), before, part)
    step = _step_op if is_traced(y, mean, y_hat) else _Step.apply
    out: Tensor = step(y.float(), mean.float(), before, part)  # type: ignore[no-untyped-call]
    return out


def _step_reference(y: Tensor, mean: Tensor, y_hat: Tensor | None, part: int) -> Tensor:
    mask = part_mask(y.shape, part, y.device)
    return torch.where(mask, round_ste(y - mean) + 0.0 + mean, 0.0 if y_hat is None else y_hat)


four_part_step = Op(_four_part_step, reference=_step_reference, plain=_step_plain)


# ---------------------------------------------------------------- four_part_merge


def _require_fours(y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]) -> None:
    if len(scales) != PARTS or len(means) != PARTS:
        raise InvalidArgumentError(
            f"four_part_merge: scales, means: expected 4 each, got {len(scales)}, {len(means)}"
        )
    parts = {f"scales[{i}]": m for i, m in enumerate(scales)}
    parts.update({f"means[{i}]": m for i, m in enumerate(means)})
    require_maps("four_part_merge", 0, y=y, **parts)


Merged = tuple[Tensor, Tensor, Tensor, Tensor]


def _merge_plain(y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]) -> Merged:
    _require_fours(y, scales, means)
    if not _cuda.has_kernels(y):
        return _merge_reference(y, scales, means)
    y_q, y_hat, scale, mean = (new_like(y) for _ in range(4))
    lent = lend_rows(y, *means, *scales, y_q, y_hat, mean, scale)
    stream = _cuda.stream_for(y)
    _core.four_part_merge(shape_of(y), lent[0], lent[1:5], lent[5:9], lent[9:], *stream)
    return y_q, y_hat, scale, mean


@torch.library.custom_op("glc::four_part_merge", mutates_args=())
def _merge_op(
    y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _merge_plain(y, scales, means)


@_merge_op.register_fake
def _(
    y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return new_like(y), new_like(y), new_like(y), new_like(y)


def _merge_gradients(
    spread: Spread,
    by_y_q: Tensor | None,
    by_y_hat: Tensor | None,
    by_scale: Tensor | None,
    by_mean: Tensor | None,
) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
    """The mean is taken off y_q, and put back to y_hat: only the first has a gradient by it."""
    each = list(EACH_PART)
    nothing: Sequence[Tensor | None] = [None] * PARTS
    by_scales = nothing if by_scale is None else spread(by_scale, None, each)
    if by_y_q is None:
        return by_y_hat, by_scales, nothing if by_mean is None else spread(by_mean, None, each)
    by_y = by_y_q if by_y_hat is None else by_y_q + by_y_hat
    by_mean, minus = (-by_y_q, None) if by_mean is None else (by_mean, by_y_q)
    return by_y, by_scales, spread(by_mean, minus, each)


_merge_op.register_autograd(lambda ctx, *grads: _merge_gradients(spread_op, *grads))


class _Merge(torch.autograd.Function):
    """The registered op without torch's registry: see `is_traced`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, *maps: Tensor) -> Merged:
        ctx.set_materialize_grads(False)
        return _merge_plain(y, maps[:PARTS], maps[PARTS:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        by_y, by_scales, by_means = _merge_gradients(eager_spread, *grads)
        return by_y, *by_scales, *by_means


def _four_part_merge(y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]) -> Merged:
    """Take each position from the maps of the part it belongs to, and quantise there.

    What four steps with these means would leave is y_hat; so a pass needs three, whose y_hat the
    later parts' networks see, and this.

    Args:
        y: [b, c, h, w] floating point, divided by the quantisation step; computed in float32.
        scales: four like y.
        means: four like y.

    Returns:
        (y_q, y_hat, scale, mean), float32 like y; y_q = y - mean rounded half to even, its gradient
        passed straight through, and y_hat = y_q + mean as in `four_part_step`.

    Raises:
        InvalidArgumentError: not four maps each, or as `four_part_step_`.
    """
    _require_fours(y, scales, means)
    merged: Merged
    wide = [m.float() for m in (y, *scales, *means)]
    if is_transformed():
        merged = _merge_reference(wide[0], wide[1 : PARTS + 1], wide[PARTS + 1 :])
    elif is_traced(*wide):
        merged = _merge_op(wide[0], wide[1 : PARTS + 1], wide[PARTS + 1 :])
    else:
        merged = _Merge.apply(*wide)  # type: ignore[no-untyped-call]
    return merged


def _merge_reference(y: Tensor, scales: Sequence[Tensor], means: Sequence[Tensor]) -> Merged:
    scale, mean = scales[0], means[0]
    for part in range(1, PARTS):
        mask = part_mask(y.shape, part, y.device)
        scale, mean = torch.where(mask, scales[part], scale), torch.where(mask, means[part], mean)
    y_q = round_ste(y - mean) + 0.0  # a symbol of -0 is 0
    return y_q, y_q + mean, scale, mean


four_part_merge = Op(_four_part_merge, reference=_merge_reference, plain=_merge_plain)


# ---------------------------------------------------------------- for the coder


def four_part_pick(x: Tensor, part: int) -> Tensor:
    """Gather a part's elements in the order of its symbols.

    Args:
        x: [b, c, h, w] float32, c a multiple of 4; on the CPU or a device with our kernels.
        part: 0..3.

    Returns:
        [n] float32, ascending in [b, c, h, w].

    Raises:
        InvalidArgumentError: another shape, dtype or part.
    """
    require_maps("four_part_pick", part, x=x)
    shape = shape_of(x)
    picked = x.new_empty(shape[0] * _core.four_part_size(shape, part), dtype=torch.float32)
    lent = (*lend_rows(x), borrow(picked))
    _core.four_part_pick(shape, part, *lent, *_cuda.stream_for(x))
    return picked


def four_part_put(symbols: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    """Dequantise a part's symbols into place: y_hat = symbol + mean, as `four_part_step_` does.

    Args:
        symbols: [n] int32, in the order of `four_part_pick`.
        mean: [n] float32.
        y_hat: [b, c, h, w] float32, contiguous or channels_last, on the CPU or a device with our
            kernels; written.
        part: 0..3.

    Raises:
        InvalidArgumentError: sizes, devices or dtypes that disagree, channels not a multiple of 4,
            part out of range, or a y_hat with other strides or that requires a gradient.
    """
    require_maps("four_part_put", part, y_hat=y_hat)
    require_dense("four_part_put", y_hat)
    require_no_gradients("four_part_put", [y_hat], "train through four_part_step")
    require_same_device("four_part_put", y_hat=y_hat, symbols=symbols, mean=mean)
    lent = (borrow(symbols), borrow(mean), *lend_rows(y_hat))
    _core.four_part_put(shape_of(y_hat), part, *lent, *_cuda.stream_for(y_hat))
    note_written(y_hat)
