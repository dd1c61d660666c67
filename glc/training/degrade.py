# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures made worse.

    python -m glc.training.degrade PICTURES OUT --noise 25

writes a PNG for each picture, the same every time, for `glc eval OUT --references PICTURES`.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from glc._ending import ending
from glc.cli.progress import progress_bar
from glc.errors import InvalidArgumentError
from glc.evaluation.evaluate import check_readable, find_images
from glc.files import check_new_folder, make_folder
from glc.image import load_image, save_png
from glc.training.config import DataConfig, DegradationConfig, StageConfig
from glc.training.config_rules import check_ranges
from glc.training.degradation import NO_JPEG, degrade


def degrade_folder(
    pictures: Path, out: Path, config: DegradationConfig, progress: Callable[[str, float], None]
) -> int:
    """Write a degraded PNG of every picture of a folder, in sub-folders like those of the pictures.

    Args:
        pictures: the folder.
        out: where they go; empty or absent.
        config: how far; a name always draws the same.
        progress: called with (picture name, fraction done).

    Returns:
        How many.

    Raises:
        InvalidArgumentError: no such folder, no pictures, one that cannot be read or is too large
            for JPEG, two whose PNGs would have one name, or an `out` that is in use, a part of
            `pictures` or cannot be made.
    """
    paths = find_images(pictures)
    names = [path.relative_to(pictures).with_suffix(".png") for path in paths]
    counts = Counter(names)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise InvalidArgumentError(
            f"degrade: pictures: expected one for {twice}, got {counts[twice]}"
        )
    check_new_folder("degrade: out", out, pictures)
    check_readable(paths, progress)
    for n, (path, name) in enumerate(zip(paths, names, strict=True)):
        progress(str(name), n / len(paths))
        rng = np.random.default_rng(zlib.crc32(name.as_posix().encode("utf-8", "surrogateescape")))
        picture = load_image(path)
        try:
            degraded = degrade(picture, config, rng)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{error} in {path}") from error
        make_folder((out / name).parent)
        save_png(out / name, degraded)
    return len(paths)


def main() -> None:
    """Degrade a folder; see the module."""
    parser = argparse.ArgumentParser(description="Write degraded copies of a folder's pictures.")
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("out", type=Path, help="empty folder for their copies")
    fields = (
        ("blur", 0.0, "standard deviation of a Gaussian blur, pixels"),
        ("downscale", 1.0, "factor by which sides shrink, to grow again"),
        ("noise", 0.0, "standard deviation of Gaussian noise, steps of an 8-bit value"),
        ("jpeg", NO_JPEG, "quality of JPEG"),
    )
    for name, default, help_text in fields:
        parser.add_argument(f"--{name}", type=float, default=default, help=help_text)
    args = parser.parse_args()
    with ending():
        config = DegradationConfig(
            **{name: (getattr(args, name), getattr(args, name)) for name, *_ in fields}
        )
        check_ranges(
            StageConfig(
                out=str(args.out), data=DataConfig(root=str(args.pictures)), degradation=config
            )
        )
        with progress_bar("degrade") as progress:
            count = degrade_folder(args.pictures, args.out, config, progress)
        print(f"{args.out}: {count} pictures")  # noqa: T201


if __name__ == "__main__":
    main()
