# SPDX-License-Identifier: Apache-2.0
"""`glc plot REPORT...`: rate-distortion curves beside each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glc.cli.options import Overwrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glc.evaluation.curves import Curve

__all__ = ["run"]

_SUFFIXES = (".png", ".svg", ".pdf")


def run(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORT...",
            help="What eval --json or the anchors wrote, or CompressAI's results.",
        ),
    ],
    chart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the curves into a PNG, SVG or PDF file."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metrics, separated by commas; by default all that two curves have."),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Curve to compare with; by default the first."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare rate-distortion curves: bits more or less at equal distortion, and a drawing."""
    from glc.errors import InvalidArgumentError
    from glc.files import check_output, write_file

    if chart is not None:
        if chart.suffix not in _SUFFIXES:
            raise InvalidArgumentError(
                f"plot: chart: expected a file named {', '.join(_SUFFIXES)}, got {chart}"
            )
        check_output(chart, overwrite=overwrite)
    from glc.evaluation.curves import draw, load_curves, named_apart

    curves = named_apart([(path, curve) for path in reports for curve in load_curves(path)])
    _check_pictures(curves)
    by_name = {curve.name: curve for curve in curves}
    if anchor is not None and anchor not in by_name:
        raise InvalidArgumentError(
            f"plot: anchor: expected one of {', '.join(by_name)}, got {anchor!r}"
        )
    metrics = _metrics(metric, curves)
    _print(by_name[anchor] if anchor is not None else curves[0], curves, metrics)
    if chart is not None:
        write_file(chart, draw(curves, metrics, chart.suffix[1:]), overwrite=overwrite)


def _check_pictures(curves: "Sequence[Curve]") -> None:
    """Means over different pictures say nothing of the codecs."""
    from glc.errors import InvalidArgumentError

    known = [(curve.name, curve.pictures) for curve in curves if curve.pictures is not None]
    for name, pictures in known[1:]:
        first, expected = known[0]
        if others := pictures ^ expected:
            raise InvalidArgumentError(
                f"plot: report: expected the same pictures, got {first} and {name} of different "
                f"ones: {min(others)} is in one of them only"
            )


def _metrics(wanted: str | None, curves: "Sequence[Curve]") -> list[str]:
    from glc.errors import InvalidArgumentError
    from glc.evaluation.curves import METRICS

    needed = min(2, len(curves))
    there = [m for m in METRICS if sum(bool(curve.points(m)) for curve in curves) >= needed]
    if not there:
        raise InvalidArgumentError("plot: report: expected curves that share a metric, got none")
    metrics = there if wanted is None else [name.strip() for name in wanted.split(",")]
    if not set(metrics) <= set(there):
        raise InvalidArgumentError(
            f"plot: metric: expected some of {', '.join(there)}, got {wanted}"
        )
    return list(dict.fromkeys(metrics))


def _print(anchor: "Curve", curves: "Sequence[Curve]", metrics: "Sequence[str]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from glc.evaluation.curves import METRICS, TABLE_WIDTH, bd_rate

    table = Table(
        title=escape(f"Bits against {anchor.name} at equal distortion (BD-rate; of the range)"),
        box=None,
    )
    table.add_column("codec", overflow="fold")
    for name in ("settings", "bpp", *(METRICS[metric].label for metric in metrics)):
        table.add_column(name, justify="right")
    for curve in curves:
        cells = []
        for metric in metrics:
            rate = None if curve is anchor else bd_rate(anchor, curve, metric)
            cells.append("-" if rate is None else f"{rate.percent:+.1f}% ({rate.overlap:.0%})")
        ends = f"{min(curve.bpp):.4f} .. {max(curve.bpp):.4f}"
        table.add_row(escape(curve.name), str(len(curve.bpp)), ends, *cells)
    Console(width=TABLE_WIDTH).print(table)
