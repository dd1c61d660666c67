# SPDX-License-Identifier: Apache-2.0
"""`glc eval DIR`: rate, distortion and time on a folder of pictures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glc.cli.counts import counted
from glc.cli.options import DEFAULT_MODEL, Device, Json, Model, Overwrite, Refine
from glc.cli.progress import progress_bar
from glc.defaults import PATCH_SIDE

if TYPE_CHECKING:
    from glc.evaluation import Evaluation

__all__ = ["run"]


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    model: Model = DEFAULT_MODEL,
    quality: Annotated[
        str, typer.Option("--quality", help="Qualities to measure, separated by commas.")
    ] = "0,1,2,3",
    json_path: Json = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Leave the coded files in this new folder.")
    ] = None,
    tinydarknet: Annotated[
        Path | None,
        typer.Option(
            "--tinydarknet",
            metavar="WEIGHTS",
            help="Also measure the distance of Tiny Darknet features (a stand-in, not LPIPS).",
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Also some of lpips, dists, fid and kid, separated by commas."
        ),
    ] = "",
    patch: Annotated[
        int, typer.Option(metavar="N", help="Side of the patches of FID and KID, in pixels.")
    ] = PATCH_SIDE,
    refine: Refine = 0,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Code every picture, decode it again, and report real sizes and distances."""
    from glc.files import check_output, write_file

    qualities = _parse_qualities(quality)
    if json_path is not None:
        check_output(json_path, overwrite=overwrite)
    with progress_bar("eval") as progress:
        progress("loading the model", 0.0)
        from glc.evaluation import evaluate

        result = evaluate(
            folder,
            model,
            qualities,
            refine=refine,
            device=device,
            keep=keep,
            tinydarknet=tinydarknet,
            metrics=metrics.split(",") if metrics else (),
            patch=patch,
            progress=progress,
        )
    if json_path is not None:
        text = json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n"
        write_file(json_path, text.encode(), overwrite=overwrite)
    _print(result)


def _parse_qualities(text: str) -> list[float]:
    from glc.errors import InvalidArgumentError

    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InvalidArgumentError(
            f"eval: quality: expected numbers separated by commas, got {text!r}"
        ) from error


def _print(result: "Evaluation") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from glc.evaluation.curves import measured

    levels = result.levels
    figures = measured(levels)
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
            *(metric.text(getattr(level, name)) for name, metric in figures.items()),
            f"{level.encode_ms:.0f}",
            f"{level.decode_ms:.0f}",
        )
    Console(width=100).print(table)
