# SPDX-License-Identifier: Apache-2.0
"""Where saved models are: those that ship with the package, folders, and the hub."""

from __future__ import annotations

import json
from pathlib import Path

from glc.errors import InvalidArgumentError
from glc.files import load_complaint
from glc.models.config import GLCConfig

MODEL_FILES = ("config.json", "model.safetensors")


def bundled_folder() -> Path:
    """Folder of the models that ship with the package, one sub-folder each."""
    return Path(__file__).parent.parent / "pretrained"


def bundled_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in bundled_folder().glob("*/config.json"))


def not_a_model(folder: Path, error: Exception) -> InvalidArgumentError:
    """The error of a folder that does not hold what `save_pretrained` writes, and why not."""
    return InvalidArgumentError(
        f"from_pretrained: {folder}: expected {' and '.join(MODEL_FILES)} of one model, "
        f"got: {load_complaint(error)}"
    )


def read_layout(folder: Path) -> tuple[GLCConfig, list[Path]]:
    """Read a model's layout, and which files its tensors are in.

    A model that shares most of its tensors with a bundled one may hold the others alone: its
    config.json is {"base_model": NAME}.

    Returns:
        The layout, and the files; what several have is that of the last.

    Raises:
        InvalidArgumentError, OSError, ValueError: no configuration, or a base that is not bundled
            or not all that it says.
    """
    config_file, weights_file = (folder / name for name in MODEL_FILES)
    plain = json.loads(config_file.read_text(encoding="utf-8"))
    if not isinstance(plain, dict) or "base_model" not in plain:
        return GLCConfig.from_dict(plain), [weights_file]
    if others := sorted(plain.keys() - {"base_model"}):
        raise InvalidArgumentError(f"base_model: expected no other key beside it, got {others}")
    config, files = read_layout(bundled_model(plain["base_model"]))
    return config, [*files, weights_file]


def bundled_model(name: object) -> Path:
    """Folder of a model that ships with the package.

    Raises:
        InvalidArgumentError: none is called so.
    """
    if name not in bundled_models():
        raise InvalidArgumentError(f"base_model: expected one of {bundled_models()}, got {name!r}")
    return bundled_folder() / str(name)


def find_pretrained(
    name: str,
    *,
    force_download: bool,
    token: str | bool | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    revision: str | None,
) -> Path:
    """Find a model's folder, fetching it if it is on the hub; arguments of `GLC.from_pretrained`.

    Raises:
        InvalidArgumentError: no such model.
    """
    folder = bundled_folder() / name if name in bundled_models() else Path(name)
    if name and folder.is_dir():
        return folder
    try:
        if name.count("/") != 1:
            raise FileNotFoundError("no such folder, and not a hub repository's name")
        from huggingface_hub import hf_hub_download  # a quarter of a second

        files = [
            hf_hub_download(
                name,
                filename,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
            for filename in MODEL_FILES
        ]
    except (OSError, ValueError) as error:  # every release's errors of the hub are one of these
        raise InvalidArgumentError(
            f"from_pretrained: expected one of {bundled_models()}, a folder with "
            f"{' and '.join(MODEL_FILES)}, or a hub repository owner/name, got {name!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return Path(files[0]).parent
