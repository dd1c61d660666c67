# SPDX-License-Identifier: Apache-2.0
"""PatchGAN discriminator, hinge losses, and the adaptive weight between them (facts G)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ADAPTIVE_EPS = 1e-4
ADAPTIVE_MAX = 1.0


class PatchDiscriminator(nn.Module):
    """VQGAN's PatchGAN: four stride-2 layers, scores per patch (Esser et al. 2021; facts G).

    With `width=64` and four layers its state dict has the authors' layout.

    Args:
        width: channels after the first layer.
        layers: stride-2 layers; widths double up to 8x.
    """

    def __init__(self, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        main: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for layer in range(1, layers + 1):
            out = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            main += [
                nn.Conv2d(channels, out, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.LeakyReLU(0.2),
            ]
            channels = out
        main.append(nn.Conv2d(channels, 1, 4, stride=1, padding=1))
        self.main = nn.Sequential(*main)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] float in [-1, 1] -> [n, 1, h', w'] scores, high for real."""
        return cast(Tensor, self.main(x))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator.

    (mean relu(1 - D(x)) + mean relu(1 + D(x_hat))) / 2     (facts G, halved as in VQGAN's code)

    Args:
        real: [n, 1, h, w] scores of originals.
        fake: [n, 1, h, w] scores of reconstructions.

    Returns:
        Scalar.
    """
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def generator_loss(fake: Tensor) -> Tensor:
    """Hinge loss of the generator per sample: -mean D(x_hat).   [n, 1, h, w] -> [n]."""
    return -fake.mean((1, 2, 3))


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Weight that brings the adversarial gradient to the size of the reconstruction's.

    w = |grad(reconstruction)| / (|grad(adversarial)| + 1e-4), clamped to [0, 1], detached;
    gradients with respect to the last decoder layer     (Esser et al. 2021; facts G)

    It is one for all samples of the losses; the authors have one for each sample.

    Args:
        reconstruction: scalar loss.
        adversarial: scalar loss.
        last_layer: the tensor both depend on.

    Returns:
        Scalar float32 without gradient.
    """
    (wanted,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (got,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    ratio: Tensor = wanted.norm() / (got.norm() + ADAPTIVE_EPS)
    return ratio.clamp(0, ADAPTIVE_MAX).detach()
