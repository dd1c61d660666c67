# SPDX-License-Identifier: Apache-2.0
"""Write the golden data of the current format versions.

    make golden

Of the files' format tests/golden/{rans,files,codec}/v<N>.json, of exported models' exported/v<N>.
Data of an existing version is never overwritten: what has been written must stay readable. Raise
FORMAT_VERSION when, and only when, the format's version rises.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glc import _core, bitstream, cdf, export, rans
from glc.codec import Codec
from glc.entropy_path import Part, Symbols
from glc.image import load_image
from glc.models.config import preset
from glc.models.glc import GLC
from glc.payload import PayloadTables, join_tiles
from glc.pieces import boxes

FORMAT_VERSION = 1
CODED_AT = ((0.0, None), (1.5, None), (3.0, None), (2.0, 64))  # qualities and tiles
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"


def numbers(seed: int) -> Iterator[int]:
    """Yield 32-bit numbers that no library version can change (Numerical Recipes' LCG)."""
    state = seed
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state


def describe(tables: rans.TableSet) -> dict[str, Any]:
    """Spell tables out, except the canonical ones, which have a name."""
    if tables.digest == cdf.canonical()[0].digest:
        return {"canonical": tables.digest.hex()}
    freqs, n_bins, offsets = (array.tolist() for array in tables.arrays())
    return {
        "freqs": freqs,
        "n_bins": n_bins,
        "offsets": offsets,
        "bits": tables.bits,
        "escape": tables.escape,
    }


def gaussian_like(n: int, seed: int, outlier_every: int) -> tuple[list[int], list[int]]:
    """Draw rows of the canonical tables and a symbol of each, mostly near zero."""
    freqs, n_bins, offsets = cdf.canonical()[0].arrays()
    begins = np.cumsum([0, *n_bins])
    random = numbers(seed)
    symbols, rows = [], []
    for i in range(n):
        row = next(random) // 2**16 % len(n_bins)
        cumulative = np.cumsum(freqs[begins[row] : begins[row + 1] - 1])
        slot = next(random) // 2**16 % int(cumulative[-1])
        symbol = int(np.searchsorted(cumulative, slot, side="right")) + int(offsets[row])
        if outlier_every and i % outlier_every == outlier_every - 1:
            symbol = next(random) - 2**31
        symbols.append(symbol)
        rows.append(row)
    return symbols, rows


def streams() -> Iterator[tuple[str, int | None, list[tuple[rans.TableSet, list[int], list[int]]]]]:
    """Yield name, lanes and pushes (tables, symbols, rows) of every stream; lanes 0: segments."""
    canonical, _ = cdf.canonical()
    example = rans.TableSet.from_exact_freqs([128, 64, 64], [3], [0], 8, escape=True)
    yield "example of docs/format.md", 1, [(example, [0, 1, 7], [0, 0, 0])]
    yield "nothing", 4, []
    for lanes in (1, 2, 4, 8, 16, 32):
        yield f"{lanes} lanes", lanes, [(canonical, *gaussian_like(75, lanes, 25))]
    int32 = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]
    yield "int32 extremes", 2, [(canonical, int32, [0, 3, 10, 20, 40, 67])]

    random = numbers(99)
    index_tables = cdf.uniform_index_tables(1000)
    index = [next(random) // 2**16 % 1000 for _ in range(20)]
    high, low = [i >> 7 for i in index], [i & 127 for i in index]
    parts = [(canonical, *gaussian_like(21, 100 + part, 0)) for part in range(4)]
    yield (
        "an image: indices, then four parts",
        None,
        [
            (index_tables, high, [0] * 20),
            (index_tables, low, [1 + h for h in high]),
            *parts,
        ],
    )
    coarse = rans.TableSet.from_freqs([[5, 0, 1, 2], [1, 1, 1, 1]], [-1, 7], 8)
    fine = rans.TableSet.from_freqs([[1, 60000], [3, 0]], 0, 16)
    yield (
        "8 and 16 bits in one stream",
        4,
        [
            (coarse, [-1, 1, 2, -1, 7, 10, 9, 8, -1], [0, 0, 0, 0, 1, 1, 1, 1, 0]),
            (fine, [1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]),
            (coarse, [10], [1]),
        ],
    )
    yield "segments of 32 symbols", 0, [(canonical, *gaussian_like(70, 55, 30)), (fine, [1], [0])]


def blocks() -> Iterator[bytes]:
    """Yield inputs of encode_bytes: empty, stored, one value, skewed bytes."""
    yield b""
    yield bytes(range(16))
    yield b"\xff" * 300
    random = numbers(7)
    yield bytes(min(next(random) >> 28, next(random) >> 27) for _ in range(600))


def build() -> dict[str, Any]:
    """Encode everything."""
    cases = []
    for name, lanes, pushes in streams():
        segment_symbols = 32 if lanes == 0 else 0
        encoder = rans.Encoder(lanes or None, segment_symbols)
        for tables, symbols, rows in pushes:
            encoder.push(symbols, rows, tables)
        cases.append(
            {
                "name": name,
                "lanes": lanes or None,
                "segment_symbols": segment_symbols,
                "pushes": [
                    {"tables": describe(tables), "symbols": symbols, "rows": rows}
                    for tables, symbols, rows in pushes
                ],
                "stream": encoder.finish().hex(),
            }
        )
    coded = [{"data": data.hex(), "coded": rans.encode_bytes(data).hex()} for data in blocks()]
    return {"format_version": FORMAT_VERSION, "streams": cases, "bytes": coded}


def piece(
    tables: PayloadTables, level: int, k: int, n_z: int, n: int, seed: int, encoder: rans.Encoder
) -> tuple[tuple[int, bytes], dict[str, Any]]:
    """Draw one picture's symbols, n a part: its coded form, and what must come out again."""
    random = numbers(seed)
    z_index = [min(next(random) // 2**12 % k, next(random) // 2**12 % k) for _ in range(n_z)]
    parts, rows_of, symbols_of = [], [], []
    for part in range(4):
        symbols, rows = gaussian_like(n, seed + part + 1, 37 if seed % 2 else 0)
        threshold = (0, 5, 20, 68)[(part + seed) % 4]
        symbols = [s if r >= threshold else 0 for s, r in zip(symbols, rows, strict=True)]
        arrays = torch.tensor(symbols, dtype=torch.int32), torch.tensor(rows, dtype=torch.uint8)
        parts.append(Part(*arrays, torch.empty(0), threshold))
        rows_of.append(rows)
        symbols_of.append(symbols)
    coded = tables.write(level, np.array(z_index).reshape(1, 1, n_z), parts, encoder)
    return coded, {"z_index": z_index, "rows": rows_of, "symbols": symbols_of}


def files() -> Iterator[dict[str, Any]]:
    """Yield one file of every kind, with the rows and weights that its model would supply."""
    icc, exif = b"a colour profile", b"MM\0*" + bytes(200)
    one = (1, 0)  # lanes, segment_symbols
    for seed, (name, k, size, n, tile, chunks, layout) in enumerate(
        (
            ("one hyper index", 1024, (64, 64), 24, 0, {}, one),
            ("an odd codebook and odd sides", 300, (130, 65), 60, 0, {}, one),
            ("four lanes", 512, (768, 512), 150, 0, {}, (4, 0)),
            ("metadata", 16, (200, 40), 30, 0, {1: icc, 2: exif}, one),
            ("an unknown chunk", 16, (64, 40), 8, 0, {127: b"?"}, one),
            ("tiles", 512, (300, 200), 40, 2, {}, (2, 0)),
            ("tiles and metadata", 512, (129, 64), 33, 1, {2: exif}, one),
            ("segments", 512, (640, 640), 90, 0, {}, (2, 32)),
            ("segments in tiles", 200, (90, 90), 50, 1, {}, (1, 64)),
        )
    ):
        random = numbers(1000 + seed)
        logits = np.array([-(next(random) >> 24) / 20 for _ in range(k)], np.float32)
        weights = np.empty(k, np.int32)
        _core.cdf_softmax_weights(logits, weights)
        tables = PayloadTables(logits[None])
        level = 7 * seed
        width, height = size
        places = boxes(height, width, tile)
        drawn = [
            piece(
                tables,
                level,
                k,
                -(-(rows.stop - rows.start) // 64) * -(-(columns.stop - columns.start) // 64),
                n,
                10 * seed + i,
                rans.Encoder(*layout),
            )
            for i, (rows, columns) in enumerate(places)
        ]
        coded = [pair for pair, _ in drawn]
        fingerprint = hashlib.sha256(name.encode()).digest()
        header = bitstream.Header(
            width=width,
            height=height,
            level=level,
            coder=0 if tile else coded[0][0],
            model_id=fingerprint[:2],
            profile=seed % 2,
            tile=tile,
        )
        payload = join_tiles(coded) if tile else coded[0][1]
        yield {
            "name": name,
            "fingerprint": fingerprint.hex(),
            "logits": [float(logit).hex() for logit in logits],
            "weights": weights.tolist(),
            "pieces": [expected for _, expected in drawn],
            "chunks": {str(tag): content.hex() for tag, content in chunks.items()},
            "file": bitstream.pack(header, payload, fingerprint, chunks).hex(),
        }


def build_files() -> dict[str, Any]:
    """Every kind of file, and the canonical tables, for readers that have no numpy."""
    freqs, n_bins, offsets = cdf.canonical()[0].arrays()
    ends = np.cumsum(n_bins)
    canonical = [
        {"offset": int(offset), "freqs": freqs[end - n : end].tolist()}
        for end, n, offset in zip(ends, n_bins, offsets, strict=True)
    ]
    return {"format_version": FORMAT_VERSION, "canonical": canonical, "files": list(files())}


def rule_made_model() -> GLC:
    """The smallest preset with weights that no library version can change.

    Value n of a tensor is (u / 2^24 - 1/2) * 2^e, u the upper 24 bits of number n of a generator
    seeded by the tensor's place in the sorted state dict without the encoder's bounds, 2^e the
    largest power of two that is at most 2 / sqrt(fan in) of a convolution; 1/2 for all else, 8
    times that for the prior.
    """
    model = GLC(preset("glc-tiny"))
    with torch.no_grad():
        state = model.state_dict().items()
        weights = sorted((k, v) for k, v in state if not k.startswith("latent_range."))
        for seed, (name, tensor) in enumerate(weights):
            is_conv = tensor.dim() == 4 and not name.endswith(".q")
            scale = 2.0 ** (1 - math.ceil(math.log2(tensor[0].numel()) / 2)) if is_conv else 0.5
            random = numbers(seed)
            values = [((next(random) >> 8) / 2**24 - 0.5) * scale for _ in range(tensor.numel())]
            tensor.copy_(torch.tensor(values, dtype=torch.float64).reshape(tensor.shape))
        model.z_prior.logits.mul_(8)
        for part in (model.g_a, model.g_s):
            part.q.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]).reshape(4, 1, 1, 1).expand_as(part.q))
    return model.eval()


def hashes(symbols: Symbols) -> dict[str, str]:
    """SHA-256 of everything that a decoder must recover bit for bit."""
    y_q = np.concatenate([part.symbols for part in symbols.parts]).astype("<i4")
    arrays = {
        "z_index": symbols.z_index.astype("<i8"),
        "y_q": y_q,
        "y_hat": symbols.y_hat.astype("<f4"),
    }
    return {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        for name, array in arrays.items()
    }


def golden_picture() -> NDArray[np.uint8]:
    """A cut of the sample photograph."""
    sample = load_image(FOLDER.parents[1] / "examples" / "images" / "kodim23.png")
    return np.ascontiguousarray(sample[150:350, 300:430])


def build_codec() -> dict[str, Any]:
    """Files of a whole model, its networks included, and the hashes of their symbols."""
    codec = Codec(rule_made_model())
    pixels = golden_picture()
    cases = []
    for quality, tile in CODED_AT:
        data = codec.encode(pixels, quality=quality, tile=tile)
        _, pieces = codec._read(data, pixels.size)
        found = [hashes(piece.symbols) for piece in pieces]
        cases.append({"quality": quality, "file": data.hex(), "pieces": found})
    fingerprint = codec.fingerprint.hex()
    return {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, "files": cases}


def write_exported(folder: Path) -> None:
    """A model as `glc export` writes it, a picture, its files above, and what is drawn of them."""
    codec = Codec(rule_made_model())
    cases = json.loads((FOLDER / "codec" / f"v{FORMAT_VERSION}.json").read_text())["files"]
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(codec.export(encoder=True))
    (folder / "picture.rgb").write_bytes(golden_picture().tobytes())
    lines = []
    for number, (case, (quality, tile)) in enumerate(zip(cases, CODED_AT, strict=True)):
        data = bytes.fromhex(case["file"])
        (folder / f"{number}.glc").write_bytes(data)
        pixels = codec.decode(data)
        height, width = pixels.shape[:2]
        crc = _core.crc32c(pixels.tobytes())
        lines.append(f"{number}.glc {width} {height} {crc:08x} {quality} {tile or 0}\n")
    (folder / "pictures.txt").write_text("".join(lines), encoding="utf-8")


def main() -> int:
    """Write the data, unless it is there."""
    made = 0
    for name, make in (("rans", build), ("files", build_files), ("codec", build_codec)):
        path = FOLDER / name / f"v{FORMAT_VERSION}.json"
        if not is_there(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(make(), separators=(",", ":"))
            path.write_text(text + "\n", encoding="utf-8")
            made += 1
    folder = FOLDER / "exported" / f"v{export.FORMAT}"
    if not is_there(folder):
        write_exported(folder)
        made += 1
    return 0 if made else 2


def is_there(path: Path) -> bool:
    """Whether data is there, which is then said, and not overwritten."""
    if path.exists():
        sys.stderr.write(
            f"{path.parent.name}/{path.name} exists and is not overwritten: raise its version when "
            "the format's has risen\n"
        )
    return path.exists()


if __name__ == "__main__":
    sys.exit(main())
