# SPDX-License-Identifier: Apache-2.0
"""CompressAI's entropy coder, replaced: the classes of `compressai.ans`, and `install()`.

>>> from glc.compat import compressai
>>> tables = [[0, 30000, 60000, 65536]], [4], [0]  # cdfs, their sizes, offsets
>>> stream = compressai.RansEncoder().encode_with_indexes([0, 1, -7], [0, 0, 0], *tables)
>>> compressai.RansDecoder().decode_with_indexes(stream, [0, 0, 0], *tables)
[0, 1, -7]

Two formats: "glc", the streams of `glc.rans`, is the faster one; "compressai" reads and writes what
`compressai.ans` does, byte for byte. The classes need numpy only; `install()` makes the models of
an installed CompressAI use them. docs/compressai.md says when to take which.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from glc import _core
from glc._arguments import Int32Array, as_bytes, as_int32
from glc.errors import InvalidArgumentError
from glc.rans import Decoder, Encoder, TableSet

__all__ = [
    "BufferedRansEncoder",
    "RansDecoder",
    "RansEncoder",
    "install",
    "installed",
    "uninstall",
]

Format: TypeAlias = Literal["glc", "compressai"]

Symbols: TypeAlias = list[int] | Int32Array
"""What decoding returns: a list for a list of indexes, as CompressAI does, else an array."""

_MAX_ROWS = 1 << 16  # of a TableSet
_MAX_TABLES = 8
_MAX_ENTRIES = 1 << 20  # of cdfs that are remembered; a row for each symbol serves one message


class RansEncoder:
    """Codes one message a call.

    All arguments of all methods may be lists, numpy arrays or tensors of integers. The five that
    describe a message: symbols and indexes of the same size, the row of each symbol; cdfs [rows,
    width], of which row r uses the first cdfs_sizes[r] entries and ends in its escape bin;
    offsets [rows], the symbol of each row's first bin. Tables are prepared once and recognised by
    content when they come again.
    """

    def __init__(self, format: Format = "glc") -> None:
        """Choose the format of the streams: "glc" or "compressai"."""
        self._format = _checked(format)

    def encode_with_indexes(
        self, symbols: Any, indexes: Any, cdfs: Any, cdfs_sizes: Any, offsets: Any
    ) -> bytes:
        """Return the stream of one message.

        Raises:
            InvalidArgumentError: tables that do not fit; an index outside them; in the format
                "compressai" an escape over 28 bits (a symbol 2^27 outside its row), on which
                `compressai.ans` never returns.
        """
        return self._encode(symbols, indexes, _tables(cdfs, cdfs_sizes, offsets))

    def _encode(self, symbols: Any, indexes: Any, tables: _Tables) -> bytes:
        rows = _ints(indexes, "indexes")
        if self._format == "glc":
            encoder = Encoder(segment_symbols=0)  # decode_stream may take it in pieces
            encoder.push(_ints(symbols, "symbols"), rows, tables.glc)
            return encoder.finish()
        ans = _core.AnsEncoder()
        ans.push(_ints(symbols, "symbols"), rows, tables.ans)
        return ans.finish()


class BufferedRansEncoder:
    """Collects messages until flush, for streams that are decoded piece by piece.

    In the format "glc" these streams have a single lane: where messages end is not in the stream.
    """

    def __init__(self, format: Format = "glc") -> None:
        """Choose the format of the streams: "glc" or "compressai"."""
        self._format = _checked(format)
        self._encoder = self._new()

    def _new(self) -> Encoder | _core.AnsEncoder:
        return Encoder(lanes=1, segment_symbols=0) if self._format == "glc" else _core.AnsEncoder()

    def encode_with_indexes(
        self, symbols: Any, indexes: Any, cdfs: Any, cdfs_sizes: Any, offsets: Any
    ) -> None:
        """Append a message; arguments and errors as for RansEncoder."""
        tables = _tables(cdfs, cdfs_sizes, offsets)
        rows = _ints(indexes, "indexes")
        if isinstance(self._encoder, Encoder):
            self._encoder.push(_ints(symbols, "symbols"), rows, tables.glc)
        else:
            self._encoder.push(_ints(symbols, "symbols"), rows, tables.ans)

    def flush(self) -> bytes:
        """Return the stream of all messages since the last flush."""
        encoder, self._encoder = self._encoder, self._new()
        return encoder.finish()


class RansDecoder:
    """Decodes a message at once, or a stream in pieces."""

    def __init__(self, format: Format = "glc") -> None:
        """Choose the format of the streams: "glc" or "compressai"."""
        self._format = _checked(format)
        self._pieces: _core.PieceDecoder | _core.AnsDecoder | None = None

    def decode_with_indexes(
        self, encoded: Any, indexes: Any, cdfs: Any, cdfs_sizes: Any, offsets: Any
    ) -> Symbols:
        """Return the symbols of one message.

        Args:
            encoded: bytes-like, the stream.
            indexes: integers, the row of each symbol.
            cdfs: Tables as for RansEncoder.
            cdfs_sizes: Likewise.
            offsets: Likewise.

        Raises:
            BitstreamError: malformed or cut. In the format "glc" also when the stream holds
                anything but these symbols, so that damage and wrong tables almost always show.
            InvalidArgumentError: tables that do not fit, an index outside them, or encoded is not
                bytes-like.
        """
        rows = _ints(indexes, "indexes")
        out = np.empty(rows.shape, np.int32)
        self._decode(encoded, rows, _tables(cdfs, cdfs_sizes, offsets), out)
        return _like(indexes, out)

    def _decode(self, encoded: Any, rows: Int32Array, tables: _Tables, out: Int32Array) -> None:
        encoded = as_bytes(encoded, "compressai: encoded")
        if self._format == "glc":
            decoder = Decoder(encoded)
            decoder.pull(rows, tables.glc, out)
            decoder.finish()
        else:
            _core.AnsDecoder(encoded).pull(rows, tables.ans, out)

    def set_stream(self, encoded: Any) -> None:
        """Begin a stream, which decode_stream continues.

        Raises:
            BitstreamError: a malformed head.
            InvalidArgumentError: encoded is not bytes-like.
        """
        self._pieces = None  # whatever becomes of the new one, the stream before has ended
        encoded = as_bytes(encoded, "compressai: encoded")
        glc = self._format == "glc"
        self._pieces = _core.PieceDecoder(encoded) if glc else _core.AnsDecoder(encoded)

    def decode_stream(self, indexes: Any, cdfs: Any, cdfs_sizes: Any, offsets: Any) -> Symbols:
        """Return the next symbols of the stream, one for each index.

        Raises:
            BitstreamError: malformed or cut.
            InvalidArgumentError: before set_stream; tables or indexes as above.
        """
        rows = _ints(indexes, "indexes")
        tables = _tables(cdfs, cdfs_sizes, offsets)
        out = np.empty(rows.shape, np.int32)
        if isinstance(self._pieces, _core.PieceDecoder):
            self._pieces.pull(rows, tables.ans, tables.glc.bits, out)
        elif self._pieces is not None:
            self._pieces.pull(rows, tables.ans, out)
        else:
            raise InvalidArgumentError("compressai: decode_stream: expected set_stream before it")
        return _like(indexes, out)


def install(format: Format = "glc") -> None:
    """Make CompressAI's models code through glc, until uninstall.

    Reaches models built before and after, their copies, and every loaded module that imported the
    coder classes by name (autoregressive models do), CompressAI's own or not. Streams must be
    decoded in the format in which they were made. A second call changes the format.

    Raises:
        UnsupportedError: CompressAI is not installed, or its import fails.
        InvalidArgumentError: another format.
    """
    from glc.compat import _compressai_patch

    _compressai_patch.install(_checked(format))


def uninstall() -> None:
    """Restore CompressAI exactly as it was before install. Without install, do nothing."""
    from glc.compat import _compressai_patch

    _compressai_patch.uninstall()


@contextmanager
def installed(format: Format = "glc") -> Iterator[None]:
    """Install for the time of a with block, then return to what was before; errors as install.

    As `install` it is for the whole process, so blocks of several threads must not overlap.
    """
    from glc.compat import _compressai_patch

    before = _compressai_patch.format_in_force()
    install(format)
    try:
        yield
    finally:
        uninstall() if before is None else install(before)


def _checked(format: Format) -> Format:
    if format not in get_args(Format):
        raise InvalidArgumentError(
            f"compressai: format: expected 'glc' or 'compressai', got {format!r}"
        )
    return format


def _ints(values: Any, name: str) -> Int32Array:
    """Borrow or convert integers, any shape."""
    if isinstance(values, list):
        out = np.empty(len(values), np.int32)
        if _core.ans_read_ints(values, out):
            return out
    elif hasattr(values, "detach"):  # a tensor, of any device
        values = values.detach().cpu()
    return as_int32(values, name)


def _like(indexes: Any, symbols: Int32Array) -> Symbols:
    return list(symbols.tolist()) if isinstance(indexes, list) else symbols


class _Tables:
    """One content of tables, prepared for either format when it is first coded in."""

    def __init__(self, cdfs: Int32Array, sizes: Int32Array, offsets: Int32Array) -> None:
        self.arrays = (cdfs, sizes, offsets)
        self.lists: tuple[Any, Any, Any] | None = None  # the same as lists, once they came so

    @cached_property
    def ans(self) -> _core.AnsTables:
        return _core.AnsTables(*self.arrays)

    @cached_property
    def glc(self) -> TableSet:
        cdfs, sizes, offsets = self.arrays
        if len(cdfs) > _MAX_ROWS:
            raise InvalidArgumentError(
                f"compressai: cdfs: expected at most {_MAX_ROWS} rows in the format 'glc', got "
                f"{len(cdfs)}; the format 'compressai' takes more"
            )
        known = cdfs.size and sizes.size and 0 < sizes[0] <= cdfs.shape[1]
        total = int(cdfs[0, sizes[0] - 1]) if known else 0
        bits = next((n for n in range(8, 16) if total == 1 << n), 16)  # CompressAI's, if none fits
        return TableSet.from_cdfs(cdfs, sizes, offsets, bits=bits)


# Most recent first. Replaced as a whole, so that threads need no lock: at worst one loses an entry.
_recent: tuple[_Tables, ...] = ()


def _tables(cdfs: Any, sizes: Any, offsets: Any) -> _Tables:
    """Find tables by content, or prepare them.

    CompressAI passes the same lists thousands of times (once for each pixel of an autoregressive
    model). Comparing them costs little: equal numbers are mostly the same objects.
    """
    global _recent
    lists = (cdfs, sizes, offsets) if _all_lists(cdfs, sizes, offsets) else None
    found = None
    if lists is not None:
        try:
            found = next((t for t in _recent if t.lists == lists), None)
        except (ValueError, RuntimeError):  # arrays or tensors where numbers belong have no truth
            lists = None
    if found is None:
        flat = (_ints(sizes, "cdfs_sizes").reshape(-1), _ints(offsets, "offsets").reshape(-1))
        arrays = (_matrix(cdfs), *flat)
        for tables in _recent:
            if all(map(np.array_equal, tables.arrays, arrays)):
                found = tables
                break
        else:
            found = _Tables(*(array.copy() for array in arrays))
        if lists is not None and found.arrays[0].size <= _MAX_ENTRIES:
            found.lists = ([list(row) for row in cdfs], list(sizes), list(offsets))
    small = found.arrays[0].size <= _MAX_ENTRIES
    if small and (not _recent or _recent[0] is not found):
        _recent = (found, *(t for t in _recent if t is not found))[:_MAX_TABLES]
    return found


def _all_lists(cdfs: Any, sizes: Any, offsets: Any) -> bool:
    parts = (cdfs, sizes, offsets, *(cdfs if isinstance(cdfs, list) else ()))
    return all(isinstance(part, list) for part in parts)


def _matrix(cdfs: Any) -> Int32Array:
    """Convert cdfs to [rows, width]; rows of a list may differ in length."""
    if isinstance(cdfs, list):
        rows = [_ints(row, "cdfs") for row in cdfs]
        odd = next((row.shape for row in rows if row.ndim != 1), None)
        if odd is not None:
            raise InvalidArgumentError(f"compressai: cdfs: expected rows of integers, got {odd}")
        table = np.zeros((len(rows), max((row.size for row in rows), default=0)), np.int32)
        for i, row in enumerate(rows):
            table[i, : row.size] = row
        return table
    table = _ints(cdfs, "cdfs")
    if table.ndim != 2:
        raise InvalidArgumentError(f"compressai: cdfs: expected [rows, width], got {table.shape}")
    return table
