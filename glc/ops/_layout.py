# SPDX-License-Identifier: Apache-2.0
"""How elementwise ops see tensors: as matrices with contiguous rows, without copies where possible.

A contiguous tensor, one that is contiguous in channels_last, and a slice of channels of either
(as `chunk(dim=1)` makes them) are all rows of memory at a fixed distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glc.ops._op import borrow_rows


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of x [b, c, h, w] lie next to each other, and nothing else does."""
    if x.dim() != 4:
        return False
    channels, stride = x.shape[1], x.stride()
    return channels > 1 and stride[1] == 1 and stride[3] >= channels


def memory_format(x: Tensor) -> torch.memory_format:
    """Give the format for a new tensor that goes with x."""
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


def new_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Make an uninitialised dense tensor of the shape and memory format of x."""
    # that of a dimension of 1 says nothing to torch, and to us that rows are apart
    if x.is_contiguous() or (
        is_channels_last(x) and x.is_contiguous(memory_format=torch.channels_last)
    ):
        return torch.empty_like(x, dtype=dtype or x.dtype)
    return torch.empty_like(x, dtype=dtype or x.dtype, memory_format=memory_format(x))


def as_rows(like: Tensor, *tensors: Tensor) -> list[Tensor]:
    """View tensors of one shape as matrices of one shape, in the memory order of the first.

    Args:
        like: [b, ...], or fewer dimensions.
        tensors: of the same shape.

    Returns:
        [rows, cols] for `like` and each of `tensors`, columns contiguous: a row per sample, or per
        pixel in channels_last, or one row for fewer than two dimensions. Copies only of tensors
        that do not lie that way.
    """
    everything = (like, *tensors)
    if like.dim() < 2:
        matrices = [t.reshape(1, -1) for t in everything]
    elif is_channels_last(like):
        matrices = [t.permute(0, 2, 3, 1).flatten(0, 2) for t in everything]
    else:
        matrices = [t.flatten(1) for t in everything]
    return [m if m.shape[1] < 2 or m.stride(1) == 1 else m.contiguous() for m in matrices]


def lend_rows(like: Tensor, *tensors: Tensor) -> list[object]:
    """Lend `like` and tensors of its shape to a native call, as the matrices of `as_rows`."""
    everything = [like, *tensors]
    # then native code makes the matrices, if strides tell the layout
    if like.dim() < 2 or like.numel() == 0:
        ready = False
    elif is_channels_last(like):
        ready = all(_is_pixel_rows(t) for t in everything)
    else:
        ready = all(t.is_contiguous() for t in everything)
    return [borrow_rows(t) for t in (everything if ready else as_rows(like, *tensors))]


def _is_pixel_rows(x: Tensor) -> bool:
    """Whether the pixels of x [b, c, h, w] are rows of channels at one distance."""
    if not is_channels_last(x):
        return False
    b, _, h, w = x.shape
    sample, _, line, pixel = x.stride()
    return line == w * pixel and (sample == h * line or b == 1)


def spread_of(grad: Tensor) -> Tensor | None:
    """One value per sample, [b, 1], where grad is an expanded view of that, as a sum's is."""
    if grad.numel() == 0 or grad.dim() == 0:
        return None
    inner = range(min(1, grad.dim() - 1), grad.dim())
    if any(grad.stride(d) != 0 and grad.shape[d] != 1 for d in inner):
        return None
    rows = grad.as_strided((grad.shape[0], 1), (grad.stride(0), 1), grad.storage_offset())
    return rows if grad.dim() > 1 else rows[:1]
