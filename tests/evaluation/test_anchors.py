# SPDX-License-Identifier: Apache-2.0
"""Other codecs, measured on the same pictures in the same way."""

import io
import json
import math
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image, features
from typer.testing import CliRunner

from glc.cli import app
from glc.errors import InvalidArgumentError
from glc.evaluation import anchors, evaluate, feature_distance, psnr
from glc.losses.perceptual import TinyDarknetFeatures, tinydarknet_distance


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random Tiny Darknet weights: a distance like any other."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tinydarknet.pth"
    torch.save(TinyDarknetFeatures().state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path, photo):
    root = tmp_path / "pictures"
    root.mkdir()
    Image.fromarray(photo).save(root / "a.png")
    Image.fromarray(photo[:100, :120]).save(root / "b.png")
    return root


def test_jpeg_is_measured_as_it_is(folder, photo, monkeypatch):
    monkeypatch.setitem(anchors.SETTINGS, "jpeg", ((1, 25), (3, 25)))
    whole, third = anchors.measure(folder, "jpeg")
    expected = []
    for x in (photo, photo[:100, :120]):
        buffer = io.BytesIO()
        Image.fromarray(x).save(buffer, "jpeg", quality=25, optimize=True)
        x_hat = np.asarray(Image.open(buffer).convert("RGB"))
        size = buffer.getbuffer().nbytes
        expected.append((8 * size / (x.shape[0] * x.shape[1]), psnr(x, x_hat)))
    assert (whole.bpp, whole.psnr_db) == pytest.approx(np.mean(expected, axis=0))
    assert third.bpp < whole.bpp
    assert third.psnr_db < whole.psnr_db
    assert whole.tinydarknet is None


def test_means_leave_out_what_is_not_known(tmp_path, photo, monkeypatch):
    """A small picture has no MS-SSIM, one coded without loss no PSNR."""
    pictures = {"small": photo[:100, :120], "black": np.zeros((192, 192, 3), np.uint8)}
    pictures["large"] = np.tile(photo, (2, 1, 1))
    for name, x in pictures.items():
        Image.fromarray(x).save(tmp_path / f"{name}.png")
    monkeypatch.setitem(anchors.SETTINGS, "jpeg", ((1, 25),))
    (anchor,) = anchors.measure(tmp_path, "jpeg")
    assert math.isfinite(anchor.psnr_db)
    assert 0.5 < anchor.ms_ssim < 1


def test_the_best_within_so_many_bytes(photo):
    def size(divisor, quality):
        image = Image.fromarray(photo)
        small = image.resize([side // divisor for side in image.size], Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "jpeg", quality=quality, optimize=True)
        return buffer.getbuffer().nbytes

    enough = size(2, 60)
    best = anchors.best_within(photo, "jpeg", enough)
    assert len(best.data) == size(best.divisor, best.quality) <= enough
    assert size(best.divisor, best.quality + 1) > enough
    as_it_is = np.asarray(Image.open(io.BytesIO(best.data)).convert("RGB"))
    assert as_it_is.shape[0] == photo.shape[0] // best.divisor
    for divisor in range(1, 5):
        fits = [q for q in range(1, 101) if size(divisor, q) <= enough]
        if fits:
            other = anchors._round_trip(photo, "jpeg", divisor, max(fits))
            assert psnr(photo, other.pixels) <= psnr(photo, best.pixels)
    assert anchors.best_within(photo, "jpeg", 100) is None


def test_sizes_that_a_codec_cannot_take_are_left_out():
    wide = np.zeros((8, 20000, 3), np.uint8)  # of WebP's 16383 pixels
    assert anchors.best_within(wide, "webp", 1000).divisor > 1


def test_bytes_at_equal_distance():
    """A codec whose distance is linear in log bytes; a setting worse than a cheaper one is idle."""
    theirs = [(0.02, 0.6), (0.08, 0.4), (0.05, 0.61), (0.1, 0.45)]
    ratios = anchors.bytes_at_equal_distance([(0.02, 0.5), (0.1, 0.4), (0.1, 0.3)], theirs)
    assert ratios[0] == pytest.approx(0.02 / math.sqrt(0.02 * 0.08))
    assert ratios[1] == pytest.approx(1.25)
    assert ratios[2] is None


def test_distances_that_are_not_there_are_refused():
    theirs = [(0.02, 0.6), (0.08, 0.4)]
    with pytest.raises(InvalidArgumentError, match="anchors: expected at least one"):
        anchors.bytes_at_equal_distance([(0.02, 0.5)], [])
    with pytest.raises(InvalidArgumentError, match="points: expected feature distances"):
        anchors.bytes_at_equal_distance([(0.02, None)], theirs)
    with pytest.raises(InvalidArgumentError, match="anchors: expected feature distances"):
        anchors.bytes_at_equal_distance([(0.02, 0.5)], [*theirs, (0.1, None)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"levels": [{"bpp": 0.1, "tinydarknet": null}], "images": []}', "--tinydarknet"),
        (
            '{"levels": [{"bpp": 0.1, "tinydarknet": 0.5}], "images": [{"image": "a.png"}]}',
            "b.png is in one of them only",
        ),
        ('{"levels": [{"bpp": 0.1, "tinydarknet": 0.5}]}', "glc eval --json"),
        ('{"levels": [{"bpp": 0.1}]}', "glc eval --json"),
        ("[]", "glc eval --json"),
        ("no json", "glc eval --json"),
        ("[" * 100_000, "glc eval --json"),
    ],
)
def test_reports_that_cannot_be_compared_are_refused_before_measuring(
    folder, weights, tmp_path, monkeypatch, capsys, content, message
):
    report = tmp_path / "eval.json"
    report.write_text(content)
    monkeypatch.setattr(anchors, "measure", lambda *_: pytest.fail("measured"))
    command = ["anchors", folder, "--tinydarknet", weights, "--against", report]
    monkeypatch.setattr(sys, "argv", [str(c) for c in command])
    with pytest.raises(SystemExit) as ended:
        anchors.main()
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("glc: anchors: against: expected")
    assert message in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "eval.json"], "--against needs --tinydarknet"),
        (
            ["--against", "a.json", "--tinydarknet", "w.pth", "--json", "./a.json"],
            "--json: expected another file than --against",
        ),
        (["--codecs", "webp, bmp"], r"--codecs: expected some of .*, got \['bmp'\]"),
    ],
)
def test_wrong_options_are_refused_before_measuring(folder, monkeypatch, capsys, options, message):
    monkeypatch.setattr(anchors, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["anchors", str(folder), *options])
    with pytest.raises(SystemExit) as ended:
        anchors.main()
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_unknown_codecs_are_refused(folder, monkeypatch):
    with pytest.raises(InvalidArgumentError, match="codec: expected"):
        anchors.measure(folder, "bmp")
    Image.init()  # what it registers later, nobody takes away
    monkeypatch.delitem(Image.SAVE, "WEBP", raising=False)
    with pytest.raises(InvalidArgumentError, match="this Pillow cannot write webp"):
        anchors.measure(folder, "webp")


@pytest.mark.skipif(not features.check("webp"), reason="needs a Pillow that writes WebP")
def test_pictures_too_large_for_a_codec_are_refused(tmp_path):
    Image.new("RGB", (40000, 2)).save(tmp_path / "wide.png")
    with pytest.raises(InvalidArgumentError, match="webp cannot code 20000x1 pixels"):
        anchors.measure(tmp_path, "webp")


def test_feature_distance_of_pixels(weights, photo):
    distance = tinydarknet_distance(weights)
    assert feature_distance(distance, photo, photo) == pytest.approx(0, abs=1e-6)
    near, far = photo.copy(), 255 - photo
    near[::8] //= 2
    assert 0 < feature_distance(distance, photo, near) < feature_distance(distance, photo, far)
    with pytest.raises(InvalidArgumentError, match="shape"):
        feature_distance(distance, photo, photo[:10])


def test_eval_measures_the_stand_in_by_its_name(folder, tiny_folder, weights, tmp_path):
    report = tmp_path / "eval.json"
    options = ["--quality", "0", "--tinydarknet", weights, "--json", report]
    arguments = ["eval", folder, "--model", tiny_folder, *options]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "Tiny Darknet" in result.stdout
    (level,) = json.loads(report.read_text())["levels"]
    assert level["tinydarknet"] > 0
    plain = evaluate(folder, str(tiny_folder), (0.0,))
    assert plain.levels[0].tinydarknet is None


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are text there")
def test_any_name_of_a_picture_is_shown(tmp_path, photo, monkeypatch, capsys):
    folder = tmp_path / "pictures"
    (folder / "a[").mkdir(parents=True)
    for name in ("a[/b].png", "[red]\udcff.png"):  # to rich the end of nothing, and a colour
        Image.fromarray(photo[:20, :20]).save(folder / name)
    monkeypatch.setattr(sys, "argv", ["anchors", str(folder), "--codecs", " jpeg"])
    anchors.main()
    assert "jpeg, [red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device"), 2, "glc: [Errno 28] No space left on device\n"),
        (MemoryError(), 2, "glc: expected more memory than this machine has left\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (InvalidArgumentError("write: output:\nno"), 2, "glc: write: output: no\n"),
    ],
)
def test_every_end_is_a_line_and_a_code(folder, tmp_path, monkeypatch, capsys, error, code, text):
    """The figures are measured, and then the disk is full or somebody loses patience."""

    def write(*_arguments, **_options):
        raise error

    monkeypatch.setattr(anchors, "write_file", write)
    command = ["anchors", folder, "--codecs", "jpeg", "--json", tmp_path / "anchors.json"]
    monkeypatch.setattr(sys, "argv", [str(c) for c in command])
    with pytest.raises(SystemExit) as ended:
        anchors.main()
    assert (ended.value.code, capsys.readouterr().err) == (code, text)


def test_the_documented_command(folder, tiny_folder, weights, tmp_path, monkeypatch, capsys):
    report = tmp_path / "eval.json"
    result = evaluate(folder, str(tiny_folder), (0.0, 3.0), tinydarknet=weights)
    report.write_text(json.dumps(result.to_dict()))
    command = ["anchors", folder, "--tinydarknet", weights, "--codecs", "jpeg"]
    command += ["--against", report, "--json", tmp_path / "anchors.json"]
    monkeypatch.setattr(sys, "argv", [str(c) for c in command])
    anchors.main()
    printed = capsys.readouterr().out
    assert "bytes over jpeg's at equal Tiny Darknet distance" in printed
    assert len(json.loads((tmp_path / "anchors.json").read_text())) == 3
