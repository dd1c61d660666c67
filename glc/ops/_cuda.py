# SPDX-License-Identifier: Apache-2.0
"""Which tensors our CUDA kernels take, and the stream on which their work is queued.

Native functions that also run on a device have an overload with one more argument, a stream's
address, so a call for either device ends in `*stream_for(x)`. Nothing waits, and all memory comes
from torch, so calls may be captured in a CUDA graph.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from glc import _core
from glc.ops._op import borrow

KERNELS: str | None = getattr(_core, "CUDA_DEVICE", None)
"""Where the CUDA kernels of this build run: "cuda", "cpu" in an emulated build, None without."""


def is_cuda(x: Tensor) -> bool:
    """Whether x is on a CUDA device. Tests of an emulated build replace this."""
    return x.is_cuda


def takes(x: Tensor) -> bool:
    """Whether x is for the CUDA kernels of this build."""
    return KERNELS is not None and is_cuda(x)


def has_kernels(x: Tensor) -> bool:
    """Whether native code computes on x where it is; torch has to otherwise."""
    return x.is_cpu or takes(x)


def stream_of(x: Tensor) -> int:
    """Address of the current stream of x's device; emulated kernels have but one."""
    # torch.cuda.current_stream makes an object of it, in microseconds
    return torch._C._cuda_getCurrentRawStream(x.device.index) if KERNELS == "cuda" else 0


def stream_for(x: Tensor) -> tuple[int, ...]:
    """Last argument of a native call: nothing on the CPU, on a CUDA device the current stream."""
    return (stream_of(x),) if takes(x) else ()


def new_for_copies(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make an uninitialised tensor on the CPU; a CUDA device can read and write it by itself."""
    return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=device.type == "cuda")


def to_host(x: Tensor) -> Tensor:
    """Copy to the CPU, and wait for that."""
    if x.device.type != "cuda":
        return x.cpu()
    host = new_for_copies(x.shape, x.dtype, x.device).copy_(x, non_blocking=True)
    torch.cuda.current_stream(x.device).synchronize()
    return host


def to_own_memory(x: Tensor) -> Tensor:
    """Copy to the CPU for whoever asked, who may keep it: of what a device writes there is little.

    The system hands memory out page by page, at the first use of each, which takes milliseconds for
    megabytes: so it is first written while the device is at work.
    """
    if x.device.type != "cuda":
        return x.cpu()
    landing = new_for_copies(x.shape, x.dtype, x.device).copy_(x, non_blocking=True)
    own = torch.zeros(x.shape, dtype=x.dtype, device="cpu")
    torch.cuda.current_stream(x.device).synchronize()
    return own.copy_(landing)


def new_bytes(n: int, like: Tensor) -> Tensor:
    """Make an uninitialised uint8 tensor [n] on the device of `like`."""
    return torch.empty(n, dtype=torch.uint8, device=like.device)


def is_captured() -> bool:
    """Whether what is queued now goes into a CUDA graph."""
    return KERNELS == "cuda" and torch.cuda.is_current_stream_capturing()


def wait_for(x: Tensor) -> None:
    """Wait for all work on x's device, so that any stream may use what it made."""
    if KERNELS == "cuda":
        torch.cuda.synchronize(x.device)


class Reserve:
    """Memory set aside on each device, for calls that may make none: those that are captured.

    A graph's replays may run beside anything, so what such a call takes is nobody else's.
    """

    def __init__(self, size: int, value: float, dtype: torch.dtype) -> None:
        self._size, self._value, self._dtype = size, value, dtype
        self._left: dict[int | None, Tensor] = {}  # of a device
        self._made: list[Tensor] = []  # to the end: replays write what no tensor names any more
        self._lock = threading.Lock()

    def fill(self, x: Tensor, least: int) -> None:
        """See to it that at least this many numbers are left on the device of x. It may wait."""
        left = self._left.get(x.device.index)
        if left is not None and left.numel() >= least:
            return
        left = torch.full((self._size,), self._value, dtype=self._dtype, device=x.device)
        wait_for(left)
        self._made.append(left)
        self._left[x.device.index] = left

    def take(self, x: Tensor, n: int) -> Tensor | None:
        """Take n numbers on the device of x for good; None where so many are not left."""
        with self._lock:
            left = self._left.get(x.device.index)
            if left is None or left.numel() < n:
                return None
            self._left[x.device.index] = left[n:]
            return left[:n]


_new_tickets = Reserve(4096, 0, torch.int32)
_tickets: dict[tuple[int | None, int], object] = {}  # of a device and a stream


def ticket_for(x: Tensor, stream: int) -> object | None:
    """Lend a word of x's device by which the blocks of a kernel find out which is the last.

    It is 0 when no kernel uses it. Those of a stream take turns; a call that is captured in a
    CUDA graph gets a word that nobody else has.

    Returns:
        A DLPack capsule of an int32, or None while a capture keeps us from making more.
    """
    key = (x.device.index, stream)
    captured = is_captured()
    if not captured:
        if (known := _tickets.get(key)) is not None:
            return known
        _new_tickets.fill(x, 1)
    ticket = _new_tickets.take(x, 1)
    if ticket is None:
        return None
    lent = borrow(ticket)
    if not captured:
        _tickets[key] = lent
    return lent
