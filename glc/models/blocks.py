# SPDX-License-Identifier: Apache-2.0
"""The depthwise and gated blocks shared by the transforms and the entropy path (facts B4).

A block of the entropy path has two forms of one function: `forward`, for training, and `exact`, for
coding, whose bits are the same on every machine (`glc.ops.exact`).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.errors import InvalidArgumentError
from glc.models.config import DEPTH_SLOPE, FFN_SLOPE
from glc.ops.exact import DepthConvWeights, exact_conv2d, exact_depth_conv_block


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

    def exact(self, x: Tensor) -> Tensor:
        """`forward` on exact layers: [n, a, h, w] float32 -> [n, b, h, w]."""
        return exact_depth_conv_block.plain(x, self.exact_weights())

    def exact_weights(self) -> DepthConvWeights:
        """The block's weights as the exact layers take them.

        Raises:
            InvalidArgumentError: a product block, which the entropy path has none of; or as
                `conv_weights`.
        """
        spatial, ffn = self.block
        if not isinstance(spatial, DepthConv):
            raise InvalidArgumentError("DepthConvBlock: exact: expected no product block")
        gate = cast(GatedFFN, ffn)
        adaptor: tuple[Tensor | None, Tensor | None] = (None, None)
        if spatial.adaptor is not None:
            adaptor = conv_weights(spatial.adaptor)
        return DepthConvWeights(
            *conv_weights(spatial.conv1[0]),
            *conv_weights(spatial.depth_conv),
            *conv_weights(spatial.conv2),
            *adaptor,
            *conv_weights(gate.conv),
            *conv_weights(gate.conv_out),
            depth_slope=DEPTH_SLOPE,
            gate_slope=FFN_SLOPE,
        )


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

    def exact(self, x: Tensor) -> Tensor:
        """`forward` on exact layers: [n, a, h, w] float32 -> [n, b, 2h, 2w]."""
        out = exact_conv(self.subpel_conv[0], x, slope=DEPTH_SLOPE, shuffle=2)
        skip = exact_conv(self.upsample[0], x, shuffle=2)
        return exact_conv(self.conv, out, slope=FFN_SLOPE, residual=skip)


def subpixel(channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """1x1 convolution and pixel shuffle: [n, a, h, w] -> [n, b, factor h, factor w]."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels * factor * factor, 1), nn.PixelShuffle(factor)
    )


def exact_conv(
    conv: nn.Module,
    x: Tensor,
    *,
    slope: float | None = None,
    shuffle: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    """A convolution of the entropy path on exact layers; see `glc.ops.exact_conv2d`."""
    weight, bias = conv_weights(conv)
    return exact_conv2d.plain(x, weight, bias, slope=slope, shuffle=shuffle, residual=residual)


def conv_weights(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution, for exact layers that compute in place of its `forward`.

    Raises:
        InvalidArgumentError: another `forward`, as adapters have, which coding would leave out; or
            a weight that a hook sets before each `forward`, as pruning and the older weight norm
            do, which coding would read as the last one left it.
    """
    set_on_it = [name for name in ("weight", "bias", "forward") if name in vars(conv)]
    if set_on_it or type(conv).forward is not nn.Conv2d.forward:
        how = f" whose {set_on_it[0]} is set from outside" if set_on_it else ""
        raise InvalidArgumentError(
            "exact layers: module: expected a Conv2d with its own or a parametrized weight, got "
            f"{type(conv).__name__}{how}; merge it into a plain one"
        )
    plain = cast(nn.Conv2d, conv)
    return plain.weight, cast(Tensor, plain.bias)


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
