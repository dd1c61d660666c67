# SPDX-License-Identifier: Apache-2.0
"""A model's networks over whole pictures, on the CPU, by the native core (`csrc/networks`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc.entropy_path import ArrayKit, NumpyKit
from glc.errors import InvalidArgumentError
from glc.models.config import GLCConfig
from glc.portable.map_range import range_shapes
from glc.portable.weights import Weights, layout_fields
from glc.strips import STRIP_PIXELS, Report, unheard

__all__ = ["EntropyCore", "PortableNetworks"]

Map = NDArray[np.float32]


class EntropyCore:
    """The entropy path's networks, which the decoder needs of any model.

    Attributes:
        weights: of the model.
        strip_pixels: of a strip, without its overlap; strips are at least one row of z high.
        kit: numpy's.
    """

    kit: ArrayKit
    _native: _core.EntropyNetworks

    def __init__(self, weights: Weights, strip_pixels: int = STRIP_PIXELS) -> None:
        """Take a model, and pack its weights for the kernels.

        Args:
            weights: of the entropy path at least.
            strip_pixels: of a strip.

        Raises:
            InvalidArgumentError: weights are missing, or of other shapes than the layout says.
        """
        self.weights = weights
        self.strip_pixels = strip_pixels
        self.kit = NumpyKit()
        self._native = self._make()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.weights, self.strip_pixels)

    @property
    def config(self) -> GLCConfig:
        """Of the model."""
        return self.weights.config

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without numpy's warnings: what is not finite is found, and refused, in the end."""
        with np.errstate(all="ignore"):
            yield

    def exact_params(self, z_index: NDArray[np.int64]) -> tuple[Map, Map, Map]:
        """See `EntropyNetworks`."""
        n = self.config.latent_channels
        _, height, width = z_index.shape
        maps = np.empty((1, 5 * n, 4 * height, 4 * width), np.float32)
        self._native.params(np.ascontiguousarray(z_index[0], np.int32), maps)
        return maps[:, : 3 * n], maps[:, 3 * n : 4 * n], maps[:, 4 * n :]

    def exact_part_params(self, part: int, seen: Map) -> tuple[Map, Map]:
        """See `EntropyNetworks`; a part has one position in every two rows and columns."""
        _, channels, height, width = seen.shape
        both = np.empty((1, channels, height // 2, width // 2), np.float32)
        self._native.part_params(part, seen, both)
        scale, mean = both.reshape(2, -1)
        return scale, mean

    def _make(self) -> _core.EntropyNetworks:
        layout = _core.Layout(layout_fields(self.config))
        return _core.EntropyNetworks(layout, _lent(self.weights), self.strip_pixels)


class PortableNetworks(EntropyCore):
    """All networks of a model that draws by exact layers; maps between the calls are whole."""

    _native: _core.LightNetworks

    def features(self, pixels: NDArray[np.uint8], report: Report = unheard) -> Map:
        """What a picture gives before the rate level matters: [h, w, 3] uint8 -> [1, N, h', w']."""
        multiple = self.config.pad_multiple
        sides = (4 * -(-side // multiple) for side in pixels.shape[:2])
        out = np.empty((1, self.config.latent_channels, *sides), np.float32)
        self._native.features(np.ascontiguousarray(pixels), out, report)
        return out

    def analysis(self, features: Map, quality: float) -> Map:
        """Second half of g_a: `features` -> y [1, N, h', w']."""
        y = np.empty_like(features)
        self._native.analysis(features, quality, y)
        return y

    def hyper_index(self, y: Map) -> NDArray[np.int64]:
        """Nearest hyper codes of h_a(y): [1, N, h', w'] -> [1, h'/4, w'/4]."""
        _, _, height, width = y.shape
        index = np.empty((1, height // 4, width // 4), np.int32)
        self._native.hyper_index(y, index)
        return index.astype(np.int64)

    def synthesis(self, y_hat: Map, quality: float) -> Map:
        """y_hat, multiplied by the step, [1, N, h', w'] -> l_hat, with g_s."""
        l_hat = np.empty((1, self.config.l_channels, *y_hat.shape[2:]), np.float32)
        self._native.synthesis(y_hat, quality, l_hat)
        return l_hat

    def pixels(
        self, y_hat: Map, quality: float, size: tuple[int, int], report: Report = unheard
    ) -> NDArray[np.uint8]:
        """Draw the picture: y_hat (multiplied by the step) -> uint8 [*size, 3], height first.

        Raises:
            BitstreamError: what is drawn is not finite.
        """
        pixels = np.empty((*size, 3), np.uint8)
        self._native.draw(y_hat, quality, pixels, report)
        return pixels

    def _make(self) -> _core.LightNetworks:
        layout = _core.LightLayout(layout_fields(self.config))  # refuses what no model can have
        return _core.LightNetworks(layout, _lent(self.weights), self.strip_pixels)


def _lent(weights: Weights) -> dict[str, Map]:
    """What the core's networks read, without what may be huge in words alone.

    Raises:
        InvalidArgumentError: what is read elsewhere is of another shape than the layout says.
    """
    config, tensors = weights.config, dict(weights.tensors)
    elsewhere = {
        "z_prior.logits": (config.levels, config.hyper_codebook_size),
        "latent_range.y": range_shapes(config)["y"],
    }
    for name, shape in elsewhere.items():
        found = tensors.pop(name).shape
        if found != shape:
            raise InvalidArgumentError(f"model: {name}: expected {list(shape)}, got {list(found)}")
    tensors.pop("image_vq.codebook", None)  # which a model has for its training
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
