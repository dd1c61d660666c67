# SPDX-License-Identifier: Apache-2.0
# Typed stubs of the native module. One section per binding file, in the order of module.cpp.

from typing import Any, TypeAlias

import numpy.typing as npt
from typing_extensions import Buffer

# numpy's stubs declare the buffer protocol from Python 3.12 on only.
_Array: TypeAlias = Buffer | npt.NDArray[Any]

# A DLPack capsule, or anything with __dlpack__: contiguous, on the CPU.
_Tensor: TypeAlias = object

# ---- module.cpp
__version__: str

def build_info() -> dict[str, object]: ...

# ---- bind_bitstream.cpp
def crc32c(data: Buffer) -> int: ...
def pack_container(
    width: int,
    height: int,
    level: int,
    coder: int,
    version: int,
    profile: int,
    model_id: Buffer,
    payload: Buffer,
    fingerprint: Buffer,
) -> bytes: ...
def parse_container(
    data: Buffer, max_pixels: int
) -> tuple[int, int, int, int, int, int, bytes, int]: ...
def check_container(data: Buffer, fingerprint: Buffer) -> None: ...
def container_accounting(data: Buffer) -> dict[str, int]: ...

# ---- bind_rans.cpp
class RansTableSet:
    @staticmethod
    def from_freqs(
        freqs: _Array, n_bins: _Array, offsets: _Array, bits: int, escape: bool
    ) -> RansTableSet: ...
    @staticmethod
    def from_cdfs(
        cdfs: _Array, width: int, sizes: _Array, offsets: _Array, bits: int
    ) -> RansTableSet: ...
    @staticmethod
    def from_gaussian(scales: _Array, bits: int) -> RansTableSet: ...
    @property
    def rows(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def escape(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def arrays(self) -> tuple[bytes, bytes, bytes]: ...
    def cost(self, symbols: _Array, rows: int | _Array) -> int: ...

class RansEncoder:
    def __init__(self, lanes: int | None) -> None: ...
    def push(self, symbols: _Array, rows: int | _Array, tables: RansTableSet) -> None: ...
    def finish(self) -> bytes: ...

class RansDecoder:
    def __init__(self, data: _Array, descriptor: int | None) -> None: ...
    @property
    def lanes(self) -> int: ...
    def pull(self, rows: int | _Array, tables: RansTableSet, out: _Array) -> None: ...
    def finish(self) -> None: ...

def rans_encode_bytes(data: _Array) -> bytes: ...
def rans_decode_bytes(data: _Array, max_size: int) -> bytes: ...
def cdf_normalise_counts(weights: _Array, bits: int, out: _Array) -> None: ...
def cdf_normalise_pmf(weights: _Array, bits: int, out: _Array) -> None: ...
def cdf_histogram(values: _Array, out: _Array) -> None: ...

# ---- bind_vq.cpp
def vq_nearest(latents: _Tensor, codebook: _Tensor, indices: _Tensor) -> None: ...

# ---- bind_entropy.cpp
def gaussian_rows(scale: _Tensor, bounds: _Tensor, rows: _Tensor) -> None: ...
def gaussian_symbols(
    y: _Tensor,
    mean: _Tensor,
    scale: _Tensor,
    bounds: _Tensor,
    symbols: _Tensor,
    rows: _Tensor,
) -> None: ...
def gaussian_bits(
    y: _Tensor,
    mean: _Tensor,
    scale: _Tensor,
    noise: _Tensor,
    bits: _Tensor,
    by_symbol: _Tensor,
    by_scale: _Tensor,
) -> None: ...
def gaussian_bits_backward(
    grad: _Tensor,
    bits: _Tensor,
    by_symbol: _Tensor,
    by_scale: _Tensor,
    grad_y: _Tensor,
    grad_mean: _Tensor,
    grad_scale: _Tensor,
) -> None: ...
def categorical_cdf(logits: _Tensor, bits: int, cdf: _Tensor) -> None: ...
