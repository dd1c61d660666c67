# SPDX-License-Identifier: Apache-2.0
"""The example that overfits 32 photos through all three stages does so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIVE_MINUTES = 300


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
