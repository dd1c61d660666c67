# SPDX-License-Identifier: Apache-2.0
"""Which gradient comes next: a loss gives most of its terms the same one step after step."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

Values = tuple[float, ...]


class Foreseen(NamedTuple):
    """A gradient that is likely to come."""

    values: Values
    column: Tensor  # the same, [n, 1] float32


class Expected:
    """The gradients that calls of a kind got twice in a row, for a forward pass to count on.

    They decide how soon a gradient is computed, never what it is: whoever counts on one compares it
    with the one that came.
    """

    _KINDS = 64  # remembered at most
    _VALUES = 1024  # of a gradient at most

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[Values, Foreseen | None]] = {}

    def of(self, kind: Hashable) -> Foreseen | None:
        """Return the gradient that calls of this kind may count on."""
        return self._last.get(kind, (None, None))[1]

    def came(self, kind: Hashable, grad: Tensor | None) -> Values | None:
        """Take note of the gradient of a call, of up to a thousand values on the CPU.

        Args:
            kind: what calls that get the same gradient have in common.
            grad: [n, 1] float32; None for one that is too large to foresee.

        Returns:
            Its values, n numbers, or None.
        """
        before, foreseen = self._last.pop(kind, (None, None))
        if grad is None or grad.numel() > self._VALUES:
            return None
        values: Values = tuple(grad.flatten().tolist())
        if values != before or 0.0 in values:  # never with a NaN; and 0 equals another 0, -0
            foreseen = None
        elif foreseen is None:
            foreseen = Foreseen(
                values, torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1)
            )
        self._last[kind] = values, foreseen  # the newest are last
        if len(self._last) > self._KINDS:
            self._last.pop(next(iter(self._last)), None)
        return values
