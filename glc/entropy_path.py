# SPDX-License-Identifier: Apache-2.0
"""The entropy path: from hyper indices to y_hat, the same on both sides of a file.

What trips people first: the networks that predict the symbols' distributions run again in the
decoder and must give the same bits there, on another machine. Everything between z_index and y_hat
is therefore one function, `walk_parts`, which encoder and decoder both run, and every sum in it is
made by an exact layer (`glc.ops.exact`). Torch only moves, compares and gathers here, so neither
its threads nor its memory formats, nor flags such as `torch.set_flush_denormal`, have a say. Nor
has the device: maps stay where the networks are, and the rows and symbols that are coded, which the
coder wants on the host, are all that travels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.ops import gaussian_rows
from glc.ops._cuda import to_host
from glc.ops.four_part import four_part_pick, four_part_put
from glc.ops.parts import PARTS
from glc.strips import EntropyNetworks

__all__ = ["OutOfRangeError", "Part", "Quantizer", "SymbolSource", "Symbols", "walk_parts"]

_MAX_SYMBOL = 1024.0  # forty times a photograph's: the context is beyond what it was trained on


@dataclass(frozen=True)
class Part:
    """The symbols of one context part, in ascending flat order of the part's positions.

    Attributes:
        symbols_there: [n] int32, on the networks' device.
        rows_there: [n] uint8, there too: table row of each symbol.
        scale: [n] float32, raw network output, there too; may be <= 0.
        threshold: symbols of rows below this are zero and not coded.
    """

    symbols_there: Tensor
    rows_there: Tensor
    scale: Tensor
    threshold: int

    @cached_property
    def symbols(self) -> NDArray[np.int32]:
        """The symbols on the host, [n]."""
        return _array(self.symbols_there)

    @cached_property
    def rows(self) -> NDArray[np.uint8]:
        """The rows on the host, [n]."""
        return _array(self.rows_there)

    @property
    def coded(self) -> NDArray[np.bool_]:
        """Which symbols are coded, [n]."""
        return self.rows >= self.threshold


@dataclass(frozen=True)
class Symbols:
    """Everything a file says about its picture.

    Attributes:
        z_index: [1, h/4, w/4] int64.
        parts: the four parts of y.
        y_hat: [1, N, h, w] float32, in the scaled domain, on the networks' device.
        step: [1, N, h, w] float32, >= 0.5, there too.
    """

    z_index: Tensor
    parts: tuple[Part, ...]
    y_hat: Tensor
    step: Tensor

    @property
    def latent(self) -> Tensor:
        """y_hat multiplied by the step, as g_s takes it."""
        return self.y_hat * self.step


class SymbolSource(Protocol):
    """Where `walk_parts` gets its symbols: the latent (encoder) or the stream (decoder)."""

    def symbols(self, part: int, rows: Tensor, mean: Tensor, step: Tensor) -> tuple[Tensor, int]:
        """Give the part's symbols and its skip threshold.

        Args:
            part: 0..3.
            rows: [n] uint8, table rows at the part's positions, in the order of `four_part_pick`.
            mean: [n] float32, at these positions.
            step: [1, N, h, w] float32.

        Returns:
            [n] int32 symbols, where the rows are, and the threshold.
        """
        ...

    def require_finite(self, name: str, value: Tensor) -> None:
        """Raise this side's error unless all values are finite."""
        ...


class OutOfRangeError(InvalidArgumentError):
    """A latent that the model cannot code: the context of its symbols runs away."""


class Quantizer:
    """The encoder's source of symbols: the latent itself, quantised.

    r = y / step - mean;  symbol = r rounded half to even     (facts D3, D6)

    But a lone outlier in a part, in a row that has no bin for anything but zero, becomes zero: its
    escape costs 30 bits, and with it no symbol of the rows above its own could be skipped.
    """

    def __init__(self, y: Tensor, n_rows: int, n_zero_rows: int = 0) -> None:
        """Quantise a latent.

        Args:
            y: [1, N, h, w] float32.
            n_rows: rows of the table set, the threshold of a part that is all zero.
            n_zero_rows: the first of them, which have no bin but zero's.
        """
        self._y = y.contiguous()
        self._n_rows = n_rows
        self._n_zero_rows = n_zero_rows
        self._scaled: Tensor | None = None

    def symbols(self, part: int, rows: Tensor, mean: Tensor, step: Tensor) -> tuple[Tensor, int]:
        """Quantise one part; see `SymbolSource`.

        Raises:
            OutOfRangeError: a residual is not finite, or as large as no picture's.
        """
        if self._scaled is None:
            self._scaled = self._y.to(step.device) * (1.0 / step)
        rounded = torch.round(four_part_pick(self._scaled, part) - mean)
        if not bool((rounded.abs() < _MAX_SYMBOL).all()):  # so written, NaN is refused too
            raise OutOfRangeError(
                f"encode: symbols of part {part}: expected finite ones below {_MAX_SYMBOL:g}, "
                f"got {rounded.abs().max():g}"
            )
        symbols = rounded.to(torch.int32)
        outliers = (rows < self._n_zero_rows) & (symbols != 0)
        if int(outliers.count_nonzero()) == 1:
            symbols.masked_fill_(outliers, 0)
        return symbols, int(torch.where(symbols != 0, rows, self._n_rows).min())

    def require_finite(self, name: str, value: Tensor) -> None:
        """Raise OutOfRangeError unless all values are finite."""
        if not bool(torch.isfinite(value).all()):
            raise OutOfRangeError(f"encode: {name}: expected finite values from the model")


def walk_parts(
    networks: EntropyNetworks, bounds: Tensor, z_index: Tensor, source: SymbolSource
) -> Symbols:
    """Go from hyper indices to y_hat, part by part; encoder and decoder both run this.

    Args:
        networks: of the model, on the CPU or a device with our kernels.
        bounds: [rows - 1] float32, between the scales of the table rows, on the networks' device.
        z_index: [1, h/4, w/4] int64.
        source: where the symbols of each part come from.

    Returns:
        All symbols, with y_hat and step as the decoder sees them.

    Raises:
        GlcError: the source's own error, for symbols it cannot give or values that are not finite.
    """
    with torch.no_grad():
        params, step, context = networks.exact_params(z_index)
        seen = torch.cat((torch.zeros_like(context), context), dim=1)
        y_hat = seen[:, : step.shape[1]]  # the first half: what is placed there, later parts see
        parts = []
        for part in range(PARTS):
            if part == 0:
                scale, mean = (four_part_pick(m, part) for m in params.chunk(3, dim=1)[1:])
            else:
                scale, mean = networks.exact_part_params(part, seen)
            rows = gaussian_rows.plain(scale, bounds)
            symbols, threshold = source.symbols(part, rows, mean, step)
            four_part_put(symbols, mean, y_hat, part)
            parts.append(Part(symbols, rows, scale, threshold))
        _require_finite(source, step, torch.stack([part.scale for part in parts]), y_hat)
    return Symbols(z_index, tuple(parts), y_hat.clone(), step)


def _require_finite(source: SymbolSource, step: Tensor, scales: Tensor, y_hat: Tensor) -> None:
    """Let the source raise where the networks gave values that are not finite; one wait for all.

    Means are in y_hat, each at its position.
    """
    maps = {"step": step, "scale": scales, "mean": y_hat}
    # extremes are not finite as soon as one value is not
    extremes = to_host(torch.stack([end for x in maps.values() for end in x.aminmax()]))
    if not bool(torch.isfinite(extremes).all()):
        for name, pair in zip(maps, extremes.reshape(-1, 2), strict=True):
            source.require_finite(name, pair)


def _array(there: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = there.cpu().numpy()
    return array
