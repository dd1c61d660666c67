# SPDX-License-Identifier: Apache-2.0
"""The folder in which an evaluation leaves its files, and what they are called."""

from collections.abc import Sequence
from pathlib import Path

from glc.errors import InvalidArgumentError
from glc.files import check_output

__all__ = [
    "KEPT_SUFFIXES",
    "check_names",
    "kept_name",
    "kept_original",
]

KEPT_SUFFIXES = (".glc", ".png")
"""What is kept of a picture at each quality."""


def kept_name(image: str, quality: float, suffix: str) -> str:
    """Name under which `evaluate` keeps a file of a picture, relative to its folder."""
    return f"{image}-q{quality:g}{suffix}"


def kept_original(image: str) -> str:
    """Name under which `evaluate` keeps a picture as it was coded, relative to its folder."""
    return f"{image}.png"


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
