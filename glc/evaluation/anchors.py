# SPDX-License-Identifier: Apache-2.0
"""What other codecs reach on the same pictures, measured the same way.

    python -m glc.evaluation.anchors DIR --tinydarknet WEIGHTS [--codecs avif,webp] [--against JSON]

Every setting codes a picture, decodes it and measures as `glc eval` does. At a twentieth of a bit
per pixel these codecs do best on a picture of half the size, so that is tried too; shrinking and
enlarging (Lanczos) belong to the codec then. `--against` takes what `glc eval --json` wrote of the
same pictures with `--tinydarknet`, and prints its bytes over the anchor's at equal feature
distance.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glc._ending import ending
from glc.defaults import PATCH_SIDE
from glc.errors import InvalidArgumentError
from glc.evaluation.curves import METRICS, TABLE_WIDTH, frontier, load_curves, measured
from glc.evaluation.evaluate import check_readable, find_images
from glc.evaluation.measures import Measures, measure_settings, metric_names
from glc.evaluation.metrics import psnr
from glc.evaluation.perceptual import PERCEPTUAL_METRICS
from glc.files import check_output, write_file

__all__ = [
    "SETTINGS",
    "Anchor",
    "Rival",
    "best_within",
    "bytes_at_equal_distance",
    "check_codec",
    "measure",
]

# codec -> (divisor of the sides, quality): the range from 0.02 to 0.2 bit per pixel
SETTINGS: dict[str, tuple[tuple[int, int], ...]] = {
    "avif": ((2, 0), (2, 10), (2, 22), (1, 0), (1, 5), (1, 12), (1, 20)),
    "webp": ((2, 0), (2, 10), (2, 40), (2, 60), (1, 0)),
    "jpeg": ((3, 4), (3, 12), (3, 25)),
}
# each at its best, whatever time that takes
OPTIONS: dict[str, dict[str, Any]] = {
    "avif": {"speed": 0},
    "webp": {"method": 6},
    "jpeg": {"optimize": True},
}


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Means over the pictures for one setting of one codec; fields as in `LevelResult`."""

    codec: str
    divisor: int
    quality: int
    bpp: float
    psnr_db: float | None
    ms_ssim: float | None
    tinydarknet: float | None
    lpips: float | None
    dists: float | None
    fid: float | None
    kid: float | None


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What another codec made of a picture.

    Attributes:
        codec: a name of `SETTINGS`.
        divisor: of the sides.
        quality: the codec's own.
        data: bytes of the file.
        pixels: [h, w, 3] uint8, as decoded.
    """

    codec: str
    divisor: int
    quality: int
    data: bytes
    pixels: NDArray[np.uint8]


def measure(
    folder: str | Path,
    codec: str,
    measures: Measures | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Anchor]:
    """Measure every setting of one codec on a folder of pictures.

    Args:
        folder: where the pictures are.
        codec: a name of `SETTINGS`.
        measures: what to measure beside PSNR and MS-SSIM.
        progress: called with what is being coded.

    Raises:
        InvalidArgumentError: no pictures, a codec that Pillow here lacks, or a picture that is too
            large for it.
    """
    check_codec(codec)
    paths = find_images(folder)
    check_readable(paths)

    def code(x: NDArray[np.uint8], setting: tuple[int, int]) -> tuple[bytes, NDArray[np.uint8]]:
        rival = _round_trip(x, codec, *setting)
        return rival.data, rival.pixels

    def report(path: Path) -> None:
        if progress:
            progress(f"{codec}, {path.name}")

    settings = SETTINGS[codec]
    means = measure_settings(paths, settings, code, measures or Measures(), report)
    return [
        Anchor(codec=codec, divisor=divisor, quality=quality, **of_setting)
        for (divisor, quality), of_setting in zip(settings, means, strict=True)
    ]


def best_within(x: NDArray[np.uint8], codec: str, n_bytes: int) -> Rival | None:
    """The best that another codec makes of a picture in so many bytes.

    At full size and at a half, a third and a quarter of it the highest quality that bisection finds
    a file of so few bytes for (here and there a file is smaller than one of a lower quality, so
    that one a few higher may be missed); of these the one of the highest PSNR.

    Args:
        x: [h, w, 3] uint8.
        codec: a name of `SETTINGS`.
        n_bytes: the most that the file may have.

    Returns:
        What the codec made, in a size that it can code; None where not even a file of quality 0
        has so few bytes.

    Raises:
        InvalidArgumentError: a codec that is unknown or that Pillow here lacks.
    """
    check_codec(codec)
    fitting = (_highest_within(x, codec, divisor, n_bytes) for divisor in range(1, 5))
    rivals = [rival for rival in fitting if rival is not None]
    return max(rivals, key=lambda rival: psnr(x, rival.pixels), default=None)


def _highest_within(x: NDArray[np.uint8], codec: str, divisor: int, n_bytes: int) -> Rival | None:
    try:
        best = _round_trip(x, codec, divisor, 0)
    except InvalidArgumentError:  # too large for the codec
        return None
    if len(best.data) > n_bytes:
        return None
    low, high = 1, 100  # Pillow's highest of each codec
    while low <= high:
        rival = _round_trip(x, codec, divisor, (low + high) // 2)
        if len(rival.data) <= n_bytes:
            best, low = rival, rival.quality + 1
        else:
            high = rival.quality - 1
    return best


def check_codec(codec: str) -> None:
    """Raise InvalidArgumentError unless a codec is one of `SETTINGS` and Pillow here has it."""
    if codec not in SETTINGS:
        raise InvalidArgumentError(
            f"anchors: codec: expected one of {sorted(SETTINGS)}, got {codec}"
        )
    Image.init()
    if codec.upper() not in Image.SAVE:
        raise InvalidArgumentError(f"anchors: codec: this Pillow cannot write {codec}")


def bytes_at_equal_distance(
    points: Sequence[tuple[float, float]], anchors: Sequence[tuple[float, float]]
) -> list[float | None]:
    """Our bytes over an anchor's where both have the same feature distance.

    Log bytes are interpolated linearly in the distance between an anchor's best settings.

    Args:
        points: (bpp, distance) of ours.
        anchors: (bpp, distance) of the anchor's settings.

    Returns:
        A ratio per point, below 1 where ours are fewer; None outside the anchor's range.

    Raises:
        InvalidArgumentError: no anchors, or a distance that was not measured (None).
    """
    if not anchors:
        raise InvalidArgumentError("anchors: anchors: expected at least one setting, got none")
    for name, pairs in (("points", points), ("anchors", anchors)):
        if any(distance is None for _, distance in pairs):
            raise InvalidArgumentError(
                f"anchors: {name}: expected feature distances, got none; measure with --tinydarknet"
            )
    best = frontier(anchors, METRICS["tinydarknet"].sign)
    log_bpp = [math.log(bpp) for bpp, _ in reversed(best)]
    distances = [distance for _, distance in reversed(best)]
    ratios: list[float | None] = []
    for bpp, distance in points:
        if distances[0] <= distance <= distances[-1]:
            ratios.append(bpp / math.exp(float(np.interp(distance, distances, log_bpp))))
        else:
            ratios.append(None)
    return ratios


def _round_trip(x: NDArray[np.uint8], codec: str, divisor: int, quality: int) -> Rival:
    image = Image.fromarray(x)
    small = image
    if divisor > 1:
        size = (max(1, image.width // divisor), max(1, image.height // divisor))
        small = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    try:
        small.save(buffer, codec, quality=quality, **OPTIONS[codec])
    except (OSError, RuntimeError, ValueError) as error:  # each codec has a largest picture
        raise InvalidArgumentError(
            f"anchors: codec: {codec} cannot code {small.width}x{small.height} pixels: {error}"
        ) from error
    with Image.open(buffer) as coded:
        decoded = coded.convert("RGB")
    if divisor > 1:
        decoded = decoded.resize(image.size, Image.Resampling.LANCZOS)
    return Rival(
        codec=codec,
        divisor=divisor,
        quality=quality,
        data=buffer.getvalue(),
        pixels=np.asarray(decoded),
    )


def _points(path: Path, folder: Path) -> list[tuple[float, float]]:
    """(bpp, distance) per level of what `glc eval --json` wrote of the pictures in the folder."""
    expected = f"anchors: against: expected what glc eval --json wrote, got {path}"
    try:
        curve, *more = load_curves(path)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{expected}: {error}") from error
    if curve.pictures is None or more:
        raise InvalidArgumentError(expected)
    pairs = zip(curve.bpp, curve.values["tinydarknet"], strict=True)
    points = [(bpp, distance) for bpp, distance in pairs if distance is not None]
    if len(points) < len(curve.bpp):
        raise InvalidArgumentError(
            f"anchors: against: expected levels with a Tiny Darknet distance, got {path} without; "
            f"run glc eval with --tinydarknet"
        )
    if others := curve.pictures ^ {str(p.relative_to(folder)) for p in find_images(folder)}:
        raise InvalidArgumentError(
            f"anchors: against: expected the pictures of {folder}, got {path} of others: "
            f"{min(others)} is in one of them only"
        )
    return points


def main() -> None:
    """Measure from the command line and print two tables; exit codes are those of `glc`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tinydarknet", type=Path)
    parser.add_argument("--metrics", default="", help=f"also {', '.join(PERCEPTUAL_METRICS)}")
    parser.add_argument("--patch", type=int, default=PATCH_SIDE, help="of FID and KID, in pixels")
    parser.add_argument("--codecs", default="avif,webp")
    parser.add_argument("--against", type=Path, help="what glc eval --json wrote")
    parser.add_argument("--json", type=Path, help="also write the anchors to this file")
    args = parser.parse_args()
    args.codecs = [codec.strip() for codec in args.codecs.split(",")]
    if unknown := sorted(set(args.codecs) - SETTINGS.keys()):  # before anything is measured
        parser.error(f"--codecs: expected some of {sorted(SETTINGS)}, got {unknown}")
    if args.against and not args.tinydarknet:
        parser.error("--against needs --tinydarknet")
    if args.against and args.json and args.against.resolve() == args.json.resolve():
        parser.error("--json: expected another file than --against")
    with ending():
        _run(args)


def _run(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=TABLE_WIDTH)
    if args.json:
        check_output(args.json, overwrite=True)
    points = _points(args.against, args.folder) if args.against else None
    metrics = metric_names(args.metrics)
    measures = Measures(tinydarknet=args.tinydarknet, metrics=metrics, patch=args.patch)
    by_codec = {
        codec: measure(args.folder, codec, measures, lambda step: console.print(escape(step)))
        for codec in args.codecs
    }
    table = Table(title=escape(f"{args.folder}"), box=None)
    all_anchors = [anchor for group in by_codec.values() for anchor in group]
    figures = measured([vars(anchor) for anchor in all_anchors], metrics)
    for name in ("codec", "sides /", "quality", "bpp", *(m.label for m in figures.values())):
        table.add_column(name, justify="right")
    for a in all_anchors:
        texts = [metric.text(vars(a)[name]) for name, metric in figures.items()]
        table.add_row(a.codec, str(a.divisor), str(a.quality), f"{a.bpp:.4f}", *texts)
    console.print(table)
    if points is not None:
        for codec, group in by_codec.items():
            theirs = [(a.bpp, a.tinydarknet) for a in group if a.tinydarknet is not None]
            ratios = bytes_at_equal_distance(points, theirs)
            texts = ["outside" if r is None else f"{r:.2f}" for r in ratios]
            console.print(
                f"bytes over {codec}'s at equal Tiny Darknet distance: {', '.join(texts)}"
            )
    if args.json:
        text = json.dumps([asdict(a) for a in all_anchors], indent=1, allow_nan=False) + "\n"
        write_file(args.json, text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
