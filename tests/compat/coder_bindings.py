# SPDX-License-Identifier: Apache-2.0
"""Where an installed CompressAI holds its coder."""

from __future__ import annotations

import importlib
from typing import Any

ENTROPY_MODELS = "compressai.entropy_models.entropy_models"


def coder_bindings() -> dict[tuple[str, str], Any]:
    """Everything that install may change."""
    entropy_models = importlib.import_module(ENTROPY_MODELS)
    state: dict[tuple[str, str], Any] = {}
    for module in ("compressai.ans", "compressai.models.google", "compressai.latent_codecs"):
        for name, value in vars(importlib.import_module(module)).items():
            state[module, name] = value
    for owner in (entropy_models._EntropyCoder, entropy_models.EntropyModel):
        for name, value in vars(owner).items():
            state[owner.__name__, name] = value
    return state
