# SPDX-License-Identifier: Apache-2.0
"""Networks over pictures of any height, strip by strip, so that memory stays bounded.

What trips people first: an output row depends on a few rows around its own, so strips overlap by
just that much, and no more is guessed: `reach` finds it by watching one row of NaN spread through
the network. A network whose normalisation sees the whole picture has no such reach; it runs whole,
and large pictures are then cut into tiles that the file declares.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from glc.errors import BitstreamError
from glc.models.generator import Generator
from glc.models.glc import GLC
from glc.ops._cuda import to_host, to_own_memory

__all__ = [
    "STRIP_PIXELS",
    "EntropyNetworks",
    "Networks",
    "Reach",
    "Report",
    "map_strips",
    "part_of",
    "reach",
    "unheard",
]

STRIP_PIXELS = 1 << 23  # of a strip without its overlap: about 1 GB for the small preset
_PROBE_CELLS = 64  # more than any local network sees to both sides
_PROBE_WIDTH = 4  # cells

Reach = tuple[int, int]  # cells above and below that an output cell depends on
Network = Callable[[Tensor], Tensor]
Report = Callable[[float], None]  # of the fraction done


class EntropyNetworks(Protocol):
    """What `walk_parts` asks of a model, on exact layers; `Networks` has it."""

    def exact_params(self, z_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters of y, step and context; see `GLC.exact_params`."""
        ...

    def exact_part_params(self, part: int, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and mean at a part's positions; see `ContextModel.exact_part_params`."""
        ...


def reach(network: Network, channels: int, in_cell: int, like: Tensor) -> Reach | None:
    """Find how far a network sees, in cells of `in_cell` input rows.

    Args:
        network: [1, channels, h, w] -> [1, c', h', w'], h' / h constant.
        channels: of the input.
        in_cell: rows of a cell, at which the network's strides are aligned.
        like: of the network's type and device.

    Returns:
        Cells above and below an output cell that it depends on; None when it depends on all.
    """
    middle = _PROBE_CELLS // 2
    x = like.new_zeros(1, channels, _PROBE_CELLS * in_cell, _PROBE_WIDTH * in_cell)
    x[..., middle * in_cell : (middle + 1) * in_cell, :] = float("nan")
    with torch.inference_mode():
        spoilt = torch.isnan(network(x)).amax(dim=(0, 1, 3))
    cells = spoilt.reshape(_PROBE_CELLS, -1).any(dim=1).nonzero().flatten().tolist()
    if cells[0] == 0 or cells[-1] == _PROBE_CELLS - 1:
        return None
    return cells[-1] - middle, middle - cells[0]


def unheard(_fraction: float) -> None:
    """Where nobody asks how far the work has come."""


def part_of(report: Report, n: int, parts: int) -> Report:
    """What to call with the fraction done of part n of so many, for a report of the whole."""
    return lambda fraction: report((n + fraction) / parts)


def map_strips(
    network: Callable[[int, int], Tensor],
    n_cells: int,
    per_strip: int,
    sees: Reach | None,
    report: Report = unheard,
) -> Tensor:
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
    whole: Tensor | None = None
    for begin in range(0, n_cells, per_strip):
        end = min(n_cells, begin + per_strip)
        first, last = max(0, begin - above), min(n_cells, end + below)
        rows = network(first, last)
        out_cell = rows.shape[-2] // (last - first)
        if whole is None:
            shape = (*rows.shape[:-2], n_cells * out_cell, rows.shape[-1])
            whole = torch.empty(shape, dtype=rows.dtype, device=rows.device)
        kept = rows[..., (begin - first) * out_cell : (end - first) * out_cell, :]
        whole[..., begin * out_cell : end * out_cell, :] = kept
        report(end / n_cells)
    assert whole is not None
    return whole


class Networks:
    """The networks of a model over whole pictures, in strips where the picture is large.

    Strips depend on the picture's size alone, so that the same picture gives the same file. Tensors
    between the calls are whole. Those of the entropy path stay on the model's device, the others on
    the CPU.
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
        self._like = next(model.parameters()).detach()
        self.device = self._like.device
        self.strip_pixels = strip_pixels
        self._sees: dict[str, Reach | None] = {}
        if picture_dtype is None:
            on_device = self.device.type == "cuda"
            picture_dtype = torch.float16 if on_device else self._like.dtype
        self._picture_dtype = picture_dtype
        self._generators: dict[torch.dtype, Callable[[Tensor, float], Tensor]] = {}

    def features(self, pixels: NDArray[np.uint8], report: Report = unheard) -> Tensor:
        """What a picture gives before the rate level matters: [h, w, 3] uint8 -> [1, N, h', w']."""
        model, stride, multiple = self.model, self._stride, self.model.pad_multiple
        z_height, z_width = (-(-side // multiple) for side in pixels.shape[:2])

        def network(x: Tensor) -> Tensor:
            return model.features(model.latents(x))

        def strip(first: int, last: int) -> Tensor:
            rows = torch.from_numpy(pixels[first * stride : last * stride]).to(self.device)
            x = (rows.permute(2, 0, 1)[None].to(self._like.dtype) / 255.0 - 0.5) * 2.0
            right = z_width * multiple - x.shape[-1]
            x = F.pad(x, (0, right, 0, (last - first) * stride - x.shape[-2]), mode="replicate")
            return network(x.contiguous()).cpu()

        cells, per_strip = 4 * z_height, 4 * self._z_rows(z_width)
        return self._map("features", network, strip, (3, stride), cells, per_strip, report)

    def analysis(self, features: Tensor, quality: float) -> Tensor:
        """Second half of g_a: `features` -> y [1, N, h', w']."""
        return self._over_rows(
            "g_a", lambda x: self.model.g_a.finish(x, quality), features, in_cell=1, per_z=4
        )

    def synthesis(self, y_hat: Tensor, quality: float) -> Tensor:
        """y_hat, multiplied by the step, [1, N, h', w'] -> l_hat, with g_s."""
        return self._over_rows(
            "g_s", lambda x: self.model.synthesis(x, quality), y_hat, in_cell=1, per_z=4
        )

    def hyper_index(self, y: Tensor) -> Tensor:
        """Nearest hyper codes of h_a(y): [1, N, h', w'] -> int64 [1, h'/4, w'/4]."""
        z = self._over_rows("h_a", self.model.h_a, y, in_cell=4, per_z=1)
        return self.model.hyper_vq.nearest(z.to(self.device)).cpu()

    def exact_params(self, z_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters of y, step and context; see `GLC.exact_params`."""
        model = self.model
        n = model.config.latent_channels

        def network(z_hat: Tensor) -> Tensor:
            return torch.cat(model.exact_params(z_hat), dim=1)

        z_hat = model.hyper_vq.lookup(z_index.to(self.device))
        maps = self._over_rows("h_s", network, z_hat, in_cell=1, per_z=1)
        params, step, context = maps.split((3 * n, n, n), dim=1)
        return params, step, context

    def exact_part_params(self, part: int, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and mean at a part's positions; see `ContextModel.exact_part_params`.

        A part has one position in every two rows and columns of a channel.
        """

        def network(rows: Tensor) -> Tensor:
            both = torch.cat(self.model.context.exact_part_params(part, rows))
            return both.reshape(1, rows.shape[1], rows.shape[2] // 2, rows.shape[3] // 2)

        both = self._over_rows("prior", network, seen, in_cell=2, per_z=2)
        scale, mean = both.flatten().chunk(2)
        return scale, mean

    def pixels(
        self, y_hat: Tensor, quality: float, size: tuple[int, int], report: Report = unheard
    ) -> NDArray[np.uint8]:
        """Draw the picture: y_hat (multiplied by the step) -> uint8 [*size, 3], height first.

        Raises:
            BitstreamError: what is drawn is not finite.
        """
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

    def _z_rows(self, z_width: int) -> int:
        """Rows of z in a strip; a row is `pad_multiple` pixels high."""
        return max(1, self.strip_pixels // (z_width * self.model.pad_multiple**2))

    def _over_rows(
        self, name: str, network: Network, x: Tensor, *, in_cell: int, per_z: int
    ) -> Tensor:
        """Run a network from a map to a map.

        A cell is `in_cell` rows of x; `per_z` cells are as high as a row of z. The result is on x's
        device.
        """

        def strip(first: int, last: int) -> Tensor:
            rows = x[..., first * in_cell : last * in_cell, :].contiguous()
            return network(rows.to(self.device)).to(x.device)

        per_strip = per_z * self._z_rows(x.shape[-1] // (in_cell * per_z))
        cells = x.shape[-2] // in_cell
        return self._map(name, network, strip, (x.shape[1], in_cell), cells, per_strip)

    def _map(
        self,
        name: str,
        network: Network,
        strip: Callable[[int, int], Tensor],
        probe: tuple[int, int],
        cells: int,
        per_strip: int,
        report: Report = unheard,
    ) -> Tensor:
        """`map_strips`, with the reach found, by a `probe` of channels and rows, once per name."""
        if per_strip < cells and name not in self._sees:
            self._sees[name] = reach(network, *probe, self._like)
        return map_strips(strip, cells, per_strip, self._sees.get(name), report)
