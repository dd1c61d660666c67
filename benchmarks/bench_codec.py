# SPDX-License-Identifier: Apache-2.0
"""A photograph to a file and back, beside classical codecs at about the same bytes.

The peers cannot reach our rates at full size, so they code the picture at half size and their
decoder enlarges it again, which is what one would do with them at such rates. They win on PSNR
there; what is raced here is time, and the notes say at what bytes and PSNR.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from benchmarks.decode_shares import decode_shares
from benchmarks.harness import Race
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.evaluation.metrics import psnr
from glc.image import load_image

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images" / "kodim23.png"
MIN_PSNR_DB = 18.0  # below this the picture is not recognisable and a race means nothing
QUALITY = 2.0


@dataclass(frozen=True)
class Peer:
    """A Pillow codec set to the quality whose half-size file is nearest to ours in bytes."""

    format: str
    options: dict[str, Any]
    size: tuple[int, int]

    def encode(self, picture: Image.Image) -> bytes:
        half = (self.size[0] // 2, self.size[1] // 2)
        stream = io.BytesIO()
        small = picture.resize(half, Image.Resampling.LANCZOS)
        small.save(stream, format=self.format, **self.options)
        return stream.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as small:
            return np.asarray(small.convert("RGB").resize(self.size, Image.Resampling.LANCZOS))


def peers(picture: Image.Image, n_bytes: int) -> dict[str, Peer]:
    """Every peer this Pillow can write, at the quality nearest to `n_bytes`."""
    wanted = {"WEBP": {"method": 6}, "AVIF": {"speed": 6}}
    found = {}
    for name, options in wanted.items():
        if not features.check(name.lower()):
            continue
        candidates = [
            Peer(name, {**options, "quality": quality}, picture.size)
            for quality in (0, 2, 5, 10, 15, 20, 30, 40, 50, 60)
        ]
        sizes = [len(peer.encode(picture)) for peer in candidates]
        found[name.lower()] = candidates[int(np.argmin([abs(size - n_bytes) for size in sizes]))]
    return found


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return load_image(SAMPLE)


def cases() -> list[str]:
    return ["encode", "decode"]


@pytest.mark.parametrize("case", cases())
def test_codec(race: Race, codec: Codec, pixels: np.ndarray, case: str) -> None:
    picture = Image.fromarray(pixels)
    data = codec.encode(pixels, quality=QUALITY)
    others = peers(picture, len(data))
    coded = {name: peer.encode(picture) for name, peer in others.items()}
    notes: dict[str, Any] = {"bytes": len(data), "dB": psnr(pixels, codec.decode(data))}
    for name, peer in others.items():
        notes[f"{name} bytes"] = len(coded[name])
        notes[f"{name} dB"] = psnr(pixels, peer.decode(coded[name]))

    def check_files(mine: bytes, theirs: dict[str, bytes]) -> None:
        check_pictures(codec.decode(mine), {k: others[k].decode(v) for k, v in theirs.items()})

    def check_pictures(mine: np.ndarray, theirs: dict[str, np.ndarray]) -> None:
        for decoded in (mine, *theirs.values()):
            assert psnr(pixels, decoded) > MIN_PSNR_DB

    if case == "decode":
        shares = decode_shares(codec, data, rounds=3)
        notes |= {f"{group} %": 100 * shares[group] for group in shares if group != "seconds"}

    n_pixels = pixels.shape[0] * pixels.shape[1]
    if case == "encode":
        race(
            lambda: codec.encode(pixels, quality=QUALITY),
            {name: lambda p=peer: p.encode(picture) for name, peer in others.items()},
            check=check_files,
            work=n_pixels,
            unit="px",
            notes=notes,
        )
    else:
        race(
            lambda: codec.decode(data),
            {name: lambda p=peer, d=coded[name]: p.decode(d) for name, peer in others.items()},
            check=check_pictures,
            work=n_pixels,
            unit="px",
            notes=notes,
        )
