# SPDX-License-Identifier: Apache-2.0
"""The entropy path: from hyper indices to y_hat, the same on both sides of a file.

What trips people first: the networks that predict the symbols' distributions run again in the
decoder and must give the same bits there, on another machine. Everything between z_index and y_hat
is therefore one function, `walk_parts`, which encoder and decoder both run, and every sum in it is
made by an exact layer (`csrc/include/glc/exact.h`). What is left to numpy, or to torch on a device,
only moves, compares and gathers, so neither their threads nor their memory formats nor flags such
as `torch.set_flush_denormal` have a say. Nor has the device: maps stay where the networks are, and
the rows and symbols that are coded, which the coder wants on the host, are all that travels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc.bitstream import N_PARTS
from glc.cdf import canonical
from glc.errors import InvalidArgumentError

__all__ = [
    "Array",
    "ArrayKit",
    "EntropyNetworks",
    "NumpyKit",
    "OutOfRangeError",
    "Part",
    "Quantizer",
    "SymbolSource",
    "Symbols",
    "on_host",
    "walk_parts",
]

Array: TypeAlias = Any
"""numpy's where the networks run on the CPU, torch's on a device; see `ArrayKit`."""

_MAX_SYMBOL = 1024.0  # forty times a photograph's: the context is beyond what it was trained on


class ArrayKit(Protocol):
    """What the entropy path asks of arrays, beside what numpy's and torch's have in common."""

    @property
    def xp(self) -> Any:
        """numpy, or torch: for functions that both have by the same name."""
        ...

    def there(self, x: NDArray[np.float32]) -> Array:
        """An array of the kit, where its networks are."""
        ...

    def pick(self, x: Array, part: int) -> Array:
        """Elements of x [1, c, h, w] float32 at a part's positions, [n], ascending."""
        ...

    def put(self, symbols: Array, mean: Array, y_hat: Array, part: int) -> None:
        """Write symbols + mean, each [n], to y_hat [1, c, h, w] at a part's positions."""
        ...

    def rows(self, scale: Array) -> Array:
        """Row of the canonical tables for each scale: [n] float32 -> [n] uint8."""
        ...

    def extremes(self, x: Array) -> Array:
        """Least and largest value, [2]; NaN where a value is."""
        ...


class NumpyKit:
    """The kit of the CPU."""

    xp = np

    def __init__(self) -> None:
        self._bounds = np.array(canonical()[1])  # which is read-only, and such is not lent

    def there(self, x: NDArray[np.float32]) -> Array:
        """See `ArrayKit`."""
        return x

    def pick(self, x: Array, part: int) -> Array:
        """See `ArrayKit`."""
        shape = _part_shape(x)
        picked = np.empty(_core.four_part_size(shape, part), np.float32)
        _core.four_part_pick(shape, part, x, picked)
        return picked

    def put(self, symbols: Array, mean: Array, y_hat: Array, part: int) -> None:
        """See `ArrayKit`."""
        _core.four_part_put(_part_shape(y_hat), part, symbols, mean, y_hat)

    def rows(self, scale: Array) -> Array:
        """See `ArrayKit`."""
        rows = np.empty(scale.shape, np.uint8)
        _core.gaussian_rows(scale[None], self._bounds, rows[None])
        return rows

    def extremes(self, x: Array) -> Array:
        """See `ArrayKit`."""
        return np.array([x.min(), x.max()])


def _part_shape(x: NDArray[np.float32]) -> tuple[int, int, int, int, bool]:
    b, c, h, w = x.shape
    return b, c, h, w, False


def on_host(x: Array) -> NDArray[Any]:
    """The same values as numpy's."""
    array: NDArray[Any] = x if isinstance(x, np.ndarray) else x.cpu().numpy()
    return array


class EntropyNetworks(Protocol):
    """What `walk_parts` asks of a model, on exact layers."""

    @property
    def kit(self) -> ArrayKit:
        """Of the arrays that it takes and gives."""
        ...

    def exact_params(self, z_index: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Go from hyper indices to what is known of y before its symbols.

        Args:
            z_index: [1, h/4, w/4].

        Returns:
            params (step, scale, mean) [1, 3N, h, w], step >= 0.5 and context, each [1, N, h, w].
        """
        ...

    def exact_part_params(self, part: int, seen: Array) -> tuple[Array, Array]:
        """Scale and mean at the positions of part 1, 2 or 3.

        Args:
            part: 1..3.
            seen: [1, 2N, h, w] float32: y_hat of the earlier parts, then the context.

        Returns:
            (scale, mean), each [n] float32 in the order of `ArrayKit.pick`.
        """
        ...


@dataclass(frozen=True)
class Part:
    """The symbols of one context part, in ascending flat order of the part's positions.

    Attributes:
        symbols_there: [n] int32, where the networks are.
        rows_there: [n] uint8, there too: table row of each symbol.
        scale: [n] float32, raw network output, there too; may be <= 0.
        threshold: symbols of rows below this are zero and not coded.
    """

    symbols_there: Array
    rows_there: Array
    scale: Array
    threshold: int

    @cached_property
    def symbols(self) -> NDArray[np.int32]:
        """The symbols on the host, [n]."""
        return on_host(self.symbols_there)

    @cached_property
    def rows(self) -> NDArray[np.uint8]:
        """The rows on the host, [n]."""
        return on_host(self.rows_there)

    @property
    def coded(self) -> NDArray[np.bool_]:
        """Which symbols are coded, [n]."""
        return self.rows >= self.threshold


@dataclass(frozen=True)
class Symbols:
    """Everything a file says about its picture.

    Attributes:
        z_index: [1, h/4, w/4] int64, numpy's.
        parts: the four parts of y.
        y_hat: [1, N, h, w] float32, in the scaled domain, where the networks are.
        step: [1, N, h, w] float32, >= 0.5, there too.
    """

    z_index: NDArray[np.int64]
    parts: tuple[Part, ...]
    y_hat: Array
    step: Array

    @property
    def latent(self) -> Array:
        """y_hat multiplied by the step, as g_s takes it."""
        return self.y_hat * self.step


class SymbolSource(Protocol):
    """Where `walk_parts` gets its symbols: the latent (encoder) or the stream (decoder)."""

    def symbols(
        self, kit: ArrayKit, part: int, rows: Array, mean: Array, step: Array
    ) -> tuple[Array, int]:
        """Give the part's symbols and its skip threshold.

        Args:
            kit: of the arrays.
            part: 0..3.
            rows: [n] uint8, table rows at the part's positions.
            mean: [n] float32, at these positions.
            step: [1, N, h, w] float32.

        Returns:
            [n] int32 symbols, where the rows are, and the threshold.
        """
        ...

    def require_finite(self, name: str, value: NDArray[np.float32]) -> None:
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

    def __init__(self, y: NDArray[np.float32], n_rows: int, n_zero_rows: int = 0) -> None:
        """Quantise a latent.

        Args:
            y: [1, N, h, w].
            n_rows: rows of the table set, the threshold of a part that is all zero.
            n_zero_rows: the first of them, which have no bin but zero's.
        """
        self._y = y
        self._n_rows = n_rows
        self._n_zero_rows = n_zero_rows
        self._scaled: Array = None

    def symbols(
        self, kit: ArrayKit, part: int, rows: Array, mean: Array, step: Array
    ) -> tuple[Array, int]:
        """Quantise one part; see `SymbolSource`.

        Raises:
            OutOfRangeError: a residual is not finite, or as large as no picture's.
        """
        xp = kit.xp
        if self._scaled is None:
            self._scaled = kit.there(self._y) * (1.0 / step)
        rounded = xp.round(kit.pick(self._scaled, part) - mean)
        if not bool((abs(rounded) < _MAX_SYMBOL).all()):  # so written, NaN is refused too
            raise OutOfRangeError(
                f"encode: symbols of part {part}: expected finite ones below {_MAX_SYMBOL:g}, "
                f"got {abs(rounded).max():g}"
            )
        symbols = xp.asarray(rounded, dtype=xp.int32)
        outliers = (rows < self._n_zero_rows) & (symbols != 0)
        if int(outliers.sum()) == 1:
            symbols *= ~outliers
        return symbols, int(xp.where(symbols != 0, rows, self._n_rows).min())

    def require_finite(self, name: str, value: NDArray[np.float32]) -> None:
        """Raise OutOfRangeError unless all values are finite."""
        if not np.isfinite(value).all():
            raise OutOfRangeError(f"encode: {name}: expected finite values from the model")


def walk_parts(
    networks: EntropyNetworks, z_index: NDArray[np.int64], source: SymbolSource
) -> Symbols:
    """Go from hyper indices to y_hat, part by part; encoder and decoder both run this.

    Args:
        networks: of the model, on the CPU or a device with our kernels.
        z_index: [1, h/4, w/4].
        source: where the symbols of each part come from.

    Returns:
        All symbols, with y_hat and step as the decoder sees them.

    Raises:
        GlcError: the source's own error, for symbols it cannot give or values that are not finite.
    """
    kit = networks.kit
    xp = kit.xp
    params, step, context = networks.exact_params(z_index)
    n = step.shape[1]
    seen = xp.concatenate((xp.zeros_like(context), context), axis=1)
    y_hat = seen[:, :n]  # what is placed there, later parts see
    parts = []
    for part in range(N_PARTS):
        if part == 0:
            scale, mean = kit.pick(params[:, n : 2 * n], 0), kit.pick(params[:, 2 * n :], 0)
        else:
            scale, mean = networks.exact_part_params(part, seen)
        rows = kit.rows(scale)
        symbols, threshold = source.symbols(kit, part, rows, mean, step)
        kit.put(symbols, mean, y_hat, part)
        parts.append(Part(symbols, rows, scale, threshold))
    _require_finite(kit, source, step, xp.stack([part.scale for part in parts]), y_hat)
    return Symbols(z_index, tuple(parts), y_hat, step)


def _require_finite(
    kit: ArrayKit, source: SymbolSource, step: Array, scales: Array, y_hat: Array
) -> None:
    """Let the source raise where the networks gave values that are not finite; one wait for all.

    Means are in y_hat, each at its position.
    """
    maps = {"step": step, "scale": scales, "mean": y_hat}
    # extremes are not finite as soon as one value is not
    extremes = on_host(kit.xp.stack([kit.extremes(x) for x in maps.values()]))
    for name, pair in zip(maps, extremes, strict=True):
        source.require_finite(name, pair)
