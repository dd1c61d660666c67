# SPDX-License-Identifier: Apache-2.0
"""`glc verify FILE`: check a file without writing its picture."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import MAX_PIXELS, MaxPixels, OptionalModel
from glc.cli.progress import progress_bar
from glc.cli.source import read_glc

__all__ = ["run"]


def run(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The .glc file.")],
    model: OptionalModel = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Check container, checksum, model and every coded symbol of a .glc file."""
    data = read_glc(source, max_pixels=max_pixels)
    with progress_bar("verify") as progress:
        progress("loading the model", 0.0)
        from glc.shortcuts import codec_for

        codec = codec_for(data, model, max_pixels=max_pixels)
        progress("symbols", 0.5)
        report = codec.verify(data, max_pixels=max_pixels)
    header = report.header
    typer.echo(
        f"{source}: sound; {header.width}x{header.height}, {report.file_bytes} bytes, "
        f"{report.symbols} symbols, portable"
    )
