# SPDX-License-Identifier: Apache-2.0
"""rANS entropy coding with static tables, one table row per symbol. Needs numpy only.

>>> import numpy as np
>>> from glc import rans
>>> tables = rans.TableSet.from_gaussian([0.5, 2.0, 8.0])
>>> symbols = np.array([0, -1, 5, 100_000], np.int32)
>>> rows = np.array([0, 1, 2, 0], np.uint8)
>>> stream = rans.encode(symbols, rows, tables)
>>> rans.decode(stream, rows, tables).tolist()
[0, -1, 5, 100000]

Arrays may be anything numpy can see without a copy: numpy arrays, CPU tensors, buffers, objects
with DLPack. The stream is specified in docs/format.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from glc import _core
from glc._arguments import Int32Array, as_array, as_bytes, as_int32, as_rows, in_range
from glc.errors import InvalidArgumentError

__all__ = [
    "Decoder",
    "Encoder",
    "TableSet",
    "decode",
    "decode_bytes",
    "encode",
    "encode_bytes",
]

MAX_PUSH = 2**31 - 1
"""Symbols of one push."""


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
                symbol outside int32.
        """
        from glc.cdf import normalise

        arrays = _freq_rows(freqs)
        rows = []
        for array in arrays:
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
            InvalidArgumentError: sizes or sums that do not fit.
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
                escape,
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
        array = as_array(scales, "scales", "iuf").astype(np.float64).reshape(-1)
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
        to it is about 4 bytes per lane and 1 byte of descriptor.

        Args:
            symbols: integers, any shape.
            rows: integers of the same shape, or one number.

        Raises:
            InvalidArgumentError: a symbol or row that the tables cannot code.
        """
        return self._native.cost(as_int32(symbols, "symbols"), as_rows(rows)) / 65536


def _bits(bits: int) -> int:
    return in_range("rans: bits", bits, 8, 16)


def _segment(symbols: int | None) -> int | None:
    return None if symbols is None else in_range("rans: segment_symbols", symbols, 0, 1 << 30)


def _native(tables: TableSet) -> _core.RansTableSet:
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


class Encoder:
    """Collects pushes and codes them at finish, last push first.

    A decoder pulls in the order of the pushes, so that later rows may depend on earlier symbols.
    """

    def __init__(self, lanes: int | None = None, segment_symbols: int | None = None) -> None:
        """Choose how the work is divided.

        Args:
            lanes: 1, 2, 4, 8, 16 or 32 interleaved states. None decides at finish by the rule of
                the format: the largest that has 512 bytes of payload for each lane.
            segment_symbols: a multiple of 32 in 32..2^30. Each push is cut into segments of so
                many symbols, which threads, or a GPU, code and decode side by side; a segment
                costs about 100 bytes. 0 keeps everything in one stream. None decides at finish by
                the rule of the format: segments of about 64 KiB once there are 96 KiB.

        Raises:
            InvalidArgumentError: another number.
        """
        if lanes is not None:
            in_range("rans: lanes", lanes, 1, 32)
        self._native = _core.RansEncoder(lanes, _segment(segment_symbols))

    def push(self, symbols: Any, rows: Any, tables: TableSet) -> None:
        """Append symbols to the stream.

        Args:
            symbols: integers in the int32 range, any shape.
            rows: integers of the same size, row of each symbol; uint8, uint16 and int32 are taken
                without a copy. Or one number for all.
            tables: any tables; the decoder must pull with equal ones.

        Raises:
            InvalidArgumentError: a row outside the tables; a symbol that its row cannot code; after
                finish. The encoder is then as it was before the call.
        """
        self._native.push(as_int32(symbols, "symbols"), as_rows(rows), _native(tables))

    def finish(self) -> bytes:
        """Return the stream. The encoder cannot be used afterwards.

        Raises:
            InvalidArgumentError: when called twice.
        """
        return self._native.finish()


class Decoder:
    """Pulls symbols from a stream in the order in which they were pushed.

    Any bytes give symbols or a BitstreamError; finish() tells whether they were the right ones.
    """

    def __init__(self, data: Any, *, descriptor: int | None = None) -> None:
        """Read the head of a stream.

        Args:
            data: bytes-like, borrowed until the decoder is gone.
            descriptor: first byte of the stream, 0..255, where data does not begin with it because
                a container keeps it elsewhere.

        Raises:
            BitstreamError: a head that is malformed or cut; names the byte offset in data.
        """
        if descriptor is not None:
            in_range("rans: descriptor", descriptor, 0, 255)
        self._native = _core.RansDecoder(as_bytes(data, "rans: data"), descriptor)

    @property
    def lanes(self) -> int:
        """Number of interleaved states, 1..32; 0 in a stream of segments: each has its own."""
        return self._native.lanes

    def pull(
        self,
        rows: Any,
        tables: TableSet,
        out: Int32Array | None = None,
        *,
        count: int | None = None,
    ) -> Int32Array:
        """Decode the next symbols.

        Args:
            rows: integers, row of each symbol, as pushed; or one number for all, and then out or
                count says how many.
            tables: equal to those of the push.
            out: contiguous, writable int32 array for the symbols; new memory by default.
            count: number of symbols, 0..2^31 - 1.

        Returns:
            int32 symbols: out if given, else shaped like rows.

        Raises:
            InvalidArgumentError: sizes that disagree, a row outside the tables.
            BitstreamError: the stream ends too early, or an escape in it is malformed. The content
                of out is then unspecified, and the decoder refuses further pulls.
        """
        native_rows = as_rows(rows)
        if count is not None:
            in_range("rans: count", count, 0, MAX_PUSH)
        if out is None:
            shape: tuple[int, ...]
            if not isinstance(native_rows, int):
                shape = native_rows.shape
            elif count is not None:
                shape = (count,)
            else:
                raise InvalidArgumentError("rans: pull: expected out or count with a single row")
            if count is not None and int(np.prod(shape, dtype=np.int64)) != count:
                raise InvalidArgumentError(f"rans: rows: expected {count} rows, got {shape}")
            out = np.empty(shape, np.int32)
        elif (
            not isinstance(out, np.ndarray)
            or out.dtype != np.int32
            or not (out.flags.c_contiguous and out.flags.writeable)
        ):
            raise InvalidArgumentError("rans: out: expected a contiguous, writable int32 array")
        elif count is not None and out.size != count:
            raise InvalidArgumentError(f"rans: out: expected {count} symbols, got {out.size}")
        self._native.pull(native_rows, _native(tables), out)
        return out

    def finish(self) -> None:
        """Verify that the stream was consumed exactly and every lane is back at its start.

        Raises:
            BitstreamError: otherwise; wrong rows or tables, or damage, almost always show here.
        """
        self._native.finish()


def encode(
    symbols: Any,
    rows: Any,
    tables: TableSet,
    lanes: int | None = None,
    segment_symbols: int | None = None,
) -> bytes:
    """Code symbols as one stream; arguments as for Encoder and Encoder.push."""
    encoder = Encoder(lanes, segment_symbols)
    encoder.push(symbols, rows, tables)
    return encoder.finish()


def decode(
    data: Any,
    rows: Any,
    tables: TableSet,
    out: Int32Array | None = None,
    *,
    count: int | None = None,
) -> Int32Array:
    """Decode and verify one stream; arguments as for Decoder and Decoder.pull."""
    decoder = Decoder(data)
    symbols = decoder.pull(rows, tables, out, count=count)
    decoder.finish()
    return symbols


def encode_bytes(data: Any, segment_bytes: int | None = None, lanes: int | None = None) -> bytes:
    """Compress bytes by their order-0 statistics; self-describing, never longer than data + 11.

    Args:
        data: bytes-like, or a contiguous uint8 array.
        segment_bytes: bytes of data in a segment, as an Encoder's segment_symbols.
        lanes: 1, 2, 4, 8, 16 or 32 interleaved states of each segment. None decides by its coded
            size; a GPU decodes 32 fastest, one warp a segment.

    Raises:
        InvalidArgumentError: other lanes, or a segment_bytes that is neither 0 nor a multiple of 32
            up to 2^30.
    """
    if lanes is not None:
        in_range("bytes: lanes", lanes, 1, 32)
    return _core.rans_encode_bytes(as_bytes(data, "bytes: data"), _segment(segment_bytes), lanes)


def decode_bytes(data: Any, max_size: int = 1 << 30) -> bytes:
    """Restore what encode_bytes was given.

    Args:
        data: bytes-like.
        max_size: Largest result accepted, in bytes. A short input may claim a long result.

    Raises:
        InvalidArgumentError: a max_size outside 0..2^63 - 1.
        BitstreamError: malformed, cut, damaged, or larger than max_size.
    """
    in_range("bytes: max_size", max_size, 0, 2**63 - 1)
    return _core.rans_decode_bytes(as_bytes(data, "bytes: data"), max_size)
