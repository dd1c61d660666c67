# SPDX-License-Identifier: Apache-2.0
"""Rate, distortion and time of a codec on a folder of images.

Nothing is estimated: every picture is written to a file, the file's size is the rate, and the
reconstruction is decoded from what is read back. The model's own estimate stands beside it so that
the two can be compared.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from glc.codec import Codec, level_of
from glc.defaults import DEFAULT_MODEL, PATCH_SIDE
from glc.errors import GlcError, InvalidArgumentError
from glc.evaluation.kept import (
    KEPT_SUFFIXES,
    check_names,
    kept_name,
    kept_original,
)
from glc.evaluation.measures import OF_PAIRS, Measures
from glc.evaluation.metrics import mean_known
from glc.evaluation.results import Evaluation, ImageResult, LevelResult
from glc.files import check_new_folder, make_folder, read_file, write_file
from glc.image import load_image, save_png

__all__ = ["check_readable", "evaluate", "find_images"]

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
)


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """List the pictures of a folder, sub-folders included, in sorted order.

    A link that leads to no picture is listed, for whoever reads the pictures to name: means over
    those that happen to be there would be taken for means over all.

    Raises:
        InvalidArgumentError: not a folder, it or a sub-folder is closed to us, or it holds no
            picture.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidArgumentError(f"evaluate: folder: expected a folder of pictures, got {folder}")
    files = (
        Path(place, name) for place, _, names in os.walk(root, onerror=_closed) for name in names
    )
    pictures = (p for p in files if p.suffix.lower() in SUFFIXES)
    found = sorted(p for p in pictures if p.is_file() or not p.exists())
    if not found:
        raise InvalidArgumentError(f"evaluate: folder: {folder} holds no pictures")
    return found


def _closed(error: OSError) -> NoReturn:
    raise InvalidArgumentError(f"evaluate: folder: {error.filename}: {error.strerror}") from error


def check_readable(
    paths: Sequence[Path], progress: Callable[[str, float], None] | None = None
) -> None:
    """Read every picture once: a broken one shall be named now, not after hours of work.

    Args:
        paths: of pictures, as `find_images` gives them.
        progress: called with (what is read, 0.0).

    Raises:
        InvalidArgumentError: some cannot be read; the first is named, and how many more there are.
    """
    errors = []
    for path in paths:
        if progress:
            progress(f"reading {path.name}", 0.0)
        try:
            load_image(path)
        except InvalidArgumentError as error:
            errors.append(str(error))
    if errors:
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise InvalidArgumentError(
            f"folder: expected pictures that can be read, got {errors[0]}{more}; nothing was done"
        )


def evaluate(
    folder: str | os.PathLike[str],
    model: str = DEFAULT_MODEL,
    qualities: Sequence[float] = (0.0, 1.0, 2.0, 3.0),
    *,
    references: str | os.PathLike[str] | None = None,
    refine: int = 0,
    device: str = "cpu",
    keep: str | os.PathLike[str] | None = None,
    tinydarknet: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] = (),
    patch: int = PATCH_SIDE,
    progress: Callable[[str, float], None] | None = None,
) -> Evaluation:
    """Code every picture of a folder at every quality, really.

    Args:
        folder: where the pictures are.
        model: a bundled model's name or a folder holding a model.
        qualities: rate levels, each 0 .. 3.
        references: a folder of pictures that the decoded ones shall be like, of the same names but
            for their endings, and of the same sizes: the clean pictures, where those of `folder`
            are degraded. None takes those of `folder` themselves.
        refine: as `Codec.encode`.
        device: where the networks run.
        keep: a folder in which to leave each picture as it was coded, `NAME.png`, and of it
            `NAME-qQUALITY.glc` and the decoded `.png`, in sub-folders like those of the pictures;
            it must be empty or absent, and no part of `folder`, whose pictures these would join.
            By default the files are temporary.
        tinydarknet: weights of Tiny Darknet, to measure the distance of its features too.
        metrics: some of "lpips", "dists", "fid" and "kid", to measure them too; they need
            torchmetrics, torchvision and torch-fidelity, and their networks' weights.
        patch: side of the patches of FID and KID, in pixels.
        progress: called with (picture name, fraction done).

    Returns:
        Rate, distortion and time per picture, and their means per quality.

    Raises:
        InvalidArgumentError: no such folder or model, no pictures, a picture that cannot be read
            (found before the first is coded), a quality out of range or given twice, a picture
            without a reference, with two or with one of another size, names in `keep` that are too
            long or those of sub-folders too, or as `Measures` and `Codec.encode`.
        UnsupportedError: as `Measures`.
    """
    levels = [level_of(quality) for quality in qualities]
    if not levels or len(set(levels)) != len(levels):
        raise InvalidArgumentError(
            f"evaluate: qualities: expected different levels, got {list(qualities)}"
        )
    paths = find_images(folder)
    originals = paths if references is None else _references(paths, Path(folder), references)
    codec = Codec(model, device)  # refuses a device that is not there
    measures = Measures(tinydarknet=tinydarknet, metrics=metrics, patch=patch, device=device)
    sets = measures.of_sets(len(qualities))
    results: list[ImageResult] = []
    with tempfile.TemporaryDirectory(prefix="glc-eval-") as scratch:
        if keep is not None:
            check_new_folder("evaluate: keep", keep, folder)
        check_readable(paths, progress)
        if references is not None:
            _check_sizes(paths, originals, progress)
        output = None if keep is None else Path(keep)
        if output is not None:
            make_folder(output)
            check_names(output, [str(path.relative_to(folder)) for path in paths], qualities)
        _warm_up(codec, paths[0], qualities[0])
        for n, path in enumerate(paths):
            name = str(path.relative_to(folder))
            pixels = load_image(path)
            reference = None if references is None else originals[n]
            original = pixels if reference is None else load_image(reference)
            sets.add_picture(original)
            if output is not None:
                make_folder((output / name).parent)
                save_png(output / kept_original(name), pixels)
            for k, quality in enumerate(qualities):
                if progress:
                    progress(name, (n + k / len(qualities)) / len(paths))
                file, drawn = Path(scratch, "coded.glc"), None
                if output is not None:
                    file, drawn = (output / kept_name(name, quality, end) for end in KEPT_SUFFIXES)
                try:
                    coded = _code(codec, pixels, quality, refine, file, drawn)
                    sets.add(k, coded.pixels)
                    distances = measures.of_pair(original, coded.pixels)
                    results.append(_result(codec, name, reference, quality, coded, distances))
                except GlcError as error:
                    raise type(error)(f"evaluate: {name}: {error}") from error
    of_sets = zip(qualities, sets.compute(), strict=True)
    return Evaluation(
        model=str(model),
        fingerprint=codec.fingerprint.hex(),
        device=device,
        threads=torch.get_num_threads(),
        torch_version=str(torch.__version__),
        refine=refine,
        references=None if references is None else str(references),
        metrics=tuple(metrics),
        patch=patch,
        n_patches=sets.n_patches,
        levels=tuple(_summarise([r for r in results if r.quality == q], far) for q, far in of_sets),
        images=tuple(results),
    )


def _references(
    paths: Sequence[Path], folder: Path, references: str | os.PathLike[str]
) -> list[Path]:
    """Find the reference of every picture, by its place and name without the ending."""
    found: dict[Path, list[Path]] = {}
    for path in find_images(references):
        found.setdefault(path.relative_to(references).with_suffix(""), []).append(path)
    originals = []
    for path in paths:
        name = path.relative_to(folder)
        here = found.get(name.with_suffix(""), [])
        if len(here) != 1:
            raise InvalidArgumentError(
                f"evaluate: references: expected one picture {name.with_suffix('')}.* in "
                f"{os.fspath(references)}, got {len(here)}"
            )
        originals += here
    return originals


def _check_sizes(
    paths: Sequence[Path],
    originals: Sequence[Path],
    progress: Callable[[str, float], None] | None,
) -> None:
    for path, original in zip(paths, originals, strict=True):
        if progress:
            progress(f"reading {original.name}", 0.0)
        (height, width, _), expected = load_image(original).shape, load_image(path).shape
        if (height, width, 3) != expected:
            raise InvalidArgumentError(
                f"evaluate: references: {original}: expected {expected[1]}x{expected[0]} pixels, "
                f"as {path} has, got {width}x{height}"
            )


@dataclass(frozen=True, kw_only=True)
class _Coded:
    """A picture that went through a file."""

    data: bytes
    pixels: NDArray[np.uint8]
    encode_ms: float
    decode_ms: float


def _code(
    codec: Codec,
    pixels: NDArray[np.uint8],
    quality: float,
    refine: int,
    file: Path,
    drawn: Path | None,
) -> _Coded:
    start = time.perf_counter()
    encoded = codec.encode(pixels, quality=quality, refine=refine)
    encode_ms = 1000.0 * (time.perf_counter() - start)
    write_file(file, encoded, overwrite=True)
    data = read_file(file)
    start = time.perf_counter()
    decoded = codec.decode(data)
    decode_ms = 1000.0 * (time.perf_counter() - start)
    if drawn is not None:
        save_png(drawn, decoded)
    return _Coded(data=data, pixels=decoded, encode_ms=encode_ms, decode_ms=decode_ms)


def _result(
    codec: Codec,
    name: str,
    reference: Path | None,
    quality: float,
    coded: _Coded,
    distances: Mapping[str, float | None],
) -> ImageResult:
    height, width = coded.pixels.shape[:2]
    analysis = codec.analyze(coded.data)
    return ImageResult(
        image=name,
        reference=None if reference is None else str(reference),
        quality=quality,
        width=width,
        height=height,
        file_bytes=len(coded.data),
        bpp=8.0 * len(coded.data) / (width * height),
        estimated_bpp=analysis.estimated_bits / (width * height),
        encode_ms=coded.encode_ms,
        decode_ms=coded.decode_ms,
        skip_shares=tuple(part.skip_share for part in analysis.parts),
        **distances,
    )


def _summarise(results: Sequence[ImageResult], of_set: Mapping[str, float | None]) -> LevelResult:
    real = sum(8 * r.file_bytes for r in results)
    estimated = sum(r.estimated_bpp * r.width * r.height for r in results)
    return LevelResult(
        quality=results[0].quality,
        images=len(results),
        file_bytes=sum(r.file_bytes for r in results),
        bpp=_mean([r.bpp for r in results]),
        estimated_bpp=_mean([r.estimated_bpp for r in results]),
        excess=real / estimated - 1.0,
        encode_ms=_mean([r.encode_ms for r in results]),
        decode_ms=_mean([r.decode_ms for r in results]),
        **{name: mean_known([getattr(r, name) for r in results]) for name in OF_PAIRS},
        **of_set,
    )


def _warm_up(codec: Codec, path: Path, quality: float) -> None:
    """Let torch make its first-call allocations outside the timed calls."""
    codec.decode(codec.encode(path, quality=quality))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
