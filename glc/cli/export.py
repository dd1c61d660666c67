# SPDX-License-Identifier: Apache-2.0
"""`glc export OUT`: a model as one file, for codecs without Python."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import DEFAULT_MODEL, Model, Overwrite

__all__ = ["run"]


def run(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    model: Model = DEFAULT_MODEL,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Also what encoding takes, not decoding alone.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what coding takes of a model, for programs in C, C++ and what calls them.

    They link glc::core or libglc_codec; docs/embedding.md shows it.
    """
    from glc.files import check_output, write_file

    check_output(output, overwrite=overwrite)
    from glc.codec import Codec

    codec = Codec(model)
    data = codec.export(encoder=encoder)
    write_file(output, data, overwrite=overwrite)
    typer.echo(f"{output}: {len(data)} bytes, model {codec.fingerprint[:2].hex()}")
