# SPDX-License-Identifier: Apache-2.0
"""What a run shows while it trains."""

import io
import json

import pytest
from rich.console import Console

from glc.training.monitor import Monitor


@pytest.mark.parametrize("terminal", [True, False])
def test_step_and_losses_share_a_line_of_80_columns(tmp_path, terminal):
    """Into a pipe goes the last one; a bar without step and time would say little."""
    monitor = Monitor("stage1", tmp_path, 700, start=0, tensorboard=False, first=True)
    monitor.console = Console(
        file=io.StringIO(), width=80, force_terminal=terminal, color_system=None
    )
    counts = dict.fromkeys(("skipped", "unreadable", "too_small"), 0.0)
    metrics = counts | {"norm": 0.25, "l1": 0.0625, "features": 1.5, "codebook": 0.125, "bpp": 0.5}
    with monitor:
        monitor.metrics(350, metrics)
        monitor.say("done, " + 80 * "x")
    text = monitor.console.file.getvalue()
    line = next(line for line in text.splitlines()[::-1] if "norm" in line)
    for piece in ("stage1", "350/700", "0:00:0", "norm 0.25 l1 0.0625"):
        assert piece in line
    assert "done, " + 80 * "x" in text
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 350, **metrics}
