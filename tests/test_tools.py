# SPDX-License-Identifier: Apache-2.0
"""The tools of a checkout that other machines run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="needs the tools of a checkout")
def test_files_of_one_device_are_compared_on_another(tmp_path, tiny_folder):
    def run(*arguments):
        command = [sys.executable, "-m", "tools.device_hashes", "--model", tiny_folder, *arguments]
        return subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
        )

    picture = ROOT / "examples" / "images" / "kodim23.png"
    options = ("--qualities", "0", "3", "--crop", "64", picture)
    written = run("--write", tmp_path, *options)
    assert written.returncode == 0, written.stderr
    read = run("--read", tmp_path)
    assert "2 files" in read.stdout
    assert "0 differ" in read.stdout
    other, one = sorted(tmp_path.glob("*.glc"))
    one.write_bytes(other.read_bytes())
    read = run("--read", tmp_path)
    assert read.returncode == 1
    assert "1 differ" in read.stdout
