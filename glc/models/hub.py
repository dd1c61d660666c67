# SPDX-License-Identifier: Apache-2.0
"""A model as the Hugging Face hub takes it. Imported on use: coding waits for no hub's client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import PyTorchModelHubMixin

if TYPE_CHECKING:
    from glc.models.saved import Saved


class OnHub(PyTorchModelHubMixin):
    """Gives the hub's mixin, which adds a model card and uploads all of it, a model's files.

    Args:
        model: what is uploaded.
        half: as `Saved.save_pretrained`.
    """

    def __init__(self, model: Saved, *, half: bool) -> None:
        self._model = model
        self._half = half

    def _save_pretrained(self, save_directory: Path) -> None:
        self._model.save_pretrained(save_directory, half=self._half)
