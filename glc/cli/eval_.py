# SPDX-License-Identifier: Apache-2.0
"""`glc eval DIR`: rate, distortion and time on a folder of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glc.cli.counts import counted
from glc.cli.options import (
    DEFAULT_MODEL,
    Device,
    Json,
    Metrics,
    Model,
    Overwrite,
    Patch,
    Qualities,
    References,
    Refine,
    TinyDarknet,
    parsed_qualities,
)
from glc.cli.progress import progress_bar
from glc.defaults import PATCH_SIDE

if TYPE_CHECKING:
    from glc.evaluation import Evaluation

__all__ = ["print_levels", "run"]


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    model: Model = DEFAULT_MODEL,
    quality: Qualities = "0,1,2,3",
    json_path: Json = None,
    references: References = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Leave the coded files in this new folder.")
    ] = None,
    tinydarknet: TinyDarknet = None,
    metrics: Metrics = "",
    patch: Patch = PATCH_SIDE,
    refine: Refine = 0,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Code every picture, decode it again, and report real sizes and distances."""
    from glc.files import check_output, write_file

    qualities = parsed_qualities("eval", quality)
    if json_path is not None:
        check_output(json_path, overwrite=overwrite)
    with progress_bar("eval") as progress:
        progress("loading the model", 0.0)
        from glc.evaluation import evaluate
        from glc.evaluation.measures import metric_names

        result = evaluate(
            folder,
            model,
            qualities,
            references=references,
            refine=refine,
            device=device,
            keep=keep,
            tinydarknet=tinydarknet,
            metrics=metric_names(metrics),
            patch=patch,
            progress=progress,
        )
    if json_path is not None:
        write_file(json_path, result.to_json().encode(), overwrite=overwrite)
    print_levels(result)


def print_levels(result: "Evaluation") -> None:
    """Print a table of means."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from glc.evaluation.curves import TABLE_WIDTH, measured

    levels = result.levels
    figures = measured([vars(level) for level in levels], result.metrics)
    table = Table(
        title=f"{escape(result.model)}, {counted(levels[0].images, 'picture')}, "
        f"{result.device}, {counted(result.threads, 'thread')}",
        box=None,
    )
    labels = [metric.label for metric in figures.values()]
    rates = ("quality", "bytes", "bpp", "estimate", "real/est.")
    for name in (*rates, *labels, "encode ms", "decode ms"):
        table.add_column(name, justify="right")
    for level in levels:
        table.add_row(
            f"{level.quality:g}",
            str(level.file_bytes),
            f"{level.bpp:.4f}",
            f"{level.estimated_bpp:.4f}",
            f"{level.excess:+.2%}",
            *(metric.text(vars(level)[name]) for name, metric in figures.items()),
            f"{level.encode_ms:.0f}",
            f"{level.decode_ms:.0f}",
        )
    Console(width=TABLE_WIDTH).print(table)
