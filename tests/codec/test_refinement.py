# SPDX-License-Identifier: Apache-2.0
"""Refined latents: more picture for the bits, in files like any other."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from glc.cli import app
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.errors import InvalidArgumentError
from glc.evaluation import psnr
from glc.image import load_image, save_png
from glc.models import GLC, preset

GAIN_DB = 0.05  # at equal size, after few steps


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def picture(sample_path: Path) -> np.ndarray:
    """Sides that are no multiples of anything."""
    return load_image(sample_path)[100:233, 200:395]


def gain_db(codec: Codec, picture: np.ndarray, data: bytes, quality: float) -> float:
    """PSNR above that of an unrefined file of as many bytes."""
    sizes, found = [], []
    for around in (quality - 0.5, quality, quality + 0.5):
        plain = codec.encode(picture, quality=around)
        sizes.append(len(plain))
        found.append(psnr(picture, codec.decode(plain)))
    assert sizes[0] < len(data) < sizes[2]
    return psnr(picture, codec.decode(data)) - float(np.interp(len(data), sizes, found))


@pytest.mark.parametrize("side", [768, 128])
def test_a_refined_file_says_more_in_as_many_bytes(
    codec: Codec, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """In one window, and in several."""
    monkeypatch.setattr("glc.refinement._SIDE", side)
    heard: list[tuple[str, float]] = []
    data = codec.encode(picture, quality=1.5, refine=10, progress=lambda *told: heard.append(told))
    assert gain_db(codec, picture, data, 1.5) > GAIN_DB
    fractions = [fraction for _, fraction in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(p.grad is None for p in codec.model.parameters())
    assert codec.encode(picture, quality=1.5, refine=10) == data


def test_more_steps_are_a_larger_gain(codec: Codec, picture: np.ndarray) -> None:
    few, many = (codec.encode(picture, quality=2, refine=steps) for steps in (2, 12))
    assert gain_db(codec, picture, many, 2) > gain_db(codec, picture, few, 2) > 0


def test_tiles_and_targets(codec: Codec, picture: np.ndarray) -> None:
    plain = codec.encode(picture, tile=128, quality=1)
    refined = codec.encode(picture, tile=128, quality=1, refine=5)
    assert refined != plain
    assert psnr(picture, codec.decode(refined)) > psnr(picture, codec.decode(plain))
    data = codec.encode(picture, target_bytes=len(plain), refine=2)
    assert len(data) <= len(plain)
    assert codec.verify(data)


def test_where_more_bits_are_no_gain_nothing_is_refined(
    codec: Codec, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = codec.encode(picture, quality=1)
    monkeypatch.setattr("glc.refinement.Refiner._exchange", lambda *_: 0.0)
    assert codec.encode(picture, quality=1, refine=5) == plain


@pytest.mark.parametrize("steps", [-1, 1.5, 10_001, None])
def test_steps_out_of_range_are_refused(codec: Codec, picture: np.ndarray, steps: object) -> None:
    with pytest.raises(InvalidArgumentError, match="encode: refine: expected"):
        codec.encode(picture, refine=steps)  # type: ignore[arg-type]


def test_a_single_level_says_nothing_of_the_worth_of_a_bit(picture: np.ndarray) -> None:
    torch.manual_seed(0)
    codec = Codec(GLC(dataclasses.replace(preset("glc-tiny"), levels=1)))
    with pytest.raises(InvalidArgumentError, match="single level"):
        codec.encode(picture, quality=0, refine=1)


def test_the_command_line_refines(picture: np.ndarray, tmp_path: Path, codec: Codec) -> None:
    (tmp_path / "pictures").mkdir()
    save_png(tmp_path / "pictures" / "a.png", picture)
    arguments = ["encode", tmp_path / "pictures" / "a.png", tmp_path / "a.glc", "--refine", 2]
    assert CliRunner().invoke(app, [str(a) for a in arguments]).exit_code == 0
    data = (tmp_path / "a.glc").read_bytes()
    assert data == codec.encode(picture, refine=2) != codec.encode(picture)
    arguments = ["eval", tmp_path / "pictures", "--quality", 2, "--refine", 2]
    arguments += ["--json", tmp_path / "report.json"]
    assert CliRunner().invoke(app, [str(a) for a in arguments]).exit_code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["refine"] == 2
    assert report["levels"][0]["file_bytes"] == len(data)
