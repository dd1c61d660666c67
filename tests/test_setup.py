# SPDX-License-Identifier: Apache-2.0
"""How setup.py asks CMake, with a project of one empty target in place of ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSION = Path("csrc", "include", "glc", "version.h")

pytest.importorskip("pybind11", reason="setup.py builds with pybind11, which is not installed")
pytest.importorskip("setuptools", reason="setup.py is setuptools', which is not installed")
if not (shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")):
    pytest.skip("needs cmake", allow_module_level=True)


def project_in(folder: Path) -> Path:
    (folder / VERSION).parent.mkdir(parents=True)
    for name in ("setup.py", VERSION):
        shutil.copy(ROOT / name, folder / name)
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.26)\nproject(toy NONE)\nadd_custom_target(_core)\n"
    )
    return folder


def build(folder: Path) -> Path:
    """Build in place; the cache of CMake."""
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", "")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "CMake Error" not in done.stderr
    return next(folder.glob("build/*/CMakeCache.txt"))


def test_sources_that_moved_are_built_anew(tmp_path: Path) -> None:
    build(project_in(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b c")
    assert f"={tmp_path / 'b c'}\n" in build(tmp_path / "b c").read_text()


def test_another_generator_is_taken_anew(tmp_path: Path) -> None:
    cache = build(project_in(tmp_path / "a"))
    ours = cache.read_text()
    cache.write_text(ours.replace("GENERATOR:INTERNAL=", "GENERATOR:INTERNAL=Watcom "))
    assert build(tmp_path / "a").read_text() == ours


def test_a_cache_of_the_same_is_kept(tmp_path: Path) -> None:
    cache = build(project_in(tmp_path / "a"))
    with cache.open("a") as stream:
        stream.write("OURS:STRING=kept\n")
    assert "OURS:STRING=kept\n" in build(tmp_path / "a").read_text()
