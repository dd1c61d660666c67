# SPDX-License-Identifier: Apache-2.0
"""How restoration and stylisation begin: a trained model, of which one network is to change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from glc.models.glc import GLC
from glc.training.checkpoint import checkpoint_to_resume, initial_model
from glc.training.config import StageConfig
from glc.training.config_file import load_config
from glc.training.config_rules import check_model
from glc.training.distributed import prepare


def begin(
    stage: str, config_path: Path, overrides: list[str], *, resume: bool
) -> tuple[StageConfig, GLC, dict[str, Any] | None]:
    """Read the configuration, and the model that it names.

    Args:
        stage: "restoration" or "stylization".
        config_path: as `glc.training.stage1.main` has it; so are the others.
        overrides: "a.b=value" strings.
        resume: continue from the run's own checkpoint.

    Returns:
        The configuration, the model in evaluation mode, and the checkpoint to resume from, if any.

    Raises:
        InvalidArgumentError: a wrong configuration, no model, or no checkpoint to resume.
    """
    # latents stay where they are, so the bounds of all maps do
    config = dataclasses.replace(load_config(config_path, overrides), keep_range=True)
    prepare(config)
    resumed = checkpoint_to_resume(stage, config, resume=resume)
    model = initial_model(config, after="stage3", resumed=resumed).eval()
    check_model(config, model.config, levels=False)
    return config, model, resumed
