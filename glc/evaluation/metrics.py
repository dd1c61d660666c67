# SPDX-License-Identifier: Apache-2.0
"""Distances between an image and its reconstruction, on 8-bit sRGB pixels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim as _ms_ssim

from glc.errors import InvalidArgumentError
from glc.losses.perceptual import FeatureDistance

__all__ = ["feature_distance", "mean_known", "ms_ssim", "psnr"]

_MS_SSIM_MIN_SIDE = 161  # five scales of an 11-tap window: the coarsest map needs 11 pixels


def psnr(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio.

    10 log10(255^2 / mean squared error), the mean taken over pixels and channels.

    Args:
        x: [h, w, 3] uint8.
        x_hat: [h, w, 3] uint8.

    Returns:
        Decibels; infinity for equal images.

    Raises:
        InvalidArgumentError: the shapes differ.
    """
    _check_shapes("psnr", x, x_hat)
    error = float(np.mean((x.astype(np.float64) - x_hat.astype(np.float64)) ** 2))
    return 10.0 * math.log10(255.0**2 / error) if error > 0.0 else math.inf


def ms_ssim(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float | None:
    """Multi-scale structural similarity over five scales.

    Luminance at the coarsest scale times contrast and structure at all.     (Wang et al. 2003)

    Args:
        x: [h, w, 3] uint8.
        x_hat: [h, w, 3] uint8.

    Returns:
        At most 1; None where a side is below 161 pixels, for which it is not defined.

    Raises:
        InvalidArgumentError: the shapes differ.
    """
    _check_shapes("ms_ssim", x, x_hat)
    if min(x.shape[:2]) < _MS_SSIM_MIN_SIDE:
        return None
    pair = [torch.from_numpy(np.array(p)).permute(2, 0, 1)[None].float() for p in (x, x_hat)]
    with torch.inference_mode():
        return float(_ms_ssim(pair[0], pair[1], data_range=255.0))


def feature_distance(
    distance: FeatureDistance, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]
) -> float:
    """Distance of a network's features; named after the network, and not LPIPS.

    Args:
        distance: such as `tinydarknet_distance` gives.
        x: [h, w, 3] uint8.
        x_hat: [h, w, 3] uint8.

    Returns:
        At least 0, lower is better.

    Raises:
        InvalidArgumentError: the shapes differ.
    """
    _check_shapes("feature_distance", x, x_hat)
    pair = [torch.from_numpy(np.array(p)).permute(2, 0, 1)[None] / 127.5 - 1 for p in (x, x_hat)]
    with torch.inference_mode():
        return float(distance(*pair))


def _check_shapes(name: str, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> None:
    if x.shape != x_hat.shape:
        raise InvalidArgumentError(
            f"{name}: x_hat: expected the shape of x {list(x.shape)}, got {list(x_hat.shape)}"
        )


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there and finite, as the error of equal pictures is not.

    Args:
        values: of some pictures.

    Returns:
        Their mean; None where there are none.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
