# SPDX-License-Identifier: Apache-2.0
"""Analysis and synthesis inside the latent space, with the rate scaling in their middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from glc.errors import InvalidArgumentError
from glc.models.blocks import DepthConvBlock, scale_init
from glc.models.config import GLCConfig
from glc.ops import _cuda
from glc.ops._op import is_traced


class RateTransform(nn.Module):
    """blocks, multiply by the level's per-channel vector, blocks (facts B5, E).

    g_a maps l to y, g_s maps y_hat to l_hat; both keep the spatial size. A 1x1 convolution
    in front (g_a) or behind (g_s) changes the channels where l and y differ.
    """

    def __init__(self, config: GLCConfig, *, analysis: bool) -> None:
        super().__init__()
        n = config.latent_channels
        self.levels = config.levels
        self.q = nn.Parameter(torch.empty(config.levels, n, 1, 1))
        nn.init.ones_(self.q)
        differ = config.l_channels != n
        self.entry = nn.Conv2d(config.l_channels, n, 1) if analysis and differ else None
        self.first = _blocks(config)
        self.second = _blocks(config)
        self.exit = nn.Conv2d(n, config.l_channels, 1) if differ and not analysis else None
        if self.exit is not None:
            scale_init(self.exit, config.residual_gain)

    def forward(self, x: Tensor, quality: float | Tensor) -> Tensor:
        """Transform one map at a rate level.

        Args:
            x: [n, channels, h, w] float32, l or y_hat.
            quality: rate level in [0, levels - 1]: one number, or [n] float, one per sample.
                Between two learned levels their vectors are interpolated linearly.

        Returns:
            [n, channels', h, w] float32, y or l_hat.

        Raises:
            InvalidArgumentError: a quality outside the range, or no number. One outside it in a
                tensor whose values cannot be asked for, or only by waiting, gives NaN: on a device,
                in a compiled or exported graph, under a transform.
        """
        return self.finish(self.features(x), quality)

    def features(self, x: Tensor) -> Tensor:
        """First half, which is the same for every level: [n, channels, h, w] -> [n, N, h, w]."""
        return cast(Tensor, self.first(x if self.entry is None else self.entry(x)))

    def finish(self, features: Tensor, quality: float | Tensor) -> Tensor:
        """Second half: `features` -> what `forward` gives, with its arguments and errors."""
        x = self.second(features * self.rate_scale(quality).to(features.dtype))
        return cast(Tensor, x if self.exit is None else self.exit(x))

    @torch.no_grad()
    def spread_levels(self, scales: Sequence[float]) -> None:
        """Start every channel of level k at `scales[k]`, a wider span of rates than all ones.

        Raises:
            InvalidArgumentError: another number of scales than levels.
        """
        if len(scales) != self.levels:
            raise InvalidArgumentError(
                f"spread_levels: scales: expected {self.levels}, got {len(scales)}"
            )
        self.q.copy_(torch.tensor(scales).reshape(-1, 1, 1, 1).expand_as(self.q))

    def rate_scale(self, quality: float | Tensor) -> Tensor:
        """Per-channel scale at a level: [1 or n, N, 1, 1] float32; exact at whole levels."""
        # a tensor that torch 2.5 traces says that it has no such attribute
        if not isinstance(quality, Tensor) and not hasattr(quality, "__float__"):
            raise InvalidArgumentError(
                f"quality: expected a number, or a tensor of one for each sample, got {quality!r}"
            )
        there = quality.device if isinstance(quality, Tensor) else "cpu"
        level = torch.as_tensor(quality, dtype=torch.float32, device=there).reshape(-1)
        top = self.levels - 1
        within = (level >= 0) & (level <= top)
        if isinstance(quality, Tensor) and _hides_values(level):
            level = torch.where(within, level, math.nan)
        elif not bool(within.all()):
            raise InvalidArgumentError(f"quality: expected within [0, {top}], got {quality}")
        below = level.floor().clamp(0, max(top - 1, 0)).nan_to_num_()
        part = (level - below).reshape(-1, 1, 1, 1)
        if not isinstance(quality, Tensor):  # slices, lest the device be waited for
            first, share = int(below), float(part)
            low, high = (self.q[k : k + 1] for k in (first, min(first + 1, top)))
            return low * (1 - share) + high * share
        part, row = part.to(self.q.device), below.long().to(self.q.device)
        # q[row], by a backward pass without a sort
        low, high = (self.q.index_select(0, k) for k in (row, (row + 1).clamp(max=top)))
        return low * (1 - part) + high * part


def _hides_values(level: Tensor) -> bool:
    return _cuda.is_cuda(level) or not level.is_cpu or is_traced(level)


def _blocks(config: GLCConfig) -> nn.Sequential:
    n = config.latent_channels
    return nn.Sequential(
        *(
            DepthConvBlock(n, n, product=config.gated_transforms, gain=config.residual_gain)
            for _ in range(config.transform_blocks)
        )
    )
