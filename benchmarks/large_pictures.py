# SPDX-License-Identifier: Apache-2.0
"""Memory and time of large pictures: both are to stay in hand, at any size.

    python -m benchmarks.large_pictures                  12.5, 25 and 50 megapixels
    python -m benchmarks.large_pictures 50 --folder DIR  of the photographs in a folder, as tiles

Each call runs in a process of its own, whose peak of resident memory, Python, torch and the model
included, is what the table shows. The pictures are made of photographs laid side by side.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import memory

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images"
WIDTH = 8192


def make_picture(megapixels: float, folder: Path) -> np.ndarray:
    """Lay photographs side by side, every second one mirrored, WIDTH wide."""
    from glc.evaluation import find_images
    from glc.image import load_image

    photos = [load_image(path) for path in find_images(folder)]
    height, width = (min(photo.shape[side] for photo in photos) for side in (0, 1))
    rows = round(megapixels * 1e6 / WIDTH)
    out = np.empty((rows, WIDTH, 3), np.uint8)
    n = 0
    for top in range(0, rows, height):
        for left in range(0, WIDTH, width):
            photo = photos[n % len(photos)][:height, :width]
            photo = photo[:, ::-1] if n // len(photos) % 2 else photo
            box = out[top : top + height, left : left + width]
            box[:] = photo[: box.shape[0], : box.shape[1]]
            n += 1
    return out


def work(verb: str, source: Path, target: Path) -> None:
    """One call, in this process; prints seconds, of the CPU too, peak MB and bytes."""
    from glc.codec import Codec

    codec = Codec()
    if verb == "encode":
        pixels = np.load(source)
        start, cpu = time.perf_counter(), time.process_time()
        data = codec.encode(pixels, quality=2.0)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        target.write_bytes(data)
    else:
        data = source.read_bytes()
        start, cpu = time.perf_counter(), time.process_time()
        pixels = codec.decode(data)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        assert pixels.std() > 10, "a picture, not a grey plane"
    print(f"{seconds:.2f} {cpu:.2f} {memory.resident_peak() / 1e6:.0f} {len(data)}")


def main() -> None:
    """Measure every size in fresh processes, or, as such a process, do the work."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megapixels", type=float, nargs="*", default=[12.5, 25.0, 50.0])
    parser.add_argument("--folder", type=Path, default=SAMPLE)
    args = parser.parse_args()
    print("| megapixels | bytes | encode | CPU s/MP | peak | decode | CPU s/MP | peak |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for megapixels in args.megapixels:
        with TemporaryDirectory() as scratch:
            picture, coded = Path(scratch) / "a.npy", Path(scratch) / "a.glc"
            np.save(picture, make_picture(megapixels, args.folder))
            cells = [f"{megapixels:g}"]
            for verb, paths in (("encode", (picture, coded)), ("decode", (coded, picture))):
                command = [sys.executable, "-m", "benchmarks.large_pictures", "--work", verb]
                result = subprocess.run(
                    [*command, *map(str, paths)],
                    capture_output=True,
                    text=True,
                    check=True,
                    # a thread that spins while it waits would count as work
                    env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
                )
                seconds, cpu, peak_mb, n_bytes = map(float, result.stdout.split())
                cells += [f"{n_bytes:.0f}"] if verb == "encode" else []
                cells += [f"{seconds:.1f} s", f"{cpu / megapixels:.3f}", f"{peak_mb:.0f} MB"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
