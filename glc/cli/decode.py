# SPDX-License-Identifier: Apache-2.0
"""`glc decode IN OUT`: restore the picture of a .glc file."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import MAX_PIXELS, Device, MaxPixels, OptionalModel, Overwrite
from glc.cli.progress import progress_bar
from glc.cli.source import read_glc

__all__ = ["EXIT_PARTIAL", "run"]

EXIT_PARTIAL = 3


class Until(StrEnum):
    """The last thing to decode: the hyper indices, or one of the four parts behind them."""

    Z = "z"
    PART0 = "0"
    PART1 = "1"
    PART2 = "2"
    PART3 = "3"

    @property
    def n_parts(self) -> int:
        """Parts to decode, 0 .. 4."""
        return 0 if self is Until.Z else int(self) + 1


def run(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The .glc file.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The .png file to write.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Draw what a cut or damaged file still gives.")
    ] = False,
    until: Annotated[
        Until, typer.Option("--until", help="Stop early: a coarser picture from fewer bytes.")
    ] = Until.PART3,
    model: OptionalModel = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Restore the picture of a .glc file as a PNG.

    Exit code 3 says that the picture is not the whole one, or that it could not be verified.
    """
    from glc.bitstream import chunks
    from glc.image import check_png_path, save_png

    check_png_path(output, overwrite=overwrite)
    data = read_glc(source, cut=partial, max_pixels=max_pixels)
    with progress_bar("decode") as progress:
        progress("loading the model", 0.0)
        from glc.shortcuts import codec_for

        codec = codec_for(data, model, device=device, max_pixels=max_pixels)
        start = time.perf_counter()
        picture = codec.restore(
            data,
            until=until.n_parts,
            partial=partial,
            max_pixels=max_pixels,
            progress=progress,
        )
        seconds = time.perf_counter() - start
    metadata = chunks(data) if picture.verified else {}
    save_png(output, picture.pixels, metadata=metadata, overwrite=overwrite)
    height, width = picture.pixels.shape[:2]
    typer.echo(f"{output}: {width}x{height} from {len(data)} bytes, {seconds:.2f} s")
    if not picture.complete:
        typer.echo(f"glc: {output}: {picture.label}", err=True)
        raise typer.Exit(EXIT_PARTIAL)
