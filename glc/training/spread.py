# SPDX-License-Identifier: Apache-2.0
"""The unit in which Stages II and III measure latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from glc.training.validation import CHUNK

CROPS = 32  # that it is measured on


class Spread:
    """Standard deviation of l on the first crops of a run.

    It is measured once and kept in the checkpoint: a resumed run must go on in the same unit, and
    would measure another one on other photos.
    """

    def __init__(self) -> None:
        self.value = torch.empty(0)

    @torch.no_grad()
    def measure(self, encode: Callable[[Tensor], Tensor], crops: Callable[[int], Tensor]) -> None:
        """Measure, unless a checkpoint has given the value.

        Args:
            encode: crops [n, 3, h, w] in [-1, 1] -> l.
            crops: the first n crops of the run, on the device.
        """
        if not self.value.numel():
            self.value = torch.cat([encode(chunk) for chunk in crops(CROPS).split(CHUNK)]).std()

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.value = state["value"]
