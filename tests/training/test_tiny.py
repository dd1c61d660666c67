# SPDX-License-Identifier: Apache-2.0
"""The example that overfits 32 photos through all three stages does so."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glc import evaluation
from glc.models import GLC

ROOT = Path(__file__).resolve().parents[2]
FIVE_MINUTES = 300


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(ROOT / "examples" / "train_tiny.py"))


def test_the_autoencoder_is_measured_on_what_the_files_are(example, tmp_path, photo, tiny_folder):
    """All of a photo, and of any number of photos: the figures stand side by side."""
    x = np.ascontiguousarray(photo[:128, :128])
    Image.fromarray(x).save(tmp_path / "00.png")
    alone, *_ = example["measure"](tmp_path, tiny_folder)
    model = GLC.from_pretrained(tiny_folder)
    with torch.inference_mode():
        pixels = torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1
        x_hat = (model.reconstruct(model.latents(pixels))[0].clamp(-1, 1) + 1) * 127.5
    drawn = x_hat.permute(1, 2, 0).round().byte().numpy()
    assert float(alone) == pytest.approx(evaluation.psnr(x, drawn), abs=0.006)


def test_photos_of_an_earlier_run_are_not_mixed_in(example, tmp_path, photo):
    for folder in ("three", "two", "out"):
        (tmp_path / folder).mkdir()
    for folder, count in (("three", 3), ("two", 2)):
        for n in range(count):
            Image.fromarray(photo).save(tmp_path / folder / f"{n}.jpg")
    write_photos, out = example["write_photos"], tmp_path / "out"
    for _ in range(2):
        assert write_photos(tmp_path / "three", out) == 3
    with pytest.raises(SystemExit, match=r"02\.png; give another --out"):
        write_photos(tmp_path / "two", out)


@pytest.mark.slow
def test_one_command_trains_all_stages_and_overfits(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "train_tiny.py"), "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout[-2000:])  # noqa: T201  # the table belongs in the log
    assert time.monotonic() - began < 4 * FIVE_MINUTES  # a hang, not a slow machine
    rows = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if words and words[0] in ("untrained", "stage1", "stage2", "stage3"):
            with_figures = [w for w in words if w.replace(".", "").isdigit()]
            if len(with_figures) >= 5:
                rows[words[0]] = [float(w) for w in with_figures[-5:]]
    untrained, trained = rows["untrained"], rows["stage3"]
    assert trained[0] > untrained[0] + 10  # the autoencoder
    for bpp, psnr in ((1, 2), (3, 4)):
        assert trained[bpp] < 0.15
        assert trained[psnr] > untrained[psnr] + 10
        assert trained[psnr] > 24
    assert rows["stage2"][2] < trained[2]  # the joint stage improves on the frozen decoder
    first, last = (float(w) for w in loss_of(done.stdout, "stage1"))
    assert last < first / 3


def loss_of(text: str, stage: str) -> tuple[str, str]:
    """First and last loss in the table's row."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [stage] and "->" in line]
    words = line.split()
    arrow = words.index("->")
    return words[arrow - 1], words[arrow + 1]
