# SPDX-License-Identifier: Apache-2.0
# Typed stubs of the native module. One section per binding file, in the order of module.cpp.

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy.typing as npt
from typing_extensions import Buffer

# numpy's stubs declare the buffer protocol from Python 3.12 on only.
_Array: TypeAlias = Buffer | npt.NDArray[Any]

# A DLPack capsule, or anything with __dlpack__: contiguous, on the CPU.
_Tensor: TypeAlias = object

# ---- module.cpp
__version__: str
CUDA_DEVICE: str  # only in builds with CUDA: "cuda", or "cpu" where the kernels are emulated

def build_info() -> dict[str, Any]: ...
def force_simd(name: str) -> None: ...
def join_openmp() -> bool: ...

# ---- bind_exact.cpp
class ExactConv:
    def __init__(self, weight: _Tensor, bias: _Tensor) -> None: ...
    def run(
        self,
        x: _Tensor,
        out: _Tensor,
        sampling: tuple[int, int, int],
        slope: float | None,
        shuffle: int,
        residual: _Tensor | None,
    ) -> None: ...

class ExactDepthConvBlock:
    def __init__(
        self, weights: list[_Tensor | None], slopes: tuple[float, float], n_heads: int
    ) -> None: ...
    def run(
        self, x: _Tensor, samplings: list[tuple[int, int, int]], outs: list[_Tensor]
    ) -> None: ...

def exact_weights_sum(weights: list[_Tensor | None]) -> int: ...
def exact_depthwise(
    x: _Tensor, weight: _Tensor, bias: _Tensor, out: _Tensor, *stream: object
) -> None: ...
def exact_spin(n: int) -> int: ...

# ---- bind_exact_cuda.cpp, only in builds with CUDA; weight is [k, columns]
def exact_conv2d_cuda(
    x: _Tensor,
    weight: _Tensor,
    bias: _Tensor,
    out: _Tensor,
    kernel: int,
    sampling: tuple[int, int, int],
    slope: float | None,
    shuffle: int,
    residual: _Tensor | None,
    stream: int,
) -> None: ...
def exact_gated_conv_cuda(
    x: _Tensor, weight: _Tensor, bias: _Tensor, slope: float, out: _Tensor, stream: int
) -> None: ...
def exact_columns(n: int, gated: bool) -> list[int]: ...

# ---- bind_generator_cuda.cpp, only in builds with CUDA; maps are [n, h, w, c]
def group_norm_cuda(
    maps: Sequence[_Tensor | None],  # x, residual, sum, out
    vectors: Sequence[_Tensor | None],  # offset, weight, bias
    groups: int,
    eps: float,
    silu: bool,
    workspace: _Tensor,
    stream: int,
) -> None: ...
def group_norm_workspace_bytes(samples: int, groups: int) -> int: ...

# ---- bind_bitstream.cpp
def crc32c(data: Buffer) -> int: ...
def pack_container(
    fields: tuple[int, int, int, int, int, int, int],
    model_id: Buffer,
    payload: Buffer,
    chunks: list[tuple[int, bytes]],
    fingerprint: Buffer,
) -> bytes: ...
def parse_container(
    data: Buffer, max_pixels: int, cut: bool
) -> tuple[tuple[int, int, int, int, int, int, int], bytes, int, int]: ...
def container_chunks(data: Buffer) -> list[tuple[int, bytes]]: ...
def check_container(data: Buffer, fingerprint: Buffer) -> None: ...
def container_accounting(data: Buffer) -> dict[str, int]: ...

# ---- bind_networks.cpp
STRIP_PIXELS: int

class Layout:
    def __init__(self, fields: dict[str, list[int]]) -> None: ...

class LightLayout(Layout): ...

class EntropyNetworks:
    def __init__(
        self, layout: Layout, tensors: Mapping[str, _Array], strip_pixels: int
    ) -> None: ...
    def params(self, z_index: _Array, out: _Tensor) -> None: ...
    def part_params(self, part: int, seen: _Tensor, out: _Tensor) -> None: ...

class LightNetworks(EntropyNetworks):
    def __init__(
        self, layout: LightLayout, tensors: Mapping[str, _Array], strip_pixels: int
    ) -> None: ...
    def features(
        self, pixels: _Array, out: _Tensor, report: Callable[[float], None] | None
    ) -> None: ...
    def analysis(self, features: _Tensor, quality: float, out: _Tensor) -> None: ...
    def hyper_index(self, y: _Tensor, out: _Tensor) -> None: ...
    def synthesis(self, y_hat: _Tensor, quality: float, out: _Tensor) -> None: ...
    def draw(
        self,
        y_hat: _Tensor,
        quality: float,
        pixels: _Array,
        report: Callable[[float], None] | None,
    ) -> None: ...

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
    def __init__(self, lanes: int | None, segment_symbols: int | None) -> None: ...
    def push(self, symbols: _Array, rows: int | _Array, tables: RansTableSet) -> None: ...
    def finish(self) -> bytes: ...

class RansDecoder:
    def __init__(self, data: _Array, descriptor: int | None) -> None: ...
    @property
    def lanes(self) -> int: ...
    def pull(self, rows: int | _Array, tables: RansTableSet, out: _Array) -> None: ...
    def finish(self) -> None: ...

def rans_encode_bytes(data: _Array, segment_bytes: int | None, lanes: int | None) -> bytes: ...
def rans_decode_bytes(data: _Array, max_size: int) -> bytes: ...
def rans_decoded_bytes_size(data: _Array, max_size: int) -> int: ...
def threads() -> int: ...
def set_threads(n: int) -> None: ...
def cdf_normalise_counts(weights: _Array, bits: int, out: _Array) -> None: ...
def cdf_normalise_pmf(weights: _Array, bits: int, out: _Array) -> None: ...
def cdf_histogram(values: _Array, out: _Array) -> None: ...
def cdf_softmax_weights(logits: _Array, out: _Array) -> None: ...

# ---- bind_rans_cuda.cpp and bind_rans_cuda_bytes.cpp, only in builds with CUDA. Tensors are on the
# device, contiguous; progress is int64 [RANS_PROGRESS_WORDS]; a stream is its address.
RANS_PROGRESS_WORDS: int

class RansCudaTables:
    def __init__(self, tables: RansTableSet) -> None: ...
    def blob(self) -> bytes: ...

RANS_WARPS_PER_PROCESSOR: int

def rans_cuda_record_bound(n: int, lanes: int, segment_symbols: int, escape: bool) -> int: ...
def rans_cuda_encode_workspace_bytes(n: int, lanes: int, segment_symbols: int) -> int: ...
def rans_cuda_encode_begin(out: _Tensor, progress: _Tensor, stream: int) -> None: ...
def rans_cuda_encode(
    symbols: _Tensor,
    rows: int | _Tensor,
    tables: RansCudaTables,
    blob: _Tensor,
    lanes: int,
    segment_symbols: int,
    out: _Tensor,
    progress: _Tensor,
    workspace: _Tensor,
    stream: int,
) -> None: ...
def rans_cuda_decode_begin(
    data: _Tensor, written: _Tensor | None, progress: _Tensor, stream: int
) -> None: ...
def rans_cuda_decode(
    data: _Tensor,
    rows: int | _Tensor,
    tables: RansCudaTables,
    blob: _Tensor,
    out: _Tensor,
    progress: _Tensor,
    whole: bool,
    written: _Tensor | None,
    stream: int,
) -> None: ...
def rans_cuda_decode_end(progress: _Tensor, stream: int) -> None: ...
def rans_cuda_check(progress: _Tensor, stream: int) -> int: ...
def rans_cuda_encoded_bytes_bound(n: int, segment_bytes: int) -> int: ...
def rans_cuda_encode_bytes_workspace_bytes(n: int, segment_bytes: int) -> int: ...
def rans_cuda_decode_bytes_workspace_bytes() -> int: ...
def rans_cuda_encode_bytes(
    data: _Tensor,
    segment_bytes: int,
    lanes: int | None,
    out: _Tensor,
    progress: _Tensor,
    workspace: _Tensor,
    stream: int,
) -> None: ...
def rans_cuda_decode_bytes(
    data: _Tensor,
    written: _Tensor | None,
    out: _Tensor,
    progress: _Tensor,
    workspace: _Tensor,
    stream: int,
) -> None: ...

# ---- bind_vq.cpp
class VqSearch:
    AUTO: VqSearch
    EXACT: VqSearch
    SCREEN: VqSearch

class VqCodebook:
    def __init__(self, codebook: _Tensor) -> None: ...
    def nearest(
        self,
        latents: _Tensor,
        codebook: _Tensor,
        indices: _Tensor,
        search: VqSearch = ...,
    ) -> None: ...
    def plausible(self, codebook: _Tensor) -> bool: ...
    @property
    def packed(self) -> bool: ...
    @property
    def screen_lost(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...

@overload
def vq_nearest(latents: _Tensor, codebook: _Tensor, indices: _Tensor) -> None: ...
@overload
def vq_nearest(
    latents: _Tensor, codebook: _Tensor, indices: _Tensor, workspace: _Tensor, *stream: object
) -> None: ...
def vq_nearest_workspace_bytes(n: int, k: int, d: int) -> int: ...

# ---- bind_vq_train.cpp
def vq_lookup(
    latents: _Tensor, codebook: _Tensor, indices: _Tensor, quantised: _Tensor
) -> float: ...
def vq_usage(indices: _Tensor, counts: _Tensor) -> None: ...
def vq_segment_sums(latents: _Tensor, indices: _Tensor, counts: _Tensor, sums: _Tensor) -> None: ...

# ---- bind_categorical.cpp, bind_categorical_cuda.cpp: logits are a matrix with any row stride, for
# bits of bfloat16 too. Tensors on a device come with a stream, here and below.
def categorical_bits(
    logits: _Tensor, index: _Tensor, bits: _Tensor, norms: _Tensor, *stream: object
) -> None: ...
def categorical_bits_backward(
    grad: _Tensor,
    logits: _Tensor,
    index: _Tensor,
    norms: _Tensor,
    grad_logits: _Tensor,
    *stream: object,
) -> None: ...
def categorical_cdf(logits: _Tensor, bits: int, cdf: _Tensor, *stream: object) -> None: ...

# ---- bind_four_part.cpp, bind_four_part_cuda.cpp: maps are matrices with any row stride
_FourPartShape: TypeAlias = tuple[int, int, int, int, bool]

def four_part_step(
    shape: _FourPartShape,
    part: int,
    y: _Tensor,
    mean: _Tensor,
    before: _Tensor | None,
    y_hat: _Tensor,
    *stream: object,
) -> None: ...
def four_part_merge(
    shape: _FourPartShape,
    y: _Tensor,
    means: Sequence[_Tensor],
    scales: Sequence[_Tensor],
    written: Sequence[_Tensor],  # y_q, y_hat, mean, scale
    *stream: object,
) -> None: ...
def four_part_spread(
    shape: _FourPartShape,
    x: _Tensor,
    minus: _Tensor | None,
    targets: Sequence[_Tensor | None],
    parts: Sequence[int],  # of each target, bit i for part i
    *stream: object,
) -> None: ...
def four_part_pick(
    shape: _FourPartShape, part: int, map: _Tensor, picked: _Tensor, *stream: object
) -> None: ...
def four_part_put(
    shape: _FourPartShape,
    part: int,
    symbols: _Tensor,
    mean: _Tensor,
    y_hat: _Tensor,
    *stream: object,
) -> None: ...
def four_part_size(shape: _FourPartShape, part: int) -> int: ...

# ---- bind_gaussian.cpp, bind_gaussian_cuda.cpp: latents are (y, mean, scale), matrices with any
# row stride, float32 or bfloat16; an empty seed is none
def gaussian_rows(scale: _Tensor, bounds: _Tensor, rows: _Tensor, *stream: object) -> None: ...
def gaussian_symbols(
    latents: Sequence[_Tensor], bounds: _Tensor, symbols: _Tensor, rows: _Tensor, *stream: object
) -> None: ...
def gaussian_bits(  # on the CPU with slopes by y and by scale, either may be None; or the stream
    latents: Sequence[_Tensor], seed: _Tensor | None, bits: _Tensor, *more: object
) -> None: ...
def gaussian_total_bits(  # on the CPU with slopes; or with a workspace, a ticket and the stream
    latents: Sequence[_Tensor],
    seed: _Tensor | None,
    totals: _Tensor,
    *more: object,
) -> None: ...
def gaussian_total_bits_workspace_bytes(rows: int, cols: int, groups: int) -> int: ...
@overload
def gaussian_bits_backward(
    grad: _Tensor,
    latents: Sequence[_Tensor],
    seed: _Tensor | None,
    gradients: Sequence[_Tensor | None],
    *stream: object,
) -> None: ...
@overload  # False where the slopes do not tell the gradients
def gaussian_bits_backward(
    grad: _Tensor, slopes: Sequence[_Tensor | None], gradients: Sequence[_Tensor | None]
) -> bool: ...

# ---- bind_compressai.cpp
class AnsTables:
    def __init__(self, cdfs: _Array, cdfs_sizes: _Array, offsets: _Array) -> None: ...
    @property
    def rows(self) -> int: ...

class AnsEncoder:
    def __init__(self) -> None: ...
    def push(self, symbols: _Array, rows: _Array, tables: AnsTables) -> None: ...
    def finish(self) -> bytes: ...

class AnsDecoder:
    def __init__(self, encoded: _Array) -> None: ...
    def pull(self, rows: _Array, tables: AnsTables, out: _Array) -> None: ...

class PieceDecoder:
    def __init__(self, encoded: _Array) -> None: ...
    def pull(self, rows: _Array, tables: AnsTables, bits: int, out: _Array) -> None: ...

def ans_read_ints(values: list[int], out: _Array) -> bool: ...
