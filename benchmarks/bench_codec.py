# SPDX-License-Identifier: Apache-2.0
"""A photograph to a file and back, beside classical codecs at about the same bytes.

The peers cannot reach our rates at full size, so they code the picture at half size and their
decoder enlarges it again, which is what one would do with them at such rates. They win on PSNR
there; what is raced here is time, and the notes say at what bytes and PSNR. One more side is the
same model with all its networks run by torch.

On a device the decoder of the official size is raced with the authors' way of decoding, where no
file is read.
"""

import copy
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from benchmarks.authors_decode import AuthorsDecode
from benchmarks.decode_shares import (
    decode_shares,
    full_hd,
    nonzero_share,
    official_size_codec,
)
from benchmarks.harness import Race
from benchmarks.on_device import ON_DEVICE
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.entropy_path import on_host
from glc.evaluation.metrics import psnr
from glc.image import MAX_PIXELS, load_image
from glc.models import GLC
from glc.torch_networks import Networks

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images" / "kodim23.png"
MIN_PSNR_DB = 18.0  # below this the picture is not recognisable and a race means nothing
QUALITY = 2.0
DEVICE = "cuda"
SMALL = (slice(0, 192), slice(0, 256))  # of a picture whose symbols are read on the CPU too
MIN_AGREEMENT_DB = 20.0  # with the peer, whose means differ by what TF32 rounds
MAX_UNLIKE = 0.001  # of its symbols, for the same reason


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


class ByTorch:
    """Our model and coder, but with all networks run by torch."""

    def __init__(self) -> None:
        self._codec = Codec(GLC.from_pretrained(DEFAULT_MODEL))
        networks = Networks(self._codec.model)
        self._codec._networks = self._codec._coder_networks = networks

    def encode(self, picture: Image.Image) -> bytes:
        return self._codec.encode(picture, quality=QUALITY)

    def decode(self, data: bytes) -> np.ndarray:
        return self._codec.decode(data)


def peers(picture: Image.Image, n_bytes: int) -> dict[str, Peer | ByTorch]:
    """Every peer this Pillow can write, at the quality nearest to `n_bytes`; and torch."""
    wanted = {"WEBP": {"method": 6}, "AVIF": {"speed": 6}}
    found: dict[str, Peer | ByTorch] = {"by torch": ByTorch()}
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
            {name: functools.partial(peer.encode, picture) for name, peer in others.items()},
            check=check_files,
            work=n_pixels,
            unit="px",
            threads=True,
            notes=notes,
        )
    else:
        race(
            lambda: codec.decode(data),
            {name: functools.partial(others[name].decode, coded[name]) for name in others},
            check=check_pictures,
            work=n_pixels,
            unit="px",
            threads=True,
            notes=notes,
        )


def require_equal_symbols(here: Codec, there: Codec, data: bytes) -> None:
    (mine,), (theirs,) = (list(codec._read(data, 1 << 20)[1]) for codec in (here, there))
    for a, b in zip(mine.symbols.parts, theirs.symbols.parts, strict=True):
        assert np.array_equal(a.symbols, b.symbols)
    assert np.array_equal(on_host(mine.symbols.y_hat), on_host(theirs.symbols.y_hat))


def authors_decode(codec: Codec, pixels: np.ndarray) -> AuthorsDecode:
    y = codec._networks.analysis(codec._networks.features(pixels), QUALITY)
    z_index = codec._networks.hyper_index(y)
    index_there, y_there = (torch.from_numpy(x).to(codec.device) for x in (z_index, y))
    return AuthorsDecode(codec.model, index_there, y_there, QUALITY)


def unlike_symbols(codec: Codec, data: bytes, peer: AuthorsDecode) -> float:
    """Share of the symbols that the peer's last call saw otherwise."""
    _, (piece,) = codec._read(data, MAX_PIXELS)
    return float((np.abs(on_host(peer.y_hat) - on_host(piece.symbols.y_hat)) > 0.5).mean())


@pytest.mark.parametrize("case", [pytest.param("decode official 1080p", marks=ON_DEVICE)])
def test_codec_on_device(race: Race, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    here = official_size_codec()
    codec = Codec(copy.deepcopy(here.model), DEVICE)
    pixels = full_hd()
    require_equal_symbols(here, codec, codec.encode(pixels[SMALL], QUALITY))
    require_equal_symbols(here, codec, here.encode(pixels[SMALL], QUALITY))
    data = codec.encode(pixels, QUALITY)
    peer = authors_decode(codec, pixels)
    # both decoders with the convolution algorithms that are fastest for their shapes
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    height, width = pixels.shape[:2]
    agreement = psnr(codec.decode(data), peer(height, width))
    unlike = unlike_symbols(codec, data, peer)
    shares = decode_shares(codec, data, rounds=3)
    notes = {"bytes": len(data), "not zero %": 100 * nonzero_share(codec, data)}
    notes |= {"dB to the peer": agreement, "symbols unlike the peer's %": 100 * unlike}
    notes |= {f"{group} %": 100 * shares[group] for group in shares if group != "seconds"}

    def check(mine: np.ndarray, theirs: dict[str, np.ndarray]) -> None:
        assert all(psnr(mine, picture) > MIN_AGREEMENT_DB for picture in theirs.values())
        assert unlike < MAX_UNLIKE

    def drawn(*, half: bool) -> np.ndarray:
        peer.half = half
        return peer(height, width)

    race(
        lambda: codec.decode(data),
        {
            "the authors' formulation": lambda: drawn(half=False),
            "the same in float16, channels_last": lambda: drawn(half=True),
        },
        check=check,
        work=1,
        unit="frame",
        notes=notes,
    )
