# SPDX-License-Identifier: Apache-2.0
"""The example that draws screens: the same each time, of all kinds, and over nobody's files."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glc.image import load_image
from glc.models import preset
from glc.training.config import DataConfig
from glc.training.data import Photos

SCRIPT = Path(__file__).parents[2] / "examples" / "train_screen" / "render.py"
FONTS = [None]  # Pillow's own alone: others may be there or not


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("render_screens", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def screens(script):
    """Two rounds of all kinds."""
    return [script.render(number, 0, FONTS) for number in range(2 * len(script.KINDS))]


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_screen_is_a_function_of_seed_and_number(script, screens):
    for number in (1, len(script.KINDS) - 1):
        np.testing.assert_array_equal(script.render(number, 0, FONTS), screens[number])
    assert len({screen.tobytes() for screen in screens}) == len(screens)
    assert script.render(1, 1, FONTS).tobytes() != screens[1].tobytes()


def test_kinds_take_turns(script, monkeypatch):
    drawn = []
    kinds = [lambda canvas, kind=kind: drawn.append(kind) for kind in script.KINDS]
    monkeypatch.setattr(script, "KINDS", kinds)
    for number in range(len(kinds)):
        script.render(number, 0, FONTS)
    assert drawn == [*dict.fromkeys(drawn)]
    assert {kind.__name__ for kind in drawn} == {
        "draw_terminal",
        "draw_source",
        "draw_interface",
        "draw_chart",
        "draw_art",
    }


def test_something_is_drawn_on_every_screen(screens):
    for number, screen in enumerate(screens):
        colours = np.unique(screen.astype(int) @ (1 << 16, 1 << 8, 1))
        assert len(colours) > 8, number


def test_crops_can_be_cut_from_every_screen(screens, tmp_path):
    crop = preset("glc-image-small").crop
    for number, screen in enumerate(screens):
        Image.fromarray(screen).save(tmp_path / f"{number}.png")
        assert screen.dtype == np.uint8
        assert 2 * crop <= min(screen.shape[:2])
        assert max(screen.shape[:2]) <= 900
    photos = Photos(DataConfig(root=str(tmp_path), holdout=1, crop=crop), 0)
    assert photos.first_crops(len(screens)).shape == (len(screens), 3, crop, crop)
    assert not any(photos.rejected.counts().values())


def test_as_a_command(script, tmp_path):
    done = run(tmp_path / "out", "--count", 3, "--seed", 7)
    assert done.returncode == 0, done.stderr
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in paths] == [f"screen-{number:06d}.png" for number in range(3)]
    expected = script.render(2, 7, script.find_fonts(None))
    np.testing.assert_array_equal(load_image(paths[2]), expected)


def test_a_strangers_file_stays(script, tmp_path):
    path = tmp_path / "screen-000001.png"
    path.write_bytes(b"a stranger's")
    done = run(tmp_path, "--count", 2)
    assert done.returncode == 2
    assert "expected a new or empty folder" in done.stderr
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"a stranger's"


def test_no_screens_are_no_folder(tmp_path):
    done = run(tmp_path / "out", "--count", 0)
    assert done.returncode == 2
    assert done.stderr == "glc: render: count: expected at least 1, got 0\n"
    assert not (tmp_path / "out").exists()


def test_fonts_of_a_folder_are_used(script, tmp_path, monkeypatch):
    with pytest.raises(script.InvalidArgumentError, match="expected a folder with"):
        script.find_fonts(tmp_path)
    more = tmp_path / "more.ttf"
    more.write_bytes(script.load_font(None, 20).font_bytes)  # Pillow's own, as a file
    assert script.find_fonts(tmp_path) == [*script.find_fonts(None), more]
    more = more.rename(tmp_path / "MORE.TTF")
    assert script.find_fonts(tmp_path) == [*script.find_fonts(None), more]
    load, used = script.load_font, set()
    monkeypatch.setattr(script, "load_font", lambda path, size: used.add(path) or load(path, size))
    script.render(1, 0, [more])
    assert used == {more}
    more.write_bytes(b"no font")
    with pytest.raises(script.InvalidArgumentError, match=r"expected a font, got .*MORE\.TTF"):
        script.find_fonts(tmp_path)
