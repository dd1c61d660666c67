# SPDX-License-Identifier: Apache-2.0
"""Show that one device reads what another wrote: the same symbols from every file.

    python -m tools.device_hashes PICTURE ...                    between the CPU and a CUDA device
    python -m tools.device_hashes --write DIR --device cuda PICTURE ...
    python -m tools.device_hashes --read DIR --device cpu

The first form writes on each device and reads on the other. The other two do one half, so that the
folder can go from one machine to another; it holds the files and, in hashes.json, the SHA-256 of
what its writer read from each: z_index, y_q and y_hat. `--model glc-image` is the authors' layout
with weights made by rule, of which no real ones are at hand.

Exit status: 0 when all files give the symbols of their writer, 1 when some do not.
"""

import argparse
import json
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.decode_shares import official_size_codec
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.image import MAX_PIXELS, load_image
from glc.strips import Report, unheard
from tools.symbol_hashes import hashes

HASHES = "hashes.json"


def codec_of(model: str, device: str) -> Codec:
    """The named model on a device."""
    if model != "glc-image":
        return Codec(model, device)
    codec = official_size_codec()
    return codec if device == "cpu" else Codec(codec.model, device)


def read(codec: Codec, data: bytes) -> list[str]:
    """Digests of a file's symbols."""
    _, (piece,) = codec._read(data, MAX_PIXELS)
    return hashes(piece.symbols)


def remember_features(codec: Codec) -> None:
    """Let the codec compute the latents of a picture once for all its qualities."""
    compute = codec._networks.features
    seen: dict[int, NDArray[np.float32]] = {}

    def features(pixels: NDArray[np.uint8], report: Report = unheard) -> NDArray[np.float32]:
        key = zlib.crc32(pixels.tobytes())
        if key not in seen:
            seen.clear()
            seen[key] = compute(pixels, report)
        return seen[key]

    codec._networks.features = features  # type: ignore[method-assign]


def write_files(codec: Codec, options: argparse.Namespace, folder: Path) -> None:
    """Encode every picture at every quality, and note the symbols that this codec reads again."""
    found = {}
    remember_features(codec)
    folder.mkdir(parents=True, exist_ok=True)
    for n, path in enumerate(options.pictures):
        pixels = load_image(path)
        if options.crop:
            pixels = np.ascontiguousarray(pixels[: options.crop, : options.crop])
        for quality in options.qualities:
            name = f"{n}-{path.stem}-q{quality:g}.glc"
            data = codec.encode(pixels, quality=quality)
            (folder / name).write_bytes(data)
            found[name] = read(codec, data)
    (folder / HASHES).write_text(json.dumps(found, indent=0), encoding="utf-8")


def different_files(codec: Codec, folder: Path) -> Iterator[str]:
    """Names of the files of a folder whose symbols are not those of its writer."""
    expected = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    for name, digests in expected.items():
        got = read(codec, (folder / name).read_bytes())
        if got != digests:
            print(f"{name}: expected {' '.join(digests)}, got {' '.join(got)}")
            yield name


def compare(codec: Codec, folder: Path, writer: str) -> int:
    """Read a folder, say how it went, and return the number of files that differ."""
    n_files = len(json.loads((folder / HASHES).read_text(encoding="utf-8")))
    n_wrong = sum(1 for _ in different_files(codec, folder))
    print(f"{n_files} files of {writer} read on {codec.device}: {n_wrong} differ", flush=True)
    return n_wrong


def main() -> int:
    """Write, read, or both ways between the CPU and CUDA; say whether all symbols agree."""
    parser = argparse.ArgumentParser(description="Hash the symbols of files of another device.")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled model, folder, glc-image")
    parser.add_argument("--qualities", nargs="+", type=float, default=[0.0, 1.0, 2.0, 3.0])
    parser.add_argument("--crop", type=int, default=0, help="top left corner only, of this size")
    parser.add_argument("--device", default="cpu", help="of --write and --read")
    parser.add_argument("--write", type=Path, metavar="DIR")
    parser.add_argument("--read", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.write or options.read:
        codec = codec_of(options.model, options.device)
        if options.write:
            write_files(codec, options, options.write)
        return int(bool(options.read) and compare(codec, options.read, str(options.read)) > 0)
    codecs = {device: codec_of(options.model, device) for device in ("cpu", "cuda")}
    n_wrong = 0
    for writer, reader in (("cpu", "cuda"), ("cuda", "cpu")):
        with tempfile.TemporaryDirectory() as folder:
            write_files(codecs[writer], options, Path(folder))
            n_wrong += compare(codecs[reader], Path(folder), writer)
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
