# SPDX-License-Identifier: Apache-2.0
"""Race one of our functions against named peers, in one interleaved run.

A single timing on a shared machine says little; a ratio of calls made in turn says a lot. So a race
checks the result first, warms both sides up, then calls ours and each peer alternately, many rounds
in a new order each, and reports medians and interquartile ranges of the times, and of the ratios
within a round, which a busy neighbour disturbs less. A peer that takes long
sits out two rounds of three. pytest-benchmark is the entry (`pytest benchmarks --benchmark-only`)
and prints its own table of our side as well.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Race", "Result", "Timing", "environment", "quantity_text", "seconds_text"]

FAST = os.environ.get("GLC_BENCH_FAST", "") not in {"", "0"}
# On a machine that is busy with other work the CPU time of this process, all threads together, says
# more than the clock on the wall: GLC_BENCH_CLOCK=cpu. Races of several threads keep the latter.
CPU_CLOCK = os.environ.get("GLC_BENCH_CLOCK", "wall") == "cpu"

# A round has to last long enough for the clock, and a race for its quartiles to mean something.
ROUND_SECONDS = 0.0005 if FAST else 0.005
# GLC_BENCH_SECONDS: of each side of a race, for where time is dear.
RACE_SECONDS = float(os.environ.get("GLC_BENCH_SECONDS", "") or (0.05 if FAST else 2.0))
MIN_ROUNDS = 3 if FAST else 9
MAX_ROUNDS = 5 if FAST else 400
SLOW_SECONDS = 0.25  # a call longer than this is slow,
SLOW_EVERY = 3  # and made in one round of three
COLD_CACHE_BYTES = 64 << 20


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median and quartiles over the rounds."""

    median_s: float
    quartile1_s: float
    quartile3_s: float
    rounds: int
    calls_per_round: int

    @classmethod
    def of(cls, seconds: list[float], calls_per_round: int) -> Timing:
        """Summarise the rounds of one side; `seconds` are per call."""
        q1, median, q3 = (
            statistics.quantiles(seconds, n=4, method="inclusive")
            if len(seconds) > 1
            else [seconds[0]] * 3
        )
        return cls(median, q1, q3, len(seconds), calls_per_round)


@dataclass(frozen=True)
class Result:
    """One race, as it is written to the JSON-lines file."""

    name: str
    ours: Timing
    peers: dict[str, Timing]
    ratios: dict[str, float]  # peer / ours within a round, median: above 1, ours is faster
    ratio_quartiles: dict[str, tuple[float, float]]
    work: float  # units of work per call
    unit: str
    cold_cache: bool
    clock: str  # wall or cpu
    notes: dict[str, Any]
    side_notes: dict[str, dict[str, float]]  # "ours" and peers: figures that each side has
    moved_bytes: float | None = None  # that one call must read and write

    def line(self) -> str:
        """One readable line: our time and throughput, then the ratio to each peer."""
        rate = self.work / self.ours.median_s
        spread = (self.ours.quartile3_s - self.ours.quartile1_s) / self.ours.median_s
        text = f"{self.name}: {seconds_text(self.ours.median_s)} +-{50 * spread:.0f} %"
        text += f", {quantity_text(rate)}{self.unit}/s"
        if self.moved_bytes is not None:
            text += f", {quantity_text(self.moved_bytes / self.ours.median_s)}B/s"
        text += "".join(f", {note}" for note in _notes(self.side_notes.get("ours", {})))
        for peer, ratio in self.ratios.items():
            low, high = self.ratio_quartiles[peer]
            figures = [f"{low:.2f}-{high:.2f}x", seconds_text(self.peers[peer].median_s)]
            figures += _notes(self.side_notes.get(peer, {}))
            text += f" | {ratio:.2f}x {peer} ({', '.join(figures)})"
        text += "".join(f" | {note}" for note in _notes(self.notes))
        return text


class Race:
    """The `race` fixture: call it once in a benchmark.

    Attributes:
        results: every race of this session, in order; shared by all benchmarks.
    """

    def __init__(
        self,
        benchmark: Any,
        name: str,
        results: list[Result],
        on_round: Callable[[float], None] | None = None,
    ) -> None:
        """Set up one race.

        Args:
            benchmark: pytest-benchmark's fixture.
            name: how the race is called in the report.
            results: where the result goes.
            on_round: called between rounds, never while anything is timed, with the share of the
                race that is done, 0..1.
        """
        self._benchmark = benchmark
        self._name = name
        self._on_round = on_round or (lambda _done: None)
        self.results = results

    def __call__(
        self,
        ours: Callable[[], Any],
        peers: Mapping[str, Callable[[], Any]],
        *,
        check: Callable[[Any, dict[str, Any]], None],
        work: float,
        unit: str,
        cold_cache: bool = False,
        threads: bool = False,
        notes: Mapping[str, Any] | None = None,
        side_notes: Mapping[str, Mapping[str, float]] | None = None,
        moved_bytes: float | None = None,
    ) -> Result:
        """Check, then time `ours` and every peer alternately.

        Args:
            ours: our side, without arguments; returns the result to check.
            peers: name -> the same work done by another implementation (eager torch, another
                coder, the reference).
            check: called once with our result and the peers' results by name; raises when they
                disagree. Nothing is timed before it returns.
            work: units of work in one call, for the throughput.
            unit: name of the unit, e.g. `sym` or `B`.
            cold_cache: evict the data caches before every call (one call a round).
            threads: a side uses several threads, so take the wall clock in any case.
            notes: extra figures for the record, e.g. the entropy.
            side_notes: figures of each side, by "ours" or the peer's name, e.g. its size.
            moved_bytes: bytes that one call must read and write, for a second throughput.

        Returns:
            The medians, quartiles and ratios; also kept for the report and the JSON lines.
        """
        clock = time.process_time if CPU_CLOCK and not threads else time.perf_counter
        sides = {name: _Side(run, clock) for name, run in {"ours": ours, **peers}.items()}
        outcomes = {name: side.first_call() for name, side in sides.items()}
        check(outcomes["ours"], {name: outcomes[name] for name in peers})
        del outcomes
        for side in sides.values():
            side.calibrate(one_call=cold_cache)
        self._run_rounds(sides, bytearray(COLD_CACHE_BYTES) if cold_cache else None)

        timings = {name: Timing.of(side.seconds, side.calls) for name, side in sides.items()}
        mine = timings.pop("ours")
        ratios = {name: Timing.of(sides[name].ratios(sides["ours"]), 1) for name in peers}
        result = Result(
            name=self._name,
            ours=mine,
            peers=timings,
            ratios={name: ratio.median_s for name, ratio in ratios.items()},
            ratio_quartiles={name: (r.quartile1_s, r.quartile3_s) for name, r in ratios.items()},
            work=work,
            unit=unit,
            cold_cache=cold_cache,
            clock="wall" if clock is time.perf_counter else "cpu",
            notes=dict(notes or {}),
            side_notes={name: dict(figures) for name, figures in (side_notes or {}).items()},
            moved_bytes=moved_bytes,
        )
        self.results.append(result)
        self._benchmark.extra_info.update(asdict(result))
        rounds = 1 if FAST else 3  # for the table of pytest-benchmark
        self._benchmark.pedantic(
            ours, rounds=rounds, iterations=mine.calls_per_round, warmup_rounds=0
        )
        return result

    def _run_rounds(self, sides: Mapping[str, _Side], evict: bytearray | None) -> None:
        order = list(sides.values())
        shuffle = random.Random(0).shuffle
        began = time.perf_counter()
        budget = RACE_SECONDS * len(sides)
        for n_done in range(MAX_ROUNDS):
            spent = (time.perf_counter() - began) / budget
            if n_done >= MIN_ROUNDS and spent > 1:
                break
            done = max(n_done / MAX_ROUNDS, min(spent, n_done / MIN_ROUNDS))
            self._on_round(min(done, 1.0))
            shuffle(order)
            for side in order:
                if n_done % side.every == 0:
                    if evict is not None:
                        evict[:] = bytes(len(evict))
                    side.round_of[n_done] = side.time(side.calls)


@dataclass
class _Side:
    """One contestant: how it is called, and what its rounds took."""

    run: Callable[[], Any]
    clock: Callable[[], float]
    calls: int = 1  # a round
    every: int = 1  # rounds from one participation to the next
    first_s: float = 0.0
    round_of: dict[int, float] = field(default_factory=dict)  # round -> seconds per call

    @property
    def seconds(self) -> list[float]:
        return list(self.round_of.values())

    def first_call(self) -> Any:
        """Make the call whose result is checked; it also tells slow sides from quick ones."""
        begin = self.clock()
        outcome = self.run()
        self.first_s = self.clock() - begin
        return outcome

    def time(self, calls: int) -> float:
        begin = self.clock()
        for _ in range(calls):
            self.run()
        return (self.clock() - begin) / calls

    def calibrate(self, *, one_call: bool) -> None:
        # the first call of a side may have compiled it
        if self.first_s > SLOW_SECONDS and self.time(1) > SLOW_SECONDS:
            self.every = SLOW_EVERY
        elif not one_call:
            self._fill_round()

    def _fill_round(self) -> None:
        """Find, while warming up, how many calls fill a round."""
        n = 1
        while (total := self.time(n) * n) < ROUND_SECONDS and n < 1 << 20:
            n = max(2 * n, min(1 << 20, int(n * 1.2 * ROUND_SECONDS / max(total, 1e-9))))
        self.calls = n

    def ratios(self, ours: _Side) -> list[float]:
        """Our speed over this side's, of every round that both took part in; round 0 is one."""
        shared = self.round_of.keys() & ours.round_of.keys()
        return [self.round_of[i] / ours.round_of[i] for i in sorted(shared)]


def _notes(notes: Mapping[str, Any]) -> list[str]:
    return [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in notes.items()]


def seconds_text(value: float) -> str:
    """Write a time with its unit, e.g. `1.25 ms`."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def quantity_text(value: float) -> str:
    """Write a number with a prefix for its unit, e.g. `1.25 G`."""
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}"
    return f"{value:.3g} "


_LOADED_AS = {"pillow": "PIL", "compressai": "compressai.ans"}  # package -> a module of it


def environment() -> dict[str, Any]:
    """Say what the figures were measured on: without it they are not figures.

    Returns:
        CPU, cores, Python, package versions (only of what is loaded), the native build and the
        commit with a `+` when the tree had changes.
    """
    import glc

    versions = {
        name: importlib.metadata.version(name)
        for name in ("numpy", "torch", "constriction", "compressai", "torch_ans", "pillow")
        if _LOADED_AS.get(name, name) in sys.modules
    }
    torch = sys.modules.get("torch")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": _gpu_name(torch),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
        "torch_threads": torch.get_num_threads() if torch is not None else None,
        "build": glc.build_info(),
        "commit": _commit(),
        "fast_mode": FAST,
    }


def _cpu_name() -> str:
    try:
        for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu_name(torch: Any) -> str | None:
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())


def _commit() -> str | None:
    if os.environ.get("GLC_COMMIT"):  # where the tree has no history
        return os.environ["GLC_COMMIT"]
    root = Path(__file__).resolve().parent.parent
    try:
        text = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return text.strip()


def write_json_lines(path: Path, results: list[Result]) -> None:
    """Append the environment and one line per race to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"environment": environment()}) + "\n")
        for result in results:
            file.write(json.dumps(asdict(result)) + "\n")
