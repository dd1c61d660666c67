# SPDX-License-Identifier: Apache-2.0
"""Sets of integer cdfs, which the coder reads. Needs numpy only."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from glc import _core
from glc._arguments import Int32Array, as_array, as_flag, as_floats, as_int32, as_rows, in_range
from glc.errors import InvalidArgumentError

__all__ = ["TableSet"]


class TableSet:
    """Immutable set of integer cdfs; row r codes the symbols from its offset on.

    Attributes:
        rows: Number of cdfs.
        bits: Each row's frequencies sum to `1 << bits`; 8..16.
        escape: Whether the last bin of a row takes every symbol that the row does not hold.
        nbytes: Memory of the coding tables.
        prepared: What others derived from these tables, such as a copy on a device; not pickled.
    """

    def __init__(self, native: _core.RansTableSet) -> None:
        self._native = native
        self.rows: int = native.rows
        self.bits: int = native.bits
        self.escape: bool = native.escape
        self.nbytes: int = native.nbytes
        self.prepared: dict[Any, Any] = {}

    def __repr__(self) -> str:
        escape = ", escape" if self.escape else ""
        return f"TableSet({self.rows} rows, {self.bits} bits{escape})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by content, so that models and workers may hold tables."""
        return TableSet.from_exact_freqs, (*self.arrays(), self.bits, self.escape)

    @classmethod
    def from_cdfs(cls, cdfs: Any, sizes: Any, offsets: Any, bits: int = 16) -> TableSet:
        """Take CompressAI's tables as they are.

        Args:
            cdfs: [rows, width] integers; row r uses its first sizes[r] entries, strictly
                increasing from 0 to `1 << bits`. The last bin of each row is its escape.
            sizes: [rows] integers, bins + 1, in 2..width.
            offsets: [rows] integers, the symbol of each row's first bin.
            bits: Precision, 8..16.

        Raises:
            InvalidArgumentError: anything else.
        """
        table = as_int32(cdfs, "cdfs")
        if table.ndim != 2:
            raise InvalidArgumentError(f"rans: cdfs: expected [rows, width], got {table.shape}")
        return cls(
            _core.RansTableSet.from_cdfs(
                table,
                table.shape[1],
                as_int32(sizes, "sizes"),
                as_int32(offsets, "offsets"),
                _bits(bits),
            )
        )

    @classmethod
    def from_freqs(
        cls,
        freqs: Any,
        offsets: Any = 0,
        bits: int = 14,
        escape: bool = False,
    ) -> TableSet:
        """Make tables from counts or frequencies, scaled to `1 << bits` where they are not yet.

        Args:
            freqs: [bins] or [rows, bins] integers >= 0, or a sequence of such rows of different
                lengths. Scaling keeps every positive entry positive (`glc.cdf.normalise`).
            offsets: Symbol of the first bin, one number or [rows].
            bits: Precision, 8..16.
            escape: The last bin of each row is its escape, and any int32 symbol can be coded.
                Every bin then has a frequency of at least 1, given or not.

        Raises:
            InvalidArgumentError: a row without a positive entry, or with over `1 << bits`; a
                symbol outside int32; an escape that is neither True nor False.
        """
        from glc.cdf import normalise

        escape = as_flag("rans: escape", escape)
        rows = []
        for array in _freq_rows(freqs):
            if array.size and int(array.min()) < 0:  # before escape makes it 1
                raise InvalidArgumentError(f"rans: freqs: expected >= 0, got {array.min()}")
            counts = np.maximum(array, 1) if escape else array
            rows.append(normalise(counts, _bits(bits)))
        n_bins = np.array([row.size for row in rows], np.int32)
        first = as_int32(offsets, "offsets")
        if first.ndim and first.shape != n_bins.shape:
            raise InvalidArgumentError(
                f"rans: offsets: expected one number or {n_bins.size}, got {first.shape}"
            )
        first = np.broadcast_to(first, n_bins.shape)
        return cls.from_exact_freqs(np.concatenate(rows), n_bins, first, bits, escape)

    @classmethod
    def from_exact_freqs(
        cls, freqs: Any, n_bins: Any, offsets: Any, bits: int, escape: bool
    ) -> TableSet:
        """Make tables from concatenated rows of frequencies that sum to `1 << bits` each.

        Args:
            freqs: [sum of n_bins] integers >= 0 (>= 1 with escape).
            n_bins: [rows] integers, bins of each row, the escape bin included.
            offsets: [rows] integers, symbol of each row's first bin.
            bits: Precision, 8..16.
            escape: The last bin of each row is its escape.

        Raises:
            InvalidArgumentError: sizes or sums that do not fit, or an escape that is neither True
                nor False.
        """
        flat = as_array(freqs, "freqs")
        if flat.size and not 0 <= int(flat.min()) <= int(flat.max()) < 2**32:
            raise InvalidArgumentError("rans: freqs: expected values in 0..2^32 - 1")
        return cls(
            _core.RansTableSet.from_freqs(
                flat.astype(np.uint32, copy=False),
                as_int32(n_bins, "n_bins"),
                np.ascontiguousarray(as_int32(offsets, "offsets")),
                _bits(bits),
                as_flag("rans: escape", escape),
            )
        )

    @classmethod
    def from_gaussian(cls, scales: Any, bits: int = 14) -> TableSet:
        """Make one row with escape per zero-mean Gaussian, binned at half-integers.

        A row holds the symbols -n..n whose probability reaches 2^-(bits + 1). The arithmetic uses
        only + - * /, so that the same scales give the same tables on every machine; for files that
        must last, ship the tables (`glc.cdf.canonical`).

        Args:
            scales: [rows] numbers in (0, 1024], units of the symbol.
            bits: Precision, 8..16.

        Raises:
            InvalidArgumentError: scales or bits outside their range.
        """
        array = as_floats(scales, "scales", np.float64, op="rans").reshape(-1)
        return cls(_core.RansTableSet.from_gaussian(array, _bits(bits)))

    def arrays(self) -> tuple[npt.NDArray[np.uint32], Int32Array, Int32Array]:
        """Return what from_exact_freqs takes: freqs [all bins], n_bins and offsets [rows]."""
        freqs, n_bins, offsets = self._native.arrays()
        return (
            np.frombuffer(freqs, np.uint32),
            np.frombuffer(n_bins, np.int32),
            np.frombuffer(offsets, np.int32),
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the tables' content: equal exactly when all streams would be equal.

        Over, little-endian: bits u8, escape u8, rows u32, then n_bins i32 [rows], offsets i32
        [rows], freqs u32 [bins].
        """
        freqs, n_bins, offsets = self.arrays()
        sha = hashlib.sha256(struct.pack("<BBI", self.bits, self.escape, self.rows))
        sha.update(n_bins.astype("<i4").tobytes())
        sha.update(offsets.astype("<i4").tobytes())
        sha.update(freqs.astype("<u4").tobytes())
        return sha.digest()

    def cost_bits(self, symbols: Any, rows: Any) -> float:
        """Sum the cost of symbols, -log2(freq / 2^bits) each, escape bits included.

        A multiple of 2^-16, from integer arithmetic: equal on every machine. What the stream adds
        to it is about 3 bytes per lane and 3 more.

        Args:
            symbols: integers, any shape.
            rows: integers of the same shape, or one number.

        Raises:
            InvalidArgumentError: a symbol or row that the tables cannot code.
        """
        return self._native.cost(as_int32(symbols, "symbols"), as_rows(rows)) / 65536


def _bits(bits: int) -> int:
    return in_range("rans: bits", bits, 8, 16)


def native_tables(tables: TableSet) -> _core.RansTableSet:
    """Return what the native module takes, or refuse what is no TableSet."""
    if not isinstance(tables, TableSet):
        raise InvalidArgumentError(
            f"rans: tables: expected a TableSet, got {type(tables).__name__}"
        )
    return tables._native


def _freq_rows(freqs: Any) -> list[npt.NDArray[Any]]:
    """Split freqs, one row or many, even or ragged, into one array per row."""
    ragged = isinstance(freqs, Sequence) and len(freqs) > 0 and not np.isscalar(freqs[0])
    if ragged:
        return [as_array(row, "freqs") for row in freqs]
    array = as_array(freqs, "freqs")
    if array.ndim not in (1, 2) or array.size == 0:
        raise InvalidArgumentError(
            f"rans: freqs: expected [bins] or [rows, bins], got {array.shape}"
        )
    return list(array.reshape(-1, array.shape[-1]))
