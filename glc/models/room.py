# SPDX-License-Identifier: Apache-2.0
"""A bound on what a configuration from a file may build, known before any of it is built.

A few digits in a configuration ask for more layers, or larger ones, than a machine holds, and only
a model that has been built can be compared with its weights. Building ends where it has come to
many times what the weights need: a subclass may replace what it has built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_TIMES = 16  # as much as the weights take; those that files hold as float16 are built as float32
_SLACK_BYTES = 1 << 30
_OBJECT_BYTES = 1 << 13  # a tensor, and its share of the modules around it


class RoomFor(TorchFunctionMode):
    """Bound the tensors that this thread makes inside out of none, as those of new layers are.

    Raises ValueError at the one that goes beyond it, where layers have not yet filled it.

    Args:
        stored_bytes: what the weights take that the modules are for.
    """

    def __init__(self, stored_bytes: int) -> None:
        super().__init__()
        self._left = _TIMES * stored_bytes + _SLACK_BYTES

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Make the call, and count what it makes."""
        given = kwargs or {}
        made = func(*args, **given)
        of_none = not any(isinstance(value, Tensor) for value in (*args, *given.values()))
        if of_none and isinstance(made, Tensor) and not made.is_meta:
            self._left -= made.untyped_storage().nbytes() + _OBJECT_BYTES
            if self._left < 0:
                raise ValueError("a configuration of a model many times as large as the weights")
        return made
