# SPDX-License-Identifier: Apache-2.0
"""Exact layers on numpy's arrays: [1, c, h, w] float32, contiguous; see `glc.ops.exact`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc.models.config import DEPTH_SLOPE, FFN_SLOPE
from glc.parts import PHASES
from glc.portable.weights import Reader

__all__ = [
    "Bottleneck",
    "Conv",
    "DepthConvBlock",
    "Heads",
    "Layer",
    "Map",
    "Upsample",
    "block_heads",
    "conv_heads",
    "run",
    "shuffled",
]

Map = NDArray[np.float32]
Layer = Callable[[Map], Map]
Heads = Callable[[Map, int], tuple[Map, Map]]
"""From a map and a part to (scale, mean) at the part's positions, each [n], ascending."""

_EVERYWHERE = (1, 0, 0)  # stride, first row, first column


def run(layers: Sequence[Layer], x: Map) -> Map:
    """Run layers in a row."""
    for layer in layers:
        x = layer(x)
    return x


def shuffled(x: Map, factor: int) -> Map:
    """Pixel shuffle: [1, c f^2, h, w] -> [1, c, f h, f w]."""
    if factor == 1:
        return x
    _, c, h, w = x.shape
    cut = x.reshape(-1, factor, factor, h, w).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(cut).reshape(1, c // factor**2, factor * h, factor * w)


class Conv:
    """LeakyReLU (conv x), 1x1 or 3x3, at a stride, or followed by a pixel shuffle."""

    def __init__(
        self,
        reader: Reader,
        name: str,
        channels: tuple[int, int],
        kernel: int = 1,
        *,
        stride: int = 1,
        slope: float | None = None,
        shuffle: int = 1,
    ) -> None:
        """Pack the weights.

        Args:
            reader: of the model's weights.
            name: of the module.
            channels: of the input, and of what the convolution gives.
            kernel: 1 or 3.
            stride: 1 or 2.
            slope: of the LeakyReLU; None for none.
            shuffle: factor of the pixel shuffle; not with a stride.

        Raises:
            InvalidArgumentError: there are no such weights.
        """
        self._conv = _core.ExactConv(*reader.conv(name, channels, kernel))
        self._channels = channels[1]
        self._stride = stride
        self._slope = slope
        self._within = 2 if shuffle == 2 else 1  # what the native layer shuffles itself
        self._after = shuffle // self._within

    def __call__(self, x: Map, residual: Map | None = None) -> Map:
        """The result, plus a residual of its shape."""
        factor = self._within
        h, w = (factor * -(-side // self._stride) for side in x.shape[2:])
        out = np.empty((1, self._channels // factor**2, h, w), np.float32)
        self._conv.run(x, out, (self._stride, 0, 0), self._slope, factor, residual)
        return shuffled(out, self._after)


class DepthConvBlock:
    """The depthwise and gated block that most of a model is made of (facts B4)."""

    def __init__(self, reader: Reader, name: str, channels: tuple[int, int]) -> None:
        """Pack the weights; arguments and errors as those of `Conv`."""
        self._block = _block(reader, name, channels, 1)
        self._channels = channels[1]

    def __call__(self, x: Map) -> Map:
        """[1, a, h, w] -> [1, b, h, w]."""
        out = np.empty((1, self._channels, *x.shape[2:]), np.float32)
        self._block.run(x, [_EVERYWHERE], [out])
        return out


class Bottleneck:
    """x + conv3x3 (LReLU (conv3x3 x)) through half the channels."""

    def __init__(self, reader: Reader, name: str, channels: int) -> None:
        """Pack the weights; arguments and errors as those of `Conv`."""
        width = max(1, channels // 2)
        self._conv1 = Conv(reader, f"{name}.conv1", (channels, width), 3, slope=FFN_SLOPE)
        self._conv2 = Conv(reader, f"{name}.conv2", (width, channels), 3)

    def __call__(self, x: Map) -> Map:
        """[1, c, h, w] -> the same shape."""
        return self._conv2(self._conv1(x), x)


class Upsample:
    """Doubles the sides: a path of shuffled pixels plus a shuffled 1x1 skip (facts B5)."""

    def __init__(self, reader: Reader, name: str, channels: tuple[int, int]) -> None:
        """Pack the weights; arguments and errors as those of `Conv`."""
        a, b = channels
        self._inner = Conv(
            reader, f"{name}.subpel_conv.0", (a, 4 * b), slope=DEPTH_SLOPE, shuffle=2
        )
        self._skip = Conv(reader, f"{name}.upsample.0", (a, 4 * b), shuffle=2)
        self._conv = Conv(reader, f"{name}.conv", (b, b), 3, slope=FFN_SLOPE)

    def __call__(self, x: Map) -> Map:
        """[1, a, h, w] -> [1, b, 2h, 2w]."""
        return self._conv(self._inner(x), self._skip(x))


def block_heads(reader: Reader, name: str, channels: tuple[int, int]) -> Heads:
    """A `DepthConvBlock` whose outputs are (scale, mean), computed for one part at a time."""
    block = _block(reader, name, channels, len(PHASES[0]))
    return _heads(channels[1], block.run)


def conv_heads(reader: Reader, name: str, channels: tuple[int, int]) -> Heads:
    """A 1x1 convolution whose outputs are (scale, mean), computed for one part at a time."""
    weight, bias = reader.conv(name, channels, 1)
    groups = np.arange(channels[1]).reshape(2, len(PHASES[0]), -1)
    chosen = [groups[:, group].ravel() for group in range(len(PHASES[0]))]
    convs = [_core.ExactConv(weight[rows], bias[rows]) for rows in chosen]

    def run_each(x: Map, samplings: Sequence[tuple[int, int, int]], outs: Sequence[Map]) -> None:
        for conv, sampling, out in zip(convs, samplings, outs, strict=True):
            conv.run(x, out, sampling, None, 1, None)

    return _heads(channels[1], run_each)


def _heads(channels: int, run_each: Callable[..., None]) -> Heads:
    def heads(x: Map, part: int) -> tuple[Map, Map]:
        samplings = [(2, *divmod(phase, 2)) for phase in PHASES[part]]
        each = channels // len(samplings)
        h, w = x.shape[2:]
        outs = [
            np.empty((1, each, (h - row + 1) // 2, (w - column + 1) // 2), np.float32)
            for _, row, column in samplings
        ]
        run_each(x, samplings, outs)
        scales, means = zip(*(np.split(out, 2, axis=1) for out in outs), strict=True)
        return (
            np.concatenate([x.ravel() for x in scales]),
            np.concatenate([x.ravel() for x in means]),
        )

    return heads


def _block(
    reader: Reader, name: str, channels: tuple[int, int], n_heads: int
) -> _core.ExactDepthConvBlock:
    a, b = channels
    spatial, gate = f"{name}.block.0", f"{name}.block.1"
    adaptor = (None, None) if a == b else reader.conv(f"{spatial}.adaptor", (a, b), 1)
    weights = [
        *reader.conv(f"{spatial}.conv1.0", (a, a), 1),
        *reader.conv(f"{spatial}.depth_conv", (1, a), 3),
        *reader.conv(f"{spatial}.conv2", (a, b), 1),
        *adaptor,
        *reader.conv(f"{gate}.conv", (b, 4 * b), 1),
        *reader.conv(f"{gate}.conv_out", (2 * b, b), 1),
    ]
    return _core.ExactDepthConvBlock(weights, (DEPTH_SLOPE, FFN_SLOPE), n_heads)
