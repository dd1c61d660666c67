# SPDX-License-Identifier: Apache-2.0
"""`glc decode IN OUT`: restore the picture of a .glc file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import Device, OptionalModel, Overwrite
from glc.cli.progress import progress_bar

__all__ = ["run"]


def run(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The .glc file.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The .png file to write.")],
    model: OptionalModel = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Restore the picture of a .glc file as a PNG."""
    from glc.bitstream import parse
    from glc.files import read_file
    from glc.image import check_png_path, save_png

    check_png_path(output, overwrite=overwrite)
    data = read_file(source)
    parse(data)  # what is no .glc file is refused before torch is loaded
    with progress_bar("decode") as progress:
        progress("loading the model", 0.0)
        from glc.codec import codec_for

        codec = codec_for(data, model, device=device)
        start = time.perf_counter()
        pixels = codec.decode(data, progress=progress)
        seconds = time.perf_counter() - start
    save_png(output, pixels, overwrite=overwrite)
    height, width = pixels.shape[:2]
    typer.echo(f"{output}: {width}x{height} from {len(data)} bytes, {seconds:.2f} s")
