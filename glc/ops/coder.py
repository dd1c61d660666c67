# SPDX-License-Identifier: Apache-2.0
"""The rANS coder for tensors: on the device where they are, in the same bytes as `glc.rans`.

    coded = coder.encode(symbols, rows, tables)         # an `Encoded`, on the device
    coder.decode(coded, rows, tables)                   # int32, on the device
    stream = bytes(coded)                               # the first thing that waits for the device

Streams are cut into segments (docs/format.md), so that `glc.rans` reads what a GPU wrote and the
other way round. On a CUDA device all work is queued on the current stream. What is wrong with the
data is known there first; it is raised when the host has to wait anyway: by `Encoded`'s methods, by
`Decoder.finish`, and by `decode` unless it is told not to check. Tensors of other devices are an
UnsupportedError, and so are those of a CUDA device where glc was built without kernels for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glc import _core, rans
from glc.errors import BitstreamError, InvalidArgumentError
from glc.ops import _coder_cuda
from glc.rans import TableSet

__all__ = [
    "Decoder",
    "Encoded",
    "Encoder",
    "decode",
    "decode_bytes",
    "encode",
    "encode_bytes",
    "even_segments",
]

LANES = 32
"""States of a segment: a warp's lanes."""
SEGMENT_SYMBOLS = 32768
"""Default cut: at 2 bit a symbol, segments of 8 KiB, which states and table make 1.2 % longer. A
device decodes one in each warp: a smaller number fills it sooner."""
SEGMENT_BYTES = 65536
"""The same of `encode_bytes`."""

_ROW_DTYPES = (torch.uint8, torch.uint16, torch.int32)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A stream on its device, whose length the host may not know yet.

    Attributes:
        buffer: [capacity] uint8; the stream is at its front.
        progress: int64, where a device notes position and errors; None on the CPU, whose buffer is
            the stream.
    """

    buffer: Tensor
    progress: Tensor | None = None

    def __len__(self) -> int:
        """Return the bytes of the stream. Waits for the device.

        Raises:
            InvalidArgumentError: the device found a symbol or row that the tables cannot code.
        """
        if self.progress is None:
            return self.buffer.numel()
        return _coder_cuda.check(self.progress)

    def tensor(self) -> Tensor:
        """Return the stream, uint8, on its device. Waits and raises as len() does."""
        return self.buffer[: len(self)]

    def __bytes__(self) -> bytes:
        """Copy the stream to the host. Waits and raises as len() does."""
        return self.tensor().cpu().numpy().tobytes()


def even_segments(n: int, device: torch.device | str, most: int = SEGMENT_SYMBOLS) -> int:
    """Cut n symbols or bytes so that every warp of a device decodes equally many.

    Args:
        n: symbols of a push, or bytes.
        device: a CUDA device.
        most: the longest segment wanted. A segment costs about 100 bytes.

    Returns:
        A `segment_symbols` or `segment_bytes`: as many segments as the device decodes at once, or
        the smallest multiple of that with segments up to `most`. On a device that glc has no
        kernels for, and on the CPU, `most`.
    """
    place = torch.empty(0, device=device)
    if not _coder_cuda.takes(place) or place.device.type != "cuda":
        return most
    processors = torch.cuda.get_device_properties(place.device).multi_processor_count
    at_once = processors * int(_core.RANS_WARPS_PER_PROCESSOR)
    rounds = max(1, -(-n // (at_once * most)))
    return max(32, -(-n // (at_once * rounds)) + 31 & ~31)


class Encoder:
    """Collects pushes of tensors on one device; `glc.rans.Encoder` with segments."""

    def __init__(self, lanes: int = LANES, segment_symbols: int = SEGMENT_SYMBOLS) -> None:
        """Choose how the work is divided.

        Args:
            lanes: 1, 2, 4, 8, 16 or 32 interleaved states of a segment.
            segment_symbols: a multiple of 32 in 32..2^30.

        Raises:
            InvalidArgumentError: another number.
        """
        if segment_symbols < 1:
            raise InvalidArgumentError(
                "coder: segment_symbols: expected a multiple of 32 in 32..2^30, "
                f"got {segment_symbols}"
            )
        self._cpu = rans.Encoder(lanes, segment_symbols)  # refuses what is not allowed
        self._cut = (lanes, segment_symbols)
        self._pushes: list[tuple[Tensor, int | Tensor, TableSet]] = []

    def push(self, symbols: Tensor, rows: int | Tensor, tables: TableSet) -> None:
        """Append symbols to the stream. The tensors must not change before finish().

        Args:
            symbols: int32, any shape, CPU or CUDA; of one device in all pushes.
            rows: uint8, uint16 or int32 of as many elements and the same device, row of each
                symbol; or one number for all.
            tables: any tables; the decoder must pull with equal ones.

        Raises:
            InvalidArgumentError: dtypes, sizes or devices; on the CPU also a symbol or row that the
                tables cannot code.
        """
        _require_symbols(symbols)
        rows = _checked_rows(rows, symbols)
        if self._pushes and self._pushes[0][0].device != symbols.device:
            raise InvalidArgumentError(
                f"coder: symbols: expected device {self._pushes[0][0].device}, got {symbols.device}"
            )
        symbols = symbols.detach().contiguous()
        self._pushes.append((symbols, rows, tables))
        if not _coder_cuda.takes(symbols):
            self._cpu.push(symbols.numpy(), _host_rows(rows), tables)

    def finish(self, capacity: int | None = None) -> Encoded:
        """Return the stream. The encoder cannot be used afterwards.

        Args:
            capacity: CUDA only: bytes to set aside for the stream. By default what it can need at
                most: 2 bytes a symbol, and for tables with escape 8.4 more.

        Raises:
            InvalidArgumentError: when called twice.
        """
        if not self._pushes or not _coder_cuda.takes(self._pushes[0][0]):
            return Encoded(_tensor_of(self._cpu.finish()))
        self._cpu.finish()  # of nothing: so that a second call is refused
        return Encoded(*_coder_cuda.encode(self._pushes, *self._cut, capacity))


class Decoder:
    """Reads a stream of segments into tensors on its device; `glc.rans.Decoder`."""

    def __init__(self, data: Encoded | Tensor) -> None:
        """Open a stream.

        Args:
            data: what an encoder returned, or uint8 on the CPU or a CUDA device. On the CPU streams
                without segments are read as well.

        Raises:
            BitstreamError: CPU only: a head that is malformed or cut.
            InvalidArgumentError: another dtype.
        """
        encoded = data if isinstance(data, Encoded) else Encoded(_require_bytes(data, "data"))
        self._buffer = encoded.buffer
        self._cpu: rans.Decoder | None = None
        self._progress: Tensor | None = None
        if not _coder_cuda.takes(self._buffer):
            self._cpu = rans.Decoder(self._buffer.numpy())
            return
        self._buffer = _coder_cuda.aligned(self._buffer)
        self._progress = _coder_cuda.decode_begin(self._buffer, encoded.progress)

    def pull(self, rows: int | Tensor, tables: TableSet, *, count: int | None = None) -> Tensor:
        """Decode the next push.

        Args:
            rows: as pushed, on the stream's device; or one number, and then count says how many.
            tables: equal to those of the push.
            count: number of symbols, with a single row.

        Returns:
            int32, shaped like rows or [count], on the stream's device. On a CUDA device its content
            is unspecified where finish() will raise.

        Raises:
            InvalidArgumentError: rows of another dtype or device, or no count.
            BitstreamError: CPU only: the stream ends too early or is malformed.
        """
        out, rows = _new_symbols(rows, count, self._buffer)
        if self._cpu is not None:
            self._cpu.pull(_host_rows(rows), tables, out.numpy())
            return out
        assert self._progress is not None
        _coder_cuda.decode(self._buffer, rows, tables, out, self._progress)
        return out

    def finish(self) -> None:
        """Verify that the stream was well formed and consumed exactly. Waits for the device.

        Raises:
            BitstreamError: otherwise.
            InvalidArgumentError: a row was outside the tables.
            UnsupportedError: on a CUDA device, a stream without segments.
        """
        if self._cpu is not None:
            self._cpu.finish()
            return
        assert self._progress is not None
        _coder_cuda.decode_end(self._progress)
        _coder_cuda.check(self._progress)


def encode(
    symbols: Tensor,
    rows: int | Tensor,
    tables: TableSet,
    *,
    lanes: int = LANES,
    segment_symbols: int = SEGMENT_SYMBOLS,
) -> Encoded:
    """Code symbols as one stream; arguments as for Encoder and Encoder.push."""
    encoder = Encoder(lanes, segment_symbols)
    encoder.push(symbols, rows, tables)
    return encoder.finish()


def decode(
    data: Encoded | Tensor,
    rows: int | Tensor,
    tables: TableSet,
    *,
    count: int | None = None,
    check: bool = True,
) -> Tensor:
    """Decode one stream of one push; arguments as for Decoder and Decoder.pull.

    Args:
        data: the stream.
        rows: row of each symbol, or one for all.
        tables: equal to those of the push.
        count: number of symbols, with a single row.
        check: verify the stream, for which a CUDA device is waited for. Without, a damaged stream
            gives arbitrary symbols, and nothing waits.

    Returns:
        int32, as Decoder.pull returns.
    """
    encoded = data if isinstance(data, Encoded) else Encoded(_require_bytes(data, "data"))
    if _coder_cuda.takes(encoded.buffer):
        symbols, rows = _new_symbols(rows, count, encoded.buffer)
        buffer = _coder_cuda.aligned(encoded.buffer)
        progress = _coder_cuda.decode(buffer, rows, tables, symbols, written=encoded.progress)
        if check:
            _coder_cuda.check(progress)
        return symbols
    decoder = Decoder(encoded)
    symbols = decoder.pull(rows, tables, count=count)
    if check:
        decoder.finish()
    return symbols


def encode_bytes(
    data: Tensor, segment_bytes: int = SEGMENT_BYTES, lanes: int | None = None
) -> Encoded:
    """Compress bytes by their order-0 statistics, as `glc.rans.encode_bytes` does.

    Args:
        data: uint8, any shape, CPU or CUDA.
        segment_bytes: a multiple of 32 in 32..2^30.
        lanes: 1, 2, 4, 8, 16 or 32 states of a segment. None decides by its coded size; a device
            decodes 32 fastest, a warp each.

    Raises:
        InvalidArgumentError: another dtype, segment_bytes or lanes.
    """
    data = _require_bytes(data, "data")
    if segment_bytes < 1:
        raise InvalidArgumentError(
            f"coder: segment_bytes: expected a multiple of 32 in 32..2^30, got {segment_bytes}"
        )
    if not _coder_cuda.takes(data):
        return Encoded(_tensor_of(rans.encode_bytes(data.numpy(), segment_bytes, lanes)))
    return Encoded(*_coder_cuda.encode_bytes(data, segment_bytes, lanes))


def decode_bytes(
    data: Encoded | Tensor,
    *,
    size: int | None = None,
    max_size: int = 1 << 30,
    check: bool = True,
) -> Tensor:
    """Restore what encode_bytes was given, as a flat uint8 tensor on the device of data.

    Args:
        data: the coded bytes, CPU or CUDA.
        size: bytes when decoded. Unless given it is read from data, for which a CUDA device is
            waited for.
        max_size: largest result accepted.
        check: as for decode.

    Raises:
        BitstreamError: malformed, cut, damaged, of another size, or larger than max_size.
        InvalidArgumentError: another dtype.
        UnsupportedError: a CUDA tensor with data that were coded in one piece.
    """
    encoded = data if isinstance(data, Encoded) else Encoded(_require_bytes(data, "data"))
    buffer = encoded.buffer
    if not _coder_cuda.takes(buffer):
        restored = _tensor_of(rans.decode_bytes(buffer.numpy(), max_size))
        if size is not None and restored.numel() != size:
            raise BitstreamError(f"coder: size: expected {size}, got {restored.numel()}")
        return restored
    if size is None:
        size = _core.rans_decoded_bytes_size(buffer[:16].cpu().numpy(), max_size)
    restored, progress = _coder_cuda.decode_bytes(
        _coder_cuda.aligned(buffer), encoded.progress, size
    )
    if check:
        _coder_cuda.check(progress)
    return restored


# --------------------------------------------------------------------------------------- arguments


def _require_symbols(symbols: Tensor) -> None:
    if symbols.dtype != torch.int32:
        raise InvalidArgumentError(f"coder: symbols: expected int32, got {symbols.dtype}")


def _require_bytes(data: Tensor, name: str) -> Tensor:
    if data.dtype != torch.uint8:
        raise InvalidArgumentError(f"coder: {name}: expected uint8, got {data.dtype}")
    return data.detach().contiguous().flatten()


def _checked_rows(rows: int | Tensor, symbols: Tensor) -> int | Tensor:
    if isinstance(rows, int):
        if not -(2**31) <= rows < 2**31:
            raise InvalidArgumentError(f"coder: rows: expected a table row, got {rows}")
        return rows
    if rows.dtype not in _ROW_DTYPES:
        raise InvalidArgumentError(
            f"coder: rows: expected uint8, uint16 or int32, got {rows.dtype}"
        )
    if rows.numel() != symbols.numel() or rows.device != symbols.device:
        raise InvalidArgumentError(
            f"coder: rows: expected {symbols.numel()} on {symbols.device}, one per symbol, "
            f"got {rows.numel()} on {rows.device}"
        )
    return rows.contiguous()


def _new_symbols(
    rows: int | Tensor, count: int | None, data: Tensor
) -> tuple[Tensor, int | Tensor]:
    """Make room for the symbols of these rows on the device of data; return it and the rows."""
    if not isinstance(rows, int):
        shape: tuple[int, ...] = tuple(rows.shape)
    elif count is None or count < 0:
        raise InvalidArgumentError(
            f"coder: count: expected at least 0 with a single row, got {count}"
        )
    else:
        shape = (count,)
    out = torch.empty(shape, dtype=torch.int32, device=data.device)
    return out, _checked_rows(rows, out)


def _host_rows(rows: int | Tensor) -> Any:
    return rows if isinstance(rows, int) else rows.numpy()


def _tensor_of(stream: bytes) -> Tensor:
    if not stream:
        return torch.empty(0, dtype=torch.uint8, device="cpu")
    return torch.frombuffer(bytearray(stream), dtype=torch.uint8)
