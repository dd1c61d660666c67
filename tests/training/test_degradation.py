# SPDX-License-Identifier: Apache-2.0
"""Every kind of degradation does what it is called, and as far as it is asked to."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from glc.errors import InvalidArgumentError
from glc.image import load_image
from glc.training import degrade as command_module
from glc.training.config import DegradationConfig
from glc.training.degradation import degrade
from glc.training.degrade import degrade_folder

NONE = DegradationConfig(noise=(0.0, 0.0))


@pytest.fixture
def picture():
    """Edges and slopes, 51 x 70, away from black and white."""
    rows, columns = np.mgrid[:51, :70]
    planes = [80 + rows, 60 + columns, 90 + 60 * ((rows // 8 + columns // 8) % 2)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def degraded(picture, seed=0, **ranges):
    return degrade(
        picture, DegradationConfig(**{"noise": (0.0, 0.0), **ranges}), np.random.default_rng(seed)
    )


def high_frequencies(picture):
    return float(np.square(np.diff(picture.astype(float), axis=1)).mean())


def test_nothing_asked_for_is_nothing_done(picture):
    np.testing.assert_array_equal(degraded(picture), picture)


@pytest.mark.parametrize("noise", [5.0, 25.0])
def test_noise_has_its_deviation(picture, noise):
    apart = degraded(picture, noise=(noise, noise)).astype(float) - picture
    assert apart.std() == pytest.approx(noise, rel=0.05)
    assert abs(apart.mean()) < 0.05 * noise


@pytest.mark.parametrize("kind", ["blur", "downscale"])
def test_detail_goes_as_far_as_asked(picture, kind):
    left = [high_frequencies(degraded(picture, **{kind: (v, v)})) for v in (1.0, 2.0, 4.0)]
    assert high_frequencies(picture) >= left[0] > left[1] > left[2]
    assert degraded(picture, **{kind: (4.0, 4.0)}).shape == picture.shape


def test_jpeg_gets_worse_with_its_quality(picture):
    apart = [
        np.abs(degraded(picture, jpeg=(q, q)).astype(int) - picture).mean() for q in (100, 90, 10)
    ]
    assert 0 == apart[0] < apart[1] < apart[2]


def test_amounts_are_drawn_from_the_whole_range(picture):
    amounts = [
        (degraded(picture, seed, noise=(0.0, 30.0)).astype(float) - picture).std()
        for seed in range(40)
    ]
    assert min(amounts) < 5
    assert max(amounts) > 25


def test_a_folder_is_degraded_the_same_each_time(picture, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.webp"):
        Image.fromarray(picture).save(tmp_path / "in" / name, lossless=True)
    config = DegradationConfig(noise=(25.0, 25.0))
    for out in ("one", "two"):
        assert degrade_folder(tmp_path / "in", tmp_path / out, config, lambda *_: None) == 2
    for name in ("a.png", "sub/b.png"):
        one, two = (load_image(tmp_path / out / name) for out in ("one", "two"))
        np.testing.assert_array_equal(one, two)
        assert (one.astype(float) - picture).std() == pytest.approx(25, rel=0.05)
    assert (load_image(tmp_path / "one" / "a.png") != load_image(tmp_path / "one/sub/b.png")).any()


def test_folders_that_will_not_do_are_refused(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "a.bmp")
    with pytest.raises(InvalidArgumentError, match=r"expected one for a\.png, got 2"):
        degrade_folder(tmp_path, tmp_path / "out", NONE, lambda *_: None)
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(InvalidArgumentError, match="out: expected an empty folder outside"):
        degrade_folder(tmp_path, tmp_path / "part", NONE, lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    used = tmp_path.with_name(tmp_path.name + "-used")
    used.mkdir()
    (used / "file").touch()
    with pytest.raises(InvalidArgumentError, match="out: expected an empty folder, got"):
        degrade_folder(tmp_path, used, NONE, lambda *_: None)
    with pytest.raises(InvalidArgumentError, match="output: expected a folder that can be made"):
        degrade_folder(tmp_path, used / "file", NONE, lambda *_: None)


def test_a_side_too_long_for_jpeg_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (65501, 1)).save(tmp_path / "in" / "wide.png")
    config = DegradationConfig(noise=(0.0, 0.0), jpeg=(50.0, 50.0))
    with pytest.raises(InvalidArgumentError, match=r"jpeg: .* got 65501x1 in .*wide\.png"):
        degrade_folder(tmp_path / "in", tmp_path / "out", config, lambda *_: None)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def command(tmp_path):
    """What degrades a folder that is not there."""
    folder = str(tmp_path / "in\udcff")  # a name need not be text
    return [sys.executable, "-m", "glc.training.degrade", folder, str(tmp_path / "out")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--noise", "300"], "glc: config: degradation.noise: expected 0 to 255"),
        ([], "glc: evaluate: folder: expected a folder of pictures, got "),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(command, options, said):
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1


def test_the_command_is_interrupted_without_a_trace(tmp_path, monkeypatch, capsys):
    def lose_patience(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_module, "degrade_folder", lose_patience)
    monkeypatch.setattr(sys, "argv", ["degrade", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        command_module.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "")
