# SPDX-License-Identifier: Apache-2.0
"""A page shows every picture beside what its files decode to, whatever the pictures' names are."""

import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glc import evaluation as evaluation_package
from glc.cli import app
from glc.evaluation import evaluate, load_curves, psnr
from glc.evaluation.page import write_page
from glc.image import load_image

NAMES = ('a <b onclick="x">&amp; $title #1?%41.png', "more/it's.webp", "\udcff.png")


class Page(HTMLParser):
    """What a browser sees."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag, **attributes):
        found = (attrs for name, attrs in self.elements if name == tag)
        return [attrs for attrs in found if attributes.items() <= attrs.items()]


def report(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    for n, name in enumerate(NAMES):
        Image.fromarray(photo[: 64 + n, :70]).save(root / name, lossless=True)
    return root


def test_every_picture_is_beside_its_files(folder, tiny_folder, tmp_path):
    out = tmp_path / "out"
    result = report(folder, out, "--model", tiny_folder, "--quality", "0,2.5")
    assert result.exit_code == 0, result.output
    assert str(out / "index.html") in result.stdout

    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert not page.of("b")
    headings = [name.encode("utf-8", "replace").decode() for name in NAMES]
    assert set(headings) <= set(page.texts)
    links = [source["src"] for source in page.of("img")]
    assert len(links) == 6
    there = [out / os.fsdecode(unquote_to_bytes(link)) for link in links]
    originals, coded = there[::2], there[1::2]
    for original, restored in zip(originals, coded, strict=True):
        name = original.relative_to(out).as_posix().removesuffix(".png")
        x = load_image(folder / name)
        np.testing.assert_array_equal(load_image(original), x)
        assert load_image(restored).shape == x.shape
        assert restored.name == f"{Path(name).name}-q0.png"
    for number, link in enumerate(links[1::2]):
        first, second = page.of("input", name=f"choice-{number}")
        assert first["value"] == link
        assert "checked" in first
        assert second["value"] == link.replace("-q0.png", "-q2.5.png")
        assert "checked" not in second
        assert all(page.of("label", **{"for": one["id"]}) for one in (first, second))

    (curve,) = load_curves(out / "eval.json")
    assert f"{curve.bpp[1]:.4f}" in page.texts


def test_another_codec_is_shown_at_no_more_bytes(folder, tiny_folder, tmp_path):
    out = tmp_path / "out"
    options = ["--model", tiny_folder, "--quality", "3", "--against", "jpeg"]
    for name in NAMES[1:]:
        (folder / name).unlink()
    Image.fromarray(np.zeros((700, 700, 3), np.uint8)).save(folder / "b.png")
    assert report(folder, out, *options).exit_code == 0
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert len(page.of("input", name="choice-0")) == 1  # a JPEG's tables alone are larger
    ours, theirs = page.of("input", name="choice-1")
    assert (ours["value"], theirs["value"]) == ("b.png-q3.png", "b.png-q3-jpeg.png")
    file = out / "b.png-q3.jpeg"
    assert file.stat().st_size <= (out / "b.png-q3.glc").stat().st_size
    assert f"{file.stat().st_size:,}" in page.texts


def test_distances_on_the_page_are_to_the_references(tiny_folder, tmp_path):
    folder, clean, out = (tmp_path / name for name in ("degraded", "clean", "out"))
    black = np.zeros((700, 700, 3), np.uint8)
    for root, picture in ((folder, black), (clean, black + 255)):
        root.mkdir()
        Image.fromarray(picture).save(root / "a.png")
    options = ["--model", tiny_folder, "--quality", "3", "--against", "jpeg"]
    result = report(folder, out, *options, "--references", clean)
    assert result.exit_code == 0, result.output
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert f"Distances are to the pictures of {clean}." in " ".join(page.texts)
    assert psnr(black + 255, load_image(out / "a.png-q3-jpeg.png")) == 0
    assert "0.00" in page.texts


def test_an_unknown_codec_is_refused_before_anything_is_coded(folder, tiny_folder, tmp_path):
    out = tmp_path / "out"
    result = report(folder, out, "--model", tiny_folder, "--against", "bpg")
    assert result.exit_code == 2
    assert "got bpg" in result.stderr
    assert not out.exists()


def test_a_codec_that_pillow_lacks_is_refused_before_anything_is_coded(
    folder, tiny_folder, tmp_path, monkeypatch
):
    Image.init()  # what it registers later, nobody takes away
    monkeypatch.delitem(Image.SAVE, "WEBP", raising=False)
    out = tmp_path / "out"
    result = report(folder, out, "--model", tiny_folder, "--against", "webp")
    assert result.exit_code == 2
    assert "this Pillow cannot write webp" in result.output
    assert not out.exists()


def test_what_was_asked_for_and_not_to_be_had_is_named(folder, tiny_folder, tmp_path):
    """FID of too few patches, and LPIPS of a picture that is too small for it."""
    out = tmp_path / "out"
    result = evaluate(folder, str(tiny_folder), [0.0], keep=out)
    page = Page(write_page(out, replace(result, metrics=("lpips", "fid"))).read_text("utf-8"))
    tables = 1 + len(NAMES)
    assert [page.texts.count(label) for label in ("LPIPS", "FID")] == [tables, 1]
    assert any("FID and KID of 0 patches" in text for text in page.texts)
    (out / "index.html").unlink()
    page = Page(write_page(out, result).read_text("utf-8"))
    assert not {"LPIPS", "FID"} & set(page.texts)


@pytest.mark.parametrize("name", ["index.html", "eval.json"])
def test_sub_folders_called_as_the_page_are_refused_before_anything_is_coded(
    folder, tiny_folder, tmp_path, name
):
    (folder / "more").rename(folder / name)
    out = tmp_path / "out"
    result = report(folder, out, "--model", tiny_folder, "--quality", "0")
    assert result.exit_code == 2
    assert f"pictures/{name}" in result.stderr
    assert not out.exists()


def test_the_page_shows_the_picture_that_was_coded(folder, tiny_folder, tmp_path, monkeypatch):
    """And not what somebody has made of its file by the time the page is written."""
    for name in NAMES[1:]:
        (folder / name).unlink()
    x = np.zeros((700, 700, 3), np.uint8)
    Image.fromarray(x).save(folder / NAMES[0])

    def changed(*arguments, **options):
        evaluation = evaluate(*arguments, **options)
        Image.fromarray(x[:80] + 200).save(folder / NAMES[0])
        return evaluation

    monkeypatch.setattr(evaluation_package, "evaluate", changed)
    out = tmp_path / "out"
    options = ["--model", tiny_folder, "--quality", "3", "--against", "jpeg"]
    result = report(folder, out, *options)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(load_image(out / f"{NAMES[0]}.png"), x)
    assert psnr(load_image(out / f"{NAMES[0]}-q3-jpeg.png"), x) > 40


def test_nothing_is_written_into_a_folder_in_use(folder, tiny_folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("mine")
    result = report(folder, out, "--model", tiny_folder, "--quality", "0")
    assert result.exit_code == 2
    assert "expected an empty folder" in result.stderr
    assert [path.name for path in out.iterdir()] == ["index.html"]
