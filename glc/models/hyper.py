# SPDX-License-Identifier: Apache-2.0
"""The categorical hyper module: h_a, the hyper codebook's search, h_s (facts B5, F)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from glc.models.blocks import DEPTH_SLOPE, DepthConvBlock, ResidualBlockUpsample
from glc.models.config import GLCConfig

Z_NORM_EPS = 1e-6  # keeps an all-zero z finite; far below any trained vector's mean square


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
        """`forward` on exact layers, for coding: CPU, float32."""
        for layer in self.layers:
            z_hat = cast(ResidualBlockUpsample | DepthConvBlock, layer).exact(z_hat)
        return z_hat
