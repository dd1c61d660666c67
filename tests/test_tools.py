# SPDX-License-Identifier: Apache-2.0
"""The tools of a checkout that other machines run."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
needs_tools = pytest.mark.skipif(
    not (ROOT / "tools").is_dir(), reason="needs the tools of a checkout"
)


@needs_tools
def test_files_of_one_device_are_compared_on_another(tmp_path, tiny_folder):
    def run(*arguments):
        command = [sys.executable, "-m", "tools.device_hashes", "--model", tiny_folder, *arguments]
        return subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
        )

    picture = ROOT / "examples" / "images" / "kodim23.png"
    options = ("--qualities", "0", "3", "--crop", "64", picture)
    (tmp_path / "other").mkdir()
    namesake = tmp_path / "other" / picture.name
    namesake.write_bytes(picture.read_bytes())
    written = run("--write", tmp_path, *options, namesake)
    assert written.returncode == 0, written.stderr
    read = run("--read", tmp_path)
    assert "4 files" in read.stdout
    assert "0 differ" in read.stdout
    other, one, *_ = sorted(tmp_path.glob("*.glc"))
    one.write_bytes(other.read_bytes())
    read = run("--read", tmp_path)
    assert read.returncode == 1
    assert "1 differ" in read.stdout


@needs_tools
def test_a_sanitizer_that_is_slow_ends_with_its_program(tmp_path, monkeypatch):
    """Which it runs as a child of its own, with the same output."""
    from tools import gpu_check

    (tmp_path / "compute-sanitizer").write_text("#!/bin/sh\nsleep 30 &\nwait\n")
    (tmp_path / "compute-sanitizer").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpu_check, "SANITIZER_SECONDS", 0)
    monkeypatch.setattr(gpu_check, "cpp_tests", lambda: [Path("test_x_device")])
    stage, began = gpu_check.Stage("sanitizer"), time.monotonic()
    gpu_check.sanitize(stage)
    assert time.monotonic() - began < 20
    assert not stage.failed
    assert "not done in its time" in stage.outcome


@needs_tools
def test_the_device_tests_are_built_by_the_same_cmake_as_the_module(tmp_path, monkeypatch):
    from tools import gpu_check

    for folder in ("environment", "system"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cmake").touch(mode=0o755)
    monkeypatch.setattr(gpu_check.sysconfig, "get_path", lambda _: str(tmp_path / "environment"))
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    commands = []
    monkeypatch.setattr(gpu_check, "run", lambda _, *words, **__: commands.append(words) or True)
    assert gpu_check.build(gpu_check.Stage("build"))
    assert [words[0] for words in commands[1:]] == [str(tmp_path / "environment/cmake")] * 2


@needs_tools
@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG")])
def test_the_caption_of_an_original_says_what_file_it_is(tmp_path, name, kind):
    from tools.make_picture import caption_of

    Image.new("RGB", (8, 8)).save(tmp_path / name)
    size = (tmp_path / name).stat().st_size
    assert caption_of(tmp_path / name) == f"original: {size:,} bytes ({kind})"
