# SPDX-License-Identifier: Apache-2.0
"""Every distance that a report holds, of any codec."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glc.defaults import MAX_PIXELS, PATCH_SIDE
from glc.errors import InvalidArgumentError
from glc.evaluation.metrics import feature_distance, finite, mean_known, ms_ssim, psnr
from glc.evaluation.perceptual import (
    PAIR_METRICS,
    PERCEPTUAL_METRICS,
    PairDistances,
    SetDistances,
)
from glc.image import load_image
from glc.losses.perceptual import tinydarknet_distance

__all__ = ["OF_PAIRS", "Measures", "measure_settings", "metric_names"]

Setting = TypeVar("Setting")

OF_PAIRS = ("psnr_db", "ms_ssim", "tinydarknet", *PAIR_METRICS)
"""What `Measures.of_pair` gives."""


def metric_names(text: str) -> list[str]:
    """Read names of metrics, separated by commas; of no text none."""
    return [name.strip() for name in text.split(",")] if text else []


class Measures:
    """What is measured beside PSNR and MS-SSIM, its networks loaded once.

    Args:
        tinydarknet: weights of Tiny Darknet, to measure the distance of its features too.
        metrics: some of `PERCEPTUAL_METRICS`.
        patch: side of the patches of FID and KID, in pixels.
        device: where the networks of `metrics` run.

    Raises:
        InvalidArgumentError: an unknown metric, a patch out of range, weights that are not there.
        UnsupportedError: torchvision does not load beside this torch.
        ModuleNotFoundError: a package that a metric needs is not installed.
    """

    def __init__(
        self,
        *,
        tinydarknet: str | os.PathLike[str] | None = None,
        metrics: Sequence[str] = (),
        patch: int = PATCH_SIDE,
        device: str = "cpu",
    ) -> None:
        if unknown := sorted(set(metrics) - set(PERCEPTUAL_METRICS)):
            raise InvalidArgumentError(
                f"metrics: expected some of {', '.join(PERCEPTUAL_METRICS)}, got {unknown[0]!r}"
            )
        if not 1 <= patch <= MAX_PIXELS:  # a picture has no longer side
            raise InvalidArgumentError(f"patch: expected 1 .. {MAX_PIXELS} pixels, got {patch}")
        self._metrics, self._patch, self._device = tuple(metrics), patch, device
        self._distance = None if tinydarknet is None else tinydarknet_distance(tinydarknet)
        self._pairs = PairDistances(metrics, device)

    def of_pair(self, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> dict[str, float | None]:
        """Distances of a picture, [h, w, 3] uint8, and its reconstruction.

        Returns:
            A value for each name of `OF_PAIRS`; None for what was not asked for, is not defined for
            so small a picture, or not finite.
        """
        far = None if self._distance is None else feature_distance(self._distance, x, x_hat)
        distances = {
            "psnr_db": psnr(x, x_hat),
            "ms_ssim": ms_ssim(x, x_hat),
            "tinydarknet": far,
            **self._pairs.measure(x, x_hat),
        }
        return {name: finite(value) for name, value in distances.items()}

    def of_sets(self, n_sets: int) -> SetDistances:
        """FID and KID of so many sets, those that were asked for."""
        return SetDistances(self._metrics, n_sets, self._patch, self._device)


def measure_settings(
    paths: Sequence[Path],
    settings: Sequence[Setting],
    code: Callable[[NDArray[np.uint8], Setting], tuple[bytes, NDArray[np.uint8]]],
    measures: Measures,
    progress: Callable[[Path], None] | None = None,
) -> list[dict[str, Any]]:
    """Code pictures at several settings, really.

    Args:
        paths: of the pictures.
        settings: what `code` takes.
        code: gives a picture's bytes at a setting, and the picture decoded from them, [h, w, 3]
            uint8 as the one it gets.
        measures: what to measure.
        progress: called with each picture before it is coded.

    Returns:
        For each setting the mean bits per pixel, "bpp", the means of `OF_PAIRS`, and what
        `SetDistances` has of all pictures.

    Raises:
        InvalidArgumentError: a picture cannot be read; and whatever `code` raises.
    """
    sets = measures.of_sets(len(settings))
    coded: list[list[dict[str, Any]]] = [[] for _ in settings]
    for path in paths:
        if progress:
            progress(path)
        x = load_image(path)
        sets.add_picture(x)
        for k, setting in enumerate(settings):
            data, decoded = code(x, setting)
            bpp = 8 * len(data) / (x.shape[0] * x.shape[1])
            coded[k].append({"bpp": bpp, **measures.of_pair(x, decoded)})
            sets.add(k, decoded)
    return [
        {key: mean_known([one[key] for one in figures]) for key in ("bpp", *OF_PAIRS)} | of_set
        for figures, of_set in zip(coded, sets.compute(), strict=True)
    ]
