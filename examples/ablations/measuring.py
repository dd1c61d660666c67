# SPDX-License-Identifier: Apache-2.0
"""How ablations are measured: by bytes that were decoded again, reported as `glc plot` reads it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from glc._ending import ending
from glc.evaluation import find_images
from glc.evaluation.measures import Measures, measure_settings, metric_names
from glc.files import check_output, write_file
from glc.loading import model_folder

Pixels = NDArray[np.uint8]


class Codec(Protocol):
    """Whatever codes pictures [h, w, 3] at one of several settings, low rate first."""

    settings: int

    def encode(self, x: Pixels, setting: int) -> bytes:
        """All that `decode` gets."""

    def decode(self, data: bytes) -> Pixels:
        """The picture again."""


def to_pixels(x_hat: Tensor, height: int, width: int) -> Pixels:
    """What D drew, [1, 3, H, W] in about [-1, 1], without the padding."""
    x = x_hat[0].permute(1, 2, 0)[:height, :width]
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def measure(name: str, folder: Path, codec: Codec, measures: Measures) -> list[dict[str, object]]:
    """Means over a folder of pictures at every setting, a dictionary each."""

    def code(x: Pixels, setting: int) -> tuple[bytes, Pixels]:
        data = codec.encode(x, setting)
        return data, codec.decode(data)

    settings = range(codec.settings)
    report = []
    paths = find_images(folder)
    means = measure_settings(paths, settings, code, measures, lambda path: print(name, path))
    for setting, of_setting in zip(settings, means, strict=True):
        report.append({"codec": name, "setting": setting, **of_setting})
        known = ", ".join(f"{key} {v:.4f}" for key, v in of_setting.items() if v is not None)
        print(f"{name}, setting {setting}: {known}")
    return report


def command_line(
    name: str, description: str, load: Callable[[argparse.Namespace], Codec], *options: str
) -> None:
    """Measure what the arguments say, and write the report.

    Args:
        name: of the codec in the report.
        description: of the command.
        load: makes the codec of the arguments.
        options: of the command beside those of all, "--name"; all are needed.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    for option in ("--model", *options):
        parser.add_argument(option, required=True, metavar=option[2:].upper())
    parser.add_argument("--tinydarknet", type=Path, metavar="WEIGHTS")
    parser.add_argument("--metrics", default="", metavar="NAMES", help="as of glc eval")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    with ending():
        check_output(args.json, overwrite=True)
        args.model = model_folder(args.model, f"{name}: model")
        measures = Measures(tinydarknet=args.tinydarknet, metrics=metric_names(args.metrics))
        report = measure(name, args.pictures, load(args), measures)
        write_file(args.json, (json.dumps(report, indent=1) + "\n").encode(), overwrite=True)
