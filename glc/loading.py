# SPDX-License-Identifier: Apache-2.0
"""What a codec is made from, and given: a model, a device, the bytes of a file."""

import os
from pathlib import Path

import torch

from glc.errors import InvalidArgumentError
from glc.models.glc import GLC
from glc.models.pretrained import bundled_models

__all__ = ["Data", "checked_bytes", "checked_device", "load_model", "weights_of"]

Data = bytes | bytearray | memoryview


def load_model(name: str | os.PathLike[str]) -> GLC:
    """Load from disk only: coding must not wait for a network because of a misspelt folder."""
    if not isinstance(name, str | os.PathLike):
        raise InvalidArgumentError(
            f"codec: model: expected a name, a folder or a GLC, got {name!r:.60}; "
            "pass the quality by name: quality=..."
        )
    name = os.fspath(name)
    if name not in bundled_models() and not (name and Path(name).is_dir()):
        raise InvalidArgumentError(
            f"codec: model: expected a folder or one of {bundled_models()}, got {name!r}; of the "
            "authors' checkpoints glc.load_official(...).save_pretrained(...) makes a folder"
        )
    return GLC.from_pretrained(name)


def checked_device(name: str | torch.device) -> torch.device:
    """Find a device; one that torch cannot compute on here raises InvalidArgumentError."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (TypeError, RuntimeError, AssertionError) as error:  # a missing backend asserts
        raise InvalidArgumentError(
            f"codec: device: expected a device torch can use here, got {name!r}"
        ) from error
    return device


def checked_bytes(data: Data) -> bytes:
    """Take bytes or a buffer of them; anything else raises InvalidArgumentError."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgumentError(
            f"decode: data: expected the bytes of a file, got {type(data).__name__}; "
            "pathlib.Path(name).read_bytes() gives those of a path"
        )
    return bytes(data)


def weights_of(model: GLC) -> list[tuple[int, int]]:
    """What changes when weights are replaced or written to where autograd can see it."""
    tensors = (*model.parameters(), *model.buffers())
    return [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
