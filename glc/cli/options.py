# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from glc.defaults import DEFAULT_MODEL, MAX_PIXELS

__all__ = [
    "DEFAULT_MODEL",
    "MAX_PIXELS",
    "Device",
    "Json",
    "MaxPixels",
    "Metrics",
    "Model",
    "OptionalModel",
    "Overwrite",
    "Patch",
    "Qualities",
    "Refine",
    "TinyDarknet",
    "parsed_qualities",
]

Model = Annotated[
    str, typer.Option("--model", help="A bundled model's name or a folder holding a model.")
]
OptionalModel = Annotated[
    str | None,
    typer.Option("--model", help="Model that wrote the file; by default the bundled ones."),
]
Device = Annotated[
    str, typer.Option("--device", help="Where the networks run, such as cpu or cuda.")
]
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels", metavar="N", min=1, help="Refuse a file that claims more pixels than this."
    ),
]
Refine = Annotated[
    int,
    typer.Option(
        "--refine",
        metavar="STEPS",
        min=0,
        help="Search for what suits this very picture: 25 steps take seconds and save bits.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output file.")]
Qualities = Annotated[
    str, typer.Option("--quality", help="Qualities to measure, separated by commas.")
]
References = Annotated[
    Path | None,
    typer.Option(
        "--references",
        metavar="DIR",
        help="Clean pictures by the same names, to measure against where DIR's are degraded.",
    ),
]
TinyDarknet = Annotated[
    Path | None,
    typer.Option(
        "--tinydarknet",
        metavar="WEIGHTS",
        help="Also measure the distance of Tiny Darknet features (a stand-in, not LPIPS).",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="NAMES",
        help="Also some of lpips, dists, fid and kid, separated by commas.",
    ),
]
Patch = Annotated[
    int, typer.Option("--patch", metavar="N", help="Side of the patches of FID and KID, in pixels.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]


def parsed_qualities(verb: str, text: str) -> list[float]:
    """Read `Qualities`."""
    from glc.errors import InvalidArgumentError

    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InvalidArgumentError(
            f"{verb}: quality: expected numbers separated by commas, got {text!r}"
        ) from error
