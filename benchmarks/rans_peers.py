# SPDX-License-Identifier: Apache-2.0
"""The other coders, each called the way its own documentation does.

What a peer prepares once per model (tables, its own types) is prepared here before the clock runs;
what its interface asks for with each call is timed. All peers of W2 code the very distributions
that ours does, at their usual 16 bits of precision, except constriction, which computes its
Gaussians as it goes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib
import zlib
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.compressai_import import import_compressai
from benchmarks.rans_cases import Coder, Message, tables

__all__ = ["TORCH_ANS_STREAMS", "absent", "byte_peers", "symbol_peers", "torch_ans"]

TORCH_ANS_STREAMS = 8  # coded in parallel when there are threads for them
_PEER_BITS = 16


@functools.cache
def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@functools.cache
def _compressai_ans() -> ModuleType | None:
    return None if import_compressai() is None else importlib.import_module("compressai.ans")


@functools.cache
def _htscodecs() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("htscodecs")
    return None if name is None else ctypes.CDLL(name)


def absent() -> str:
    """Name the peers that this machine lacks, separated by spaces; empty when none."""
    there = {
        "compressai.ans": _compressai_ans(),
        "torch_ans": _module("torch_ans"),
        "constriction": _module("constriction"),
        "htscodecs": _htscodecs(),
    }
    return " ".join(name for name, found in there.items() if found is None)


def symbol_peers(m: Message) -> dict[str, Coder]:
    """Every coder at hand that can code a message of W2, on one thread."""
    found = {
        "compressai.ans": _compressai(m),
        "torch_ans": torch_ans(m),
        "torch_ans as it comes": torch_ans(m, interleaves=1, inverse_bits=None),
        "constriction": _constriction(m),
    }
    return {name: peer for name, peer in found.items() if peer is not None}


def _compressai(m: Message) -> Coder | None:
    if (ans := _compressai_ans()) is None:
        return None
    rows, n_bins, offsets = _rows()
    cdfs = [row.tolist() for row in rows]
    sizes, first = (n_bins + 1).tolist(), offsets.tolist()
    encoder, decoder = ans.RansEncoder(), ans.RansDecoder()

    # lists are what its interface takes and gives, so the conversions are timed
    def encode() -> bytes:
        return encoder.encode_with_indexes(m.symbols.tolist(), m.rows.tolist(), cdfs, sizes, first)

    def decode(data: bytes) -> np.ndarray:
        out = decoder.decode_with_indexes(data, m.rows.tolist(), cdfs, sizes, first)
        return np.array(out, np.int32)

    return Coder(encode, decode)


def torch_ans(
    m: Message,
    *,
    impl: str = "rans64",
    bits: int = _PEER_BITS,
    interleaves: int = 4,
    inverse_bits: int | None = 8,
    streams: int = 1,
    device: str = "cpu",
) -> Coder | None:
    """Code m with torch_ans, on as many threads as torch has; None where it is not installed.

    rans64 with four states and a lookup table of 256 entries is what measured fastest on a CPU,
    both ways; one state and no lookup table are its own defaults. On a device its calls take the
    stream there as ours do, though its interface gives bytes: moving them is not timed, copying the
    stream on the device is, because decoding uses it up.
    """
    if _module("torch_ans") is None:
        return None
    import torch
    from torch_ans.utils import TorchANSInterface, build_cdf_with_inverse_table

    coder = TorchANSInterface(
        impl=impl,
        num_parallel_states=streams,
        num_interleaves=interleaves,
        inverse_cdf_precision=inverse_bits,
        freq_precision=bits,
        device=device,
    )
    rows, n_bins, offsets = _rows(bits)
    cdfs = [torch.from_numpy(row) for row in rows]
    if inverse_bits is not None:  # a row's lookup table follows that row
        cdfs = [build_cdf_with_inverse_table(cdf[None], bits, inverse_bits)[0] for cdf in cdfs]
    padded = torch.nn.utils.rnn.pad_sequence(cdfs, batch_first=True)
    coder.set_cdfs(padded, torch.from_numpy(n_bins + 1), torch.from_numpy(offsets.copy()))
    symbols = torch.from_numpy(m.symbols).to(device)
    indexes = torch.from_numpy(m.rows.astype(np.int32)).to(device)  # int32 is its only type
    moved: list[Any] = [None, None]  # bytes, and the same on the device

    def decode(data: bytes) -> torch.Tensor:
        if device == "cpu":
            return coder.decode_with_indexes(data, indexes)
        if moved[0] is not data:
            coder.set_stream(data)
            moved[:] = data, coder._encoded_stream
        return coder.decode(stream=moved[1].clone(), dist_indexes=indexes)

    return Coder(lambda: coder.encode_with_indexes(symbols, indexes), decode)


def _constriction(m: Message) -> Coder | None:
    if (module := _module("constriction")) is None:
        return None
    stream = module.stream
    reach = max(500, int(np.abs(m.symbols).max()))
    family = stream.model.QuantizedGaussian(-reach, reach)
    means, scales = np.zeros(m.symbols.size), m.scales

    def encode() -> np.ndarray:
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(m.symbols, family, means, scales)
        return coder.get_compressed()

    def decode(words: np.ndarray) -> np.ndarray:
        return stream.stack.AnsCoder(words).decode(family, means, scales)

    return Coder(encode, decode, lambda words: words.nbytes)


@functools.cache
def _rows(bits: int = _PEER_BITS) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Cdf of each row, int32 [n_bins + 1]; n_bins and offsets, int32 [rows]."""
    freqs, n_bins, offsets = tables(bits).arrays()
    split = np.split(freqs, np.cumsum(n_bins)[:-1])
    return [np.append(0, np.cumsum(row)).astype(np.int32) for row in split], n_bins, offsets


# rANS_static4x16.h of htscodecs
_ORDER_0, _ORDER_0_X32 = 0, 4
_CPU_ANY, _CPU_AVX2, _CPU_SCALAR = 0xFFFF, 2 << 0 | 2 << 8, 0


def byte_peers(data: bytes) -> dict[str, Coder]:
    """Every order-0 coder of bytes at hand, on one thread; zlib's Huffman coder always is."""
    peers = {}
    if (library := _htscodecs()) is not None:
        peers["htscodecs 32x16 AVX2"] = _hts_peer(library, data, _ORDER_0_X32, _CPU_AVX2)
        peers["htscodecs 32x16 best"] = _hts_peer(library, data, _ORDER_0_X32, _CPU_ANY)
        peers["htscodecs 4x16"] = _hts_peer(library, data, _ORDER_0, _CPU_SCALAR)
    peers["zlib huffman"] = Coder(lambda: _huffman(data), lambda coded: zlib.decompress(coded, -15))
    return peers


def _hts_peer(library: ctypes.CDLL, data: bytes, order: int, cpu: int) -> Coder:
    """Like ours, each call gives new memory and reads borrowed memory."""
    source = np.frombuffer(data, np.uint8)
    bound = library.rans_compress_bound_4x16(len(data), order)

    def call(function: Any, read: np.ndarray, room: int, *options: int) -> np.ndarray:
        library.rans_set_cpu(cpu)
        out, size = np.empty(room, np.uint8), ctypes.c_uint(room)
        done = function(
            ctypes.c_void_p(read.ctypes.data),
            ctypes.c_uint(read.size),
            ctypes.c_void_p(out.ctypes.data),
            ctypes.byref(size),
            *options,
        )
        assert done, "htscodecs refused"
        return out[: size.value]

    return Coder(
        lambda: call(library.rans_compress_to_4x16, source, bound, order),
        lambda coded: call(library.rans_uncompress_to_4x16, coded, len(data)),
    )


def _huffman(data: bytes) -> bytes:
    coder = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()
