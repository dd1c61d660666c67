# SPDX-License-Identifier: Apache-2.0
"""What a codec is made from, and given: a model, a device, the bytes of a file."""

import os
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from glc.errors import InvalidArgumentError
from glc.models.glc import GLC
from glc.models.pretrained import bundled_models

__all__ = ["Data", "WeightsInUse", "checked_bytes", "checked_device", "checked_model", "load_model"]

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


def checked_model(model: GLC) -> GLC:
    """Take a model of float32 weights; any other, or none yet, raises InvalidArgumentError.

    Its fingerprint is of float32, and so are the maps that its networks are given.
    """
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_meta or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            got = "no values" if tensor.is_meta else str(tensor.dtype)
            advice = "load its weights" if tensor.is_meta else "model.float() makes them so"
            raise InvalidArgumentError(
                f"codec: model: expected torch.float32 weights, got {got} in {name}; {advice}"
            )
    return model


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


class WeightsInUse:
    """Notices when a model's weights are replaced, or written to where autograd can see it.

    Asked at every file, so the places of weights are listed once: walking through a model takes
    longer than reading a file's symbols.
    """

    def __init__(self, model: GLC) -> None:
        modules = tuple(model.modules())
        both = (held for module in modules for held in (module._parameters, module._buffers))
        self._children = [module._modules for module in modules if module._modules]
        self._tensors: list[Any] = [held for held in both if held]
        self._state = self._found()

    def changed(self) -> bool:
        """Whether they have changed since this was made."""
        return self._found() != self._state

    def _found(self) -> list[Any]:
        children: list[Any] = [*chain.from_iterable(map(dict.values, self._children))]
        held: Iterable[torch.Tensor | None] = chain.from_iterable(map(dict.values, self._tensors))
        tensors = [tensor for tensor in held if tensor is not None]
        addresses = map(torch.Tensor.data_ptr, tensors)
        try:
            versions = [*map(_version, tensors)]
        except RuntimeError:  # inference tensors have none
            versions = [0 if x.is_inference() else x._version for x in tensors]
        return [*children, *addresses, *versions]  # modules compare by identity


_version = attrgetter("_version")
