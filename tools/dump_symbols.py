# SPDX-License-Identifier: Apache-2.0
"""Write what a decoder of symbols needs, and what it must find, into one file for other languages.

    python tools/dump_symbols.py OUT                               the golden case of the tests
    python tools/dump_symbols.py OUT --model FOLDER --picture PNG --quality 1

The file is a run of records, all numbers little-endian:

    u32 bytes of the name, the name, u32 dimensions, u32 each, then the values of 4 bytes

Float32: every weight of the hyper codebook, of h_s and of the context model under its name in the
state dict; `bounds`; `y_hat`. Int32: `z_index` [h, w]; `freqs`, `n_bins`, `offsets` and `bits` of
the tables; `stream`, one byte each; `symbols` of parts 0 to 3, one after another. The stream holds
the four parts without skipping, nothing else. tests/cpp/test_exact_replay.cpp reads it.
"""

import argparse
import struct
from pathlib import Path

import numpy as np
import torch

from glc import cdf, rans
from glc.codec import Codec
from glc.image import MAX_PIXELS, load_image
from glc.models.config import preset
from glc.models.glc import GLC

MODULES = ("hyper_vq.codebook", "h_s.", "context.")
SIDE = 192  # of the golden picture, a cut of the sample photograph
SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images" / "kodim23.png"


def golden_model() -> GLC:
    """The smallest preset with lively random weights."""
    torch.manual_seed(1)
    model = GLC(preset("glc-tiny"))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.startswith(("g_a.", "context.")) and tensor.dim() == 4:
                tensor.mul_(1.5)
    return model


def record(name: str, array: np.ndarray) -> bytes:
    """One array as the file holds it."""
    kind = "<f4" if array.dtype.kind == "f" else "<i4"
    encoded = name.encode()
    head = struct.pack("<I", len(encoded)) + encoded
    head += struct.pack(f"<{1 + array.ndim}I", array.ndim, *array.shape)
    return head + array.astype(kind).tobytes()


def main() -> None:
    """Encode a picture, read it back, and write what its decoder needed and found."""
    parser = argparse.ArgumentParser(description="Dump a decoder's weights, inputs and outputs.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="bundled model or folder; the golden one unless given")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--quality", type=float, default=2.0)
    options = parser.parse_args()
    codec = Codec(options.model or golden_model())
    pixels = load_image(options.picture or SAMPLE)
    if options.picture is None:
        pixels = np.ascontiguousarray(pixels[:SIDE, :SIDE])
    _, (piece,) = codec._read(codec.encode(pixels, quality=options.quality), MAX_PIXELS)
    coded = piece.symbols

    tables, bounds = cdf.canonical()
    encoder = rans.Encoder(segment_symbols=0)
    for part in coded.parts:
        encoder.push(part.symbols, part.rows, tables)
    freqs, n_bins, offsets = (np.asarray(a, np.int64) for a in tables.arrays())
    records = {
        "z_index": coded.z_index[0],
        "bounds": np.asarray(bounds),
        "freqs": freqs,
        "n_bins": n_bins,
        "offsets": offsets,
        "bits": np.array([tables.bits]),
        "stream": np.frombuffer(encoder.finish(), np.uint8),
        "symbols": np.concatenate([part.symbols for part in coded.parts]),
        "y_hat": coded.y_hat,
    }
    state = codec.model.state_dict()
    weights = {k: t.cpu().numpy() for k, t in state.items() if k.startswith(MODULES)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(b"".join(record(k, a) for k, a in (weights | records).items()))


if __name__ == "__main__":
    main()
