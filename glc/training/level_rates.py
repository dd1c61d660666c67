# SPDX-License-Identifier: Apache-2.0
"""What the rate levels of a model spend, and moving them to what they shall spend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glc.models.glc import GLC
from glc.training.validation import CHUNK

REACH = 1.0  # the log2 of a level's factor lies within +- this
HALVINGS = 10


@torch.no_grad()
def level_rates(model: GLC, x: Tensor) -> tuple[float, ...]:
    """Estimated bits per pixel of every level, hyper indices at what their prior charges.

    Args:
        model: in evaluation mode.
        x: [n, 3, h, w] float32 in [-1, 1].

    Returns:
        Bits per pixel, one per level.
    """
    latents = _latents(model, x)
    return tuple(_rate(model, latents, k, x) for k in range(model.config.levels))


@torch.no_grad()
def scale_levels(model: GLC, factors: Sequence[float]) -> None:
    """Multiply level k's vector by `factors[k]` in g_a and divide it in g_s: less means fewer bits.

    Args:
        model: changed in place.
        factors: one per level, positive.
    """
    scales = torch.tensor(factors).reshape(-1, 1, 1, 1)
    model.g_a.q.mul_(scales)
    model.g_s.q.div_(scales)


@torch.no_grad()
def hold_rates(model: GLC, x: Tensor, targets: Sequence[float]) -> tuple[float, ...]:
    """Scale every level so that it spends its target on x, or comes as near as a factor of 2 does.

    A short training ends where the controller of the lambdas has not yet brought the rates home;
    the remaining few per cent cost nothing but a walk along the curve.

    Args:
        model: in evaluation mode; changed in place.
        x: [n, 3, h, w] float32 in [-1, 1].
        targets: bits per pixel, one per level, as `level_rates` counts them.

    Returns:
        The factor of each level.
    """
    latents = _latents(model, x)
    vectors = model.g_a.q.clone(), model.g_s.q.clone()
    low, high = [-REACH] * len(targets), [REACH] * len(targets)
    for _ in range(HALVINGS):
        middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        scale_levels(model, [2.0**m for m in middle])
        for k, target in enumerate(targets):
            above = _rate(model, latents, k, x) > target
            (high if above else low)[k] = middle[k]
        model.g_a.q.copy_(vectors[0])
        model.g_s.q.copy_(vectors[1])
    factors = tuple(2.0 ** ((a + b) / 2) for a, b in zip(low, high, strict=True))
    scale_levels(model, factors)
    return factors


def _latents(model: GLC, x: Tensor) -> Tensor:
    return torch.cat([model.latents(chunk) for chunk in x.split(CHUNK)])


def _rate(model: GLC, latents: Tensor, level: int, x: Tensor) -> float:
    bits = 0.0
    for chunk in latents.split(CHUNK):
        out = model.code_latent(chunk, level, rounding="round")
        bits += float((out.bits_y + out.bits_z).double().sum())
    return bits / (x.shape[0] * x.shape[2] * x.shape[3])
