# SPDX-License-Identifier: Apache-2.0
"""Between which values the maps of a model lie on photographs, beyond which it was never trained.

Where a picture is unlike all photographs, as hard stripes and bar codes are, networks run away: y a
million times as large as ever, symbols that cannot be coded, pictures of no finite value. So a
model holds the maps between its networks within these bounds, channel by channel, but for those
that symbols depend on. A photograph's file and picture are the same without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from glc.models.config import GLCConfig
from glc.portable.map_range import UNBOUNDED


class LatentRange(nn.Module):
    """Bounds (low, high) of the maps, per channel; open until fitted (`glc.fit_range`).

    Attributes:
        l: [2, l_channels] float32, of the encoder's latents.
        features: [2, N] float32, of the first half of g_a.
        y: [levels, 2, N] float32.
        l_hat: [2, l_channels] float32, of what g_s gives, at any level.
    """

    l: Tensor
    features: Tensor
    y: Tensor
    l_hat: Tensor

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        n = config.latent_channels
        self.register_buffer("l", _open(torch.empty(2, config.l_channels)))
        self.register_buffer("features", _open(torch.empty(2, n)))
        self.register_buffer("y", _open(torch.empty(config.levels, 2, n)))
        self.register_buffer("l_hat", _open(torch.empty(2, config.l_channels)))

    @property
    def fitted(self) -> bool:
        """Whether photographs gave all bounds, so that maps within them are known to be drawn."""
        return all(bool((bounds.abs() < UNBOUNDED).all()) for bounds in self.buffers())

    def open(self) -> None:
        """Forget the bounds: the networks that they were of are going to change."""
        for bounds in self.buffers():
            _open(bounds)

    def limit_l(self, l: Tensor) -> Tensor:
        """Hold l [n, l_channels, h, w], of any floating dtype, within its bounds."""
        return _limit(l, self.l)

    def limit_features(self, features: Tensor) -> Tensor:
        """Hold what g_a's `features` gives, [n, N, h, w], within its bounds."""
        return _limit(features, self.features)

    def limit_l_hat(self, l_hat: Tensor) -> Tensor:
        """Hold l_hat [n, l_channels, h, w], of any floating dtype, within its bounds."""
        return _limit(l_hat, self.l_hat)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take weights from before there were bounds: they have none."""
        for name, bounds in self.named_buffers():
            device = "cpu" if bounds.is_meta else bounds.device  # else `assign` gives no values
            state_dict.setdefault(prefix + name, _open(torch.empty_like(bounds, device=device)))
        super()._load_from_state_dict(state_dict, prefix, *rest)


@torch.no_grad()
def _open(bounds: Tensor) -> Tensor:
    bounds[..., 0, :] = -UNBOUNDED
    bounds[..., 1, :] = UNBOUNDED
    return bounds


def _limit(x: Tensor, bounds: Tensor) -> Tensor:
    low, high = bounds.to(x)
    return x.clamp(low.view(-1, 1, 1), high.view(-1, 1, 1))
