# SPDX-License-Identifier: Apache-2.0
"""One race of coders: sizes and memory beside the times, and the check that all are right."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.harness import FAST, Race
from benchmarks.memory import peak_bytes
from benchmarks.rans_cases import Coder
from benchmarks.rans_peers import absent

__all__ = ["run"]

MEMORY_CASES = ("mid 8M", "3.5 bit")  # a process of its own for each coder: not for every case


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
                figures[name]["memory B/sym"] = peak / n
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
        threads="threads" in notes,
        notes={f"bits/{unit}": 8 * ideal / n, **notes},
        side_notes=figures,
    )


def as_array(values: Any) -> np.ndarray:
    if isinstance(values, bytes):
        return np.frombuffer(values, np.uint8)
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
