# SPDX-License-Identifier: Apache-2.0
"""The four-part step: mask, residual, quantise and dequantise one part of y in one pass.

A map [b, c, h, w] has four equal groups of channels and four phases of pixels; `part` 0..3 takes
one phase of each group (`csrc/include/glc/four_part.h`). Masks are never made: kernels walk the
positions. NCHW and channels_last maps, and slices of channels of either, are read in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops._layout import as_rows, is_channels_last, new_like
from glc.ops._op import Op, borrow, borrow_rows, require_alike
from glc.ops.gaussian import round_ste

PARTS = 4
# PHASES[part][group] = the pixel phase 2 * (row % 2) + (column % 2) that this part codes.
PHASES = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))


def part_mask(shape: Sequence[int], part: int, device: torch.device | str = "cpu") -> Tensor:
    """Mark the positions of a part, for references and devices without kernels.

    Args:
        shape: (b, c, h, w) or (c, h, w), c a multiple of 4.
        part: 0..3.
        device: of the result.

    Returns:
        [c, h, w] bool.
    """
    c, h, w = shape[-3:]
    rows = torch.arange(h, device=device)[:, None]
    phase = 2 * (rows % 2) + torch.arange(w, device=device) % 2
    wanted = torch.tensor(PHASES[part], device=device).repeat_interleave(c // PARTS)
    return phase == wanted[:, None, None]


def _require_maps(op: str, part: int, **maps: Tensor) -> None:
    require_alike(op, **maps)
    name, first = next(iter(maps.items()))
    if first.dim() != 4 or first.shape[1] % PARTS or first.shape[1] == 0:
        raise InvalidArgumentError(
            f"{op}: {name}: expected [b, c, h, w] with c a multiple of 4, got {tuple(first.shape)}"
        )
    if part not in range(PARTS):
        raise InvalidArgumentError(f"{op}: part: expected 0..3, got {part}")


def _shape_of(x: Tensor) -> tuple[int, int, int, int, bool]:
    b, c, h, w = x.shape
    return b, c, h, w, is_channels_last(x)


def _native_step(
    part: int,
    outputs: Sequence[Tensor | None],
    y: Tensor | None = None,
    mean: Tensor | None = None,
    scale: Tensor | None = None,
) -> None:
    """Write (y_q, y_hat, mean, scale), those given, at the part's positions; all dense alike."""
    like = next(o for o in outputs if o is not None)

    def lend(x: Tensor | None) -> object | None:
        return None if x is None else borrow_rows(as_rows(like, x)[1])

    places = [lend(o) for o in outputs]
    _core.four_part_step(_shape_of(like), part, lend(y), lend(mean), lend(scale), *places)


# ---------------------------------------------------------------- four_part_step_


def _step_in_place(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    part: int,
    y_q: Tensor,
    y_hat: Tensor,
    mean_out: Tensor,
    scale_out: Tensor,
) -> None:
    """Take one part in place: at its positions, and only there, write what the step computes.

    y_q = y - mean rounded half to even;  y_hat = y_q + mean     (Jia et al. 2024)

    For coding and evaluation; training has `four_part_step`. The order of operations is fixed and
    rounds once each, so the bits are the same on every backend.

    Args:
        y: [b, c, h, w] float32, divided by the quantisation step.
        mean: like y.
        scale: like y.
        part: 0..3.
        y_q: like y, contiguous or channels_last; written.
        y_hat: like y_q; written.
        mean_out: like y_q; written.
        scale_out: like y_q; written.

    Raises:
        InvalidArgumentError: shapes, devices or dtypes that disagree, channels not a multiple of 4,
            part out of range, or outputs that do not all lie alike.
    """
    outputs = (y_q, y_hat, mean_out, scale_out)
    _require_maps(
        "four_part_step_",
        part,
        y=y,
        mean=mean,
        scale=scale,
        y_q=y_q,
        y_hat=y_hat,
        mean_out=mean_out,
        scale_out=scale_out,
    )
    if y.device.type != "cpu":
        mask = part_mask(y.shape, part, y.device)
        symbols = (y - mean).round() + 0.0
        for to, new in zip(outputs, (symbols, symbols + mean, mean, scale), strict=True):
            to.copy_(torch.where(mask, new, to))
        return
    dense = torch.channels_last if is_channels_last(y_q) else torch.contiguous_format
    if not all(o.is_contiguous(memory_format=dense) for o in outputs):
        raise InvalidArgumentError("four_part_step_: y_q: expected outputs that are dense alike")
    _native_step(part, outputs, y, mean, scale)


four_part_step_ = torch.library.custom_op(
    "glc::four_part_step_",
    _step_in_place,
    mutates_args=("y_q", "y_hat", "mean_out", "scale_out"),
)


@four_part_step_.register_fake
def _(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    part: int,
    y_q: Tensor,
    y_hat: Tensor,
    mean_out: Tensor,
    scale_out: Tensor,
) -> None:
    return None


# ---------------------------------------------------------------- four_part_step


def _step_plain(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> Tensor:
    _require_maps("four_part_step", part, y_hat=y_hat, y=y, mean=mean)
    if y.device.type != "cpu":
        new = (y - mean).round() + 0.0 + mean
        return torch.where(part_mask(y.shape, part, y.device), new, y_hat)
    out = new_like(y_hat).copy_(y_hat)
    _native_step(part, (None, out, None, None), y, mean)
    return out


@torch.library.custom_op("glc::four_part_step", mutates_args=())
def _step_op(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> Tensor:
    return _step_plain(y, mean, y_hat, part)


@_step_op.register_fake
def _(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> Tensor:
    return new_like(y_hat)


@torch.library.custom_op("glc::four_part_split", mutates_args=())
def _split_op(x: Tensor, part: int) -> tuple[Tensor, Tensor]:
    """The part's positions of x, zero elsewhere; and the others, zero at these."""
    if x.device.type != "cpu":
        mask = part_mask(x.shape, part, x.device)
        return torch.where(mask, x, 0.0), torch.where(mask, 0.0, x)
    kept, dropped = new_like(x).zero_(), new_like(x).copy_(x)
    _native_step(part, (None, None, None, kept), scale=x)
    _native_step(part, (None, None, dropped, None))
    return kept, dropped


@_split_op.register_fake
def _(x: Tensor, part: int) -> tuple[Tensor, Tensor]:
    return new_like(x), new_like(x)


def _save_part(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.part = inputs[-1]


def _step_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
    by_y, by_y_hat = _split_op(grad, ctx.part)
    return by_y, None, by_y_hat, None


_step_op.register_autograd(_step_backward, setup_context=_save_part)


def _step(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> Tensor:
    """Add a part to y_hat: quantised around its mean there, untouched elsewhere.

    y_hat = round(y - mean) + mean at the part's positions, half to even     (Jia et al. 2024)

    Rounding passes the gradient straight through, so y gets it and the mean, which is taken off and
    put back, none. Bit for bit what `four_part_step_` writes.

    Args:
        y: [b, c, h, w] floating point, divided by the quantisation step; computed in float32.
        mean: like y.
        y_hat: like y; the parts before this one.
        part: 0..3.

    Returns:
        Like y_hat, float32. Identical on every backend.

    Raises:
        InvalidArgumentError: as `four_part_step_`.
    """
    _require_maps("four_part_step", part, y_hat=y_hat, y=y, mean=mean)
    out: Tensor = _step_op(y.float(), mean.float(), y_hat.float(), part)
    return out


def _step_reference(y: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> Tensor:
    mask = part_mask(y.shape, part, y.device)
    return torch.where(mask, round_ste(y - mean) + mean, y_hat)


four_part_step = Op(_step, reference=_step_reference, plain=_step_plain)


# ---------------------------------------------------------------- four_part_merge


def _merge_plain(maps: Sequence[Tensor]) -> Tensor:
    if len(maps) != PARTS:
        raise InvalidArgumentError(f"four_part_merge: maps: expected 4, got {len(maps)}")
    _require_maps("four_part_merge", 0, **{f"maps[{i}]": m for i, m in enumerate(maps)})
    if maps[0].device.type != "cpu":
        return _merge_reference(maps)
    out = new_like(maps[0])
    for part, x in enumerate(maps):
        _native_step(part, (None, None, None, out), scale=x)
    return out


@torch.library.custom_op("glc::four_part_merge", mutates_args=())
def _merge_op(maps: list[Tensor]) -> Tensor:
    return _merge_plain(maps)


@_merge_op.register_fake
def _(maps: list[Tensor]) -> Tensor:
    return new_like(maps[0])


@torch.library.custom_op("glc::four_part_merge_backward", mutates_args=())
def _merge_backward_op(grad: Tensor) -> list[Tensor]:
    if grad.device.type != "cpu":
        masks = (part_mask(grad.shape, part, grad.device) for part in range(PARTS))
        return [torch.where(mask, grad, 0.0) for mask in masks]
    out = [new_like(grad).zero_() for _ in range(PARTS)]
    for part, by_map in enumerate(out):
        _native_step(part, (None, None, None, by_map), scale=grad)
    return out


@_merge_backward_op.register_fake
def _(grad: Tensor) -> list[Tensor]:
    return [new_like(grad) for _ in range(PARTS)]


_merge_op.register_autograd(
    lambda ctx, grad: _merge_backward_op(grad), setup_context=lambda ctx, inputs, output: None
)


def _merge(maps: Sequence[Tensor]) -> Tensor:
    """Take each position from the map of the part it belongs to.

    Args:
        maps: four of [b, c, h, w] floating point, c a multiple of 4.

    Returns:
        Like maps[0], float32; differentiable in all.

    Raises:
        InvalidArgumentError: not four maps alike.
    """
    if len(maps) != PARTS:
        raise InvalidArgumentError(f"four_part_merge: maps: expected 4, got {len(maps)}")
    _require_maps("four_part_merge", 0, **{f"maps[{i}]": m for i, m in enumerate(maps)})
    out: Tensor = _merge_op([m.float() for m in maps])
    return out


def _merge_reference(maps: Sequence[Tensor]) -> Tensor:
    out = maps[0]
    for part in range(1, PARTS):
        out = torch.where(part_mask(out.shape, part, out.device), maps[part], out)
    return out


four_part_merge = Op(_merge, reference=_merge_reference, plain=_merge_plain)


# ---------------------------------------------------------------- for the coder


def four_part_pick(x: Tensor, part: int) -> Tensor:
    """Gather a part's elements in the order of its symbols.

    Args:
        x: [b, c, h, w] float32, CPU, c a multiple of 4.
        part: 0..3.

    Returns:
        [n] float32, ascending in [b, c, h, w].
    """
    _require_maps("four_part_pick", part, x=x)
    shape = _shape_of(x)
    picked = torch.empty(shape[0] * _core.four_part_size(shape, part))
    _core.four_part_pick(shape, part, borrow_rows(as_rows(x)[0]), borrow(picked))
    return picked


def four_part_put(symbols: Tensor, mean: Tensor, y_hat: Tensor, part: int) -> None:
    """Dequantise a part's symbols into place: y_hat = symbol + mean, as `four_part_step_` does.

    Args:
        symbols: [n] int32, in the order of `four_part_pick`.
        mean: [n] float32.
        y_hat: [b, c, h, w] float32, CPU, contiguous or channels_last; written.
        part: 0..3.
    """
    _require_maps("four_part_put", part, y_hat=y_hat)
    dense = torch.channels_last if is_channels_last(y_hat) else torch.contiguous_format
    if not y_hat.is_contiguous(memory_format=dense):
        raise InvalidArgumentError("four_part_put: y_hat: expected a dense tensor, got strides")
    rows = borrow_rows(as_rows(y_hat)[0])
    _core.four_part_put(_shape_of(y_hat), part, borrow(symbols), borrow(mean), rows)
