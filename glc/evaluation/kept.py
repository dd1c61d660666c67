# SPDX-License-Identifier: Apache-2.0
"""The folder in which an evaluation leaves its files, and what they are called."""

import os
from collections.abc import Sequence
from pathlib import Path

from glc.errors import InvalidArgumentError
from glc.files import check_folder, check_output, is_within

__all__ = [
    "KEPT_SUFFIXES",
    "check_names",
    "check_new_folder",
    "kept_name",
    "kept_original",
    "make_folder",
]

KEPT_SUFFIXES = (".glc", ".png")
"""What is kept of a picture at each quality."""


def kept_name(image: str, quality: float, suffix: str) -> str:
    """Name under which `evaluate` keeps a file of a picture, relative to its folder."""
    return f"{image}-q{quality:g}{suffix}"


def kept_original(image: str) -> str:
    """Name under which `evaluate` keeps a picture as it was coded, relative to its folder."""
    return f"{image}.png"


def check_new_folder(
    what: str, path: str | os.PathLike[str], pictures: str | os.PathLike[str]
) -> None:
    """Refuse a folder for new pictures in which there is something, or which is among the old ones.

    Args:
        what: the argument, for the message.
        path: the folder; it may be absent.
        pictures: folder of the old ones.

    Raises:
        InvalidArgumentError: it is in use, a part of the other, or cannot be made.
    """
    if is_within(path, pictures):
        raise InvalidArgumentError(
            f"{what}: expected an empty folder outside {pictures}, got {path}, whose pictures the "
            "next run would take too"
        )
    check_folder(path, overwrite=True)
    try:
        occupied = os.path.exists(path) and any(Path(path).iterdir())
    except OSError as error:
        raise InvalidArgumentError(f"{what}: {path}: {error.strerror}") from error
    if occupied:
        raise InvalidArgumentError(f"{what}: expected an empty folder, got {path}")


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in, where they are missing.

    Raises:
        InvalidArgumentError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"write: output: {path}: {error.strerror}") from error


def check_names(folder: Path, images: Sequence[str], qualities: Sequence[float]) -> None:
    """Say early whether all that is to be kept finds room beside each other.

    Names grow, and the pictures' folders may be called as a file will be: better said before the
    first is coded than after hours of work.

    Args:
        folder: which is going to hold the files.
        images: names of the pictures, relative to theirs.
        qualities: as asked for.

    Raises:
        InvalidArgumentError: the name of a file is that of a sub-folder, or too long.
    """
    sub_folders = {parent for image in images for parent in Path(image).parents}
    for image in images:
        kept = (kept_name(image, quality, end) for quality in qualities for end in KEPT_SUFFIXES)
        for file in map(Path, (kept_original(image), *kept)):
            if file in sub_folders:
                raise InvalidArgumentError(
                    f"evaluate: keep: expected no pictures in a sub-folder {file}, as a file of "
                    f"{image} will be called"
                )
            check_output(folder / file.name)
