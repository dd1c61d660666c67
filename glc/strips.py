# SPDX-License-Identifier: Apache-2.0
"""Networks over pictures of any height, strip by strip, so that memory stays bounded.

What trips people first: an output row depends on a few rows around its own, so strips overlap by
just that much, and no more is guessed: `reach` finds it by watching one row of NaN spread through
the network. A network whose normalisation sees the whole picture has no such reach; it runs whole,
and large pictures are then cut into tiles that the file declares. (The core's own networks know
what their layers see: csrc/networks/strips.h.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc.entropy_path import Array, EntropyNetworks
from glc.models.config import GLCConfig

__all__ = [
    "STRIP_PIXELS",
    "CoderNetworks",
    "PictureNetworks",
    "Reach",
    "Report",
    "map_strips",
    "part_of",
    "reach",
    "unheard",
]

STRIP_PIXELS = _core.STRIP_PIXELS  # of a strip without its overlap
_PROBE_CELLS = 64  # more than any local network sees to both sides
_PROBE_WIDTH = 4  # cells

Reach = tuple[int, int]  # cells above and below that an output cell depends on
Map = NDArray[np.float32]
Report = Callable[[float], None]  # of the fraction done


class CoderNetworks(EntropyNetworks, Protocol):
    """What decoding asks of a model, whose symbols it is about to read."""

    @property
    def config(self) -> GLCConfig:
        """Of the model."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """What its calls need around them."""
        ...


class PictureNetworks(Protocol):
    """Between a picture and what is coded of it; maps are numpy's, and whole."""

    def computing(self) -> AbstractContextManager[None]:
        """What its calls need around them."""
        ...

    def features(self, pixels: NDArray[np.uint8], report: Report = ...) -> Map:
        """What a picture gives before the rate level matters: [h, w, 3] uint8 -> [1, N, h', w']."""
        ...

    def analysis(self, features: Map, quality: float) -> Map:
        """Second half of g_a: `features` -> y [1, N, h', w']."""
        ...

    def hyper_index(self, y: Map) -> NDArray[np.int64]:
        """Nearest hyper codes of h_a(y): [1, N, h', w'] -> [1, h'/4, w'/4]."""
        ...

    def synthesis(self, y_hat: Map, quality: float) -> Map:
        """y_hat, multiplied by the step, [1, N, h', w'] -> l_hat, with g_s."""
        ...

    def pixels(
        self, y_hat: Array, quality: float, size: tuple[int, int], report: Report = ...
    ) -> NDArray[np.uint8]:
        """Draw the picture: y_hat (multiplied by the step) -> uint8 [*size, 3], height first.

        Raises:
            BitstreamError: what is drawn is not finite.
        """
        ...


def reach(network: Callable[[Map], NDArray[Any]], channels: int, in_cell: int) -> Reach | None:
    """Find how far a network sees, in cells of `in_cell` input rows.

    Args:
        network: [1, channels, h, w] -> [1, c', h', w'], h' / h constant.
        channels: of the input.
        in_cell: rows of a cell, at which the network's strides are aligned.

    Returns:
        Cells above and below an output cell that it depends on; None when it depends on all.
    """
    middle = _PROBE_CELLS // 2
    x = np.zeros((1, channels, _PROBE_CELLS * in_cell, _PROBE_WIDTH * in_cell), np.float32)
    x[..., middle * in_cell : (middle + 1) * in_cell, :] = np.nan
    spoilt = np.isnan(network(x)).any(axis=(0, 1, 3))
    cells = spoilt.reshape(_PROBE_CELLS, -1).any(axis=1).nonzero()[0].tolist()
    if cells[0] == 0 or cells[-1] == _PROBE_CELLS - 1:
        return None
    return cells[-1] - middle, middle - cells[0]


def unheard(_fraction: float) -> None:
    """Where nobody asks how far the work has come."""


def part_of(report: Report, n: int, parts: int) -> Report:
    """What to call with the fraction done of part n of so many, for a report of the whole."""
    return lambda fraction: report((n + fraction) / parts)


def map_strips(
    network: Callable[[int, int], Array],
    n_cells: int,
    per_strip: int,
    sees: Reach | None,
    report: Report = unheard,
) -> Array:
    """Compute a network's output strip by strip.

    Args:
        network: gives the output rows of the input cells from the first number up to the second.
        n_cells: cells of the whole.
        per_strip: cells of a strip, without its overlap.
        sees: the network's reach; None computes the whole at once.
        report: called with the fraction done after each strip.

    Returns:
        The whole output.
    """
    if sees is None or per_strip >= n_cells:
        whole_at_once = network(0, n_cells)
        report(1.0)
        return whole_at_once
    above, below = sees
    whole: Array = None
    for begin in range(0, n_cells, per_strip):
        end = min(n_cells, begin + per_strip)
        first, last = max(0, begin - above), min(n_cells, end + below)
        rows = network(first, last)
        out_cell = rows.shape[-2] // (last - first)
        if whole is None:
            shape = (*rows.shape[:-2], n_cells * out_cell, rows.shape[-1])
            is_numpy = isinstance(rows, np.ndarray)
            whole = np.empty(shape, rows.dtype) if is_numpy else rows.new_empty(shape)
        kept = rows[..., (begin - first) * out_cell : (end - first) * out_cell, :]
        whole[..., begin * out_cell : end * out_cell, :] = kept
        report(end / n_cells)
    return whole
