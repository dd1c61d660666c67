# SPDX-License-Identifier: Apache-2.0
"""Vector quantisation: exact nearest-codebook search."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._op import Op, borrow, require_same_device

_CHUNK_SCORES = 1 << 22  # scores held at once: 16 MiB instead of a full [n, k] matrix
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


# ---------------------------------------------------------------- prepared codebooks


@dataclass(frozen=True)
class _Prepared:
    storage: StorageWeakRef  # while this exists, no other storage can have its address
    version: int
    native: _core.VqCodebook


class _PreparedCodebooks:
    """What the search prepares from the codebooks used last, by their memory and version.

    A version counter rises with every write that autograd can see. Writes it cannot see (through
    `.data`, numpy or another library) are caught when they change one value per row, at places
    picked in advance, which a training step or a reseeded row does.
    """

    _MOST = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, ...], _Prepared] = OrderedDict()

    def get(self, codebook: Tensor, rows: Tensor) -> _core.VqCodebook:
        """Find or make the preparation of `codebook`, whose values in float32 are `rows`."""
        if codebook.is_inference():  # has no version counter
            return _core.VqCodebook(borrow(rows))
        storage = StorageWeakRef(codebook.untyped_storage())  # type: ignore[no-untyped-call]
        place = (storage.cdata, codebook.storage_offset(), codebook.stride())
        key = (*place, codebook.shape, codebook.dtype)
        version = codebook._version
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
        if found is not None and found.version == version and found.native.plausible(borrow(rows)):
            return found.native
        made = _Prepared(storage, version, _core.VqCodebook(borrow(rows)))
        with self._lock:
            self._entries[key] = made
            self._entries.move_to_end(key)
            for old, entry in list(self._entries.items()):
                if entry.storage.expired():  # type: ignore[no-untyped-call]
                    del self._entries[old]
            while len(self._entries) > self._MOST:
                self._entries.popitem(last=False)
        return made.native


_prepared = _PreparedCodebooks()


def _as_rows(x: Tensor) -> Tensor:
    return x.detach().to(torch.float32).contiguous()


# ---------------------------------------------------------------- vq_nearest


@torch.no_grad()
def _nearest_by_matmul(latents: Tensor, codebook: Tensor) -> Tensor:
    """Search in chunks on any device; near-ties may fall differently than natively."""
    latents, codebook = _as_rows(latents), _as_rows(codebook)
    half_norms = -0.5 * codebook.square().sum(1)
    step = max(1, _CHUNK_SCORES // codebook.shape[0])
    lowest = -torch.inf

    def search(part: Tensor) -> Tensor:
        scores = torch.addmm(half_norms, part, codebook.t())
        return scores.nan_to_num(lowest, torch.inf, lowest).argmax(1)  # a NaN never wins

    return torch.cat([search(part) for part in torch.split(latents, step)]).to(torch.int32)


def require_matrices(op: str, latents: Tensor, codebook: Tensor) -> None:
    """Refuse what is not [n, d] and [k >= 1, d], of a float dtype up to 32 bits, on one device."""
    if latents.dim() != 2 or codebook.dim() != 2 or latents.shape[1] != codebook.shape[1]:
        raise InvalidArgumentError(
            f"{op}: latents and codebook: expected [n, d] and [k, d], "
            f"got {tuple(latents.shape)} and {tuple(codebook.shape)}"
        )
    if codebook.shape[0] == 0:
        raise InvalidArgumentError(f"{op}: codebook: expected at least one row, got none")
    for name, tensor in (("latents", latents), ("codebook", codebook)):
        if tensor.dtype not in _DTYPES:
            raise InvalidArgumentError(
                f"{op}: {name}: expected float32, bfloat16 or float16, got {tensor.dtype}"
            )
    require_same_device(op, latents=latents, codebook=codebook)


def nearest_rows(latents: Tensor, codebook: Tensor, search: _core.VqSearch) -> Tensor:
    """Search on the CPU in a way of one's choice; arguments are checked already."""
    rows = _as_rows(codebook)
    index = torch.empty(latents.shape[0], dtype=torch.int32, device="cpu")
    lent = borrow(_as_rows(latents)), borrow(rows), borrow(index)
    _prepared.get(codebook, rows).nearest(*lent, search)
    return index


def _nearest_on_cuda(latents: Tensor, codebook: Tensor) -> Tensor:
    """Search on the current stream, without waiting for it."""
    latents, codebook = _as_rows(latents), _as_rows(codebook)
    (n, d), k = latents.shape, codebook.shape[0]
    index = latents.new_empty(n, dtype=torch.int32)
    workspace = _cuda.new_bytes(_core.vq_nearest_workspace_bytes(n, k, d), latents)
    lent = [borrow(t) for t in (latents, codebook, index, workspace)]
    _core.vq_nearest(*lent, *_cuda.stream_for(latents))
    return index


def _vq_nearest_plain(latents: Tensor, codebook: Tensor) -> Tensor:
    require_matrices("vq_nearest", latents, codebook)
    if _cuda.takes(latents):
        return _nearest_on_cuda(latents, codebook)
    if latents.device.type == "cpu":
        return nearest_rows(latents, codebook, _core.VqSearch.AUTO)
    return _nearest_by_matmul(latents, codebook)


@torch.library.custom_op("glc::vq_nearest", mutates_args=())
def _vq_nearest_op(latents: Tensor, codebook: Tensor) -> Tensor:
    return _vq_nearest_plain(latents, codebook)


@_vq_nearest_op.register_fake
def _(latents: Tensor, codebook: Tensor) -> Tensor:
    require_matrices("vq_nearest", latents, codebook)
    return latents.new_empty(latents.shape[0], dtype=torch.int32)


def _vq_nearest(latents: Tensor, codebook: Tensor) -> Tensor:
    """Find the nearest codebook row of each latent.

    index = argmax_j (l . c_j - |c_j|^2 / 2), which is argmin_j |l - c_j|^2

    The score is one chain of fused multiply-adds per pair, dimensions ascending, so the index is
    the same on every CPU, for any number of threads (`glc.set_num_threads`) and on CUDA; see
    `csrc/include/glc/vq.h`. (On other devices, or CUDA without our kernels, torch's own product
    decides near-ties.) No [n, k] matrix is kept. What the search prepares from a codebook on the
    CPU is kept for the next call, until the codebook is written to or freed. Of writes that
    autograd cannot see (`.data`, numpy) it notices those that change whole rows, as training does.

    Args:
        latents: [n, d] float32, bfloat16 or float16; half precision is widened first.
        codebook: [k, d] likewise, k >= 1, same device.

    Returns:
        [n] int32, in [0, k); the lowest row wins a tie. A score that is NaN never wins: a latent
        with a NaN, or one that has no score above -inf, gets row 0. No gradient.

    Raises:
        InvalidArgumentError: shapes or devices disagree, the codebook is empty, or another dtype.
    """
    index: Tensor = _vq_nearest_op(latents.detach(), codebook.detach())
    return index


def _vq_nearest_reference(latents: Tensor, codebook: Tensor) -> Tensor:
    distance = (latents.double()[:, None, :] - codebook.double()[None, :, :]).square().sum(-1)
    smallest = distance.min(1, keepdim=True).values
    return (distance == smallest).to(torch.uint8).argmax(1).to(torch.int32)  # first of equals


vq_nearest = Op(_vq_nearest, reference=_vq_nearest_reference, plain=_vq_nearest_plain)
