# SPDX-License-Identifier: Apache-2.0
"""`glc train STAGE CONFIG`: which stage's main to call."""

from __future__ import annotations

from pathlib import Path

from glc.errors import InvalidArgumentError
from glc.training import stage1, stage2, stage3

STAGES = {"stage1": stage1.main, "stage2": stage2.main, "stage3": stage3.main}


def run(stage: str, config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train one stage; see the stage's `main`.

    Raises:
        InvalidArgumentError: an unknown stage, and whatever the stage raises.
    """
    if stage not in STAGES:
        raise InvalidArgumentError(f"train: stage: expected one of {sorted(STAGES)}, got {stage!r}")
    STAGES[stage](config_path, overrides, resume)
