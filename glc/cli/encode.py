# SPDX-License-Identifier: Apache-2.0
"""`glc encode IN OUT`: compress one picture."""

import time
from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import DEFAULT_MODEL, Device, Model, Overwrite, Refine
from glc.cli.progress import progress_bar

__all__ = ["run"]


def run(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture to compress.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The .glc file to write.")],
    quality: Annotated[
        float | None, typer.Option("--quality", help="0 (smallest file) to 3. [default: 2]")
    ] = None,
    target_bytes: Annotated[
        int | None, typer.Option("--target-bytes", help="Best quality within this many bytes.")
    ] = None,
    target_bpp: Annotated[
        float | None, typer.Option("--target-bpp", help="Best quality within these bits per pixel.")
    ] = None,
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="Keep EXIF and the colour profile.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option("--tile", metavar="PIXELS", help="Code squares of this side independently."),
    ] = None,
    refine: Refine = 0,
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Compress a picture into a .glc file."""
    from glc.errors import InvalidArgumentError
    from glc.files import check_output, write_file
    from glc.image import METADATA, load_with_metadata
    from glc.rate import level_of

    if sum(option is not None for option in (quality, target_bytes, target_bpp)) > 1:
        raise InvalidArgumentError(
            "encode: expected one of --quality, --target-bytes and --target-bpp, got several"
        )
    if quality is not None:
        level_of(quality)  # before the picture is read
    _check_name(source, check_output(output, overwrite=overwrite))
    pixels, metadata = load_with_metadata(source, keep=METADATA if keep_metadata else ())
    height, width = pixels.shape[:2]
    if target_bpp is not None:
        target_bytes = _bytes_of(target_bpp, height * width)

    with progress_bar("encode") as progress:
        progress("loading the model", 0.0)
        from glc.bitstream import parse
        from glc.codec import Codec

        codec = Codec(model, device=device)
        start = time.perf_counter()
        data = codec.encode(
            pixels,
            quality=quality,
            target_bytes=target_bytes,
            metadata=metadata,
            tile=tile,
            refine=refine,
            progress=progress,
        )
        seconds = time.perf_counter() - start
    write_file(output, data, overwrite=overwrite)
    level = parse(data)[0].level
    typer.echo(
        f"{output}: {len(data)} bytes, {8 * len(data) / (height * width):.4f} bpp, "
        f"{width}x{height}, quality {level / 21:.2f}, {seconds:.2f} s"
    )


def _check_name(source: Path, output: Path) -> None:
    """Refuse to replace the picture, and names that other programs would take for a picture's."""
    from PIL import Image

    from glc.errors import InvalidArgumentError

    if output.exists() and source.exists() and output.samefile(source):
        raise InvalidArgumentError(f"encode: output: expected another file than {source}")
    # with glc.pil imported, .glc is one of them
    if output.suffix.lower() in Image.registered_extensions().keys() - {".glc"}:
        raise InvalidArgumentError(
            f"encode: output: expected a name ending in .glc, got {output.name}"
        )


def _bytes_of(target_bpp: float, pixels: int) -> int:
    from glc.errors import InvalidArgumentError

    if not 0.0 < target_bpp < 64.0:
        raise InvalidArgumentError(
            f"encode: target_bpp: expected above 0 and below 64, got {target_bpp:g}"
        )
    return int(target_bpp * pixels / 8)
