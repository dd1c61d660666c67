# SPDX-License-Identifier: Apache-2.0
"""The rate term for training at a twentieth of a bit per pixel: rounded bits, honest slopes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glc.ops.gaussian import PROBABILITY_FLOOR, SCALE_MAX, SCALE_MIN, gaussian_bits, lower_bound


def residual_bits(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Estimate the bits of rounded symbols; let y and its mean feel each other.

    value and d/dscale: bits of round(y - mean);  d/dy = -d/dmean: slope of the bits at y - mean

    Rounding straight through has no slope at a zero symbol, whose bits are at their minimum
    whatever y - mean is; with 97 % zeros nothing then trains the means. The unrounded residual has
    a slope everywhere, and between two integers it adds up to the same difference in bits.

    Args:
        y: [...] floating point, latent units; computed in float32, also under autocast.
        mean: [...] like y.
        scale: [...] like y; counts as 1e-5 where smaller.

    Returns:
        [...] float32, bits per symbol, in [0, 16.61], equal to those of `gaussian_bits` with
        rounding "round".

    Raises:
        InvalidArgumentError: shapes that disagree.
    """
    bits = gaussian_bits(y.detach(), mean.detach(), scale, rounding="ste")
    with torch.autocast(device_type=y.device.type, enabled=False):
        residual = (y.float() - mean.float()).abs()
        inverse = 1 / (scale.detach().float().clamp(SCALE_MIN, SCALE_MAX) * math.sqrt(2.0))
        near, far = ((residual + d) * inverse for d in (-0.5, 0.5))
        # upper tails do not cancel
        probability = 0.5 * (torch.erfc(near) - torch.erfc(far)) + PROBABILITY_FLOOR
        slope = lower_bound(-torch.log2(probability), 0.0)
    return bits + (slope - slope.detach())
