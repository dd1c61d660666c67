# SPDX-License-Identifier: Apache-2.0
"""A model in a folder and on the hub: what writes, uploads and loads it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from glc.errors import InvalidArgumentError
from glc.files import load_complaint
from glc.models.config import GLCConfig
from glc.models.pretrained import MODEL_FILES, find_pretrained


class Saved(nn.Module):
    """A module made from its config alone, that can be written to a folder and loaded again."""

    config: GLCConfig

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        half: bool = False,
        repo_id: str | None = None,
        push_to_hub: bool = False,
    ) -> None:
        """Write config.json and model.safetensors, and offer them to a hub if asked.

        Args:
            save_directory: created if missing.
            half: store float16. The rounded values then *are* the model: loading widens them
                exactly, so a model meant for coding should be reloaded before it codes.
            repo_id: hub repository, "owner/name"; the folder's name unless told.
            push_to_hub: upload to `repo_id`.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: (v.half() if half else v).contiguous() for k, v in self.state_dict().items()}
        config = json.dumps(self.config.to_dict(), sort_keys=True, indent=2).encode()
        for name, data in zip(MODEL_FILES, (config, save(state)), strict=True):
            temporary = folder / f"{name}.tmp"  # save_file's is readable by its owner only
            temporary.write_bytes(data)
            os.replace(temporary, folder / name)
        if push_to_hub:
            self.push_to_hub(repo_id or folder.name, half=half)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        half: bool = False,
        commit_message: str = "Upload a glc model",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload what `save_pretrained` writes, and a model card, to the Hugging Face hub.

        Args:
            repo_id: hub repository, "owner/name", made if missing.
            half: as `save_pretrained`.
            commit_message: of the upload.
            private: who sees a repository made now; None leaves it to the owner's settings.
            token: access token.
            branch: to upload to; the main one unless told.
            create_pr: offer a pull request instead.

        Returns:
            Where the commit is.
        """
        from glc.models.hub import OnHub

        return str(
            OnHub(self, half=half).push_to_hub(
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                branch=branch,
                create_pr=create_pr,
            )
        )

    @classmethod
    def from_pretrained(
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
        config_file, weights_file = (folder / name for name in MODEL_FILES)
        try:
            config = GLCConfig.from_dict(json.loads(config_file.read_text(encoding="utf-8")))
            model = cls(config).float()  # whatever torch's default dtype is
            state = {k: v.float() for k, v in load_file(weights_file).items()}
            model.load_state_dict(state, strict=True)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise InvalidArgumentError(
                f"from_pretrained: {folder}: expected {' and '.join(MODEL_FILES)} of one model, "
                f"got: {load_complaint(error)}"
            ) from error
        return model.eval()
