# SPDX-License-Identifier: Apache-2.0
"""What a codec is given: the folder of a model, the bytes of a file."""

import os
from pathlib import Path

from glc.errors import InvalidArgumentError
from glc.models.pretrained import bundled_folder, bundled_models, not_a_model
from glc.portable import PortableNetworks, Weights

__all__ = ["Data", "checked_bytes", "model_folder", "read_networks"]

Data = bytes | bytearray | memoryview


def model_folder(name: str | os.PathLike[str], what: str = "codec: model") -> Path:
    """Find a model on disk only: coding must not wait for a network because of a misspelt folder.

    Args:
        name: a bundled model's, or a folder.
        what: the argument, for the message.

    Raises:
        InvalidArgumentError: no such model.
    """
    if not isinstance(name, str | os.PathLike):
        raise InvalidArgumentError(
            f"{what}: expected a name, a folder or a GLC, got {name!r:.60}; "
            "pass the quality by name: quality=..."
        )
    name = os.fspath(name)
    if name in bundled_models():
        return bundled_folder() / name
    if not (name and Path(name).is_dir()):
        raise InvalidArgumentError(
            f"{what}: expected a folder or one of {bundled_models()}, got {name!r}; of the "
            "authors' checkpoints glc.load_official(...).save_pretrained(...) makes a folder"
        )
    return Path(name)


def read_networks(folder: Path) -> PortableNetworks | None:
    """Read a model without torch; None where it takes torch.

    Raises:
        InvalidArgumentError: the folder holds no model.
    """
    weights = Weights.read(folder)
    if weights is None:
        return None
    try:
        return PortableNetworks(weights)
    except InvalidArgumentError as error:
        raise not_a_model(folder, error) from error


def checked_bytes(data: Data) -> bytes:
    """Take bytes or a buffer of them; anything else raises InvalidArgumentError."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgumentError(
            f"decode: data: expected the bytes of a file, got {type(data).__name__}; "
            "pathlib.Path(name).read_bytes() gives those of a path"
        )
    return bytes(data)
