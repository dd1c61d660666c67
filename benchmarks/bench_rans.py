# SPDX-License-Identifier: Apache-2.0
"""The coder beside other coders: a table row per symbol (W2), and plain bytes (W1).

Like for like: what a coder prepares once (tables, models, its own types) is prepared before the
clock runs; what its interface asks for with each call, such as CompressAI's lists, is timed. Ours
takes numpy arrays and gives bytes, and the other way round, in new memory with each call. Every
side decodes what it encoded, and that is compared, before anything is timed. All run on one thread,
except in the cases named `threads`, where our own single thread is among the peers.
"""

from __future__ import annotations

import pytest

from benchmarks.harness import Race
from benchmarks.rans_cases import (
    BYTE_CASES,
    BYTE_SEGMENTS,
    CASES,
    N_THREADS,
    byte_data,
    entropy_bytes,
    message,
    our_bytes,
    our_symbols,
)
from benchmarks.rans_peers import TORCH_ANS_STREAMS, byte_peers, symbol_peers, torch_ans
from benchmarks.rans_race import run

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.parametrize("direction", ["encode", "decode"]),
]

# cut into segments by our own rule: long enough for several threads
LONG = [case for case in CASES if not case.endswith("8K") and case != "low 400K"]


@pytest.fixture
def several_threads(one_thread: None) -> None:
    import torch

    torch.set_num_threads(N_THREADS)  # one_thread restores what was before


@pytest.mark.parametrize("case", CASES)
def bench_symbols(race: Race, direction: str, case: str) -> None:
    m = message(case)
    sides = {"ours": our_symbols(m), **symbol_peers(m)}
    run(race, direction, sides, m.symbols, m.ideal_bytes, "sym", memory=case)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", LONG if N_THREADS > 1 else [])
def bench_symbols_threads(race: Race, direction: str, case: str) -> None:
    m = message(case)
    sides = {
        "ours": our_symbols(m, N_THREADS),
        "ours, one thread": our_symbols(m),
        "torch_ans": torch_ans(m, streams=TORCH_ANS_STREAMS),
    }
    there = {name: side for name, side in sides.items() if side is not None}
    run(race, direction, there, m.symbols, m.ideal_bytes, "sym", threads=N_THREADS)


@pytest.mark.parametrize("segment", BYTE_SEGMENTS)
@pytest.mark.parametrize("case", BYTE_CASES)
def bench_bytes(race: Race, direction: str, case: str, segment: str) -> None:
    data = byte_data(case)
    sides = {"ours": our_bytes(data, BYTE_SEGMENTS[segment]), **byte_peers(data)}
    run(race, direction, sides, data, entropy_bytes(data), "B", memory=case)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", BYTE_CASES if N_THREADS > 1 else [])
def bench_bytes_threads(race: Race, direction: str, case: str) -> None:
    data = byte_data(case)
    sides = {
        "ours": our_bytes(data, BYTE_SEGMENTS["1M"], N_THREADS),
        "ours, one thread": our_bytes(data, BYTE_SEGMENTS["1M"]),
    }
    run(race, direction, sides, data, entropy_bytes(data), "B", threads=N_THREADS)
