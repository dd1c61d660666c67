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
    References,
    Refine,
    TinyDarknet,
    parsed_qualities,
)
from glc.cli.progress import progress_bar
from glc.defaults import PATCH_SIDE

__all__ = ["run"]

_OWN_FILES = ("index.html", "eval.json")  # beside the sub-folders, which are those of the pictures


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the page.")],
    model: Model = DEFAULT_MODEL,
    quality: Qualities = "0,1,2,3",
    references: References = None,
    tinydarknet: TinyDarknet = None,
    metrics: Metrics = "",
    patch: Patch = PATCH_SIDE,
    refine: Refine = 0,
    against: Annotated[
        str | None,
        typer.Option(help="Show what avif, webp or jpeg makes of the same bytes, too."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Do as eval does, and write a page that shows every picture beside what came of it."""
    from glc.errors import InvalidArgumentError

    qualities = parsed_qualities("report", quality)
    with progress_bar("report") as progress:
        progress("loading the model", 0.0)
        from glc.evaluation import evaluate
        from glc.evaluation.anchors import check_codec
        from glc.evaluation.measures import Measures, metric_names
        from glc.evaluation.page import write_page
        from glc.files import write_file

        for name in _OWN_FILES:
            if (folder / name).is_dir():
                raise InvalidArgumentError(
                    f"report: folder: expected no sub-folder of the name of a file that the page "
                    f"needs, got {folder / name}"
                )
        if against is not None:
            check_codec(against)
        names = metric_names(metrics)
        result = evaluate(
            folder,
            model,
            qualities,
            references=references,
            refine=refine,
            device=device,
            keep=output,
            tinydarknet=tinydarknet,
            metrics=names,
            patch=patch,
            progress=progress,
        )
        write_file(output / "eval.json", result.to_json().encode())
        measures = None  # of what another codec made
        if against is not None:
            measures = Measures(tinydarknet=tinydarknet, metrics=names, device=device)
        page = write_page(output, result, against=against, measures=measures, progress=progress)
    print_levels(result)
    typer.echo(page)
