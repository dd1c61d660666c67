# SPDX-License-Identifier: Apache-2.0
"""rANS entropy coding with static tables, one table row per symbol. Needs numpy only.

The algebra is that of range ANS (Duda 2013), in interleaved lanes (Giesen 2014).

>>> import numpy as np
>>> from glc import rans
>>> tables = rans.TableSet.from_gaussian([0.5, 2.0, 8.0])
>>> symbols = np.array([0, -1, 5, 100_000], np.int32)
>>> rows = np.array([0, 1, 2, 0], np.uint8)
>>> stream = rans.encode(symbols, rows, tables)
>>> rans.decode(stream, rows, tables).tolist()
[0, -1, 5, 100000]

Arrays may be anything numpy can see without a copy: numpy arrays, CPU tensors, buffers, objects
with DLPack. Calls let other Python threads run, which must not write meanwhile into what a call was
given: rows are checked once, and then trusted. The stream is specified in docs/format.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glc import _core
from glc._arguments import Int32Array, as_bytes, as_int32, as_rows, in_range
from glc.errors import InvalidArgumentError
from glc.table_set import TableSet, native_tables

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


def _segment(symbols: int | None) -> int | None:
    return None if symbols is None else in_range("rans: segment_symbols", symbols, 0, 1 << 30)


def _lanes(lanes: int | None, op: str) -> int | None:
    return None if lanes is None else in_range(f"{op}: lanes", lanes, 1, 32)


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
        self._native = _core.RansEncoder(_lanes(lanes, "rans"), _segment(segment_symbols))

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
        self._native.push(as_int32(symbols, "symbols"), as_rows(rows), native_tables(tables))

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
            InvalidArgumentError: data is not bytes, or a descriptor outside its range.
        """
        if descriptor is not None:
            descriptor = in_range("rans: descriptor", descriptor, 0, 255)
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
            out: contiguous, aligned, writable int32 array for the symbols, which shares no memory
                with rows or the stream; new memory by default.
            count: number of symbols, 0..2^31 - 1.

        Returns:
            int32 symbols: out if given, else shaped like rows.

        Raises:
            InvalidArgumentError: sizes that disagree, a row outside the tables, an out that shares
                memory with rows or the stream.
            BitstreamError: the stream ends too early, or an escape in it is malformed. The content
                of out is then unspecified, and the decoder refuses further pulls.
        """
        native_rows = as_rows(rows)
        if count is not None:
            count = in_range("rans: count", count, 0, MAX_PUSH)
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
            or not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable)
        ):
            raise InvalidArgumentError(
                "rans: out: expected a contiguous, aligned, writable int32 array"
            )
        elif count is not None and out.size != count:
            raise InvalidArgumentError(f"rans: out: expected {count} symbols, got {out.size}")
        self._native.pull(native_rows, native_tables(tables), out)
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
        data: bytes-like: contiguous items of one byte, whatever their format.
        segment_bytes: bytes of data in a segment, as an Encoder's segment_symbols.
        lanes: 1, 2, 4, 8, 16 or 32 interleaved states of each segment. None decides by its coded
            size; a GPU decodes 32 fastest, one warp a segment.

    Raises:
        InvalidArgumentError: data is not bytes, other lanes, or a segment_bytes that is neither 0
            nor a multiple of 32 up to 2^30.
    """
    return _core.rans_encode_bytes(
        as_bytes(data, "bytes: data"), _segment(segment_bytes), _lanes(lanes, "bytes")
    )


def decode_bytes(data: Any, max_size: int = 1 << 30) -> bytes:
    """Restore what encode_bytes was given.

    Args:
        data: bytes-like.
        max_size: Largest result accepted, in bytes. A short input may claim a long result.

    Raises:
        InvalidArgumentError: data is not bytes, or a max_size outside 0..2^63 - 1.
        BitstreamError: malformed, cut, damaged, or larger than max_size.
        MemoryError: a max_size for which there is no memory, when data claims as much.
    """
    most = in_range("bytes: max_size", max_size, 0, 2**63 - 1)
    return _core.rans_decode_bytes(as_bytes(data, "bytes: data"), most)
