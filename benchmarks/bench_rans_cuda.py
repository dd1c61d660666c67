# SPDX-License-Identifier: Apache-2.0
"""The coder on a CUDA device: tensors in, tensors out, every call waited for.

Peers: torch_ans with a warp per stream (W2) and nvCOMP's ANS (W1), where they are installed, and
our own CPU coder. torch_ans' encoded streams cross to the host, which its interface asks for.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.harness import FAST, Race
from benchmarks.on_device import ON_DEVICE, waited
from benchmarks.rans_cases import (
    BYTE_CASES,
    N_THREADS,
    Coder,
    Message,
    byte_data,
    entropy_bytes,
    message,
    our_bytes,
    our_symbols,
)
from benchmarks.rans_peers import torch_ans
from benchmarks.rans_race import run

pytestmark = [*ON_DEVICE, pytest.mark.parametrize("direction", ["encode", "decode"])]

COPIES = 1 if FAST else 8  # of a CPU message: 64 M symbols, 128 MiB
TORCH_ANS_STREAMS = 4096


def waiting(coder: Coder) -> Coder:
    """The same, with each call waited for."""

    def decode(coded: Any) -> Any:
        result = coder.decode(coded)
        torch.cuda.synchronize()
        return result

    return Coder(waited(coder.encode), decode, coder.size)


def nvcomp_ans(data: torch.Tensor) -> Coder | None:
    """nvCOMP as it measured fastest: decoding into memory at hand, by a configuration made before.

    Without either it takes twice as long, and waits for the device to learn the size.
    """
    if importlib.util.find_spec("nvidia") is None or not importlib.util.find_spec("nvidia.nvcomp"):
        return None
    from nvidia import nvcomp

    codec = nvcomp.Codec(algorithm="ANS")
    source = nvcomp.as_array(data)
    room = torch.empty_like(data)
    place = nvcomp.as_array(room)
    known: list[Any] = [None, None]  # an array that was coded, and its configuration

    def decode(coded: Any) -> torch.Tensor:
        if known[0] is not coded:
            known[:] = coded, codec.decompression_config(coded)
        codec.decode(coded, out=place, decompression_config=known[1])
        return room

    return Coder(lambda: codec.encode(source), decode, lambda coded: coded.buffer_size)


@pytest.mark.parametrize("level", ["low", "mid", "high"])
def bench_symbols(race: Race, direction: str, level: str) -> None:
    from glc.ops import coder

    one = message(f"{level} 8M")
    m = Message(
        np.tile(one.symbols, COPIES),
        np.tile(one.rows, COPIES),
        one.tables,
        one.ideal_bytes * COPIES,
    )
    symbols, rows = torch.from_numpy(m.symbols).cuda(), torch.from_numpy(m.rows).cuda()
    cut = coder.even_segments(symbols.numel(), symbols.device)
    sides = {
        "ours": Coder(
            lambda: coder.encode(symbols, rows, m.tables, segment_symbols=cut),
            lambda data: coder.decode(data, rows, m.tables),
        ),
        "ours, CPU": our_symbols(m, N_THREADS),
        "torch_ans": torch_ans(
            m,
            impl="rans32_16",
            bits=15,
            interleaves=32,
            streams=TORCH_ANS_STREAMS,
            device="cuda",
        ),
    }
    there = {name: waiting(side) for name, side in sides.items() if side is not None}
    run(race, direction, there, m.symbols, m.ideal_bytes, "sym")


@pytest.mark.parametrize("case", BYTE_CASES)
def bench_bytes(race: Race, direction: str, case: str) -> None:
    from glc.ops import coder

    data = byte_data(case) * COPIES
    tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8).cuda()
    cut = coder.even_segments(tensor.numel(), tensor.device, coder.SEGMENT_BYTES)
    sides = {
        "ours": Coder(
            lambda: coder.encode_bytes(tensor, cut, coder.LANES),
            lambda coded: coder.decode_bytes(coded, size=tensor.numel()),
        ),
        "ours, CPU": our_bytes(data, threads=N_THREADS),
        "nvcomp ANS": nvcomp_ans(tensor),
    }
    there = {name: waiting(side) for name, side in sides.items() if side is not None}
    run(race, direction, there, data, entropy_bytes(data), "B")
