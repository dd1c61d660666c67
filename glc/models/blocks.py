# SPDX-License-Identifier: Apache-2.0
"""The depthwise and gated blocks shared by the transforms and the entropy path (facts B4)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTH_SLOPE = 0.01  # LeakyReLU of the depthwise part
FFN_SLOPE = 0.1  # LeakyReLU of the gated feed-forward part


class DepthConv(nn.Module):
    """skip + 1x1 a->b (depthwise 3x3 (LReLU (1x1 a->a)))   [n, a, h, w] -> [n, b, h, w]."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.LeakyReLU(DEPTH_SLOPE))
        self.depth_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.conv2 = nn.Conv2d(channels, out_channels, 1)
        self.adaptor = _adaptor(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, a, h, w] float -> [n, b, h, w]."""
        out: Tensor = self.conv2(self.depth_conv(self.conv1(x)))
        return out + (x if self.adaptor is None else self.adaptor(x))


class ProductConv(nn.Module):
    """skip + 1x1 (depthwise 3x3 (LReLU (1x1 x)) * 1x1 x)   [n, a, h, w] -> [n, b, h, w]."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels, out_channels, 1),
            nn.LeakyReLU(DEPTH_SLOPE),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels),
        )
        self.conv2 = nn.Conv2d(channels, out_channels, 1)
        self.out_conv = nn.Conv2d(out_channels, out_channels, 1)
        self.adaptor = _adaptor(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, a, h, w] float -> [n, b, h, w]."""
        out: Tensor = self.out_conv(self.conv1(x) * self.conv2(x))
        return out + (x if self.adaptor is None else self.adaptor(x))


class GatedFFN(nn.Module):
    """x + 1x1 2c->c (u * LReLU(v)), with u, v the halves of 1x1 c->4c."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 1)
        self.conv_out = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] float -> the same shape."""
        u, v = self.conv(x).chunk(2, dim=1)
        return cast(Tensor, self.conv_out(u * F.leaky_relu(v, FFN_SLOPE)) + x)


class DepthConvBlock(nn.Module):
    """DepthConv (or ProductConv) and GatedFFN in a row   [n, a, h, w] -> [n, b, h, w]."""

    def __init__(
        self, channels: int, out_channels: int, *, product: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        spatial = (ProductConv if product else DepthConv)(channels, out_channels)
        ffn = GatedFFN(out_channels)
        last = spatial.out_conv if isinstance(spatial, ProductConv) else spatial.conv2
        scale_init(last, gain)
        scale_init(ffn.conv_out, gain)
        self.block = nn.Sequential(spatial, ffn)

    def forward(self, x: Tensor) -> Tensor:
        """[n, a, h, w] float -> [n, b, h, w]."""
        return cast(Tensor, self.block(x))


class ResidualBlockUpsample(nn.Module):
    """Doubles the sides: pixel-shuffle path plus a shuffled 1x1 skip (facts B5)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.subpel_conv = subpixel(channels, out_channels, 2)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.upsample = subpixel(channels, out_channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[n, a, h, w] float -> [n, b, 2h, 2w]."""
        out = F.leaky_relu(self.subpel_conv(x), DEPTH_SLOPE)
        skip: Tensor = self.upsample(x)
        return F.leaky_relu(self.conv(out), FFN_SLOPE) + skip


def subpixel(channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """1x1 convolution and pixel shuffle: [n, a, h, w] -> [n, b, factor h, factor w]."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels * factor * factor, 1), nn.PixelShuffle(factor)
    )


def scale_init(conv: nn.Conv2d, gain: float) -> None:
    """Multiply a convolution's initial weight by `gain` and clear its bias, unless gain is 1."""
    if gain == 1.0:
        return
    with torch.no_grad():
        conv.weight.mul_(gain)
        if conv.bias is not None:
            conv.bias.zero_()


def _adaptor(channels: int, out_channels: int) -> nn.Conv2d | None:
    return None if channels == out_channels else nn.Conv2d(channels, out_channels, 1)
