# SPDX-License-Identifier: Apache-2.0
"""The `race` fixture and the report at the end of `pytest benchmarks --benchmark-only`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import Race, Result, environment, write_json_lines

RESULTS = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--glc-jsonl",
        type=Path,
        default=None,
        metavar="FILE",
        help="append the environment and one JSON line per race to FILE",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []


@pytest.fixture
def race(benchmark: Any, request: pytest.FixtureRequest) -> Race:
    """Race our function against peers; see `benchmarks.harness.Race`."""
    module = request.node.path.stem.removeprefix("bench_")
    case = request.node.name.removeprefix("bench_")
    return Race(benchmark, f"{module}.{case}", request.config.stash[RESULTS])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as our scalar kernels and most published figures do."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("glc races (ratio above 1: ours is faster)")
    terminalreporter.write_line(json.dumps(environment()))
    for result in results:
        terminalreporter.write_line(result.line())
    path = config.getoption("--glc-jsonl")
    if path is not None:
        write_json_lines(path, results)
        terminalreporter.write_line(f"written to {path}")
