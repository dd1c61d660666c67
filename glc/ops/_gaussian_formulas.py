# SPDX-License-Identifier: Apache-2.0
"""Gaussian rates in torch: the reference's formula, and what devices without kernels compute."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glc.ops._layout import as_rows, is_channels_last
from glc.ops.philox import philox_noise
from glc.ops.straight_through import lower_bound, round_ste

SCALE_MIN = 1e-5
SCALE_MAX = 1e10
PROBABILITY_FLOOR = 1e-5  # added to every probability, so no symbol costs more than 16.61 bit


def unbounded_bits(symbol: Tensor, scale: Tensor) -> Tensor:
    """Compute -log2(P + 1e-5) from the upper tails, which do not cancel, in the inputs' dtype."""
    inverse = 1.0 / (scale.clamp(SCALE_MIN, SCALE_MAX) * math.sqrt(2.0))
    magnitude = symbol.abs()
    near = torch.erfc((magnitude - 0.5) * inverse)
    far = torch.erfc((magnitude + 0.5) * inverse)
    return -torch.log2(0.5 * (near - far) + PROBABILITY_FLOOR)


def noise_like(y: Tensor, seed: Tensor) -> Tensor:
    """Draw the kernels' noise for y, a row of it per sample, or per pixel in channels_last."""
    (rows,) = as_rows(y)
    noise = philox_noise(seed, rows.shape[0], rows.shape[1])
    if not is_channels_last(y):
        return noise.reshape(y.shape)
    b, c, h, w = y.shape
    return noise.reshape(b, h, w, c).permute(0, 3, 1, 2)


def _symbol_and_scale(
    y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None
) -> tuple[Tensor, Tensor]:
    residual = y.float() - mean.float()
    return residual.round() if seed is None else residual + noise_like(y, seed), scale.float()


def bits_by_torch(y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None) -> Tensor:
    """Compute what the kernel does, on devices without it; no seed: rounded."""
    return unbounded_bits(*_symbol_and_scale(y, mean, scale, seed)).clamp_min_(0.0)


def bits_by_formula(y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None) -> Tensor:
    """Compute the same so that transforms of `torch.func` see through; rounds straight through."""
    residual = y.float() - mean.float()
    symbol = round_ste(residual) if seed is None else residual + noise_like(y, seed)
    return lower_bound(unbounded_bits(symbol, scale.float()), 0.0)


def backward_by_torch(
    grad: Tensor, y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients by y, mean and scale of `bits_by_torch`, as autograd does."""
    with torch.enable_grad():
        symbol, scale = (
            t.detach().requires_grad_() for t in _symbol_and_scale(y, mean, scale, seed)
        )
        bits = lower_bound(unbounded_bits(symbol, scale), 0.0)
        by_y, by_scale = torch.autograd.grad(bits, (symbol, scale), grad.expand_as(bits))
    return by_y, -by_y, by_scale
