# SPDX-License-Identifier: Apache-2.0
"""Bounds of a model's maps from photographs; see `glc.models.latent_range`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.image import load_image
from glc.models.glc import GLC
from glc.models.padding import pad_to_multiple

__all__ = ["fit_range", "middles"]

_MOST_SIDE = 1024  # pixels of a photograph's middle that are looked at
_SHARE = 0.995  # of the photographs, whose values lie within; the rest may be no photographs
_MARGIN = 0.125  # of a range, added to it on both sides
_RUN_AWAY = 8.0  # times the usual photograph's largest value: the networks ran away on this one


def middles(
    paths: Sequence[str | os.PathLike[str]],
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Tensor]:
    """Read the middles of photographs, each [1, 3, h, w] float32 in [-1, 1], h and w <= 1024.

    Raises:
        InvalidArgumentError: a photograph that cannot be read.
    """
    for n, path in enumerate(paths):
        if progress:
            progress(os.path.basename(path), n / len(paths))
        pixels = load_image(path)
        top, left = (max(0, side - _MOST_SIDE) // 2 for side in pixels.shape[:2])
        middle = pixels[top : top + _MOST_SIDE, left : left + _MOST_SIDE]
        yield torch.from_numpy(middle).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.inference_mode()
def fit_range(model: GLC, pictures: Iterable[Tensor]) -> None:
    """Bound a model's maps by the values they have on photographs, and an eighth more.

    Args:
        model: in evaluation mode; its `latent_range` is set.
        pictures: at least one, each [n, 3, h, w] float32 in [-1, 1]. Those on which the networks
            run away, if it is the lesser part, say nothing of the others and are left out.

    Raises:
        InvalidArgumentError: the networks give no finite values; the range is open then.
    """
    model.latent_range.open()
    levels = model.config.levels
    found: list[list[Tensor]] = [[] for _ in range(3 + levels)]
    for x in pictures:
        l = model.latents(pad_to_multiple(x, model.pad_multiple))
        runs = [model.code_latent(l, level, rounding="round") for level in range(levels)]
        l_hat = torch.cat([run.l_hat for run in runs])
        maps = (l, model.features(l), l_hat, *(run.y for run in runs))
        for extremes, values in zip(found, maps, strict=True):
            extremes.append(torch.stack([-values.amin((0, 2, 3)), values.amax((0, 2, 3))]))
        if bool(torch.isfinite(l_hat).all()):
            drawable = l_hat[-1:]
    extremes_of = [torch.stack(extremes).numpy() for extremes in found]
    calm = _calm(extremes_of)
    if not calm.any():
        raise InvalidArgumentError("fit_range: model: expected maps of finite values, got others")
    l, features, l_hat, *ys = (_bounds(extremes[calm]) for extremes in extremes_of)
    model.latent_range.l.copy_(l)
    model.latent_range.features.copy_(features)
    model.latent_range.l_hat.copy_(l_hat)
    model.latent_range.y.copy_(torch.stack(ys))
    # one is drawn: a decoder that fails within the range fails on most, and all would take long
    if not bool(torch.isfinite(model.reconstruct(drawable)).all()):
        model.latent_range.open()
        raise InvalidArgumentError("fit_range: model: expected finite pictures, got others")


def _calm(extremes_of: Sequence[np.ndarray]) -> np.ndarray:
    """Tell on which photographs no map ran away: bool [photographs]."""
    peaks = np.stack([np.abs(extremes).max(axis=(1, 2)) for extremes in extremes_of])
    peaks[~np.isfinite(peaks)] = np.inf
    usual = np.quantile(peaks, 0.5, axis=1, keepdims=True, method="lower")
    return np.all(np.isfinite(peaks) & (peaks <= _RUN_AWAY * usual), axis=0)


def _bounds(extremes: np.ndarray) -> Tensor:
    """[photographs, 2, channels], the lowest negated -> (low, high) [2, channels]."""
    low, high = np.quantile(extremes, _SHARE, axis=0) * [[-1], [1]]
    margin = _MARGIN * (high - low)
    return torch.from_numpy(np.stack([low - margin, high + margin]).astype(np.float32))
