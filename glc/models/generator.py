# SPDX-License-Identifier: Apache-2.0
"""The picture networks as a decoder on a device runs them: g_s and D, in a dtype of its choice.

What trips people first: nothing here is needed to read a file. Symbols come from the exact layers,
in float32 on every device; from y_hat on, precision is a matter of how the picture looks.

The convolutions of the authors' D are the library's, in channels_last. What is left to do between
two of them, adding a bias and a residual, group normalisation and SiLU, `glc.ops.group_norm` does
in one go, so a block passes on a sum that nobody has added up yet.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.models.glc import GLC
from glc.models.vqvae import Attention, ResBlock, Upsample, VQGANDecoder
from glc.ops.group_norm import from_phases, group_norm

_LAST_CHANNELS = 8  # of the last convolution's output: tensor cores take no fewer


class Generator:
    """From y_hat to the picture, without gradients."""

    def __init__(self, model: GLC, dtype: torch.dtype) -> None:
        """Copy the weights of g_s and D.

        Args:
            model: in evaluation mode, on the device where it draws.
            dtype: of weights and maps: bfloat16, float16 or float32.
        """
        self._dtype = dtype
        self._synthesis = _in_dtype(model.g_s, dtype)
        self._limit = model.latent_range.limit_l_hat
        decoder = model.latent_decoder
        self._decoder: Callable[[Tensor], Tensor] = (
            _FusedDecoder(decoder, dtype)
            if isinstance(decoder, VQGANDecoder)
            else _in_dtype(decoder, dtype)
        )

    def __call__(self, y_hat: Tensor, quality: float) -> Tensor:
        """Draw.

        Args:
            y_hat: [n, N, h, w] float32, multiplied by the step.
            quality: rate level.

        Returns:
            x_hat [n, 3, f h, f w] in the dtype, about [-1, 1], not clamped; f is D's stride.
        """
        y_hat = y_hat.to(self._dtype, memory_format=torch.channels_last)
        return self._decoder(self._limit(self._synthesis(y_hat, quality)))


class _Sum(NamedTuple):
    """value + offset + residual, which the next normalisation adds up."""

    value: Tensor
    offset: Tensor | None = None  # [c] float32
    residual: Tensor | None = None
    phases: bool = False  # value has the form that `from_phases` takes

    def added(self) -> Tensor:
        """Add up, into value."""
        total = from_phases(self.value) if self.phases else self.value
        if self.residual is not None:
            total = total.add_(self.residual)
        if self.offset is not None:
            total = total.add_(self.offset.to(total.dtype).view(-1, 1, 1))
        return total


class _Norm:
    def __init__(self, norm: nn.GroupNorm, *, silu: bool) -> None:
        self._groups, self._eps, self._silu = norm.num_groups, norm.eps, silu
        self._weight, self._bias = (t.detach().float() for t in (norm.weight, norm.bias))

    def __call__(self, x: _Sum, *, keep: bool = False) -> tuple[Tensor, Tensor | None]:
        return group_norm.plain(
            x.value,
            self._groups,
            self._weight,
            self._bias,
            self._eps,
            silu=self._silu,
            offset=x.offset,
            residual=x.residual,
            keep=keep,
            phases=x.phases,
        )


class _Conv:
    """A convolution whose bias is left to be added."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = bias.detach().float()
        self._padding = weight.shape[-1] // 2

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=self._padding)


def _conv(conv: nn.Conv2d, dtype: torch.dtype) -> _Conv:
    return _Conv(conv.weight, cast(Tensor, conv.bias), dtype)


class _FusedRes:
    def __init__(self, block: ResBlock, dtype: torch.dtype) -> None:
        self._norm1, self._norm2 = (_Norm(n, silu=True) for n in (block.norm1, block.norm2))
        self._conv1, self._conv2 = (_conv(c, dtype) for c in (block.conv1, block.conv2))
        self._skip = None if block.conv_out is None else _conv(block.conv_out, dtype)
        self._bias = self._conv2.bias + (0.0 if self._skip is None else self._skip.bias)

    def __call__(self, x: _Sum) -> _Sum:
        normed, skip = self._norm1(x, keep=True)
        assert skip is not None
        normed, _ = self._norm2(_Sum(self._conv1(normed), self._conv1.bias))
        out = self._conv2(normed)
        return _Sum(out, self._bias, skip if self._skip is None else self._skip(skip))


class _FusedAttention:
    """All windows at once; those at the edges are filled up with positions nobody attends to."""

    def __init__(self, block: Attention, dtype: torch.dtype) -> None:
        self._norm = _Norm(block.norm, silu=False)
        maps = (block.q, block.k, block.v)
        self._qkv = torch.cat([m.weight for m in maps]).detach().to(dtype)
        self._qkv_bias = torch.cat([cast(Tensor, m.bias) for m in maps]).detach().to(dtype)
        self._project = _conv(block.proj_out, dtype)
        self._window = block.window

    def __call__(self, x: _Sum) -> _Sum:
        normed, skip = self._norm(x, keep=True)
        n, c, h, w = normed.shape
        height, width = min(self._window, h), min(self._window, w)
        rows, cols = -(-h // height), -(-w // width)  # of windows
        qkv = F.conv2d(normed, self._qkv, self._qkv_bias).permute(0, 2, 3, 1)
        qkv = F.pad(qkv, (0, 0, 0, cols * width - w, 0, rows * height - h))
        qkv = qkv.reshape(n, rows, height, cols, width, 3, c).permute(5, 0, 1, 3, 2, 4, 6)
        q, k, v = qkv.reshape(3, n * rows * cols, 1, height * width, c).unbind()
        mask = None
        if (rows * height, cols * width) != (h, w):
            mask = _inside(h, w, height, width, q.device).repeat(n, 1)[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = out.reshape(n, rows, cols, height, width, c).permute(0, 1, 3, 2, 4, 5)
        out = out.reshape(n, rows * height, cols * width, c)[:, :h, :w].permute(0, 3, 1, 2)
        out = self._project(out.contiguous(memory_format=torch.channels_last))
        return _Sum(out, self._project.bias, skip)


class _FusedUpsample:
    """The pixels of each phase of the doubled map are a 2x2 convolution of the map itself.

    Two of the three rows that a kernel reads of the doubled map are one row of the map, so their
    weights add up: 16 products for four pixels where there were 36, and no doubled map.
    """

    def __init__(self, block: Upsample, dtype: torch.dtype) -> None:
        weight = block.conv.weight.detach().double()
        upper, middle, lower = weight.unbind(2)
        by_row = ((upper, middle + lower), (upper + middle, lower))
        kernels = []
        for rows in by_row:
            left, centre, right = torch.stack(rows, dim=2).unbind(3)
            kernels += [(left, centre + right), (left + centre, right)]
        four = torch.cat([torch.stack(columns, dim=3) for columns in kernels])
        self._weight = four.to(dtype, memory_format=torch.channels_last)
        self._bias = cast(Tensor, block.conv.bias).detach().float()

    def __call__(self, x: _Sum) -> _Sum:
        return _Sum(F.conv2d(x.added(), self._weight, padding=1), self._bias, phases=True)


class _FusedDecoder:
    """`VQGANDecoder` in a dtype, its sums, norms and activations in one op."""

    def __init__(self, decoder: VQGANDecoder, dtype: torch.dtype) -> None:
        before = decoder.post_quant_conv
        first, *blocks = (b for b in decoder.blocks if not isinstance(b, nn.SiLU))
        silu = len(blocks) + 1 < len(decoder.blocks)
        *inner, norm, last = blocks
        self._before = None if before is None else _conv(before, dtype)
        self._first = _conv(cast(nn.Conv2d, first), dtype)
        self._blocks = [_fused(block, dtype) for block in inner]
        self._norm = _Norm(cast(nn.GroupNorm, norm), silu=silu)
        self._last = _conv(_widened(cast(nn.Conv2d, last)), dtype)

    def __call__(self, l: Tensor) -> Tensor:
        """[n, l_channels, h, w] in the dtype -> [n, 3, f h, f w]."""
        if self._before is not None:
            l = _Sum(self._before(l), self._before.bias).added()
        x = _Sum(self._first(l), self._first.bias)
        for block in self._blocks:
            x = block(x)
        normed, _ = self._norm(x)
        return _Sum(self._last(normed), self._last.bias).added()[:, :3]


def _fused(block: nn.Module, dtype: torch.dtype) -> Callable[[_Sum], _Sum]:
    if isinstance(block, ResBlock):
        return _FusedRes(block, dtype)
    if isinstance(block, Attention):
        return _FusedAttention(block, dtype)
    return _FusedUpsample(cast(Upsample, block), dtype)


def _widened(conv: nn.Conv2d) -> nn.Conv2d:
    """The last convolution with channels added that are nothing."""
    wide = copy.deepcopy(conv)
    extra = _LAST_CHANNELS - conv.out_channels
    wide.weight = nn.Parameter(F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, 0, 0, extra)))
    wide.bias = nn.Parameter(F.pad(cast(Tensor, conv.bias).detach(), (0, extra)))
    return wide


@functools.lru_cache(maxsize=16)
def _inside(h: int, w: int, height: int, width: int, device: torch.device) -> Tensor:
    """Which positions of every window, [windows, positions], lie in a map of h by w."""
    rows, cols = -(-h // height), -(-w // width)
    inside = torch.zeros(rows * height, cols * width, dtype=torch.bool, device=device)
    inside[:h, :w] = True
    windows = inside.reshape(rows, height, cols, width).transpose(1, 2)
    return windows.reshape(rows * cols, height * width)


def _in_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    copied = copy.deepcopy(module).to(dtype).eval()
    for parameter in copied.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return copied
