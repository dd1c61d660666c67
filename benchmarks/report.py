# SPDX-License-Identifier: Apache-2.0
"""The figures of a session for people: a table, and a chart of the throughputs.

`python -m benchmarks.report figures.jsonl` prints what `--glc-jsonl` or `glc bench --jsonl` kept as
Markdown, for docs/performance.md.

The chart is drawn into a PNG or SVG file by matplotlib where that is installed and a file is asked
for, else as bars in the terminal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Result, Timing, quantity_text, seconds_text

__all__ = ["draw_bars", "draw_chart", "print_table"]

_BAR_COLUMNS = 40


def print_table(results: Sequence[Result], console: Console) -> None:
    """Print each race: a row per side, with the ratio to ours and its quartiles."""
    table = Table(title="ratio above 1: ours is faster (quartiles of the rounds)")
    columns = list(dict.fromkeys(key for r in results for f in r.side_notes.values() for key in f))
    for name in ("case", "side"):
        table.add_column(name, no_wrap=True)
    for name in ("time", "rate", "ratio", "quartiles", *columns):
        table.add_column(name, justify="right", no_wrap=name not in columns)
    for result in results:
        notes = [
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in result.notes.items()
        ]
        heads = [escape(result.name), *notes]
        rows = [_side_cells(result, name, columns) for name in ("ours", *result.peers)]
        for head, row in zip_longest(heads, rows):
            table.add_row(head, *(row or []))
        table.add_section()
    console.print(table)


def _side_cells(result: Result, name: str, columns: Sequence[str]) -> list[str]:
    timing = result.ours if name == "ours" else result.peers[name]
    cells = [
        escape(name),
        seconds_text(timing.median_s),
        f"{quantity_text(result.work / timing.median_s)}{result.unit}/s",
    ]
    if name == "ours":
        spread = (timing.quartile3_s - timing.quartile1_s) / timing.median_s
        cells += ["", f"time +-{50 * spread:.0f} %"]
    else:
        low, high = result.ratio_quartiles[name]
        cells += [f"{result.ratios[name]:.2f}x", f"{low:.2f}-{high:.2f}x"]
    figures = result.side_notes.get(name, {})
    return cells + [f"{figures[key]:.3f}" if key in figures else "" for key in columns]


def throughputs(result: Result) -> dict[str, float]:
    """Units of work per second of every side, ours first."""
    sides = {"ours": result.ours, **result.peers}
    return {name: result.work / timing.median_s for name, timing in sides.items()}


def draw_bars(results: Sequence[Result], console: Console) -> None:
    """Draw the throughputs as bars in the terminal, each race to its own scale."""
    table = Table(box=None, pad_edge=False)
    for name in ("case", "side", "rate", ""):
        table.add_column(name, no_wrap=True)
    block = "█" if console.encoding.startswith("utf") else "#"
    for result in results:
        rates = throughputs(result)
        most = max(rates.values())
        for name, rate in rates.items():
            bar = block * max(1, round(_BAR_COLUMNS * rate / most))
            label = escape(result.name) if name == "ours" else ""
            table.add_row(label, escape(name), f"{quantity_text(rate)}{result.unit}/s", bar)
    console.print(table)


def draw_chart(results: Sequence[Result], path: Path) -> bool:
    """Draw the throughputs into path (.png, .svg or .pdf), a panel per race.

    Returns:
        False, having done nothing, where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    columns = min(4, len(results))
    n_rows = -(-len(results) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.1 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).flatten()
    for panel, result in zip(panels, results, strict=False):
        rates = throughputs(result)
        scale, prefix = _scale(max(rates.values()))
        names = list(rates)[::-1]
        colours = ["tab:orange" if name.startswith("ours") else "tab:blue" for name in names]
        bars = panel.barh(names, [rates[name] / scale for name in names], color=colours)
        panel.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
        panel.set_title(result.name, fontsize=8)
        panel.set_xlabel(f"{prefix}{result.unit}/s", fontsize=7)
        panel.tick_params(labelsize=7)
        panel.margins(x=0.15)
    for panel in panels[len(results) :]:
        panel.remove()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return True


def _scale(value: float) -> tuple[float, str]:
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return scale, prefix
    return 1.0, ""


def markdown(results: Sequence[Result], *, fast: bool = False) -> Iterator[str]:
    """Write a table row per race, with every peer's ratio and quartiles.

    Args:
        results: of the races.
        fast: whether they are of smoke tests, which the heading then says.
    """
    case = "case (smoke test: its times mean nothing)" if fast else "case"
    yield f"| {case} | time | throughput | against the peers (quartiles) | size over ideal |"
    yield "|---|--:|--:|---|--:|"
    for result in results:
        peers = "; ".join(
            f"**{ratio:.2f}x** {name} ({low:.2f}-{high:.2f})"
            for name, ratio in result.ratios.items()
            for low, high in [result.ratio_quartiles[name]]
        )
        over = result.side_notes.get("ours", {}).get("size over ideal %")
        cells = [
            f"`{result.name}`",
            seconds_text(result.ours.median_s),
            f"{quantity_text(result.work / result.ours.median_s)}{result.unit}/s",
            peers,
            "" if over is None else f"{over:+.3f} %",
        ]
        yield f"| {' | '.join(cells)} |"


def read_json_lines(path: Path, *, fast: bool = False) -> list[Result]:
    """Read what `harness.write_json_lines` wrote; lines about the machine are left out.

    Args:
        path: of the file.
        fast: whether to read what was made with `GLC_BENCH_FAST` set, rather than without.
    """
    results = []
    was_fast = False
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        if "environment" in fields:
            was_fast = fields["environment"].get("fast_mode", False)
        elif was_fast == fast:
            fields["ours"] = Timing(**fields["ours"])
            fields["peers"] = {name: Timing(**timing) for name, timing in fields["peers"].items()}
            results.append(Result(**fields))
    return results


def main() -> None:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("figures", type=Path, help="what --glc-jsonl or glc bench --jsonl kept")
    path = parser.parse_args().figures
    if not path.is_file():
        parser.error(f"expected a file, got {path}")
    tables = [
        "\n".join(markdown(results, fast=fast))
        for fast in (False, True)
        if (results := read_json_lines(path, fast=fast))
    ]
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
