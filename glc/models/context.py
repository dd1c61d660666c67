# SPDX-License-Identifier: Apache-2.0
"""The four-part spatial context model of y (facts D).

The surprising things first: later parts see y_hat in the *scaled* domain (before the
quantisation step multiplies it back); the context comes from the *unclamped* prior
parameters; the prior splits into (step, scale, mean) while later parts give (scale, mean).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from glc.models.blocks import DepthConvBlock, conv_weights, exact_conv, scale_init
from glc.models.config import GLCConfig
from glc.ops.exact import exact_conv_heads, exact_depth_conv_heads
from glc.ops.parts import PARTS, PHASES

INITIAL_STEP = 1.0
INITIAL_SCALE = 0.5


@lru_cache(maxsize=32)
def part_index(channels: int, height: int, width: int, part: int) -> np.ndarray:
    """Positions of one part in a flattened [channels, height, width] map (facts D4).

    Args:
        channels: a multiple of 4; four equal groups.
        height: rows.
        width: columns.
        part: 0..3.

    Returns:
        int64, ascending, read-only. The four parts tile the map; for even sides each holds a
        quarter of it.
    """
    phase = 2 * (np.arange(height)[:, None] % 2) + np.arange(width)[None, :] % 2
    group = np.arange(channels) // (channels // 4)
    wanted = np.asarray(PHASES[part])[group]
    index = np.flatnonzero(phase[None] == wanted[:, None, None])
    index.flags.writeable = False
    return index


class ContextModel(nn.Module):
    """Prior fusion, its reduction, three adaptors and one shared spatial prior."""

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        n, p, gain = config.latent_channels, config.prior_channels, config.residual_gain
        widths = (n, *config.fusion_widths)
        fusion: list[nn.Module] = [
            DepthConvBlock(a, b, gain=gain) for a, b in itertools.pairwise(widths)
        ]
        if widths[-1] != 3 * n:
            fusion.append(_parameter_head(widths[-1], (INITIAL_STEP, INITIAL_SCALE, 0.0), n, gain))
        self.fusion = nn.Sequential(*fusion)
        self.reduction = nn.Conv2d(3 * n, n, 1)
        self.adaptors = nn.ModuleList(
            DepthConvBlock(2 * n, p, gain=gain) if config.adaptor_blocks else nn.Conv2d(2 * n, p, 1)
            for _ in range(PARTS - 1)
        )
        prior: list[nn.Module] = [
            DepthConvBlock(p, p, gain=gain) for _ in range(config.prior_depth)
        ]
        if p != 2 * n:
            prior.append(_parameter_head(p, (INITIAL_SCALE, 0.0), n, gain))
        self.prior = nn.Sequential(*prior)

    def params(self, features: Tensor) -> Tensor:
        """h_s features [b, N, h, w] -> prior parameters [b, 3N, h, w] = (step, scale, mean)."""
        return cast(Tensor, self.fusion(features))

    def split_params(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Quantisation step and context of the prior parameters.

        Args:
            params: [b, 3N, h, w] float32.

        Returns:
            step [b, N, h, w], not yet clamped; context [b, N, h, w].
        """
        return params.chunk(3, dim=1)[0], self.reduction(params)

    def part_params(
        self, part: int, params: Tensor, context: Tensor, y_hat: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scale and mean of y's symbols, valid at this part's positions.

        Args:
            part: 0..3.
            params: [b, 3N, h, w] float32, from `params`.
            context: [b, N, h, w] float32, from `split_params`.
            y_hat: [b, N, h, w] float32, the earlier parts in the scaled domain, zero elsewhere.
                Part 0 has none, and may be given None.

        Returns:
            (scale, mean), each [b, N, h, w] float32; scale is raw and may be <= 0.
        """
        if part == 0:
            _, scale, mean = params.chunk(3, dim=1)
        else:
            adapted = self.adaptors[part - 1](torch.cat((cast(Tensor, y_hat), context), dim=1))
            scale, mean = self.prior(adapted).chunk(2, dim=1)
        return scale, mean

    def exact_params(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`params` and its context on exact layers, for coding: float32.

        Args:
            features: [b, N, h, w] float32, from h_s.

        Returns:
            params [b, 3N, h, w] and context [b, N, h, w].
        """
        params = _exact_layers(self.fusion, features)
        return params, exact_conv(self.reduction, params)

    def exact_part_params(self, part: int, seen: Tensor) -> tuple[Tensor, Tensor]:
        """`part_params` of part 1, 2 or 3 on exact layers, at the part's positions alone.

        Of the last layer's outputs, each position needs one group of scales and one of means.

        Args:
            part: 1..3.
            seen: [1, 2N, h, w] float32: y_hat of the earlier parts, then the context.

        Returns:
            (scale, mean), each [n] float32 in the order of `four_part_pick`.
        """
        *inner, last = (self.adaptors[part - 1], *self.prior)
        x = _exact_layers(inner, seen)
        phases = [divmod(phase, 2) for phase in PHASES[part]]
        if isinstance(last, DepthConvBlock):
            heads = exact_depth_conv_heads(x, last.exact_weights(), phases)
        else:
            heads = exact_conv_heads(x, *conv_weights(last), phases)
        halves = [head.chunk(2, dim=1) for head in heads]
        scale, mean = (torch.cat([half[i].flatten() for half in halves]) for i in range(2))
        return scale, mean


def _exact_layers(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer.exact(x) if isinstance(layer, DepthConvBlock) else exact_conv(layer, x)
    return x


def _parameter_head(width: int, initial: tuple[float, ...], n: int, gain: float) -> nn.Conv2d:
    """1x1 convolution whose bias starts each group of n outputs at a usable value."""
    head = nn.Conv2d(width, len(initial) * n, 1)
    scale_init(head, gain)
    with torch.no_grad():
        cast(Tensor, head.bias).copy_(torch.tensor(initial).repeat_interleave(n))
    return head
