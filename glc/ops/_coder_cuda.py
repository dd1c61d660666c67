# SPDX-License-Identifier: Apache-2.0
"""The CUDA side of `glc.ops.coder`: memory for the native calls, all on the current stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glc import _core
from glc.errors import UnsupportedError
from glc.ops import _cuda
from glc.ops._cuda import new_bytes, stream_of
from glc.ops._op import borrow
from glc.rans import TableSet

Push = tuple[Tensor, int | Tensor, TableSet]
"""Symbols, their rows, the tables; checked and contiguous."""


def takes(tensor: Tensor) -> bool:
    """Whether the tensor is for this module, and not for the CPU's coder.

    Raises:
        UnsupportedError: it is for neither.
    """
    if tensor.device.type not in ("cpu", "cuda"):
        raise UnsupportedError(f"coder: expected a CPU or CUDA tensor, got {tensor.device}")
    return _cuda.is_cuda(tensor)


def native() -> Any:
    """Return the native module, where it was built with CUDA; _core.pyi lists the functions.

    Raises:
        UnsupportedError: it was not.
    """
    if _cuda.KERNELS is None:
        raise UnsupportedError("coder: this build of glc has no CUDA kernels; use CPU tensors")
    return _core


def check(progress: Tensor) -> int:
    """Wait for the device, raise what it noted, and return the stream's bytes."""
    return int(native().rans_cuda_check(borrow(progress), stream_of(progress)))


def aligned(data: Tensor) -> Tensor:
    """Give a stream the alignment that a device's loads need; a slice may have lost it."""
    return data if data.data_ptr() % 4 == 0 else data.clone()


def encode(
    pushes: Sequence[Push], lanes: int, segment_symbols: int, capacity: int | None
) -> tuple[Tensor, Tensor]:
    """Code pushes into one stream; return its buffer and progress."""
    core = native()
    like = pushes[0][0]
    if capacity is None:
        capacity = 4 + sum(
            core.rans_cuda_record_bound(symbols.numel(), lanes, segment_symbols, tables.escape)
            for symbols, _, tables in pushes
        )
    out, progress, stream = new_bytes(capacity, like), _progress(like), stream_of(like)
    most = max(symbols.numel() for symbols, _, _ in pushes)
    workspace = new_bytes(core.rans_cuda_encode_workspace_bytes(most, lanes, segment_symbols), like)
    core.rans_cuda_encode_begin(borrow(out), borrow(progress), stream)
    for symbols, rows, tables in pushes:
        prepared, blob = _tables(tables, like.device)
        core.rans_cuda_encode(
            borrow(symbols),
            rows if isinstance(rows, int) else borrow(rows),
            prepared,
            borrow(blob),
            lanes,
            segment_symbols,
            borrow(out),
            borrow(progress),
            borrow(workspace),
            stream,
        )
    return out, progress


def decode_begin(data: Tensor, written: Tensor | None) -> Tensor:
    """Open a stream, as long as written says or as data is; return its progress."""
    progress = _progress(data)
    native().rans_cuda_decode_begin(
        borrow(data), _or_none(written), borrow(progress), stream_of(data)
    )
    return progress


def decode(
    data: Tensor,
    rows: int | Tensor,
    tables: TableSet,
    out: Tensor,
    progress: Tensor | None = None,
    written: Tensor | None = None,
) -> Tensor:
    """Read the next push into out; without a progress, the only push of a stream.

    Args:
        data: the stream.
        rows: as `Decoder.pull` takes them, checked.
        tables: equal to those of the push.
        out: int32, one element per symbol.
        progress: of the stream so far.
        written: what `decode_begin` takes, without a progress.

    Returns:
        The progress.
    """
    whole = progress is None
    progress = _progress(data) if progress is None else progress
    prepared, blob = _tables(tables, data.device)
    native().rans_cuda_decode(
        borrow(data),
        rows if isinstance(rows, int) else borrow(rows),
        prepared,
        borrow(blob),
        borrow(out),
        borrow(progress),
        whole,
        _or_none(written),
        stream_of(data),
    )
    return progress


def decode_end(progress: Tensor) -> None:
    """Note an error when bytes of the stream are left."""
    native().rans_cuda_decode_end(borrow(progress), stream_of(progress))


def encode_bytes(data: Tensor, segment_bytes: int, lanes: int | None) -> tuple[Tensor, Tensor]:
    """Code bytes; return the buffer and progress."""
    core = native()
    n = data.numel()
    out = new_bytes(core.rans_cuda_encoded_bytes_bound(n, segment_bytes), data)
    workspace = new_bytes(core.rans_cuda_encode_bytes_workspace_bytes(n, segment_bytes), data)
    progress = _progress(data)
    core.rans_cuda_encode_bytes(
        borrow(data),
        segment_bytes,
        lanes,
        borrow(out),
        borrow(progress),
        borrow(workspace),
        stream_of(data),
    )
    return out, progress


def decode_bytes(data: Tensor, written: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
    """Restore size bytes; return them and the progress."""
    core = native()
    out, progress = new_bytes(size, data), _progress(data)
    workspace = new_bytes(core.rans_cuda_decode_bytes_workspace_bytes(), data)
    core.rans_cuda_decode_bytes(
        borrow(data),
        _or_none(written),
        borrow(out),
        borrow(progress),
        borrow(workspace),
        stream_of(data),
    )
    return out, progress


def _or_none(tensor: Tensor | None) -> object:
    return None if tensor is None else borrow(tensor)


def _progress(like: Tensor) -> Tensor:
    return torch.empty(native().RANS_PROGRESS_WORDS, dtype=torch.int64, device=like.device)


def _tables(tables: TableSet, device: torch.device) -> tuple[Any, Tensor]:
    """Copy the tables to the device, once."""
    if device not in tables.prepared:
        made = native().RansCudaTables(tables._native)
        blob = torch.frombuffer(bytearray(made.blob()), dtype=torch.uint8).to(device)
        tables.prepared[device] = (made, blob, stream_of(blob))
    made, blob, stream = tables.prepared[device]
    if stream != stream_of(blob):  # its work may outlive the tables
        blob.record_stream(torch.cuda.current_stream(device))
    return made, blob
