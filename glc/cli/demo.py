# SPDX-License-Identifier: Apache-2.0
"""`glc demo [IMAGE]`: compress one picture, restore it, and say what came of it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import DEFAULT_MODEL, Device, Model
from glc.cli.progress import progress_bar
from glc.defaults import DEFAULT_QUALITY

__all__ = ["run"]

_SAMPLE = Path("examples") / "images" / "kodim23.png"


def run(
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="A picture; by default the sample.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for the two files, which are replaced.")
    ] = Path("runs/demo"),
    quality: Annotated[
        float, typer.Option("--quality", help="0 (smallest file) to 3.")
    ] = DEFAULT_QUALITY,
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
) -> None:
    """Compress and restore a picture, and print bytes, bpp, PSNR and times."""
    from glc.errors import InvalidArgumentError
    from glc.files import read_file, write_file
    from glc.image import load_image, save_png

    source = image or _find_sample()
    pixels = load_image(source)
    height, width = pixels.shape[:2]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"demo: output: {output}: {error.strerror}") from error
    coded, restored = output / f"{source.stem}.glc", output / f"{source.stem}.png"
    if any(path.exists() and path.samefile(source) for path in (coded, restored)):
        raise InvalidArgumentError(f"demo: output: expected another folder than that of {source}")

    with progress_bar("demo") as progress:
        progress("loading the model", 0.0)
        from glc.codec import Codec
        from glc.fidelity import psnr

        codec = Codec(model, device=device)
        progress("encode", 0.3)
        start = time.perf_counter()
        data = codec.encode(pixels, quality=quality)
        encode_s = time.perf_counter() - start
        write_file(coded, data, overwrite=True)
        progress("decode", 0.6)
        data = read_file(coded)
        start = time.perf_counter()
        decoded = codec.decode(data)
        decode_s = time.perf_counter() - start
        save_png(restored, decoded, overwrite=True)
    typer.echo(f"{source}: {width}x{height}, {source.stat().st_size} bytes")
    typer.echo(f"{coded}: {len(data)} bytes, {8 * len(data) / (height * width):.4f} bpp")
    typer.echo(f"{restored}: PSNR {psnr(pixels, decoded):.2f} dB")
    typer.echo(f"encode {encode_s:.2f} s, decode {decode_s:.2f} s (model already loaded)")


def _find_sample() -> Path:
    from glc.errors import InvalidArgumentError

    for folder in (Path(), Path(__file__).resolve().parents[2]):
        if (folder / _SAMPLE).is_file():
            return folder / _SAMPLE
    raise InvalidArgumentError(
        f"demo: image: {_SAMPLE} is part of a source checkout; name a picture of your own"
    )
