# SPDX-License-Identifier: Apache-2.0
"""An evaluation reports the sizes of real files and the distances of real pictures."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glc.cli import app
from glc.cli.eval_ import print_levels
from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.evaluation import Evaluation, LevelResult, evaluate, find_images, psnr
from glc.image import load_image


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    Image.fromarray(photo[:70, :90]).save(root / "b.png")
    Image.fromarray(photo[:64, :33]).save(root / "a.png")
    Image.fromarray(photo[:20, :20]).save(root / "more" / "c.webp", lossless=True)
    (root / "notes.txt").write_text("no picture")
    return root


def test_json_tells_the_file_sizes(folder: Path, tmp_path: Path, tiny_folder: Path) -> None:
    kept, report = tmp_path / "kept", tmp_path / "eval.json"
    arguments = ["--model", tiny_folder, "--quality", "0,1.5,3", "--keep", kept, "--json", report]
    result = CliRunner().invoke(app, ["eval", str(folder), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    for word in ("bpp", "PSNR", "MS-SSIM", "n/a", "real/est."):
        assert word in result.stdout

    measured = json.loads(report.read_text())
    assert [level["quality"] for level in measured["levels"]] == [0.0, 1.5, 3.0]
    assert len(measured["images"]) == 9
    for one in measured["images"]:
        stem = f"{one['image']}-q{one['quality']:g}"
        assert one["file_bytes"] == os.path.getsize(kept / f"{stem}.glc")
        assert one["bpp"] == 8 * one["file_bytes"] / (one["width"] * one["height"])
        original, restored = load_image(folder / one["image"]), load_image(kept / f"{stem}.png")
        np.testing.assert_array_equal(load_image(kept / f"{one['image']}.png"), original)
        assert one["psnr_db"] == pytest.approx(psnr(original, restored))
        assert one["ms_ssim"] is None
        assert one["encode_ms"] > 0
        assert one["decode_ms"] > 0
        np.testing.assert_array_equal(
            Codec(tiny_folder).decode((kept / f"{stem}.glc").read_bytes()), restored
        )
    for level in measured["levels"]:
        images = [one for one in measured["images"] if one["quality"] == level["quality"]]
        assert level["images"] == 3
        assert level["file_bytes"] == sum(one["file_bytes"] for one in images)
        assert level["bpp"] == pytest.approx(np.mean([one["bpp"] for one in images]))
        assert level["psnr_db"] == pytest.approx(np.mean([one["psnr_db"] for one in images]))
        assert level["ms_ssim"] is None


@pytest.fixture
def inverted(folder: Path, tmp_path: Path) -> Path:
    """Pictures like those of the folder in names and sizes alone."""
    root = tmp_path / "inverted"
    for path in find_images(folder):
        name = root / path.relative_to(folder).with_suffix(".bmp")
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - load_image(path)).save(name)
    return root


def test_distances_are_to_the_references(
    folder: Path, inverted: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    report, kept = tmp_path / "eval.json", tmp_path / "kept"
    arguments = ["--references", inverted, "--keep", kept, "--json", report, "--quality", "2"]
    arguments += ["--model", tiny_folder]
    result = CliRunner().invoke(app, ["eval", str(folder), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    measured = json.loads(report.read_text())
    assert measured["references"] == str(inverted)
    plain = evaluate(folder, str(tiny_folder), [2.0])
    assert plain.references is None
    for one, without in zip(measured["images"], plain.images, strict=True):
        assert one["file_bytes"] == without.file_bytes  # the pictures of the folder are coded
        original = load_image(inverted / Path(one["image"]).with_suffix(".bmp"))
        decoded = load_image(kept / f"{one['image']}-q2.png")
        assert one["psnr_db"] == pytest.approx(psnr(original, decoded))
        assert one["psnr_db"] != without.psnr_db


def test_references_are_one_for_each_picture_and_of_its_size(
    folder: Path, inverted: Path, tiny_folder: Path
) -> None:
    def refused(match: str) -> None:
        with pytest.raises(InvalidArgumentError, match=match):
            evaluate(folder, str(tiny_folder), [2.0], references=inverted)

    (inverted / "a.png").write_bytes((inverted / "a.bmp").read_bytes())
    refused(r"references: expected one picture a\.\* in .*, got 2")
    (inverted / "a.png").unlink()
    Image.new("RGB", (90, 71)).save(inverted / "b.bmp")
    refused(r"references: .*b\.bmp: expected 90x70 pixels, as .*b\.png has, got 90x71")
    (inverted / "b.bmp").write_bytes(b"no picture")
    refused(r"b\.bmp")
    (inverted / "b.bmp").unlink()
    refused(r"references: expected one picture b\.\* in .*, got 0")


def test_find_images(folder: Path) -> None:
    names = [path.name for path in find_images(folder)]
    assert names == ["a.png", "b.png", "c.webp"]


def test_no_picture_is_left_out_in_silence(folder: Path, tiny_folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(InvalidArgumentError, match=r"gone\.png: no such file"):
        evaluate(folder, str(tiny_folder), [1.0])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may look anywhere")
def test_a_closed_folder_is_not_left_out_in_silence(folder: Path) -> None:
    (folder / "more").chmod(0)
    try:
        with pytest.raises(InvalidArgumentError, match=r"more: Permission denied"):
            find_images(folder)
    finally:
        (folder / "more").chmod(0o755)


@pytest.mark.parametrize("name", ["kept", "more/kept", "link/kept"])
def test_what_is_kept_is_not_among_what_is_measured(
    folder: Path, tiny_folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "link").symlink_to(folder / "more")
    with pytest.raises(InvalidArgumentError, match="outside"):
        evaluate(folder, str(tiny_folder), [1.0], keep=folder / name)
    assert not (folder / name).exists()
    evaluate(folder, str(tiny_folder), [1.0], keep=tmp_path / "pictures kept")


def test_nothing_stays(folder: Path, tiny_folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    evaluate(folder, str(tiny_folder), [1.0])
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("qualities", [[], [1.0, 1.0], [1.0, 1.01], [4.0]])
def test_bad_qualities(folder: Path, tiny_folder: Path, qualities: list[float]) -> None:
    with pytest.raises(InvalidArgumentError):
        evaluate(folder, str(tiny_folder), qualities)


def test_bad_folders(tmp_path: Path, folder: Path, tiny_folder: Path) -> None:
    for bad in (tmp_path / "absent", folder / "notes.txt", tiny_folder):
        with pytest.raises(InvalidArgumentError, match="folder"):
            evaluate(bad, str(tiny_folder), [1.0])
    with pytest.raises(InvalidArgumentError, match="empty folder"):
        evaluate(folder, str(tiny_folder), [1.0], keep=folder)


def test_broken_pictures_are_named_before_the_first_is_coded(
    folder: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    whole = (folder / "b.png").read_bytes()
    (folder / "x.png").write_bytes(whole[: len(whole) // 2])
    (folder / "y.jpg").write_text("no picture")
    kept = tmp_path / "kept"
    with pytest.raises(InvalidArgumentError, match=r"x\.png.*and 1 more"):
        evaluate(folder, str(tiny_folder), [1.0], keep=kept)
    assert not kept.exists()


def test_a_picture_is_read_once_for_all_qualities(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def load(path: Path) -> np.ndarray:
        read.append(path.name)
        return load_image(path)

    monkeypatch.setattr(sys.modules["glc.evaluation.evaluate"], "load_image", load)
    evaluate(folder, str(tiny_folder), [0.0, 1.0, 2.0])
    assert read == ["a.png", "b.png", "c.webp"] * 2  # once to see whether it can be


def test_a_long_name_is_no_hindrance_where_nothing_is_kept(
    folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (folder / "a.png").rename(folder / f"{'n' * 245}.png")
    assert evaluate(folder, str(tiny_folder), [1.0]).levels[0].images == 3
    with pytest.raises(InvalidArgumentError, match="name too long"):
        evaluate(folder, str(tiny_folder), [1.0], keep=tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("name", ["b.png.png", "b.png-q1.glc", "b.png-q1.png"])
def test_sub_folders_called_as_a_file_are_refused_before_anything_is_coded(
    folder: Path, tiny_folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "more").rename(folder / name)
    assert evaluate(folder, str(tiny_folder), [1.0]).levels[0].images == 3
    with pytest.raises(InvalidArgumentError, match=f"sub-folder {name}, as a file of b.png"):
        evaluate(folder, str(tiny_folder), [1.0], keep=tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_no_figure_is_cut_where_there_are_all_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(("psnr_db", "fid"), 123.45)
    figures |= dict.fromkeys(("ms_ssim", "tinydarknet", "lpips", "dists"), 0.1234)
    level = LevelResult(
        quality=1.95238,
        images=24,
        file_bytes=44_664_123,
        bpp=0.0379,
        estimated_bpp=0.0375,
        excess=0.0078,
        kid=-0.01234,
        encode_ms=123456.0,
        decode_ms=12345.0,
        **figures,
    )
    evaluation = Evaluation(
        model="glc-image-small",
        fingerprint="",
        device="cpu",
        threads=2,
        torch_version="",
        refine=0,
        references=None,
        metrics=("lpips", "dists", "fid", "kid"),
        patch=64,
        n_patches=4152,
        levels=(level,),
        images=(),
    )
    print_levels(evaluation)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert (
        shown.splitlines()[-1].split()
        == (
            "1.95238 44664123 0.0379 0.0375 +0.78% 123.45 0.1234 0.1234 0.1234 0.1234 123.45 "
            "-0.01234 123456 12345"
        ).split()
    )


def test_bad_requests_on_the_command_line(folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    for arguments in (
        [folder, "--quality", "0,x"],
        [folder, "--quality", "9"],
        [folder, "--json", tmp_path / "old.json"],
        [tmp_path / "absent"],
    ):
        result = CliRunner().invoke(
            app, ["eval", *map(str, arguments), "--model", str(tiny_folder)]
        )
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    assert (tmp_path / "old.json").read_text() == "{}"
