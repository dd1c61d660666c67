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
    BYTE_SEGMENTED,
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
    *,
    memory: str | None = None,
    **notes: Any,
) -> None:
    """Race "ours" against the other sides.

    Args:
        race: the fixture.
        direction: "encode" or "decode".
        sides: the coders of one message.
        expected: what they have to decode, symbols or bytes.
        ideal: bytes that the message is worth.
        unit: of the symbols, for the report.
        memory: name of the message, where its peak memory is to be measured as well.
        notes: for the record.
    """
    coded = {name: side.encode() for name, side in sides.items()}
    n = as_array(expected).size
    figures = {
        name: {"size over ideal %": 100 * (side.size(coded[name]) / ideal - 1)}
        for name, side in sides.items()
    }
    if memory in MEMORY_CASES:
        for name in ["ours"] if FAST else sides:
            peak = peak_bytes(direction, memory, name)
            if peak is not None:
                figures[name][f"memory B/{unit}"] = peak / n
    if direction == "encode":
        calls = {name: side.encode for name, side in sides.items()}
    else:
        calls = {name: functools.partial(s.decode, coded[name]) for name, s in sides.items()}

    def check(mine: Any, others: Mapping[str, Any]) -> None:
        for name, result in {"ours": mine, **others}.items():
            decoded = sides[name].decode(result) if direction == "encode" else result
            assert np.array_equal(as_array(decoded), as_array(expected)), f"{name} is wrong"

    if missing := absent():
        notes["not installed"] = missing
    race(
        calls.pop("ours"),
        calls,
        check=check,
        work=n,
        unit=unit,
        notes={f"bits/{unit}": 8 * ideal / n, **notes},
        side_notes=figures,
    )


def as_array(values: Any) -> np.ndarray:
    return np.frombuffer(values, np.uint8) if isinstance(values, bytes) else np.asarray(values)


@pytest.mark.parametrize("case", CASES)
def bench_symbols(race: Race, direction: str, case: str) -> None:
    m = message(case)
    ours = our_symbols(m)
    sides = {"ours": ours, **symbol_peers(m)}
    lanes = rans.Decoder(ours.encode()).lanes
    run(race, direction, sides, m.symbols, m.ideal_bytes, "sym", memory=case, lanes=lanes)


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
    run(race, direction, there, m.symbols, m.ideal_bytes, "sym", threads=N_THREADS)


@pytest.mark.parametrize("segment", BYTE_SEGMENTS if BYTE_SEGMENTED else ["whole"])
@pytest.mark.parametrize("case", BYTE_CASES)
def bench_bytes(race: Race, direction: str, case: str, segment: str) -> None:
    data = byte_data(case)
    sides = {"ours": our_bytes(data, BYTE_SEGMENTS.get(segment)), **byte_peers(data)}
    run(race, direction, sides, data, entropy_bytes(data), "B", memory=case)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", BYTE_CASES if BYTE_SEGMENTED and SEVERAL else [])
def bench_bytes_threads(race: Race, direction: str, case: str) -> None:
    data = byte_data(case)
    sides = {
        "ours": our_bytes(data, BYTE_SEGMENTS["1M"], N_THREADS),
        "ours, one thread": our_bytes(data, BYTE_SEGMENTS["1M"]),
    }
    run(race, direction, sides, data, entropy_bytes(data), "B", threads=N_THREADS)
