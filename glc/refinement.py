# SPDX-License-Identifier: Apache-2.0
"""Refine the latent of one picture by gradient descent: a better picture from a smaller file.

The encoder's networks were trained to do well on photographs on the whole; what suits this one best
is searched for here, and the decoder needs to know nothing of it (Campos et al. 2019, "Content
Adaptive Optimization for Neural Image Compression"; it is no part of GLC). What is made less is

    bits of y + squared error of the pixels / exchange

where exchange is what a bit buys on this very picture: the change of the error from one rate level
to another over the change of the bits. The hyper indices stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glc.models.glc import TRAINING_SCALE_MIN
from glc.ops.residual import residual_bits
from glc.ops.straight_through import lower_bound
from glc.portable import MapRange
from glc.strips import Report, part_of
from glc.torch_networks import Networks

__all__ = ["Refiner"]

Map = NDArray[np.float32]
_Maps = TypeVar("_Maps", Tensor, NDArray[np.float32], NDArray[np.int64])

_AROUND = 0.5  # qualities to both sides, between which the exchange is measured
_STEP_SIZE = 0.003  # Adam's first, in units of y
_SIDE = 768  # pixels of a window at most, which bounds the memory: 0.7 GB for the small preset
_MARGIN = 4  # cells around a window, refined with it and not kept: as wide as one of z


@dataclass(frozen=True)
class _Window:
    """A part of a picture that is refined on its own.

    Attributes:
        place: rows and columns in y.
        seen: the same with a margin.
    """

    place: tuple[slice, slice]
    seen: tuple[slice, slice]

    def of(self, maps: _Maps, cells: int = 1) -> _Maps:
        """What is seen of maps, each of whose cells is so many of y."""
        rows, columns = (slice(s.start // cells, s.stop // cells) for s in self.seen)
        return maps[..., rows, columns]

    def kept(self, found: Map) -> Map:
        """What lies in place of what was found where the window sees."""
        rows, columns = (
            slice(place.start - seen.start, place.stop - seen.start)
            for place, seen in zip(self.place, self.seen, strict=True)
        )
        return found[..., rows, columns]


def _windows(height: int, width: int, *, multiple: int) -> list[_Window]:
    """Cut a map of y [height, width] into windows of whole cells of z, `multiple` pixels each."""
    most = 4 * max(1, _SIDE // multiple)

    def along(side: int) -> list[tuple[slice, slice]]:
        begins = range(0, side, most)
        places = [slice(begin, min(begin + most, side)) for begin in begins]
        seen = [slice(max(p.start - _MARGIN, 0), min(p.stop + _MARGIN, side)) for p in places]
        return list(zip(places, seen, strict=True))

    return [
        _Window((row, column), (rows_seen, columns_seen))
        for (row, rows_seen), (column, columns_seen) in product(along(height), along(width))
    ]


class Refiner:
    """The search for the latent of a picture, at any level."""

    def __init__(
        self, networks: Networks, map_range: MapRange, pixels: NDArray[np.uint8], steps: int
    ) -> None:
        """Remember a picture.

        Args:
            networks: of the model.
            map_range: of its maps.
            pixels: [h, w, 3] uint8.
            steps: of gradient descent, each about twice the cost of drawing the picture.
        """
        self._networks = networks
        self._model = networks.model
        self._range = map_range
        self._pixels = pixels
        self._steps = steps

    def refine(
        self, y: Map, z_index: NDArray[np.int64], features: Map, quality: float, report: Report
    ) -> Map:
        """Search for a better latent.

        Args:
            y: [1, N, h, w], of the encoder.
            z_index: [1, h/4, w/4], of y.
            features: what y was made from.
            quality: rate level.
            report: called with the fraction done.

        Returns:
            Like y, within the model's range of it; y itself where more bits are no gain.
        """
        refined = y.copy()
        windows = _windows(*y.shape[-2:], multiple=self._model.pad_multiple)
        with self._networks.computing():
            exchange = self._exchange(features, quality)
            if exchange <= 0.0:
                return y
            for n, window in enumerate(windows):
                tell = part_of(report, n, len(windows))
                begin = torch.from_numpy(window.of(y))
                index = torch.from_numpy(window.of(z_index, 4))
                found = self._descend(begin, index, window, quality, exchange, tell)
                refined[(..., *window.place)] = window.kept(found.numpy())
        return self._range.limit_y(refined, quality)

    def _exchange(self, features: Map, quality: float) -> float:
        """Squared error that a bit takes away, between the levels around this one."""
        top = self._model.config.levels - 1.0
        totals = []
        for level in (max(quality - _AROUND, 0.0), min(quality + _AROUND, top)):
            y = self._networks.analysis(features, level)
            z_index = torch.from_numpy(self._networks.hyper_index(y))
            y = torch.from_numpy(y)
            total = np.zeros(2)
            for window in _windows(*y.shape[-2:], multiple=self._model.pad_multiple):
                params = self._params(window.of(z_index, 4))
                total += [float(cost) for cost in self._cost(window.of(y), params, window, level)]
            totals.append(total)
        bits, error = totals[1] - totals[0]
        return -error / bits if bits > 0.0 and np.isfinite(error) else 0.0

    def _descend(
        self,
        y: Tensor,
        z_index: Tensor,
        window: _Window,
        quality: float,
        exchange: float,
        report: Report,
    ) -> Tensor:
        params = self._params(z_index)
        least, best = float("inf"), y
        with torch.inference_mode(False), torch.enable_grad():
            params = params.clone()  # of use to gradients, as what inference mode made is not
            found = y.to(params.device, copy=True).requires_grad_(True)
            optimizer = torch.optim.Adam([found], lr=_STEP_SIZE)
            for step in range(self._steps + 1):
                bits, error = self._cost(found, params, window, quality)
                loss = bits + error / exchange
                if (value := float(loss.detach())) < least:
                    least, best = value, found.detach().to(y.device, copy=True)
                report(step / self._steps)
                if step < self._steps:
                    (found.grad,) = torch.autograd.grad(loss, [found])  # and no weight's
                    optimizer.step()
                    optimizer.param_groups[0]["lr"] = _STEP_SIZE * (1.0 - step / self._steps)
        return best

    def _params(self, z_index: Tensor) -> Tensor:
        return self._model.entropy_params(z_index.to(self._networks.device))

    def _cost(
        self, y: Tensor, params: Tensor, window: _Window, quality: float
    ) -> tuple[Tensor, Tensor]:
        """Estimated bits of y, and the squared error of what it is drawn as, in [-1, 1]."""
        four = self._model.four_part(y.to(params.device), params)
        scale = lower_bound(four.scale, TRAINING_SCALE_MIN)
        bits = residual_bits(four.y_scaled, four.mean, scale).sum()
        x_hat = self._model.reconstruct(self._model.synthesis(four.y_hat, quality))
        stride = self._model.config.autoencoder.stride
        rows, columns = (slice(s.start * stride, s.stop * stride) for s in window.seen)
        x = torch.from_numpy(self._pixels[rows, columns].copy()).to(x_hat.device)
        x = x.permute(2, 0, 1)[None].to(x_hat.dtype) / 127.5 - 1.0
        return bits, (x_hat[..., : x.shape[-2], : x.shape[-1]] - x).square().sum()
