# SPDX-License-Identifier: Apache-2.0
"""What the bundled model promises about its files, on a photograph."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glc
from glc.bitstream import parse
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError
from glc.evaluation import find_images, ms_ssim, psnr
from glc.image import load_image
from glc.models import GLC
from glc.models.pretrained import bundled_models
from glc.shortcuts import codec_for

HEADER_BYTES = 16
CODER_EXCESS = 0.01  # of the estimate: table precision, thresholds, lane states, rounding to words
QUALITIES = (0.0, 1.0, 2.0, 3.0)
SAMPLE_HASHES = [  # of its files at these, and of the picture at quality 2
    "8080a5c8487b06a9",
    "613cd05437e50ef0",
    "5d3cbf4564dea308",
    "af7efab01776abae",
    "ae43fb8696c34b3e",
]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def sample(sample_path: Path) -> np.ndarray:
    return load_image(sample_path)


@pytest.fixture(scope="module")
def files(codec: Codec, sample: np.ndarray) -> list[bytes]:
    return [codec.encode(sample, quality=quality) for quality in QUALITIES]


def assert_size_is_near_the_estimate(codec: Codec, data: bytes) -> None:
    estimate = codec.analyze(data).estimated_bits / 8
    assert len(data) <= estimate * (1 + CODER_EXCESS) + HEADER_BYTES


def test_real_size_is_near_the_estimate(codec: Codec, files: list[bytes]) -> None:
    for data in files:
        assert_size_is_near_the_estimate(codec, data)


def test_the_sample_is_coded_the_same_everywhere(
    codec: Codec, sample: np.ndarray, files: list[bytes]
) -> None:
    """Of this model; a change of its weights, or of what exact layers give, is a change here."""
    drawn = codec.decode(files[2]).tobytes()
    found = [hashlib.sha256(data).hexdigest()[:16] for data in (*files, drawn)]
    assert found == SAMPLE_HASHES


@pytest.mark.slow
def test_real_size_is_near_the_estimate_on_kodak(shared_data: Path) -> None:
    """With all hyper indices alike, as the authors estimate; a prior only makes files smaller."""
    model = GLC.from_pretrained(DEFAULT_MODEL)
    model.z_prior.logits.data.zero_()
    codec = Codec(model)
    for path in find_images(shared_data / "eval" / "kodak"):
        for quality in QUALITIES:
            assert_size_is_near_the_estimate(codec, codec.encode(path, quality=quality))


def test_header_of_a_photograph_takes_16_bytes(files: list[bytes]) -> None:
    for data in files:
        _, payload = parse(data)
        assert len(data) - len(payload) == HEADER_BYTES


def test_every_flipped_bit_of_a_kodak_file_is_told(codec: Codec, files: list[bytes]) -> None:
    data = bytearray(files[2])
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises((BitstreamError, UnsupportedError)):
            codec.decode(bytes(data))
        data[bit // 8] ^= 1 << bit % 8
    assert bytes(data) == files[2]


def test_kodak_file_cut_at_every_byte_is_told(codec: Codec, files: list[bytes]) -> None:
    data = files[2]
    for size in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode(data[:size])
    seen = [codec.restore(data[:size], partial=True) for size in range(len(data) - 1, 700, -700)]
    assert all(not picture.verified for picture in seen)
    assert [picture.n_parts for picture in seen] == sorted((p.n_parts for p in seen), reverse=True)


@pytest.mark.slow
def test_every_cut_of_a_kodak_file_is_an_error_or_labelled(
    codec: Codec, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(networks: object, name: str) -> dict[tuple[Any, ...], Any]:
        """Run a network but once for the same arguments, as most cuts agree on them."""
        run = getattr(networks, name)
        found: dict[tuple[Any, ...], Any] = {}

        def run_once(*arguments: Any) -> Any:  # but for whom the progress is reported to
            key = tuple(
                a.tobytes() if isinstance(a, np.ndarray) else a
                for a in arguments
                if not callable(a)
            )
            if key not in found:
                found[key] = run(*arguments)
            return found[key]

        monkeypatch.setattr(networks, name, run_once)
        return found

    once(codec._coder_networks, "exact_params")
    once(codec._coder_networks, "exact_part_params")
    drawn = once(codec._networks, "pixels")
    data, last = files[0], 0
    for size in range(len(data)):
        try:
            picture = codec.restore(data[:size], partial=True)
        except BitstreamError:
            assert last == 0
            continue
        assert picture.label.startswith("unverified: ")
        assert picture.n_parts >= last
        last = picture.n_parts
    assert len(drawn) == 4  # whole parts alone are drawn: none, one, two, three


def test_larger_targets_never_give_a_lower_level(
    codec: Codec, sample: np.ndarray, files: list[bytes]
) -> None:
    targets = [int(share * len(files[0])) for share in (1.0, 1.1, 1.2, 1.5, 20)]
    found = [codec.encode(sample, target_bytes=target) for target in targets]
    levels = [parse(data)[0].level for data in found]
    assert levels == sorted(set(levels))
    for target, data in zip(targets, found, strict=True):
        assert len(data) <= target
    assert levels[-1] == 63
    with pytest.raises(InvalidArgumentError) as caught:
        codec.encode(sample, target_bytes=50)
    smallest = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    assert len(codec.encode(sample, quality=0)) == smallest


def test_quality_buys_bytes_and_likeness(
    codec: Codec, files: list[bytes], sample: np.ndarray
) -> None:
    sizes = [len(data) for data in files]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] >= 2 * sizes[0], "levels spread over at least a factor of two"
    decoded = [codec.decode(data) for data in files]
    likeness = [psnr(sample, pixels) for pixels in decoded]
    assert likeness[-1] > likeness[0] > 20.0
    similarity = ms_ssim(sample, decoded[-1])
    assert similarity is not None
    assert similarity > 0.8


def test_most_symbols_of_a_photograph_are_skipped_or_zero(codec: Codec, files: list[bytes]) -> None:
    parts = codec.analyze(files[0]).parts
    assert sum(part.nonzero for part in parts) < 0.2 * sum(part.symbols for part in parts)


def test_decode_finds_the_bundled_model(codec: Codec, files: list[bytes]) -> None:
    assert codec_for(files[0]).fingerprint == codec.fingerprint
    np.testing.assert_array_equal(glc.decode(files[0]), codec.decode(files[0]))


def test_no_model_is_loaded_beyond_the_one_that_fits(
    files: list[bytes], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(name: str, device: str) -> Codec:
        loaded.append(name)
        return Codec(name, device)

    monkeypatch.setattr("glc.shortcuts._codec", load)
    codec_for(files[0])
    assert loaded == [DEFAULT_MODEL]
    strange = Codec(str(tiny_folder)).encode(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(BitstreamError, match="another model"):
        codec_for(strange).decode(strange)
    assert set(loaded) == set(bundled_models())


def test_screen_text_and_noise_survive(codec: Codec) -> None:
    """Pictures unlike any photograph may look poor, but they must come back."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (130, 70, 3), dtype=np.uint8)
    stripes = np.zeros((96, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    for pixels in (noise, stripes, np.full((64, 64, 3), 255, np.uint8)):
        for quality in (0.0, 3.0):
            data = codec.encode(pixels, quality=quality)
            assert codec.decode(data).shape == pixels.shape
