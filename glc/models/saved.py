# SPDX-License-Identifier: Apache-2.0
"""A model in a folder and on the hub: what writes, uploads and loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from glc.errors import InvalidArgumentError
from glc.files import write_file
from glc.models.config import GLCConfig
from glc.models.pretrained import (
    MODEL_FILES,
    bundled_model,
    find_pretrained,
    not_a_model,
    read_layout,
)
from glc.models.room import RoomFor


class Saved(nn.Module, PyTorchModelHubMixin):
    """A module made from its config alone, that can be written to a folder and loaded again."""

    config: GLCConfig
    _half = False  # during an upload, how it stores
    _base_model: str | None = None  # likewise

    def save_pretrained(  # type: ignore[override]  # fewer options, all named
        self,
        save_directory: str | Path,
        *,
        half: bool = False,
        base_model: str | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        config: Mapping[str, Any] | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
    ) -> str | None:
        """Write config.json and model.safetensors, and offer them to a hub if asked.

        Args:
            save_directory: created if missing.
            half: store float16. The rounded values then *are* the model: loading widens them
                exactly, so a model meant for coding should be reloaded before it codes.
            base_model: a bundled model of the same layout; only tensors that differ from its own
                are stored, and those who load the folder need it.
            repo_id: hub repository, "owner/name"; the folder's name unless told.
            push_to_hub: upload to `repo_id`.
            config: given when `push_to_hub` saves what it uploads; always the model's own.
            model_card_kwargs: for README.md, the card of an upload.

        Returns:
            Where the commit is, if uploaded.

        Raises:
            InvalidArgumentError: the disk refused, and a model that was there before stands; or
                the base is not bundled, or of another layout.
        """
        folder = Path(save_directory)
        half = half or self._half
        base_model = self._base_model if base_model is None else base_model
        state = {k: (v.half() if half else v).contiguous() for k, v in self.state_dict().items()}
        plain = self.config.to_dict()
        if base_model is not None:
            state, plain = self._beside(base_model, state), {"base_model": base_model}
        folder.mkdir(parents=True, exist_ok=True)
        config_file, weights_file = (folder / name for name in MODEL_FILES)
        text = json.dumps(plain, sort_keys=True, indent=2)
        write_file(weights_file, save(state), overwrite=True)  # first: room for it may be wanting
        write_file(config_file, text.encode(), overwrite=True)
        if config is not None:
            card = self.generate_model_card(**(model_card_kwargs or {}))
            card.save(folder / "README.md")
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or folder.name, half=half, base_model=base_model)

    def _beside(self, name: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of a state, as it is stored, what differs from a bundled model's."""
        base = type(self)._from_folder(bundled_model(name))
        theirs = base.state_dict()
        if base.config != self.config or theirs.keys() != state.keys():
            raise InvalidArgumentError(
                f"save_pretrained: base_model: expected a model of the same layout, got {name}"
            )
        return {k: v for k, v in state.items() if not torch.equal(v.float().cpu(), theirs[k])}

    def push_to_hub(
        self, repo_id: str, *, half: bool = False, base_model: str | None = None, **options: Any
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub.

        Args:
            repo_id: hub repository, "owner/name", made if missing.
            half: as `save_pretrained`.
            base_model: as `save_pretrained`.
            options: those of `PyTorchModelHubMixin.push_to_hub`: commit_message, private, token,
                branch, create_pr and others.

        Returns:
            Where the commit is.
        """
        self._half, self._base_model = half, base_model
        try:
            return super().push_to_hub(repo_id, **{**options, "config": self.config.to_dict()})
        finally:
            self._half, self._base_model = False, None

    @classmethod
    def from_pretrained(  # type: ignore[override]  # no free keyword arguments
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> Self:
        """Load a model in evaluation mode, float32, on the CPU.

        Args:
            pretrained_model_name_or_path: a bundled model ("glc-image-small"), a folder
                written by `save_pretrained`, or a hub repository "owner/name".
            force_download: of a hub repository, as are the options below.
            token: access token.
            cache_dir: folder for downloads.
            local_files_only: never ask the network.
            revision: branch, tag or commit.

        Raises:
            InvalidArgumentError: no such model, or files that do not hold one.
        """
        folder = find_pretrained(
            os.fspath(pretrained_model_name_or_path),
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )
        return cls._from_folder(folder)

    @classmethod
    def _from_folder(cls, folder: Path) -> Self:
        try:
            config, files = read_layout(folder)
            with RoomFor(sum(file.stat().st_size for file in files)), torch.device("cpu"):
                model = cls(config).float()  # whatever torch's default dtype and device are
            state = {k: v.float() for file in files for k, v in load_file(file).items()}
            model.load_state_dict(state, strict=True)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise not_a_model(folder, error) from error
        return model.eval()
