# SPDX-License-Identifier: Apache-2.0
"""Where photos lie: single files, and members of tar shards in the webdataset layout.

    python -m glc.training.shards PHOTOS OUT [--short-side 512] [--per-shard 1000]

packs a folder into shards OUT/000000.tar, ...: one member per photo, PNG or the file as it was. The
shards are plain tars that webdataset reads too; training reads them by offset (see `data`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from glc._ending import ending
from glc.errors import InvalidArgumentError
from glc.files import read_list
from glc.image import load_image

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
UNREADABLE = (OSError, ValueError)
"""What reading a photo raises that is none, is cut short, or is not one that the codec takes."""


@dataclass(frozen=True, order=True)
class Source:
    """One photo: a file, or `size` bytes at `offset` of a tar (size -1: the whole file)."""

    path: Path
    name: str = ""
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """The encoded photo. Raises OSError if it cannot be read."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def decode(self) -> np.ndarray:
        """The photo as the codec reads it, [h, w, 3] uint8. Raises one of `UNREADABLE`."""
        data = self.read()
        try:
            image = Image.open(io.BytesIO(data))
        except Exception as error:  # Pillow's plugins raise anything on a damaged header
            raise InvalidArgumentError(f"photos: {self.path}: expected a photo") from error
        with image:
            return load_image(image)


def find_sources(root: str | os.PathLike[str], listed: str | None = None) -> list[Source]:
    """List the photos of a folder, sub-folders and tars included, in sorted order.

    Args:
        root: the folder.
        listed: a text file with one photo or tar per line, relative to `root`; None takes all.

    Raises:
        InvalidArgumentError: no folder, one that is closed to us, an unreadable list, or a tar that
            is none or damaged.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InvalidArgumentError(f"photos: root: expected a folder, got {root}")
    if listed is None:
        walk = os.walk(folder, onerror=_closed)
        files = (Path(place, name) for place, _, names in walk for name in names)
        paths = [p for p in files if p.suffix.lower() in SUFFIXES | {".tar"}]
    else:
        paths = [folder / name for name in read_list(listed)]
    sources: list[Source] = []
    for path in sorted(paths):
        sources += _members(path) if path.suffix.lower() == ".tar" else [Source(path)]
    return sources


def _closed(error: OSError) -> NoReturn:
    raise InvalidArgumentError(f"photos: root: {error.filename}: {error.strerror}") from error


def _members(path: Path) -> Iterator[Source]:
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.issparse():  # says any size, and does not lie there as it is
                    continue
                if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                    yield Source(path, member.name, member.offset_data, member.size)
            file.seek(tar.offset)
            if any(file.read(tarfile.BLOCKSIZE)):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError(f"a damaged header at byte {tar.offset}")
    except (OSError, ValueError, RecursionError, tarfile.TarError) as error:
        raise InvalidArgumentError(
            f"photos: shard: {path}: expected a tar, got: {error}"
        ) from error


def pack(
    photos: Path, out: Path, *, short_side: int | None = None, per_shard: int = 1000
) -> tuple[int, int]:
    """Write the photos of a folder into tar shards.

    Args:
        photos: folder of photos and shards, as `find_sources` takes it.
        out: folder of the shards; made if missing.
        short_side: photos larger than this are shrunk to it and stored as PNG; None keeps every
            file as it is.
        per_shard: photos in each tar.

    Returns:
        Number of photos written, and of unreadable ones left out.

    Raises:
        InvalidArgumentError: no photos, a number below 1, or `out` holds shards already.
    """
    for name, number in (("short_side", short_side), ("per_shard", per_shard)):
        if number is not None and number < 1:
            raise InvalidArgumentError(f"shards: {name}: expected at least 1, got {number}")
    sources = find_sources(photos)
    if not sources:
        raise InvalidArgumentError(f"shards: photos: expected photos in {photos}, got none")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise InvalidArgumentError(f"shards: out: expected no tars in {out}, got some")
    written = unreadable = 0
    tar: tarfile.TarFile | None = None
    with contextlib.ExitStack() as shard:
        for source in sources:
            try:
                suffix, data = _prepared(source, short_side)
            except UNREADABLE:
                unreadable += 1
                continue
            if written % per_shard == 0:
                shard.close()
                tar = shard.enter_context(_shard(out / f"{written // per_shard:06d}.tar"))
            assert tar is not None
            member = tarfile.TarInfo(f"{written:08d}{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            written += 1
    return written, unreadable


@contextlib.contextmanager
def _shard(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar that has its name when it is whole: what a cut one lacks, training would not miss."""
    temporary = path.with_suffix(".part")
    try:
        with tarfile.open(temporary, "w") as tar:
            yield tar
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _prepared(source: Source, short_side: int | None) -> tuple[str, bytes]:
    data, photo = source.read(), Image.fromarray(source.decode())
    scale = short_side / min(photo.size) if short_side else 1.0
    if scale >= 1:
        return Path(source.name or source.path).suffix.lower(), data
    size = (round(photo.width * scale), round(photo.height * scale))
    buffer = io.BytesIO()
    photo.resize(size, Image.Resampling.LANCZOS).save(buffer, "png")
    return ".png", buffer.getvalue()


def main() -> None:
    """Pack from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--short-side", type=int)
    parser.add_argument("--per-shard", type=int, default=1000)
    args = parser.parse_args()
    with ending():
        written, unreadable = pack(
            args.photos, args.out, short_side=args.short_side, per_shard=args.per_shard
        )
        print(f"{args.out}: {written} photos, {unreadable} unreadable left out")  # noqa: T201


if __name__ == "__main__":
    main()
