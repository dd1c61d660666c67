# SPDX-License-Identifier: Apache-2.0
"""The coder beside other coders: a table row per symbol (W2), and plain bytes (W1).

Like for like: what a coder prepares once (tables, models, its own types) is prepared before the
clock runs; what its interface asks for with each call, such as CompressAI's lists, is timed. Ours
takes numpy arrays and gives bytes, and the other way round, in new memory with each call. Every
side decodes what it encoded, and that is compared, before anything is timed. All run on one thread,
except in the cases named `threads`, where our own single thread is among the peers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import FAST, Race
from benchmarks.memory import peak_bytes
from benchmarks.rans_cases import (
    BYTE_CASES,
    BYTE_SEGMENTS,
    CASES,
    N_THREADS,
    SEGMENT_SYMBOLS,
    SEGMENTS,
    Coder,
    byte_data,
    entropy_bytes,
    message,
    our_bytes,
    our_symbols,
)
from benchmarks.rans_peers import TORCH_ANS_STREAMS, absent, byte_peers, symbol_peers, torch_ans
from glc import rans

pytestmark = pytest.mark.usefixtures("one_thread")

MEMORY_CASES = ("mid 8M", "3.5 bit")  # a process of its own for each coder: not for every case
SEVERAL = SEGMENTS and N_THREADS > 1


@pytest.fixture(params=["encode", "decode"])
def direction(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def several_threads(one_thread: None) -> None:
    import torch

    torch.set_num_threads(N_THREADS)  # one_thread restores what was before


def run(
    race: Race,
    direction: str,
    sides: Mapping[str, Coder],
    expected: Any,
    ideal: float,
    unit: str,
    notes: Mapping[str, Any],
) -> None:
    """Race "ours" against the other sides, with sizes over the ideal in the notes."""
    coded = {name: side.encode() for name, side in sides.items()}
    over = {name: 100 * (side.size(coded[name]) / ideal - 1) for name, side in sides.items()}
    if direction == "encode":
        calls = {name: side.encode for name, side in sides.items()}
    else:
        calls = {name: functools.partial(s.decode, coded[name]) for name, s in sides.items()}

    def check(mine: Any, others: Mapping[str, Any]) -> None:
        for name, result in {"ours": mine, **others}.items():
            decoded = sides[name].decode(result) if direction == "encode" else result
            assert np.array_equal(as_array(decoded), as_array(expected)), f"{name} is wrong"

    race(
        calls.pop("ours"),
        calls,
        check=check,
        work=as_array(expected).size,
        unit=unit,
        notes={
            "bits/" + unit: 8 * ideal / as_array(expected).size,
            "size over ideal %": over.pop("ours"),
            **{f"{name} size %": value for name, value in over.items()},
            **notes,
            **({"not installed": absent()} if absent() else {}),
        },
    )


def as_array(values: Any) -> np.ndarray:
    return np.frombuffer(values, np.uint8) if isinstance(values, bytes) else np.asarray(values)


def memory_notes(
    workload: str, direction: str, case: str, sides: Mapping[str, Coder], n: int
) -> dict[str, float]:
    """Peak extra memory of one call, in bytes per symbol, of every side."""
    if case not in MEMORY_CASES:
        return {}
    found = {}
    for name in ["ours"] if FAST else sides:
        peak = peak_bytes(workload, direction, case, name)
        if peak is not None:
            found[f"{name} memory B/{'B' if workload == 'bytes' else 'sym'}"] = peak / n
    return found


@pytest.mark.parametrize("case", CASES)
def bench_symbols(race: Race, direction: str, case: str) -> None:
    m = message(case)
    sides = {"ours": our_symbols(m), **symbol_peers(m)}
    notes = {"lanes": rans.Decoder(sides["ours"].encode()).lanes}
    notes |= memory_notes("symbols", direction, case, sides, m.symbols.size)
    run(race, direction, sides, m.symbols, m.ideal_bytes, "sym", notes)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", [c for c in CASES if SEVERAL and not c.endswith("8K")])
def bench_symbols_threads(race: Race, direction: str, case: str) -> None:
    m = message(case)
    sides = {
        "ours": our_symbols(m, SEGMENT_SYMBOLS, N_THREADS),
        "ours, one thread": our_symbols(m, SEGMENT_SYMBOLS),
        "torch_ans": torch_ans(m, streams=TORCH_ANS_STREAMS),
    }
    there = {name: side for name, side in sides.items() if side is not None}
    run(race, direction, there, m.symbols, m.ideal_bytes, "sym", {"threads": N_THREADS})


@pytest.mark.parametrize("segment", BYTE_SEGMENTS if SEGMENTS else ["whole"])
@pytest.mark.parametrize("case", BYTE_CASES)
def bench_bytes(race: Race, direction: str, case: str, segment: str) -> None:
    data = byte_data(case)
    sides = {"ours": our_bytes(data, BYTE_SEGMENTS.get(segment)), **byte_peers(data)}
    notes = memory_notes("bytes", direction, case, sides, len(data))
    run(race, direction, sides, data, entropy_bytes(data), "B", notes)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", BYTE_CASES if SEVERAL else [])
def bench_bytes_threads(race: Race, direction: str, case: str) -> None:
    data = byte_data(case)
    sides = {
        "ours": our_bytes(data, BYTE_SEGMENTS["1M"], N_THREADS),
        "ours, one thread": our_bytes(data, BYTE_SEGMENTS["1M"]),
    }
    run(race, direction, sides, data, entropy_bytes(data), "B", {"threads": N_THREADS})
