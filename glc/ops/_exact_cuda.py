# SPDX-License-Identifier: Apache-2.0
"""The CUDA side of `glc.ops.exact`: layers one by one, with the bits of the CPU's fused ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glc import _core
from glc.ops._cuda import stream_of
from glc.ops._op import borrow

Sampling = tuple[int, int, int]
"""Stride, first row, first column of the outputs that are wanted."""

EVERYWHERE = (1, 0, 0)


class Conv:
    """A convolution with its weights in the order of the kernel, [k, columns]."""

    def __init__(self, weight: Tensor, bias: Tensor, gated: bool = False) -> None:
        """Prepare the weights; `gated` for `run_gated`, else for `run`."""
        out_channels, _, self._kernel, width = weight.shape
        assert self._kernel == width
        columns = torch.tensor(_core.exact_columns(out_channels, gated), device=weight.device)
        # k over (tap row, tap column, input channel), as the chain of sums
        in_order = weight[columns].permute(2, 3, 1, 0)
        self._weight = in_order.reshape(-1, len(columns)).contiguous()
        self._bias = bias.clone()

    def run(
        self,
        x: Tensor,
        out: Tensor,
        sampling: Sampling = EVERYWHERE,
        slope: float | None = None,
        shuffle: int = 1,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Compute into out, which is returned."""
        _core.exact_conv2d_cuda(
            borrow(x),
            borrow(self._weight),
            borrow(self._bias),
            borrow(out),
            self._kernel,
            sampling,
            slope,
            shuffle,
            None if residual is None else borrow(residual),
            stream_of(x),
        )
        return out

    def run_gated(self, x: Tensor, out: Tensor, slope: float) -> Tensor:
        """Compute u LeakyReLU(v) into out, which is returned; u and v are halves of channels."""
        lent = borrow(x), borrow(self._weight), borrow(self._bias)
        _core.exact_gated_conv_cuda(*lent, slope, borrow(out), stream_of(x))
        return out


class DepthConvBlock:
    """The layers of `exact_depth_conv_block`, the last one as heads."""

    def __init__(
        self, weights: Sequence[Tensor | None], slopes: tuple[float, float], n_heads: int
    ) -> None:
        """Prepare the weights.

        Args:
            weights: the tensors of `DepthConvWeights`, checked, with no gradient.
            slopes: after `expand`, and of the gate.
            n_heads: as `head_channels` numbers them.
        """
        layers = zip(weights[::2], weights[1::2], strict=True)
        expand, depthwise, project, adaptor, gate, contract = layers
        self._slopes = slopes
        self._expand, self._project = _conv(*expand), _conv(*project)
        self._gate = _conv(*gate, gated=True)
        self._depthwise = [t.clone() for t in depthwise if t is not None]
        self._adaptor = None if adaptor[0] is None else _conv(*adaptor)
        weight, bias = (t for t in contract if t is not None)
        self._channels = [c.to(bias.device) for c in head_channels(len(bias), n_heads)]
        self._heads = [Conv(weight[c], bias[c]) for c in self._channels]

    def run(self, x: Tensor, samplings: Sequence[Sampling], outs: Sequence[Tensor]) -> None:
        """Compute every head at its sampling."""
        x = x.contiguous()
        expanded = self._expand.run(x, torch.empty_like(x), slope=self._slopes[0])
        lent = [borrow(t) for t in (expanded, *self._depthwise)]
        depthwise = torch.empty_like(expanded)
        _core.exact_depthwise(*lent, borrow(depthwise), stream_of(x))

        shape = (x.shape[0], sum(map(len, self._channels)), *x.shape[2:])
        skip = x if self._adaptor is None else self._adaptor.run(x, x.new_empty(shape))
        spatial = self._project.run(depthwise, x.new_empty(shape), residual=skip)

        gated = x.new_empty(shape[0], 2 * shape[1], *shape[2:])
        self._gate.run_gated(spatial, gated, self._slopes[1])

        heads = zip(self._heads, self._channels, samplings, outs, strict=True)
        for head, channels, (stride, row, col), out in heads:
            residual = spatial
            if len(outs) > 1:
                residual = spatial[:, :, row::stride, col::stride].index_select(1, channels)
            head.run(gated, out, (stride, row, col), residual=residual)


def head_channels(n: int, n_heads: int) -> list[Tensor]:
    """Give the output channels of every head: group g of the first half, and of the second.

    Args:
        n: channels of all heads.
        n_heads: a divisor of n / 2, or 1.
    """
    if n_heads == 1:
        return [torch.arange(n, device="cpu")]
    groups = torch.arange(n, device="cpu").view(2, n_heads, -1)
    return [groups[:, g].flatten() for g in range(n_heads)]


def _conv(weight: Tensor | None, bias: Tensor | None, gated: bool = False) -> Conv:
    assert weight is not None
    assert bias is not None
    return Conv(weight, bias, gated)
