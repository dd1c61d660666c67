# SPDX-License-Identifier: Apache-2.0
"""Show that symbols do not depend on the machine: one table of hashes, for every way to run.

Every picture is encoded and read back at every quality by every instruction set of this CPU, in a
process each, and with every thread count. A row shows the SHA-256 of the file, of z_index, y_q and
y_hat, and of the picture where exact layers draw it, each cut to 12 digits; it is printed once
where all ways agree, and the ways are listed where they do not. Files that are equal need not be
read by the other instruction sets: the reading of one is the reading of all.

    python tools/symbol_hashes.py --crop 256 --simd avx2 avx512 -- photo.png other.png
    python tools/symbol_hashes.py --model FOLDER PICTURE ...

Exit status: 0 when all agree, 1 when they do not.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

import glc
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.entropy_path import Symbols, on_host
from glc.image import MAX_PIXELS, load_image
from glc.portable import PortableNetworks

ROOT = Path(__file__).resolve().parents[1]
DIGITS = 12


def digest(data: bytes) -> str:
    """The first digits of a SHA-256."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def hashes(coded: Symbols) -> list[str]:
    """Digests of z_index, y_q and y_hat."""
    y_q = np.concatenate([part.symbols for part in coded.parts])
    arrays = (coded.z_index, y_q, on_host(coded.y_hat))
    return [digest(np.ascontiguousarray(array).tobytes()) for array in arrays]


def work(options: argparse.Namespace) -> None:
    """Print one JSON line per picture, quality and thread count, with this process's SIMD."""
    codec = Codec(options.model)
    draws_exactly = isinstance(codec._networks, PortableNetworks)
    if not draws_exactly:  # what only the encoder chooses may depend on torch's threads
        import torch

        torch.set_num_threads(1)
    for path in options.pictures:
        pixels = load_image(path)
        if options.crop:
            pixels = np.ascontiguousarray(pixels[: options.crop, : options.crop])
        for quality in options.qualities:
            for n_threads in options.threads:
                glc.set_num_threads(n_threads)
                if draws_exactly or n_threads == options.threads[0]:
                    data = codec.encode(pixels, quality=quality)
                header, (piece,) = codec._read(data, MAX_PIXELS)
                picture = "by torch"
                if draws_exactly:
                    latent, size = piece.symbols.latent, (header.height, header.width)
                    drawn = codec._networks.pixels(latent, header.quality, size)
                    picture = digest(drawn.tobytes())
                row = {
                    "case": f"{path} q{quality:g}",
                    "threads": n_threads,
                    "hashes": [digest(data), *hashes(piece.symbols), picture],
                }
                print(json.dumps(row), flush=True)


def start(options: argparse.Namespace, simd: str) -> "subprocess.Popen[str]":
    """Run this script's worker under one instruction set."""
    command = [sys.executable, __file__, "--worker", "--model", str(options.model)]
    command += ["--crop", str(options.crop)]
    command += ["--qualities", *map(str, options.qualities)]
    command += ["--threads", *map(str, options.threads if simd != "scalar" else [2])]
    command += ["--", *map(str, options.pictures)]
    environment = os.environ | {"GLC_SIMD": simd, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def main() -> int:
    """Collect the rows of every worker, print the table, and say whether all agree."""
    parser = argparse.ArgumentParser(description="Hash the symbols of pictures, every way to run.")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled model or folder")
    parser.add_argument("--qualities", nargs="+", type=float, default=[0.0, 1.0, 2.0, 3.0])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--crop", type=int, default=0, help="top left corner only, of this size")
    features = set(glc.build_info()["cpu_features"])
    found = [simd for simd in ("neon", "avx2", "avx512") if simd in features]
    parser.add_argument("--simd", nargs="+", default=["scalar", *found])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return 0

    ways: dict[str, dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    n_walks = 0
    for simd in options.simd:
        process = start(options, simd)
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            ways[row["case"]][tuple(row["hashes"])].append(f"{simd}/{row['threads']}")
            n_walks += 1
        if process.wait() != 0:
            return 1

    columns = ("file", "z_index", "y_q", "y_hat", "drawn")
    print(f"{'picture':32} {' '.join(f'{name:{DIGITS}}' for name in columns)}")
    for case, seen in ways.items():
        for row, where in seen.items():
            print(f"{case:32} {' '.join(row)}{'' if len(seen) == 1 else '  ' + ' '.join(where)}")
    n_wrong = sum(len(seen) != 1 for seen in ways.values())
    print(f"{len(ways)} files, {n_walks} readings by {', '.join(options.simd)}: {n_wrong} differ")
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
