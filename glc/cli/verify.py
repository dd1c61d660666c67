# SPDX-License-Identifier: Apache-2.0
"""`glc verify FILE`: check a file without writing its picture."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import OptionalModel
from glc.cli.progress import progress_bar

__all__ = ["run"]


def run(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The .glc file.")],
    model: OptionalModel = None,
) -> None:
    """Check container, checksum, model and every coded symbol of a .glc file."""
    from glc.bitstream import parse
    from glc.files import read_file

    data = read_file(source, check_head=lambda head: parse(head, cut=True))
    parse(data)  # what is no .glc file is refused before torch is loaded
    with progress_bar("verify") as progress:
        progress("loading the model", 0.0)
        from glc.shortcuts import codec_for

        codec = codec_for(data, model)
        progress("symbols", 0.5)
        report = codec.verify(data)
    header = report.header
    typer.echo(
        f"{source}: sound; {header.width}x{header.height}, {report.file_bytes} bytes, "
        f"{report.symbols} symbols, {'portable' if report.portable else 'not yet portable'}"
    )
