# SPDX-License-Identifier: Apache-2.0
"""Image <-> latent maps of the generative VQ-VAE (facts B1-B3, K), and their CPU-sized twins.

In shapes f is the stride of the autoencoder, pixels per latent position.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.models.blocks import DepthConvBlock, scale_init, subpixel
from glc.models.config import FFN_SLOPE, LightConfig, VQGANConfig

NORM_GROUPS = 32
NORM_EPS = 1e-6


class ResBlock(nn.Module):
    """GN, swish, conv3x3, GN, swish, conv3x3, plus skip   [n, a, h, w] -> [n, b, h, w]."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = _norm(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = _norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_out = None if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, a, h, w] float -> [n, b, h, w]."""
        out: Tensor = self.conv1(F.silu(self.norm1(x)))
        out = self.conv2(F.silu(self.norm2(out)))
        return out + (x if self.conv_out is None else self.conv_out(x))


class Attention(nn.Module):
    """Single-head self-attention over positions, with a residual (facts B1, B3).

    In training mode it spans the whole map. In evaluation mode the map is cut from the
    top-left into windows of `window` x `window` positions, smaller at the right and bottom
    edges, and each window attends to itself only; the norm and projections stay global.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] float -> the same shape."""
        normed = self.norm(x)
        q, k, v = self.q(normed), self.k(normed), self.v(normed)
        height, width = x.shape[-2:]
        if self.training or (height <= self.window and width <= self.window):
            out = _attend(q, k, v)
        else:
            out = torch.empty_like(v)
            for top in range(0, height, self.window):
                for left in range(0, width, self.window):
                    box = (
                        ...,
                        slice(top, top + self.window),
                        slice(left, left + self.window),
                    )
                    out[box] = _attend(q[box], k[box], v[box])
        return cast(Tensor, x + self.proj_out(out))


class Downsample(nn.Module):
    """Halves the sides; pads one zero row below and one zero column right only (facts B1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] float, h and w even -> [n, c, h/2, w/2]."""
        return cast(Tensor, self.conv(F.pad(x, (0, 1, 0, 1))))


class Upsample(nn.Module):
    """Doubles the sides: nearest neighbour, then conv3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] float -> [n, c, 2h, 2w]."""
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


class VQGANEncoder(nn.Module):
    """The authors' latent encoder E (facts B1): [n, 3, h, w] -> [n, l_channels, h/f, w/f]."""

    def __init__(self, config: VQGANConfig, l_channels: int) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channel_multipliers]
        blocks: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        width = widths[0]
        for level, out_width in enumerate(widths):
            deepest = level == len(widths) - 1
            for _ in range(config.res_blocks):
                blocks.append(ResBlock(width, out_width))
                width = out_width
                if deepest:
                    blocks.append(Attention(width, config.attention_window))
            if not deepest:
                blocks.append(Downsample(width))
        blocks += _middle(width, config.attention_window)
        blocks.append(_norm(width))
        if config.final_swish:
            blocks.append(nn.SiLU())
        blocks.append(nn.Conv2d(width, l_channels, 3, padding=1))
        self.blocks = nn.ModuleList(blocks)
        self.quant_conv = nn.Conv2d(l_channels, l_channels, 1) if config.quant_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] float in [-1, 1], sides multiples of the stride -> l."""
        for block in self.blocks:
            x = block(x)
        return x if self.quant_conv is None else self.quant_conv(x)


class VQGANDecoder(nn.Module):
    """The authors' latent decoder D (facts B2): [n, l_channels, h, w] -> [n, 3, f h, f w]."""

    def __init__(self, config: VQGANConfig, l_channels: int) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channel_multipliers]
        width = widths[-1]
        blocks: list[nn.Module] = [nn.Conv2d(l_channels, width, 3, padding=1)]
        blocks += _middle(width, config.attention_window)
        for level in reversed(range(len(widths))):
            for _ in range(config.res_blocks + config.extra_decoder_block):
                blocks.append(ResBlock(width, widths[level]))
                width = widths[level]
                if level == len(widths) - 1:
                    blocks.append(Attention(width, config.attention_window))
            if level:
                blocks.append(Upsample(width))
        blocks.append(_norm(width))
        if config.final_swish:
            blocks.append(nn.SiLU())
        blocks.append(nn.Conv2d(width, 3, 3, padding=1))
        self.blocks = nn.ModuleList(blocks)
        self.post_quant_conv = nn.Conv2d(l_channels, l_channels, 1) if config.quant_conv else None

    @property
    def last_layer(self) -> Tensor:
        """Weight of the last convolution, where Stage I balances the adversarial gradient."""
        return cast(nn.Conv2d, self.blocks[-1]).weight

    def forward(self, l: Tensor) -> Tensor:
        """[n, l_channels, h, w] float -> x_hat [n, 3, f h, f w], about [-1, 1], not clamped."""
        if self.post_quant_conv is not None:
            l = self.post_quant_conv(l)
        for block in self.blocks:
            l = block(l)
        return l


class LightEncoder(nn.Module):
    """CPU-sized latent encoder: space-to-depth stem, blocks at 1/stem and 1/(2 stem)."""

    def __init__(self, config: LightConfig, l_channels: int, gain: float) -> None:
        super().__init__()
        fine, coarse = config.encoder_widths
        self.blocks = nn.Sequential(
            nn.PixelUnshuffle(config.stem),
            nn.Conv2d(3 * config.stem**2, fine, 1),
            *(DepthConvBlock(fine, fine, gain=gain) for _ in range(config.encoder_depths[0])),
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            *(DepthConvBlock(coarse, coarse, gain=gain) for _ in range(config.encoder_depths[1])),
            nn.Conv2d(coarse, l_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] float in [-1, 1] -> l [n, l_channels, h/(2 stem), w/(2 stem)]."""
        return cast(Tensor, self.blocks(x))


class Bottleneck(nn.Module):
    """x + conv3x3 (LReLU (conv3x3 x)) through half the channels: dense, for 1/4 resolution."""

    def __init__(self, channels: int, gain: float) -> None:
        super().__init__()
        width = max(1, channels // 2)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, channels, 3, padding=1)
        scale_init(self.conv2, gain)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] float -> the same shape."""
        return cast(Tensor, x + self.conv2(F.leaky_relu(self.conv1(x), FFN_SLOPE)))


class LightDecoder(nn.Module):
    """CPU-sized latent decoder: blocks at 1/(2 stem), 1/stem and 1/4, then pixel shuffle."""

    def __init__(self, config: LightConfig, l_channels: int, gain: float) -> None:
        super().__init__()
        coarse, middle, fine = config.decoder_widths
        n_coarse, n_middle, n_fine = config.decoder_depths
        up = config.stem // 4
        self.blocks = nn.Sequential(
            nn.Conv2d(l_channels, coarse, 1),
            *(DepthConvBlock(coarse, coarse, gain=gain) for _ in range(n_coarse)),
            subpixel(coarse, middle, 2),
            *(DepthConvBlock(middle, middle, gain=gain) for _ in range(n_middle)),
            subpixel(middle, fine, up),
            *(Bottleneck(fine, gain) for _ in range(n_fine)),
            nn.Conv2d(fine, 48, 3, padding=1),
        )

    @property
    def last_layer(self) -> Tensor:
        """Weight of the last convolution, where Stage I balances the adversarial gradient."""
        return cast(nn.Conv2d, self.blocks[-1]).weight

    def forward(self, l: Tensor) -> Tensor:
        """[n, l_channels, h, w] float -> x_hat [n, 3, 2 stem h, 2 stem w], not clamped."""
        return F.pixel_shuffle(self.blocks(l), 4)


def build_autoencoder(
    config: VQGANConfig | LightConfig, l_channels: int, gain: float
) -> tuple[VQGANEncoder | LightEncoder, VQGANDecoder | LightDecoder]:
    """Latent encoder and decoder of a configuration."""
    if isinstance(config, VQGANConfig):
        return VQGANEncoder(config, l_channels), VQGANDecoder(config, l_channels)
    return LightEncoder(config, l_channels, gain), LightDecoder(config, l_channels, gain)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPS)


def _middle(width: int, window: int) -> list[nn.Module]:
    return [ResBlock(width, width), Attention(width, window), ResBlock(width, width)]


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q . k / sqrt(c)) v over the positions of [n, c, h, w] maps."""
    n, c, h, w = q.shape
    q, k, v = (t.reshape(n, 1, c, h * w).transpose(2, 3) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w)
