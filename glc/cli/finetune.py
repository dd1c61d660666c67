# SPDX-License-Identifier: Apache-2.0
"""`glc finetune PHOTOS OUT`: adapt a model to one kind of pictures, and show what it gained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glc.cli.counts import counted
from glc.cli.options import DEFAULT_MODEL, Model

if TYPE_CHECKING:
    from glc.evaluation import Evaluation

__all__ = ["run"]


def run(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photos.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the run and the model.")],
    model: Model = DEFAULT_MODEL,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of 8 crops.")] = 500,
    features: Annotated[
        Path | None,
        typer.Option("--squeezenet", metavar="WEIGHTS", help="Train with the perceptual term."),
    ] = None,
    tinydarknet: Annotated[
        Path | None,
        typer.Option("--tinydarknet", metavar="WEIGHTS", help="Compare this distance too."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override one setting; may be repeated."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")
    ] = False,
) -> None:
    """Fine-tune a model on a folder of photos, and compare real files of held-out ones."""
    from glc.training.finetune import finetune

    result = finetune(
        photos,
        out,
        model=model,
        steps=steps,
        features=features,
        tinydarknet=tinydarknet,
        overrides=overrides or [],
        resume=resume,
    )
    _print(result.before, result.after)
    typer.echo(f"model: {result.model}")


def _print(before: "Evaluation", after: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    pictures = counted(before.levels[0].images, "held-out picture")
    table = Table(title=f"{pictures}, before -> after", box=None)
    stand_in = ("Tiny Darknet",) if before.levels[0].tinydarknet is not None else ()
    for name in ("quality", "bpp", "PSNR dB", "MS-SSIM", *stand_in):
        table.add_column(name, justify="right")
    for old, new in zip(before.levels, after.levels, strict=True):
        pairs = [
            (old.bpp, new.bpp, 4),
            (old.psnr_db, new.psnr_db, 2),
            (old.ms_ssim, new.ms_ssim, 4),
        ]
        if stand_in:
            pairs.append((old.tinydarknet, new.tinydarknet, 4))
        cells = [f"{_text(a, digits)} -> {_text(b, digits)}" for a, b, digits in pairs]
        table.add_row(f"{old.quality:g}", *cells)
    Console(width=100).print(table)


def _text(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
