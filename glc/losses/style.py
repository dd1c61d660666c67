# SPDX-License-Identifier: Apache-2.0
"""How far a picture is from another's content and from a third one's style."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glc.losses.perceptual import FeatureDistance, normalize


class StyleLoss(nn.Module):
    """Content and style distances on one network's features (Johnson et al. 2016).

    Content is the distance of channel-normalised features at the middle tap, to the original's;
    style is that of the Gram matrices G = f f^T / positions at every tap, to those of one picture:

        mean over taps of |G(x_hat) - G(picture)|^2 / |G(picture)|^2

    Args:
        features: whose network is used; frozen.
        picture: [1, 3, h, w] float32 in [-1, 1], whose style it is.
    """

    def __init__(self, features: FeatureDistance, picture: Tensor) -> None:
        super().__init__()
        self.network = features.network
        with torch.no_grad():
            self.grams = [_gram(tap) for tap in self.network(picture)]
        self.content_tap = len(self.grams) // 2

    def forward(self, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Distances per sample.

        Args:
            x: [n, 3, h, w] float in [-1, 1], the original; no gradient flows to it.
            x_hat: [n, 3, h, w] float.

        Returns:
            Content [n] and style [n], float32, >= 0.
        """
        with torch.no_grad():
            original = self.network(x)[self.content_tap]
        taps = self.network(x_hat)
        apart = normalize(original) - normalize(taps[self.content_tap])
        content = apart.square().sum(1).mean((1, 2))
        styles = [
            (_gram(tap) - gram).square().sum((1, 2)) / gram.square().sum()
            for tap, gram in zip(taps, self.grams, strict=True)
        ]
        return content, torch.stack(styles).mean(0)


def total_variation(x: Tensor) -> Tensor:
    """Mean difference of neighbours, down and across (Johnson et al. 2016): [n, c, h, w] -> [n]."""
    down, across = x.diff(dim=2), x.diff(dim=3)
    return down.abs().mean((1, 2, 3)) + across.abs().mean((1, 2, 3))


def _gram(features: Tensor) -> Tensor:
    """[n, c, h, w] of any floating dtype -> [n, c, c] float32."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]
