# SPDX-License-Identifier: Apache-2.0
"""`glc report DIR OUT`: a page that shows pictures beside what their files decode to."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.eval_ import print_levels
from glc.cli.options import (
    DEFAULT_MODEL,
    Device,
    Metrics,
    Model,
    Patch,
    Qualities,
    Refine,
    TinyDarknet,
    parsed_metrics,
    parsed_qualities,
)
from glc.cli.progress import progress_bar
from glc.defaults import PATCH_SIDE

__all__ = ["run"]


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the page.")],
    model: Model = DEFAULT_MODEL,
    quality: Qualities = "0,1,2,3",
    tinydarknet: TinyDarknet = None,
    metrics: Metrics = "",
    patch: Patch = PATCH_SIDE,
    refine: Refine = 0,
    device: Device = "cpu",
) -> None:
    """Do as eval does, and write a page that shows every picture beside what came of it."""
    qualities = parsed_qualities("report", quality)
    with progress_bar("report") as progress:
        progress("loading the model", 0.0)
        from glc.evaluation import evaluate
        from glc.evaluation.page import write_page
        from glc.files import write_file

        result = evaluate(
            folder,
            model,
            qualities,
            refine=refine,
            device=device,
            keep=output,
            tinydarknet=tinydarknet,
            metrics=parsed_metrics(metrics),
            patch=patch,
            progress=progress,
        )
        write_file(output / "eval.json", result.to_json().encode())
        page = write_page(output, folder, result, progress)
    print_levels(result)
    typer.echo(page)
