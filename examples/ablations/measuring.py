# SPDX-License-Identifier: Apache-2.0
"""How ablations are measured: by bytes that were decoded again, reported as `glc plot` reads it."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glc.errors import GlcError
from glc.evaluation import find_images
from glc.evaluation.measures import OF_PAIRS, Measures
from glc.evaluation.metrics import mean_known
from glc.files import check_output, write_file
from glc.image import load_image

Pixels = NDArray[np.uint8]
Code = Callable[[Pixels, int], tuple[bytes, Pixels]]
"""What makes of a picture, at a setting, its bytes, and of these bytes alone the picture again."""

Prepare = Callable[[argparse.Namespace], tuple[Sequence[int], Code]]


def measure(
    name: str, folder: Path, settings: Sequence[int], code: Code, measures: Measures
) -> list[dict[str, object]]:
    """Means over a folder of pictures at every setting, a dictionary each."""
    pictures = [load_image(path) for path in find_images(folder)]
    report = []
    for setting in settings:
        figures = []
        for x in pictures:
            data, drawn = code(x, setting)
            bpp = 8 * len(data) / (x.shape[0] * x.shape[1])
            figures.append({"bpp": bpp, **measures.of_pair(x, drawn)})
        means = {key: mean_known([f[key] for f in figures]) for key in ("bpp", *OF_PAIRS)}
        report.append({"codec": name, "setting": setting, **means})
        known = ", ".join(f"{k} {v:.4f}" for k, v in means.items() if v is not None)
        print(f"{name}, setting {setting}: {known}", flush=True)
    return report


def measure_from_command_line(name: str, description: str, prepare: Prepare) -> None:
    """Measure what the arguments say, and write the report.

    Args:
        name: of the codec in the report.
        description: of the command.
        prepare: gives the settings and what codes, of arguments parsed.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="a folder")
    parser.add_argument("--model", required=True, help="a model's folder")
    parser.add_argument("--checkpoint", type=Path, help="of Stage II, which has the predictor")
    parser.add_argument("--photos", type=Path, help="a folder or shards, to fit codebooks to")
    parser.add_argument("--list", type=Path, help="of the photos, relative to their folder")
    parser.add_argument("--tinydarknet", type=Path, help="weights of Tiny Darknet")
    parser.add_argument("--json", type=Path, required=True, help="the report")
    args = parser.parse_args()
    try:
        check_output(args.json, overwrite=True)
        measures = Measures(tinydarknet=args.tinydarknet)
        settings, code = prepare(args)
        report = measure(name, args.pictures, settings, code, measures)
        write_file(args.json, (json.dumps(report, indent=1) + "\n").encode(), overwrite=True)
    except (GlcError, OSError) as error:
        sys.exit(f"{name}: {error}")
