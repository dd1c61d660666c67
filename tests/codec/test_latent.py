# SPDX-License-Identifier: Apache-2.0
"""Files of a y that somebody else computed, and y_hat for somebody else to draw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import glc
from glc.bitstream import CHUNK_EXIF
from glc.codec import Codec
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError
from glc.models import GLC
from tests.faces import lively_face

HEIGHT, WIDTH = 150, 200  # of the photo


@pytest.fixture(scope="module", params=["light", "face"])
def codec(request: pytest.FixtureRequest, tiny_folder: Path) -> Codec:
    """One whose networks are the core's, and one whose picture networks are torch's."""
    return Codec(tiny_folder) if request.param == "light" else Codec(lively_face())


def y_of(codec: Codec, photo: np.ndarray, quality: float) -> np.ndarray:
    return codec._networks.analysis(codec._networks.features(photo), quality)


@pytest.mark.parametrize("quality", [0, 1, 2, 3, 40 / 21])
def test_a_file_of_the_codecs_y_is_the_codecs_file(
    codec: Codec, photo: np.ndarray, quality: float
) -> None:
    metadata = {CHUNK_EXIF: b"Exif\0\0II*\0"}
    data = codec.encode(photo, quality=quality, metadata=metadata)
    y = y_of(codec, photo, quality)
    size = {"height": HEIGHT, "width": WIDTH}
    assert codec.encode_latent(y, quality, **size, metadata=metadata) == data
    kinds: list[Callable[[np.ndarray], object]] = [torch.from_numpy, np.float64, read_only, sliced]
    for kind in kinds:
        assert codec.encode_latent(kind(y), quality, **size, metadata=metadata) == data


def read_only(y: np.ndarray) -> np.ndarray:
    return np.frombuffer(y.tobytes(), np.float32).reshape(y.shape)


def sliced(y: np.ndarray) -> np.ndarray:
    return np.repeat(y, 2, axis=3)[..., ::2]


def test_the_latent_of_a_file_is_what_is_drawn(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, quality=2)
    latent = codec.decode_latent(data)
    assert isinstance(latent.y_hat, np.ndarray)
    assert latent.y_hat.dtype == np.float32
    header = latent.header
    assert (header.height, header.width, header.quality) == (HEIGHT, WIDTH, 2)
    assert latent.y_hat.shape == y_of(codec, photo, 2).shape
    (piece,) = codec._read(data, photo.size)[1]
    assert np.array_equal(latent.y_hat, piece.symbols.latent)
    drawn = codec._networks.pixels(latent.y_hat, header.quality, (HEIGHT, WIDTH))
    assert np.array_equal(drawn, codec.decode(data))


def test_the_latent_is_the_models(tiny_folder: Path, photo: np.ndarray) -> None:
    """As `inspect` has it, which rounds in other places: near it, but for symbols at an edge."""
    codec, model = Codec(tiny_folder), GLC.from_pretrained(tiny_folder)
    padded = np.pad(photo, ((0, 42), (0, 56), (0, 0)), mode="edge")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None] / 255
    seen = model.inspect(x, 1)
    data = codec.encode_latent(seen.y, 1, height=HEIGHT, width=WIDTH)
    near = np.abs(codec.decode_latent(data).y_hat - seen.y_hat.numpy()) < 1e-3
    assert near.mean() > 0.99


def test_a_y_unlike_any_photographs_has_a_file(photo: np.ndarray) -> None:
    codec = Codec()
    y = y_of(codec, photo, 1)
    y[..., 3:6, 3:6] *= 1e6
    data = codec.encode_latent(y, 1, height=HEIGHT, width=WIDTH)
    glc.verify(data)
    assert len(data) < 4000
    assert codec.decode(data).shape == photo.shape


WRONG = [
    ({"quality": -0.1}, "quality: expected 0 .. 3"),
    ({"quality": 3.1}, "quality: expected 0 .. 3"),
    ({"height": 0}, "height: expected 1.."),
    ({"width": 2.5}, "width: expected an integer"),
    ({"height": 300}, r"y: expected finite values, \[1, 16, 20, 16\] for 200x300 pixels"),
    ({"height": 1 << 20, "width": 1 << 20}, "image: expected at most 178956970 pixels"),
    ({"height": 1, "width": 100_000_000}, "with sides padded to"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=str)
def test_wrong_requests(
    tiny_folder: Path, photo: np.ndarray, changed: dict[str, float], message: str
) -> None:
    codec = Codec(tiny_folder)
    given = {"quality": 1, "height": HEIGHT, "width": WIDTH} | changed
    with pytest.raises(InvalidArgumentError, match=f"^encode: .*{message}"):
        codec.encode_latent(y_of(codec, photo, 1), **given)


def test_what_is_no_y_is_refused(tiny_folder: Path, photo: np.ndarray) -> None:
    codec = Codec(tiny_folder)
    y = y_of(codec, photo, 1)
    infinite = y.copy()
    infinite[0, 1, 2, 3] = np.inf
    beyond = np.full(y.shape, 1e300)
    others = (y[0], y[:, 1:], y.astype(str), [[1], [1, 2]])
    for wrong in (infinite, infinite * np.nan, beyond, *others):
        with pytest.raises(InvalidArgumentError, match=r"^encode: y: expected "):
            codec.encode_latent(wrong, 1, height=HEIGHT, width=WIDTH)


def test_a_model_of_one_level_has_quality_0() -> None:
    model = lively_face()
    single = GLC(type(model.config)(**{**vars(model.config), "levels": 1})).eval()
    codec = Codec(single)
    y = np.zeros((1, 16, 4, 4), np.float32)
    codec.encode_latent(y, 0, height=128, width=128)
    with pytest.raises(InvalidArgumentError, match="quality: expected at most 0 with this model"):
        codec.encode_latent(y, 1, height=128, width=128)


def test_files_that_have_no_single_latent(tiny_folder: Path, photo: np.ndarray) -> None:
    codec = Codec(tiny_folder)
    tiled = codec.encode(photo, quality=1, tile=128)
    with pytest.raises(UnsupportedError, match=r"^decode: tile: expected a picture in one piece"):
        codec.decode_latent(tiled)
    data = codec.encode(photo, quality=1)
    with pytest.raises(BitstreamError, match="expected at most 100 pixels"):
        codec.decode_latent(data, max_pixels=100)
    for n in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode_latent(data[:n])


def test_a_tile_as_large_as_the_picture_is_one_piece(tiny_folder: Path, photo: np.ndarray) -> None:
    codec = Codec(tiny_folder)
    whole, tiled = (codec.encode(photo, quality=1, tile=tile) for tile in (None, 256))
    assert whole != tiled
    assert np.array_equal(codec.decode_latent(whole).y_hat, codec.decode_latent(tiled).y_hat)


def test_a_changed_model_is_refused(tiny_folder: Path, photo: np.ndarray) -> None:
    model = GLC.from_pretrained(tiny_folder)
    codec = Codec(model)
    y, data = y_of(codec, photo, 1), codec.encode(photo, quality=1)
    model.g_s.q.requires_grad_(False).add_(1)
    with pytest.raises(InvalidArgumentError, match="make a new Codec"):
        codec.encode_latent(y, 1, height=HEIGHT, width=WIDTH)
    with pytest.raises(InvalidArgumentError, match="make a new Codec"):
        codec.decode_latent(data)
