# SPDX-License-Identifier: Apache-2.0
"""The beginning of a file is a coarser picture, and never passes for the whole one."""

from pathlib import Path

import numpy as np
import pytest

from glc.bitstream import Header, pack, parse
from glc.codec import Codec, Restored
from glc.defaults import DEFAULT_MODEL
from glc.errors import BitstreamError, InvalidArgumentError
from glc.evaluation.metrics import psnr
from glc.image import load_image


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> Codec:
    return Codec(tiny_folder)


@pytest.fixture(scope="module")
def data(codec: Codec, photo: np.ndarray) -> bytes:
    return codec.encode(photo[:70, :90], quality=1.0)


def test_every_cut_is_an_error_or_a_labelled_picture(codec: Codec, data: bytes) -> None:
    whole = codec.restore(data)
    by_parts = [codec.restore(data, until=n).pixels for n in range(5)]
    seen = []
    for size in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode(data[:size])
        try:
            found = codec.restore(data[:size], partial=True)
        except BitstreamError:
            assert not seen, "a longer piece cannot show less"
            continue
        assert not found.verified
        assert not found.complete
        assert found.label.startswith("unverified: ")
        np.testing.assert_array_equal(found.pixels, by_parts[found.n_parts])
        seen.append(found.n_parts)
    assert seen == sorted(seen)
    assert set(seen) >= {0, 1, 2, 3}
    assert whole.complete
    assert whole.label == "verified: parts 0..3 of 4"
    np.testing.assert_array_equal(whole.pixels, by_parts[4])


def test_every_flipped_bit_is_an_error_or_labelled(codec: Codec, data: bytes) -> None:
    for bit in range(0, 8 * len(data), 3):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((BitstreamError, NotImplementedError)):
            codec.decode(bytes(damaged))
    drawn = 0
    for bit in range(64, 8 * len(data), 97):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            drawn += not codec.restore(bytes(damaged), partial=True, max_pixels=10**5).complete
        except BitstreamError:
            continue
    assert drawn


def test_partial_of_a_sound_file_is_verified(codec: Codec, data: bytes) -> None:
    assert codec.restore(data, partial=True).complete


def test_labels() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    assert Restored(pixels, 0, False).label == "unverified: no part, z alone, of 4"
    assert Restored(pixels, 1, False).label == "unverified: parts 0..0 of 4"
    assert Restored(pixels, 3, True).label == "verified: parts 0..2 of 4"
    assert not Restored(pixels, 3, True).complete


def test_until_reads_no_further(codec: Codec, data: bytes) -> None:
    for until in range(5):
        found = codec.restore(data, until=until)
        assert (found.n_parts, found.verified) == (until, True)
    for until in (-1, 5):
        with pytest.raises(InvalidArgumentError, match=r"until: expected 0\.\.4"):
            codec.restore(data, until=until)


def test_another_model_is_never_partial(other_tiny_folder: Path, codec: Codec, data: bytes) -> None:
    other = Codec(other_tiny_folder)
    for size in (len(data), len(data) - 10):
        with pytest.raises(BitstreamError) as caught:
            other.restore(data[:size], partial=True)
        for side in (other, codec):
            assert side.fingerprint[:2].hex() in str(caught.value)


def test_metadata_behind_the_picture_may_be_cut(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo[:64, :64], quality=1.0, metadata={2: bytes(300)})
    whole = codec.decode(data)
    for size in (len(data) - 1, len(data) - 300):
        with pytest.raises(BitstreamError, match="chunk"):
            codec.decode(data[:size])
        found = codec.restore(data[:size], partial=True)
        assert (found.n_parts, found.verified) == (4, False)
        np.testing.assert_array_equal(found.pixels, whole)


def test_cut_tiles_show_nothing(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, quality=1.0, tile=64)
    for size in range(0, len(data), 9):
        with pytest.raises(BitstreamError):
            codec.restore(data[:size], partial=True)


def test_forged_cut_files_are_read_or_refused(codec: Codec, data: bytes) -> None:
    header, payload = parse(data)
    rng = np.random.default_rng(8)
    for _ in range(60):
        body = bytearray(payload)
        for at in rng.integers(0, len(body), 3):
            body[at] ^= 1 << int(rng.integers(8))
        forged = Header(width=90, height=70, level=5, coder=header.coder, model_id=header.model_id)
        cut = pack(forged, bytes(body), codec.fingerprint)[: rng.integers(20, len(data))]
        try:
            assert codec.restore(cut, partial=True).pixels.shape == (70, 90, 3)
        except BitstreamError:
            continue


def test_parts_make_the_picture_better(sample_path: Path) -> None:
    codec = Codec(DEFAULT_MODEL)
    picture = load_image(sample_path)
    data = codec.encode(picture, quality=2.0)
    likeness = [psnr(picture, codec.restore(data, until=n).pixels) for n in range(5)]
    assert likeness == sorted(likeness)
    assert likeness[4] > likeness[0] + 1.0
