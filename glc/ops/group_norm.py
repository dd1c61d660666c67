# SPDX-License-Identifier: Apache-2.0
"""Group normalisation and SiLU between the convolutions of the picture networks.

For drawing only: no gradient, and no promise of equal bits on two devices. On a CUDA device a
channels_last map stays one; what a convolution leaves to be added, its bias and a residual, is
added on the way, so that no map crosses the device's memory for that alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._op import (
    Op,
    borrow,
    require_alike,
    require_no_gradients,
    require_same_device,
)

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_VECTOR_BYTES = 16  # of one pixel that a thread of the kernels reads at once
_MAX_VECTORS = 256  # of a pixel


def _kernels_take(x: Tensor, channels: int) -> bool:
    channel_bytes = channels * x.element_size()
    fits = channel_bytes % _VECTOR_BYTES == 0 and channel_bytes <= _VECTOR_BYTES * _MAX_VECTORS
    return _cuda.takes(x) and x.dtype in _DTYPES and fits


def from_phases(x: Tensor) -> Tensor:
    """Put the pixels of a map that is twice as high and wide in their places.

    Args:
        x: [n, 4c, h + 1, w + 1]. Pixel (r, k) of the map has group 2 (r % 2) + k % 2 of the
            channels at row (r + 1) // 2, column (k + 1) // 2.

    Returns:
        [n, c, 2h, 2w].
    """
    n, channels, h, w = (side - (place > 1) for place, side in enumerate(x.shape))
    out = x.new_empty(n, channels // 4, 2 * h, 2 * w)
    for phase, group in enumerate(x.chunk(4, dim=1)):
        row, col = divmod(phase, 2)
        out[..., row::2, col::2] = group[..., row : row + h, col : col + w]
    return out


def _add(x: Tensor, offset: Tensor | None, residual: Tensor | None) -> Tensor:
    if residual is not None:
        x = x + residual
    return x if offset is None else x + offset.to(x.dtype).view(-1, 1, 1)


def _check(
    x: Tensor, weight: Tensor, bias: Tensor, offset: Tensor | None, residual: Tensor | None
) -> None:
    maps = {"x": x} if residual is None else {"x": x, "residual": residual}
    require_alike("group_norm", **maps)
    if x.dim() != 4:
        raise InvalidArgumentError(f"group_norm: x: expected [n, c, h, w], got {tuple(x.shape)}")
    vectors = {"weight": weight, "bias": bias} | ({} if offset is None else {"offset": offset})
    require_same_device("group_norm", x=x, **vectors)
    require_no_gradients(
        "group_norm",
        (*maps.values(), *vectors.values()),
        "draw under torch.no_grad(), train with the ordinary layers",
    )


def _check_channels(
    c: int, groups: int, weight: Tensor, bias: Tensor, offset: Tensor | None
) -> None:
    if groups < 1 or c % groups:
        raise InvalidArgumentError(
            f"group_norm: groups: expected a divisor of {c} channels, got {groups}"
        )
    for name, vector in {"weight": weight, "bias": bias, "offset": offset}.items():
        if vector is not None and vector.shape != (c,):
            raise InvalidArgumentError(
                f"group_norm: {name}: expected [{c}], got {tuple(vector.shape)}"
            )


def _group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    silu: bool = True,
    offset: Tensor | None = None,
    residual: Tensor | None = None,
    keep: bool = False,
    phases: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Normalise what is left of a convolution, and apply SiLU.

    sum = x + offset + residual
    out = SiLU((sum - mean) / sqrt(variance + eps) weight + bias)     (Wu and He 2018)

    with mean and variance over a group's channels and all pixels.

    Args:
        x: [n, c, h, w] floating point. The CUDA kernels take float32, float16 and bfloat16 whose
            channels fill vectors of 16 bytes; other maps are computed by torch.
        groups: a divisor of c.
        weight: [c] float32.
        bias: [c] float32.
        eps: added to the variance.
        silu: False leaves the SiLU out.
        offset: [c] float32, such as the bias of the convolution before.
        residual: like x.
        keep: whether the sum is wanted too.
        phases: x is a map in the form that `from_phases` takes, and goes without a residual.

    Returns:
        out, like x or what it is the phases of; and the sum if it is wanted, else None. It is x
        itself where nothing is to be done for it.

    Raises:
        InvalidArgumentError: shapes, dtypes or devices do not fit, or a gradient is asked for.
    """
    _check(x, weight, bias, offset, residual)
    if phases and residual is not None:
        raise InvalidArgumentError("group_norm: residual: expected none beside phases")
    _check_channels(x.shape[1] // (4 if phases else 1), groups, weight, bias, offset)
    n, c, h, w = x.shape
    if phases:
        c, h, w = c // 4, 2 * h - 2, 2 * w - 2
    if not _kernels_take(x, c):
        total = _add(from_phases(x) if phases else x, offset, residual)
        out = F.group_norm(total, groups, weight.to(x.dtype), bias.to(x.dtype), eps)
        return F.silu(out) if silu else out, total if keep else None

    def dense(t: Tensor) -> Tensor:
        """Make it channels_last, beginning where a thread's first vector may."""
        t = t.contiguous(memory_format=torch.channels_last)
        return t if t.data_ptr() % _VECTOR_BYTES == 0 else t.clone()

    x, residual = dense(x), None if residual is None else dense(residual)
    out = x.new_empty(n, h, w, c).permute(0, 3, 1, 2)
    adds = phases or residual is not None or (keep and offset is not None)
    written = torch.empty_like(out) if adds else None
    maps = [
        None if t is None else borrow(t.permute(0, 2, 3, 1)) for t in (x, residual, written, out)
    ]
    vectors = [None if t is None else borrow(t) for t in (offset, weight, bias)]
    scratch = _cuda.new_bytes(_core.group_norm_workspace_bytes(len(x), groups), x)
    stream = _cuda.stream_of(x)
    _core.group_norm_cuda(maps, vectors, groups, eps, silu, borrow(scratch), stream)
    return out, (written if adds else x) if keep else None


def _group_norm_reference(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    silu: bool = True,
    offset: Tensor | None = None,
    residual: Tensor | None = None,
    keep: bool = False,
    phases: bool = False,
) -> tuple[Tensor, Tensor | None]:
    added = (None if t is None else t.double() for t in (offset, residual))
    total = _add((from_phases(x) if phases else x).double(), *added)
    grouped = total.reshape(len(x), groups, -1)
    mean = grouped.mean(dim=2, keepdim=True)
    variance = (grouped - mean).square().mean(dim=2, keepdim=True)
    out = ((grouped - mean) / torch.sqrt(variance + eps)).reshape(total.shape)
    out = out * weight.double().view(-1, 1, 1) + bias.double().view(-1, 1, 1)
    return out * torch.sigmoid(out) if silu else out, total if keep else None


group_norm = Op(_group_norm, reference=_group_norm_reference, plain=_group_norm)
