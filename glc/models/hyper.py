# SPDX-License-Identifier: Apache-2.0
"""The categorical hyper module: h_a, h_s and the prior of the hyper indices (facts B5, F)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from glc.models.blocks import DepthConvBlock, ResidualBlockUpsample
from glc.models.config import DEPTH_SLOPE, Z_NORM_EPS, GLCConfig
from glc.ops.categorical import categorical_bits
from glc.rate import prior_row


class HyperAnalysis(nn.Module):
    """h_a: y [n, N, h, w] -> z [n, d, h/4, w/4]."""

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        n, d = config.latent_channels, config.hyper_channels
        self.layers = nn.Sequential(
            DepthConvBlock(n, n, gain=config.residual_gain),
            nn.Conv2d(n, n, 3, stride=2, padding=1),
            nn.LeakyReLU(DEPTH_SLOPE),
            nn.Conv2d(n, d, 3, stride=2, padding=1),
        )
        self.normalize = config.normalize_z

    def forward(self, y: Tensor) -> Tensor:
        """[n, N, h, w] float32, h and w multiples of 4 -> z [n, d, h/4, w/4].

        With `normalize_z` every vector has mean square 1, which keeps z from shrinking
        towards a constant that one code serves.
        """
        z = self.layers(y)
        if self.normalize:
            z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + Z_NORM_EPS)
        return cast(Tensor, z)


class HyperSynthesis(nn.Module):
    """h_s: z_hat [n, d, h/4, w/4] -> features [n, N, h, w]."""

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        n, d = config.latent_channels, config.hyper_channels
        self.layers = nn.Sequential(
            ResidualBlockUpsample(d, n),
            ResidualBlockUpsample(n, n),
            DepthConvBlock(n, n, gain=config.residual_gain),
        )

    def forward(self, z_hat: Tensor) -> Tensor:
        """[n, d, h, w] float32 -> [n, N, 4h, 4w] float32."""
        return cast(Tensor, self.layers(z_hat))

    def exact(self, z_hat: Tensor) -> Tensor:
        """`forward` on exact layers, for coding: float32."""
        for layer in self.layers:
            z_hat = cast(ResidualBlockUpsample | DepthConvBlock, layer).exact(z_hat)
        return z_hat


class HyperPrior(nn.Module):
    """How likely every hyper index is, per learned rate level; uniform until trained or fitted.

    The authors have none: every index costs them log2 K bits (facts F).

    A quality between two learned levels takes the nearer one, the upper one halfway.
    """

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.empty(config.levels, config.hyper_codebook_size))
        nn.init.zeros_(self.logits)

    def row(self, quality: float) -> int:
        """Row of the logits that a quality uses."""
        return prior_row(quality, len(self.logits))

    def forward(self, z_index: Tensor, quality: float | Tensor) -> Tensor:
        """Bits of the hyper indices, differentiable in the logits.

        Args:
            z_index: [b, h, w] int64.
            quality: rate level, one number or [b].

        Returns:
            [b] float32.
        """
        if not isinstance(quality, Tensor):
            return categorical_bits(self.logits[self.row(quality)], z_index).flatten(1).sum(1)
        # All levels at once, and none asked for on the host: it would wait for the device.
        levels, k = self.logits.shape
        row = (quality.float() + 0.5).long().clamp_(0, levels - 1).to(z_index.device)
        chosen = row.reshape(-1, 1) * k + z_index.flatten(1)
        bits = torch.log_softmax(self.logits, 1).flatten() * (-1 / math.log(2.0))
        return bits.index_select(0, chosen.flatten()).view_as(chosen).sum(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take weights from before there was a prior: it is uniform."""
        device = "cpu" if self.logits.is_meta else self.logits.device  # for `assign`
        state_dict.setdefault(prefix + "logits", torch.zeros_like(self.logits, device=device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
