# SPDX-License-Identifier: Apache-2.0
"""`glc export OUT`: a model as one file, for codecs without Python and for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import DEFAULT_MODEL, Model, Overwrite
from glc.cli.progress import progress_bar

__all__ = ["run"]


def run(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The .safetensors or .onnx file to write.")
    ],
    model: Model = DEFAULT_MODEL,
    encoder: Annotated[
        bool,
        typer.Option(
            "--encoder",
            help="Also what encoding takes, not decoding alone; of ONNX, the encoder's graph.",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what coding takes of a model, for programs in C, C++ and what calls them.

    They link glc::core or libglc_codec; docs/embedding.md shows it. A file named .onnx is a graph
    for other runtimes, from y_hat to the picture, or from the picture to y; docs/onnx.md shows it.
    """
    from glc.files import check_output, write_file

    check_output(output, overwrite=overwrite)
    from glc.codec import Codec
    from glc.errors import InvalidArgumentError
    from glc.loading import model_folder
    from glc.models.pretrained import MODEL_FILES

    folder = model_folder(model)
    if output.name in MODEL_FILES and output.resolve().parent == folder.resolve():
        raise InvalidArgumentError(
            f"export: output: expected another file than the model's own, got {output}"
        )
    codec = Codec(folder)
    if output.suffix.lower() == ".onnx":
        with progress_bar("export") as progress:
            progress("making the graph", 0.0)
            data = codec.export_onnx(encoder=encoder)
        what = f"{'x to y' if encoder else 'y_hat to x_hat'}, model"
    else:
        data, what = codec.export(encoder=encoder), "model"
    write_file(output, data, overwrite=overwrite)
    typer.echo(f"{output}: {len(data)} bytes, {what} {codec.fingerprint[:2].hex()}")
