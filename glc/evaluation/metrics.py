# SPDX-License-Identifier: Apache-2.0
"""Distances between an image and its reconstruction, on 8-bit sRGB pixels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from glc.fidelity import psnr as psnr
from glc.fidelity import require_alike
from glc.losses.perceptual import FeatureDistance, TinyDarknetFeatures

__all__ = ["feature_distance", "finite", "mean_known", "ms_ssim", "psnr"]

_TAPS = 11  # of the window
_MS_SSIM_MIN_SIDE = 161  # five scales: the coarsest map needs 11 pixels
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Pixels of a strip, which bound memory: maps of the first stay in the cache, the second is large
# beside the rows that strips share.
_MS_SSIM_STRIP = 1 << 18
_FEATURE_STRIP = 1 << 21


def ms_ssim(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float | None:
    """Multi-scale structural similarity over five scales.

    Luminance at the coarsest scale times contrast and structure at all, per channel; their mean.
    (Wang et al. 2003)

    Args:
        x: [h, w, 3] uint8.
        x_hat: [h, w, 3] uint8.

    Returns:
        At most 1; None where a side is below 161 pixels, for which it is not defined.

    Raises:
        InvalidArgumentError: the shapes differ.
    """
    require_alike("ms_ssim", x, x_hat)
    if min(x.shape[:2]) < _MS_SSIM_MIN_SIDE:
        return None
    with torch.inference_mode():
        pair = [torch.from_numpy(np.array(p)).permute(2, 0, 1)[None].float() for p in (x, x_hat)]
        product = torch.ones(3)
        for weight in _MS_SSIM_WEIGHTS[:-1]:
            product *= _similarity(*pair)[1].relu() ** weight
            odd = [side % 2 for side in pair[0].shape[2:]]
            pair = [F.avg_pool2d(p, 2, padding=odd) for p in pair]
        product *= _similarity(*pair)[0].relu() ** _MS_SSIM_WEIGHTS[-1]
        return float(product.mean())


def _similarity(x: Tensor, x_hat: Tensor) -> Tensor:
    """Means per channel of structural similarity, and of its contrast and structure alone.

    [1, c, h, w] in 0..255 -> [2, c]; positions are those where the window fits.
    """
    rows = x.shape[2] - _TAPS + 1
    per_strip = max(1, _MS_SSIM_STRIP // x.shape[3])
    total = torch.zeros(2, x.shape[1], dtype=torch.float64)
    for first in range(0, rows, per_strip):
        last = min(rows, first + per_strip)
        maps = _similarity_maps(*(p[:, :, first : last + _TAPS - 1] for p in (x, x_hat)))
        total += torch.stack([m.flatten(2).mean(2)[0] for m in maps]).double() * (last - first)
    return (total / rows).float()


def _similarity_maps(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean, mean_hat = _blur(x), _blur(x_hat)
    squares, squares_hat, product = mean.square(), mean_hat.square(), mean * mean_hat
    variance, variance_hat = _blur(x * x) - squares, _blur(x_hat * x_hat) - squares_hat
    covariance = _blur(x * x_hat) - product
    structure = (2 * covariance + c2) / (variance + variance_hat + c2)
    luminance = (2 * product + c1) / (squares + squares_hat + c1)
    return luminance * structure, structure


def _blur(x: Tensor) -> Tensor:
    """Weighted means under a Gaussian window of deviation 1.5."""
    channels = x.shape[1]
    window = torch.exp(-((torch.arange(_TAPS) - _TAPS // 2).float() ** 2) / (2 * 1.5**2))
    window = (window / window.sum()).repeat(channels, 1, 1, 1)
    down = F.conv2d(x, window.transpose(2, 3), groups=channels)
    return F.conv2d(down, window, groups=channels)


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
    require_alike("feature_distance", x, x_hat)
    with torch.inference_mode():
        return float(distance.mean(_feature_maps(distance, x, x_hat)))


def _feature_maps(
    distance: FeatureDistance, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]
) -> list[Tensor]:
    def maps(first: int, last: int) -> list[Tensor]:
        pair = [torch.from_numpy(np.array(p[first:last])) for p in (x, x_hat)]
        return distance.maps(*(p.permute(2, 0, 1)[None] / 127.5 - 1 for p in pair))

    height, width = x.shape[:2]
    if height * width <= _FEATURE_STRIP or not isinstance(distance.network, TinyDarknetFeatures):
        return maps(0, height)
    sees, strides = distance.network.SEES, distance.network.STRIDES
    per_strip = max(sees, _FEATURE_STRIP // width // strides[-1] * strides[-1])
    strips = []
    for begin in range(0, height, per_strip):
        first = max(0, begin - sees)
        taps = maps(first, begin + per_strip + sees)
        strips.append(
            [
                tap[:, (begin - first) // stride :][:, : per_strip // stride]
                for tap, stride in zip(taps, strides, strict=True)
            ]
        )
    return [torch.cat(parts, dim=1) for parts in zip(*strips, strict=True)]


def finite(value: float | None) -> float | None:
    """A value that a report may hold; None for one that is not finite, as of equal pictures."""
    return value if value is not None and math.isfinite(value) else None


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there and finite, as the error of equal pictures is not.

    Args:
        values: of some pictures.

    Returns:
        Their mean; None where there are none.
    """
    known = [value for value in map(finite, values) if value is not None]
    return sum(known) / len(known) if known else None
