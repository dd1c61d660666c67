# SPDX-License-Identifier: Apache-2.0
"""Where the four parts of a map lie (facts D4), and how gradients go back to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._layout import is_channels_last, lend_rows, new_like
from glc.ops._op import is_batched, require_alike

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


def require_maps(op: str, part: int, **maps: Tensor) -> None:
    """Refuse maps that differ, or are not of four groups of channels, and parts that do not exist.

    Args:
        op: name for the message.
        part: 0..3.
        maps: argument names and values, [b, c, h, w], c a multiple of 4.

    Raises:
        InvalidArgumentError: naming the first argument that is not so.
    """
    require_alike(op, **maps)
    name, first = next(iter(maps.items()))
    if first.dim() != 4 or first.shape[1] % PARTS or first.shape[1] == 0:
        raise InvalidArgumentError(
            f"{op}: {name}: expected [b, c, h, w] with c a multiple of 4, got {tuple(first.shape)}"
        )
    if part not in range(PARTS):
        raise InvalidArgumentError(f"{op}: part: expected 0..3, got {part}")


def note_written(y_hat: Tensor) -> None:
    """Tell autograd that native code wrote y_hat, lest a gradient be computed of what it was."""
    if not y_hat.is_inference():
        torch.autograd.graph.increment_version(y_hat)


def require_dense(op: str, y_hat: Tensor) -> None:
    """Refuse a map [b, c, h, w] that cannot be written as it lies: contiguous or channels_last.

    Args:
        op: name for the message.
        y_hat: the map that would be written in place.

    Raises:
        InvalidArgumentError: it has other strides, or is a view that negates.
    """
    dense = torch.channels_last if is_channels_last(y_hat) else torch.contiguous_format
    if not y_hat.is_contiguous(memory_format=dense) or y_hat.is_neg():
        raise InvalidArgumentError(
            f"{op}: y_hat: expected a dense tensor, got strides or a view that negates"
        )


def shape_of(x: Tensor) -> tuple[int, int, int, int, bool]:
    """Give (b, c, h, w, channels_last) for native calls."""
    b, c, h, w = x.shape
    return b, c, h, w, is_channels_last(x)


Spread = Callable[[Tensor, Tensor | None, list[int]], list[Tensor]]
EACH_PART = tuple(1 << part for part in range(PARTS))  # sets of parts, bit i for part i
ALL_PARTS = (1 << PARTS) - 1


def _set_mask(shape: Sequence[int], parts: int, device: torch.device) -> Tensor:
    masks = [part_mask(shape, part, device) for part in range(PARTS) if parts >> part & 1]
    return functools.reduce(torch.logical_or, masks)


def _spread_by_torch(x: Tensor, minus: Tensor | None, parts: list[int]) -> list[Tensor]:
    x = x if minus is None else x - minus
    return [torch.where(_set_mask(x.shape, s, x.device), x, 0.0) for s in parts]


def spread(x: Tensor, minus: Tensor | None, parts: list[int]) -> list[Tensor]:
    """Take x - minus apart.

    Args:
        x: [b, c, h, w] float32, c a multiple of 4.
        minus: like x; None counts as zeros.
        parts: sets of parts, bit i for part i, four at most and none of them empty.

    Returns:
        For each set a map like x: x - minus at the positions of its parts, zero elsewhere: where
        the gradients of a step and of a merge go.
    """
    if not _cuda.has_kernels(x):
        return _spread_by_torch(x, minus, parts)
    out = [new_like(x) for _ in parts]
    lent: list[object] = list(lend_rows(x, *(out if minus is None else (*out, minus))))
    taken = None if minus is None else lent.pop()
    missing = PARTS - len(parts)
    targets, sets = lent[1:] + [None] * missing, [*parts, *(0,) * missing]
    _core.four_part_spread(shape_of(x), lent[0], taken, targets, sets, *_cuda.stream_for(x))
    return out


@torch.library.custom_op(
    "glc::four_part_spread",
    mutates_args=(),
    schema="(Tensor x, Tensor? minus, int[] parts) -> Tensor[]",  # torch 2.5 reads no list[...]
)
def spread_op(x: Tensor, minus: Tensor | None, parts: list[int]) -> list[Tensor]:
    """`spread`, registered."""
    return spread(x, minus, parts)


@spread_op.register_fake
def _(x: Tensor, minus: Tensor | None, parts: list[int]) -> list[Tensor]:
    return [new_like(x) for _ in parts]


def eager_spread(x: Tensor, minus: Tensor | None, parts: list[int]) -> list[Tensor]:
    """`spread`; the registered op, which refuses second derivatives, where they are asked for."""
    if is_batched(x, minus):
        return _spread_by_torch(x, minus, parts)
    return (spread_op if torch.is_grad_enabled() else spread)(x, minus, parts)
