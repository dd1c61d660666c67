# SPDX-License-Identifier: Apache-2.0
"""The `race` fixture and the report at the end of `pytest benchmarks --benchmark-only`.

With `--glc-watch`, which is what `glc bench` gives, pytest's own output makes way for a progress
bar, a table and a chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import Race, Result, environment, write_json_lines

RESULTS = pytest.StashKey[list[Result]]()
MIN_COLUMNS = 144  # of the table, where it is written to a file
BAR = pytest.StashKey[Any]()  # benchmarks.progress.Bar, or None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--glc-jsonl",
        type=Path,
        default=None,
        metavar="FILE",
        help="append the environment and one JSON line per race to FILE",
    )
    parser.addoption(
        "--glc-watch", action="store_true", help="show a progress bar, then a table and a chart"
    )
    parser.addoption(
        "--glc-chart",
        type=Path,
        default=None,
        metavar="FILE",
        help="with --glc-watch: draw the chart into FILE (.png, .svg)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []
    config.stash[BAR] = None


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--glc-watch") and session.items:
        from benchmarks.progress import Bar

        session.config.stash[BAR] = Bar(len(session.items))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    bar = item.config.stash[BAR]
    if bar is not None:
        bar.begin(item.name.removeprefix("bench_"))
    outcome = yield
    if bar is not None:
        bar.end()
    return outcome


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Print no letters into the bar; failures are reported in full at the end."""
    if not config.getoption("--glc-watch") or report.failed:
        return None
    return report.outcome if report.skipped or report.when == "call" else "", "", ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    bar = session.config.stash[BAR]
    if bar is not None:
        bar.close()


@pytest.fixture
def race(benchmark: Any, request: pytest.FixtureRequest) -> Race:
    """Race our function against peers; see `benchmarks.harness.Race`."""
    module = request.node.path.stem.removeprefix("bench_")
    case = request.node.name.removeprefix("bench_")
    bar = request.config.stash[BAR]
    return Race(
        benchmark,
        f"{module}.{case}",
        request.config.stash[RESULTS],
        on_round=None if bar is None else bar.advance,
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch and our coder on one thread, as most published figures do."""
    import torch

    import glc

    before = torch.get_num_threads(), glc.get_num_threads()
    torch.set_num_threads(1)
    glc.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    glc.set_num_threads(before[1])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not results:
        return
    if config.getoption("--glc-watch"):
        show(results, config.getoption("--glc-chart"))
    else:
        terminalreporter.section("glc races (ratio above 1: ours is faster)")
        terminalreporter.write_line(json.dumps(environment()))
        for result in results:
            terminalreporter.write_line(result.line())
    path = config.getoption("--glc-jsonl")
    if path is not None:
        write_json_lines(path, results)
        terminalreporter.write_line(f"written to {path}")


def show(results: list[Result], chart: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape

    from benchmarks import report

    console = Console()
    console.width = max(console.width, MIN_COLUMNS)
    console.print_json(data=environment(), indent=None)
    report.print_table(results, console)
    if chart is None:
        report.draw_bars(results, console)
    elif report.draw_chart(results, chart):
        console.print(escape(f"chart drawn into {chart}"))
    else:
        report.draw_bars(results, console)
        console.print("chart not drawn into a file: matplotlib is not installed")
