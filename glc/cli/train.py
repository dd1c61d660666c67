# SPDX-License-Identifier: Apache-2.0
"""`glc train STAGE CONFIG`: run one training stage."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run"]


class Stage(StrEnum):
    """The three stages, in the order they are run, and what a trained model may go through."""

    STAGE1 = "stage1"
    STAGE2 = "stage2"
    STAGE3 = "stage3"
    RESTORATION = "restoration"
    STYLIZATION = "stylization"


def run(
    stage: Annotated[Stage, typer.Argument(help="Which stage to run.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The stage's YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override one setting; may be repeated."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")
    ] = False,
) -> None:
    """Train one stage of a model."""
    from glc.errors import InvalidArgumentError

    if not config.is_file():
        raise InvalidArgumentError(f"train: config: expected a YAML file, got {config}")
    from glc.training.cli import run as run_stage

    run_stage(stage.value, config, overrides or [], resume)
