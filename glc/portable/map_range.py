# SPDX-License-Identifier: Apache-2.0
"""What the encoder asks of a model's range; see `glc.models.latent_range`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from glc.models.config import GLCConfig

__all__ = ["UNBOUNDED", "MapRange", "range_shapes"]

UNBOUNDED = 65504.0  # the largest half-precision number: as good as no bound
_NEAR = 2  # positions of y around one that is out of bounds

_Array = NDArray[np.float32]


def range_shapes(config: GLCConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the bounds by the names of the maps; see `LatentRange`."""
    levels, n, l = config.levels, config.latent_channels, config.l_channels
    return {"l": (2, l), "features": (2, n), "y": (levels, 2, n), "l_hat": (2, l)}


class MapRange:
    """Between which values maps lie on photographs.

    Attributes:
        fitted: whether photographs gave all bounds, so that maps within them are known to be drawn.
    """

    def __init__(self, bounds: Mapping[str, _Array]) -> None:
        """Take the bounds, (low, high) of every channel: [2, channels], of y [levels, 2, N]."""
        self._y, self._l_hat = bounds["y"], bounds["l_hat"]
        self.fitted = all(bool((np.abs(b) < UNBOUNDED).all()) for b in bounds.values())

    def holds_y(self, y: _Array, quality: float, times: float = 1.0) -> bool:
        """Whether y [1, N, h, w] of a quality lies within so many times its range."""
        return _holds(y, self._bounds_of_y(quality, times))

    def holds_l_hat(self, l_hat: _Array, times: float = 1.0) -> bool:
        """Whether l_hat [1, l_channels, h, w] lies within so many times its range."""
        return _holds(l_hat, _times(self._l_hat, times))

    def limit_y(self, y: _Array, quality: float, share: float = 1.0) -> _Array:
        """Hold y of a quality within its bounds, and near where it left them within a share.

        Args:
            y: [n, N, h, w].
            quality: rate level; between two learned levels the bounds are the wider of theirs.
            share: of the range, about its middle.
        """
        low, high = _per_channel(self._bounds_of_y(quality, 1.0))
        outside = np.logical_or.reduce((y < low) | (y > high), axis=1, keepdims=True)
        return np.where(_around(outside), _limit(y, self._bounds_of_y(quality, share)), y)

    def _bounds_of_y(self, quality: float, times: float) -> _Array:
        below, above = self._y[math.floor(quality)], self._y[math.ceil(quality)]
        wider = np.stack([np.minimum(below[0], above[0]), np.maximum(below[1], above[1])])
        return _times(wider, times)


def _around(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark all positions of [n, 1, h, w] within a square about each that is marked."""
    for axis in (2, 3):
        wide = marked.copy()
        for shift in range(1, _NEAR + 1):
            before, after = [slice(None)] * 4, [slice(None)] * 4
            before[axis], after[axis] = slice(None, -shift), slice(shift, None)
            wide[tuple(after)] |= marked[tuple(before)]
            wide[tuple(before)] |= marked[tuple(after)]
        marked = wide
    return marked


def _times(bounds: _Array, times: float) -> _Array:
    """A range so many times as wide, about the same middle."""
    low, high = bounds
    middle, half = (low + high) / 2, (high - low) * np.float32(times / 2)
    return np.stack([middle - half, middle + half])


def _per_channel(bounds: _Array) -> tuple[_Array, _Array]:
    low, high = bounds.reshape(2, -1, 1, 1)
    return low, high


def _holds(x: _Array, bounds: _Array) -> bool:
    low, high = bounds
    return bool(((x.min(axis=(0, 2, 3)) >= low) & (x.max(axis=(0, 2, 3)) <= high)).all())


def _limit(x: _Array, bounds: _Array) -> _Array:
    return np.clip(x, *_per_channel(bounds))
