# SPDX-License-Identifier: Apache-2.0
"""A model's networks over whole pictures by torch: on a device, or where they are ordinary torch.

`glc.portable` has those of the CPU that need no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from glc.cdf import canonical
from glc.entropy_path import Array
from glc.errors import BitstreamError
from glc.models.generator import Generator
from glc.models.glc import GLC
from glc.ops import gaussian_rows
from glc.ops._cuda import to_host, to_own_memory
from glc.ops.four_part import four_part_pick, four_part_put
from glc.strips import STRIP_PIXELS, Reach, Report, map_strips, reach, unheard

__all__ = ["Networks", "TorchKit"]

Network = Callable[[Tensor], Tensor]


class TorchKit:
    """The entropy path's kit of torch's tensors; see `glc.entropy_path.ArrayKit`."""

    xp = torch
    pick = staticmethod(four_part_pick)
    put = staticmethod(four_part_put)

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # once: a copy to a device waits for all that is queued
        self._bounds = torch.from_numpy(np.array(canonical()[1])).to(device)

    def there(self, x: NDArray[np.float32]) -> Tensor:
        """See `ArrayKit`."""
        return torch.from_numpy(x).to(self._device)

    def rows(self, scale: Tensor) -> Tensor:
        """See `ArrayKit`."""
        return gaussian_rows.plain(scale, self._bounds)

    def extremes(self, x: Tensor) -> Tensor:
        """See `ArrayKit`."""
        return torch.stack(x.aminmax())


class Networks:
    """The networks of a model, in strips where the picture is large.

    Those of the entropy path give torch's tensors, on the model's device. The others take them or
    numpy's arrays, and give the same kind on the same device; `features` and `pixels` numpy's.

    Strips depend on the picture's size alone, so that the same picture gives the same file.

    Attributes:
        model: in evaluation mode.
        config: of the model.
        strip_pixels: of a strip, without its overlap; strips are at least one row of z high.
        device: where the model is.
        kit: of the tensors of the entropy path.
    """

    def __init__(
        self,
        model: GLC,
        strip_pixels: int = STRIP_PIXELS,
        picture_dtype: torch.dtype | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: in evaluation mode.
            strip_pixels: of a strip, without its overlap; strips are at least one row of z high.
            picture_dtype: in which `pixels` draws; see `Codec`.
        """
        self.model = model
        self.config = model.config
        self.strip_pixels = strip_pixels
        self._sees: dict[str, Reach | None] = {}
        self._like = next(model.parameters()).detach()
        self.device = self._like.device
        self.kit = TorchKit(self.device)
        if picture_dtype is None:
            on_device = self.device.type == "cuda"
            picture_dtype = torch.float16 if on_device else self._like.dtype
        self._picture_dtype = picture_dtype
        self._generators: dict[torch.dtype, Callable[[Tensor, float], Tensor]] = {}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, and in the model's own precision whatever the caller's autocast."""
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            yield

    @torch.inference_mode()
    def features(self, pixels: NDArray[np.uint8], report: Report = unheard) -> NDArray[np.float32]:
        """What a picture gives before the rate level matters: [h, w, 3] uint8 -> [1, N, h', w']."""
        model, stride, multiple = self.model, self._stride, self.model.pad_multiple
        z_height, z_width = (-(-side // multiple) for side in pixels.shape[:2])

        def network(x: Tensor) -> Tensor:
            return model.features(model.latents(x))

        def strip(first: int, last: int) -> NDArray[np.float32]:
            rows = torch.from_numpy(pixels[first * stride : last * stride]).to(self.device)
            x = (rows.permute(2, 0, 1)[None].to(self._like.dtype) / 255.0 - 0.5) * 2.0
            right = z_width * multiple - x.shape[-1]
            x = F.pad(x, (0, right, 0, (last - first) * stride - x.shape[-2]), mode="replicate")
            return network(x.contiguous()).cpu().numpy()

        cells, per_strip = 4 * z_height, 4 * self._z_rows(z_width)
        return self._map("features", network, strip, (3, stride), cells, per_strip, report)

    def analysis(self, features: Array, quality: float) -> Array:
        """Second half of g_a: `features` -> y [1, N, h', w']."""
        return self._over_rows(
            "g_a", lambda x: self.model.g_a.finish(x, quality), features, 1, per_z=4
        )

    def synthesis(self, y_hat: Array, quality: float) -> Array:
        """y_hat, multiplied by the step, [1, N, h', w'] -> l_hat, with g_s."""
        return self._over_rows("g_s", lambda x: self.model.synthesis(x, quality), y_hat, 1, per_z=4)

    def hyper_index(self, y: Array) -> NDArray[np.int64]:
        """Nearest hyper codes of h_a(y): [1, N, h', w'] -> [1, h'/4, w'/4], numpy's."""
        z = self._over_rows("h_a", self.model.h_a, y, 4, per_z=1)
        return self.model.hyper_vq.nearest(torch.as_tensor(z).to(self.device)).cpu().numpy()

    def exact_params(self, z_index: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters of y, step and context; see `GLC.exact_params`."""
        model = self.model
        n = model.config.latent_channels

        def network(z_hat: Tensor) -> Tensor:
            return torch.cat(model.exact_params(z_hat), dim=1)

        z_hat = model.hyper_vq.lookup(torch.from_numpy(z_index).to(self.device))
        maps = self._over_rows("h_s", network, z_hat, 1, per_z=1)
        params, step, context = maps.split((3 * n, n, n), dim=1)
        return params, step, context

    def exact_part_params(self, part: int, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and mean at a part's positions; see `ContextModel.exact_part_params`.

        A part has one position in every two rows and columns of a channel.
        """

        def network(rows: Tensor) -> Tensor:
            both = torch.cat(self.model.context.exact_part_params(part, rows))
            return both.reshape(1, rows.shape[1], rows.shape[2] // 2, rows.shape[3] // 2)

        both = self._over_rows("prior", network, seen, 2, per_z=2)
        scale, mean = both.flatten().chunk(2)
        return scale, mean

    @torch.inference_mode()
    def pixels(
        self, y_hat: Array, quality: float, size: tuple[int, int], report: Report = unheard
    ) -> NDArray[np.uint8]:
        """Draw the picture: y_hat (multiplied by the step) -> uint8 [*size, 3], height first.

        Raises:
            BitstreamError: what is drawn is not finite.
        """
        y_hat = torch.as_tensor(y_hat)
        drawn, finite = self._draw(y_hat, quality, size, self._picture_dtype, report)
        if not finite and self._picture_dtype == torch.float16:  # whose largest number is 65504
            drawn, finite = self._draw(y_hat, quality, size, torch.bfloat16, unheard)
        if not finite:
            raise BitstreamError(
                "decode: picture: expected finite values, got others; the file is damaged, or of a "
                "picture unlike all that its model was trained on (glc fit-prior helps that)"
            )
        return drawn

    def _draw(
        self,
        y_hat: Tensor,
        quality: float,
        size: tuple[int, int],
        dtype: torch.dtype,
        report: Report,
    ) -> tuple[NDArray[np.uint8], bool]:
        """The picture, and whether all of it is finite."""
        height, width = size
        generator = self._generator(dtype)
        sums: list[Tensor] = []  # not finite as soon as one value is not

        def strip(first: int, last: int) -> Tensor:
            x_hat = generator(y_hat[..., first:last, :].to(self.device), quality)[..., :width]
            sums.append(x_hat.sum(dtype=torch.float32))
            x = x_hat.float().clamp_(-1.0, 1.0).mul_(0.5).add_(0.5).mul_(255.0).round_()
            # rows of whole pixels, [h, 3 w], as the picture has them
            return to_own_memory(x.to(torch.uint8)[0].permute(1, 2, 0).flatten(1).contiguous())

        _, channels, cells, columns = y_hat.shape
        per_strip = 4 * self._z_rows(columns // 4)
        probe = (channels, 1)
        drawn = self._map(
            "pixels", lambda x: generator(x, quality), strip, probe, cells, per_strip, report
        )
        finite = bool(torch.isfinite(to_host(torch.stack(sums))).all())
        return drawn[:height].numpy().reshape(height, width, 3), finite

    def _generator(self, dtype: torch.dtype) -> Callable[[Tensor, float], Tensor]:
        """g_s and D in a dtype, made at their first use."""
        if dtype not in self._generators:
            as_it_is = dtype == self._like.dtype and self.device.type == "cpu"
            self._generators[dtype] = (
                self._draw_plainly if as_it_is else Generator(self.model, dtype)
            )
        return self._generators[dtype]

    def _draw_plainly(self, y_hat: Tensor, quality: float) -> Tensor:
        return self.model.reconstruct(self.model.synthesis(y_hat, quality))

    @property
    def _stride(self) -> int:
        return self.model.config.autoencoder.stride

    def _run(self, network: Network, x: Array) -> Array:
        """Run a network on a map, numpy's or torch's; the result is of x's kind."""
        with torch.inference_mode():
            out = network(torch.as_tensor(x).contiguous().to(self.device, self._like.dtype))
        if not isinstance(x, np.ndarray):
            return out.to(x.device)
        return (out if out.dtype == torch.float64 else out.float()).cpu().numpy()

    def _z_rows(self, z_width: int) -> int:
        """Rows of z in a strip; a row is `pad_multiple` pixels high."""
        return max(1, self.strip_pixels // (z_width * self.config.pad_multiple**2))

    def _over_rows(self, name: str, network: Network, x: Array, in_cell: int, per_z: int) -> Array:
        """Run a network from a map to a map.

        A cell is `in_cell` rows of x; `per_z` cells are as high as a row of z.
        """

        def strip(first: int, last: int) -> Array:
            return self._run(network, x[..., first * in_cell : last * in_cell, :])

        per_strip = per_z * self._z_rows(x.shape[-1] // (in_cell * per_z))
        cells = x.shape[-2] // in_cell
        return self._map(name, network, strip, (x.shape[1], in_cell), cells, per_strip)

    def _map(
        self,
        name: str,
        network: Network,
        strip: Callable[[int, int], Array],
        probe: tuple[int, int],
        cells: int,
        per_strip: int,
        report: Report = unheard,
    ) -> Array:
        """`map_strips`, with the reach found, by a `probe` of channels and rows, once per name."""
        if per_strip < cells and name not in self._sees:
            self._sees[name] = reach(lambda x: self._run(network, x), *probe)
        return map_strips(strip, cells, per_strip, self._sees.get(name), report)
