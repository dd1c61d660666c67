# SPDX-License-Identifier: Apache-2.0
"""The same file and the same symbols from every instruction set and thread count."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glc

ROOT = Path(__file__).resolve().parents[2]


def agree(*arguments: object) -> str:
    command = [sys.executable, "tools/symbol_hashes.py", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_a_tiny_model_agrees(
    tiny_folder: Path, sample_path: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    """On pictures of one name in two folders, too."""
    Image.fromarray(photo).save(namesake := tmp_path / sample_path.name)
    pictures = (sample_path, namesake)
    table = agree("--model", tiny_folder, "--crop", 200, "--qualities", 0, 3, "--", *pictures)
    assert "4 files" in table
    assert "0 differ" in table


@pytest.mark.slow
def test_the_bundled_model_agrees_on_kodak_and_large_pictures(shared_data: Path) -> None:
    """A sample; all of them, for who has an hour: `tools/symbol_hashes.py`."""
    pictures = [shared_data / "eval" / name for name in ("kodak/kodim05.png", "kodak/kodim19.png")]
    for crop, quality in ((0, 3), (256, 0)):  # without vectors, a hundred times as long
        arguments = ("--crop", crop, "--qualities", quality, "--threads", 1, 3)
        assert "0 differ" in agree(*arguments, "--", pictures[0])
    vectors = {"neon", "avx2", "avx512"}.intersection(glc.build_info()["cpu_features"])
    if vectors:
        pictures.append(shared_data / "eval" / "hires" / "lake-sherburne.png")
        assert "0 differ" in agree("--simd", *sorted(vectors), "--", *pictures)


@pytest.mark.slow
def test_the_authors_layout_agrees_on_cuts(sample_path: Path, tmp_path: Path) -> None:
    from glc.models import load_official
    from glc.models.official import official_layout
    from tests.models.test_golden import rule_made

    load_official({k: rule_made(k, s) for k, s in official_layout().items()}).save_pretrained(
        tmp_path
    )
    for crop, quality in ((256, 3), (128, 0)):  # without vectors, a minute and a quarter of one
        arguments = ("--model", tmp_path, "--crop", crop, "--qualities", quality)
        assert "0 differ" in agree(*arguments, "--", sample_path)
