# SPDX-License-Identifier: Apache-2.0
"""A model's networks over whole pictures, on the CPU, by numpy and the native core."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc.entropy_path import ArrayKit, NumpyKit
from glc.errors import InvalidArgumentError
from glc.models.config import DEPTH_SLOPE, STEP_MIN, Z_NORM_EPS, LightConfig
from glc.parts import PARTS
from glc.portable.layers import (
    Bottleneck,
    Conv,
    DepthConvBlock,
    Heads,
    Layer,
    Map,
    Upsample,
    block_heads,
    conv_heads,
    run,
)
from glc.portable.map_range import range_shapes
from glc.portable.weights import Reader, Weights
from glc.strips import STRIP_PIXELS, Report, Strips, not_finite, unheard

__all__ = ["EntropyCore", "PortableNetworks"]

# of a byte, in [-1, 1]
_UNIT = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) * np.float32(2)


class _Context(NamedTuple):
    """The networks between hyper indices and the parameters of symbols."""

    codebook: Map
    synthesis: list[Layer]
    fusion: list[Layer]
    reduction: Conv
    adaptors: list[list[Layer]]  # of each part, with what follows them but the last layer
    heads: list[Heads]  # the last layers


class _Transform(NamedTuple):
    """g_a or g_s, before and behind its rate scaling."""

    first: list[Layer]
    second: list[Layer]


class EntropyCore(Strips):
    """The entropy path's networks, which the decoder needs of any model.

    Attributes:
        config: of the model.
        kit: numpy's.
    """

    kit: ArrayKit

    def __init__(self, weights: Weights, strip_pixels: int = STRIP_PIXELS) -> None:
        """Take a model, and pack its weights for the kernels.

        Args:
            weights: of the entropy path at least.
            strip_pixels: of a strip, without its overlap; see `Strips`.

        Raises:
            InvalidArgumentError: weights are missing, or of other shapes than the layout says.
        """
        super().__init__(weights.config, strip_pixels)
        self.weights = weights
        self.kit = NumpyKit()
        self._reader = Reader(weights.tensors)
        self._context = self._read_context()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.weights, self.strip_pixels)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without numpy's warnings: what is not finite is found, and refused, in the end."""
        with np.errstate(all="ignore"):
            yield

    def exact_params(self, z_index: NDArray[np.int64]) -> tuple[Map, Map, Map]:
        """See `EntropyNetworks`."""
        context, n = self._context, self.config.latent_channels

        def network(z_hat: Map) -> Map:
            params = run(context.fusion, run(context.synthesis, z_hat))
            step = np.maximum(params[:, :n], np.float32(STEP_MIN))
            return np.concatenate((params, step, context.reduction(params)), axis=1)

        z_hat = np.ascontiguousarray(context.codebook[z_index].transpose(0, 3, 1, 2))
        maps = self._over_rows("h_s", network, z_hat, 1, per_z=1)
        return maps[:, : 3 * n], maps[:, 3 * n : 4 * n], maps[:, 4 * n :]

    def exact_part_params(self, part: int, seen: Map) -> tuple[Map, Map]:
        """See `EntropyNetworks`; a part has one position in every two rows and columns."""
        context = self._context

        def network(rows: Map) -> Map:
            inner = run(context.adaptors[part - 1], rows)
            both = np.concatenate(context.heads[part - 1](inner, part))
            return both.reshape(1, rows.shape[1], rows.shape[2] // 2, rows.shape[3] // 2)

        both = self._over_rows("prior", network, seen, 2, per_z=2).ravel()
        return both[: both.size // 2], both[both.size // 2 :]

    def _run(self, network: Callable[[Map], Map], x: Map) -> Map:
        return network(np.ascontiguousarray(x))

    def _read_context(self) -> _Context:
        config, reader = self.config, self._reader
        n, d, p = config.latent_channels, config.hyper_channels, config.prior_channels
        widths = (n, *config.fusion_widths)
        fusion: list[Layer] = [
            DepthConvBlock(reader, f"context.fusion.{i}", channels)
            for i, channels in enumerate(itertools.pairwise(widths))
        ]
        if widths[-1] != 3 * n:
            name = f"context.fusion.{len(widths) - 1}"
            fusion.append(Conv(reader, name, (widths[-1], 3 * n)))
        k = config.hyper_codebook_size
        codebook = reader.tensor("hyper_vq.codebook", (k, d))
        reader.tensor("z_prior.logits", (config.levels, k))
        synthesis: list[Layer] = [
            Upsample(reader, "h_s.layers.0", (d, n)),
            Upsample(reader, "h_s.layers.1", (n, n)),
            DepthConvBlock(reader, "h_s.layers.2", (n, n)),
        ]
        adaptor: type[DepthConvBlock | Conv] = DepthConvBlock if config.adaptor_blocks else Conv
        names = [f"context.adaptors.{i}" for i in range(PARTS - 1)]
        n_shared = config.prior_depth - (p == 2 * n)  # blocks in front of the last layer
        adaptors: list[list[Layer]]
        if n_shared < 0:  # the adaptors are the last layers
            make = block_heads if config.adaptor_blocks else conv_heads
            adaptors = [[] for _ in names]
            heads = [make(reader, name, (2 * n, p)) for name in names]
        else:
            shared = _blocks(reader, "context.prior", 0, n_shared, p)
            make = block_heads if p == 2 * n else conv_heads
            adaptors = [[adaptor(reader, name, (2 * n, p)), *shared] for name in names]
            heads = [make(reader, f"context.prior.{n_shared}", (p, 2 * n))] * len(names)
        reduction = Conv(reader, "context.reduction", (3 * n, n))
        return _Context(codebook, synthesis, fusion, reduction, adaptors, heads)


class PortableNetworks(EntropyCore):
    """All networks of a model that draws by exact layers; maps between the calls are whole."""

    def __init__(self, weights: Weights, strip_pixels: int = STRIP_PIXELS) -> None:
        """Take a model, and pack its weights; see `EntropyCore`."""
        super().__init__(weights, strip_pixels)
        config, reader = self.config, self._reader
        levels, n, l = config.levels, config.latent_channels, config.l_channels
        bounds = {
            name: reader.tensor(f"latent_range.{name}", shape)
            for name, shape in range_shapes(config).items()
        }
        self._limits = {
            name: tuple(bounds[name].reshape(2, 1, -1, 1, 1)) for name in ("l", "features", "l_hat")
        }
        scales = (levels, n, 1, 1)
        self._scales = {name: reader.tensor(f"{name}.q", scales) for name in ("g_a", "g_s")}
        self._encoder, self._decoder = self._read_encoder(), self._read_decoder()
        self._analysis = self._read_transform("g_a", l)
        self._synthesis = self._read_transform("g_s", l)
        self._hyper_analysis: list[Layer] = [
            DepthConvBlock(reader, "h_a.layers.0", (n, n)),
            Conv(reader, "h_a.layers.1", (n, n), 3, stride=2, slope=DEPTH_SLOPE),
            Conv(reader, "h_a.layers.3", (n, config.hyper_channels), 3, stride=2),
        ]
        self._search = _core.VqCodebook(self._context.codebook)
        reader.require_all_read()

    def features(self, pixels: NDArray[np.uint8], report: Report = unheard) -> Map:
        """What a picture gives before the rate level matters: [h, w, 3] uint8 -> [1, N, h', w']."""
        stem, stride, multiple = self._light.stem, self._light.stride, self.config.pad_multiple
        z_height, z_width = (-(-side // multiple) for side in pixels.shape[:2])
        first = self._analysis.first

        def network(x: Map) -> Map:
            return self._limit("features", run(first, self._limit("l", run(self._encoder, x))))

        def strip(first: int, last: int) -> Map:
            rows = pixels[first * stride : last * stride]
            below, right = (last - first) * stride - len(rows), z_width * multiple - rows.shape[1]
            rows = np.pad(rows, ((0, below), (0, right), (0, 0)), mode="edge")
            return network(_unshuffled(rows, stem))

        cells, per_strip = 4 * z_height, 4 * self._z_rows(z_width)
        probe = (3 * stem**2, stride // stem)
        return self._map("features", network, strip, probe, cells, per_strip, report)

    def analysis(self, features: Map, quality: float) -> Map:
        """Second half of g_a: `features` -> y [1, N, h', w']."""
        scale, second = self._rate_scale("g_a", quality), self._analysis.second
        return self._over_rows("g_a", lambda x: run(second, x * scale), features, 1, per_z=4)

    def synthesis(self, y_hat: Map, quality: float) -> Map:
        """y_hat, multiplied by the step, [1, N, h', w'] -> l_hat, with g_s."""
        return self._over_rows("g_s", self._synthesize(quality), y_hat, 1, per_z=4)

    def hyper_index(self, y: Map) -> NDArray[np.int64]:
        """Nearest hyper codes of h_a(y): [1, N, h', w'] -> [1, h'/4, w'/4]."""
        z = self._over_rows("h_a", lambda y: run(self._hyper_analysis, y), y, 4, per_z=1)
        if self.config.normalize_z:
            z = _normalized(z)
        vectors = np.ascontiguousarray(z[0].reshape(len(z[0]), -1).T)
        index = np.empty(len(vectors), np.int32)
        self._search.nearest(vectors, self._context.codebook, index)
        return index.astype(np.int64).reshape(1, *z.shape[2:])

    def pixels(
        self, y_hat: Map, quality: float, size: tuple[int, int], report: Report = unheard
    ) -> NDArray[np.uint8]:
        """Draw the picture: y_hat (multiplied by the step) -> uint8 [*size, 3], height first.

        Raises:
            BitstreamError: what is drawn is not finite.
        """
        synthesize = self._synthesize(quality)
        height, width = size
        all_finite = True

        def planes(y_hat: Map) -> Map:
            return run(self._decoder, self._limit("l_hat", synthesize(y_hat)))

        def strip(first: int, last: int) -> NDArray[np.uint8]:
            nonlocal all_finite
            drawn = planes(np.ascontiguousarray(y_hat[..., first:last, :]))
            all_finite = all_finite and bool(np.isfinite(drawn).all())
            # rows of whole pixels, [h, 3 w], as the picture has them
            return _bytes_of(drawn)[:, :width].reshape(-1, 3 * width)

        _, channels, cells, columns = y_hat.shape
        per_strip = 4 * self._z_rows(columns // 4)
        drawn = self._map("pixels", planes, strip, (channels, 1), cells, per_strip, report)
        if not all_finite:
            raise not_finite()
        return np.ascontiguousarray(drawn[:height]).reshape(height, width, 3)

    @property
    def _light(self) -> LightConfig:
        autoencoder = self.config.autoencoder
        assert isinstance(autoencoder, LightConfig)
        return autoencoder

    def _read_encoder(self) -> list[Layer]:
        """E, behind the space-to-depth stem."""
        light, reader, l = self._light, self._reader, self.config.l_channels
        n_fine, n_coarse = light.encoder_depths
        fine, coarse = light.encoder_widths
        name, down = "latent_encoder.blocks", 2 + n_fine
        return [
            Conv(reader, f"{name}.1", (3 * light.stem**2, fine)),
            *_blocks(reader, name, 2, n_fine, fine),
            Conv(reader, f"{name}.{down}", (fine, coarse), 3, stride=2),
            *_blocks(reader, name, down + 1, n_coarse, coarse),
            Conv(reader, f"{name}.{down + 1 + n_coarse}", (coarse, l)),
        ]

    def _read_decoder(self) -> list[Layer]:
        """D, but for its last pixel shuffle."""
        light, reader, l = self._light, self._reader, self.config.l_channels
        coarse, middle, fine = light.decoder_widths
        n_coarse, n_middle, n_fine = light.decoder_depths
        up = light.stem // 4
        name, first = "latent_decoder.blocks", 1 + n_coarse
        second = first + 1 + n_middle
        return [
            Conv(reader, f"{name}.0", (l, coarse)),
            *_blocks(reader, name, 1, n_coarse, coarse),
            Conv(reader, f"{name}.{first}.0", (coarse, 4 * middle), shuffle=2),
            *_blocks(reader, name, first + 1, n_middle, middle),
            Conv(reader, f"{name}.{second}.0", (middle, up**2 * fine), shuffle=up),
            *(Bottleneck(reader, f"{name}.{second + 1 + i}", fine) for i in range(n_fine)),
            Conv(reader, f"{name}.{second + 1 + n_fine}", (fine, 48), 3),
        ]

    def _read_transform(self, name: str, l: int) -> _Transform:
        reader, n = self._reader, self.config.latent_channels
        first, second = (
            _blocks(reader, f"{name}.{half}", 0, self.config.transform_blocks, n)
            for half in ("first", "second")
        )
        if l != n and name == "g_a":
            first.insert(0, Conv(reader, "g_a.entry", (l, n)))
        elif l != n:
            second.append(Conv(reader, "g_s.exit", (n, l)))
        return _Transform(first, second)

    def _synthesize(self, quality: float) -> Layer:
        scale, (first, second) = self._rate_scale("g_s", quality), self._synthesis
        return lambda y_hat: run(second, run(first, y_hat) * scale)

    def _rate_scale(self, transform: str, quality: float) -> Map:
        """Per-channel scale at a level, [1, N, 1, 1]; as `RateTransform.rate_scale`."""
        top = self.config.levels - 1
        if not 0 <= quality <= top:
            raise InvalidArgumentError(f"quality: expected within [0, {top}], got {quality}")
        below = min(math.floor(quality), max(top - 1, 0))
        share = np.float32(quality) - np.float32(below)
        q = self._scales[transform]
        low, high = (q[k : k + 1] for k in (below, min(below + 1, top)))
        return low * (1 - share) + high * share

    def _limit(self, name: str, x: Map) -> Map:
        return np.clip(x, *self._limits[name])


def _blocks(reader: Reader, name: str, first: int, n: int, channels: int) -> list[Layer]:
    return [DepthConvBlock(reader, f"{name}.{first + i}", (channels, channels)) for i in range(n)]


def _normalized(z: Map) -> Map:
    """Every vector of z [1, d, h, w] divided by its root mean square; see `HyperAnalysis`.

    Squares are added channel by channel: numpy's own sum has an order of the CPU's choice.
    """
    total = np.zeros_like(z[:, :1])
    for channel in range(z.shape[1]):
        total += z[:, channel : channel + 1] ** 2
    mean = total / np.float32(z.shape[1])
    return z * (np.float32(1) / np.sqrt(mean + np.float32(Z_NORM_EPS)))


def _unshuffled(rows: NDArray[np.uint8], stem: int) -> Map:
    """Pixels [h, w, 3] -> [1, 3 stem^2, h / stem, w / stem] in [-1, 1]."""
    h, w, _ = (side // stem for side in rows.shape)
    cut = rows.reshape(h, stem, w, stem, 3).transpose(4, 1, 3, 0, 2)
    return _UNIT[cut].reshape(1, -1, h, w)


def _bytes_of(planes: Map) -> NDArray[np.uint8]:
    """x_hat before its last pixel shuffle, [1, 3 * 4^2, h, w], overwritten -> [4 h, 4 w, 3]."""
    _, _, h, w = planes.shape
    np.clip(planes, -1, 1, out=planes)
    planes *= np.float32(0.5)
    planes += np.float32(0.5)
    planes *= np.float32(255)
    values = np.rint(planes, out=planes).astype(np.uint8).reshape(3, 4, 4, h, w)
    pixels = np.empty((4 * h, 4 * w, 3), np.uint8)
    for colour, row, column in np.ndindex(3, 4, 4):  # a quarter of a transposed copy's time
        pixels[row::4, column::4, colour] = values[colour, row, column]
    return pixels
