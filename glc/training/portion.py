# SPDX-License-Identifier: Apache-2.0
"""What one process computes at a time of a step's batch, and its share of what is drawn for all.

A batch is cut into as many portions as there are processes times parts that each computes one after
the other (`accumulate`). Whatever is drawn or decided per crop is so for the whole batch, and every
portion keeps what concerns its own crops, so that it does not matter how the batch was cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glc.losses.rate import spread_levels
from glc.training.distributed import Processes


@dataclass(frozen=True)
class Pick:
    """Samples chosen for a term that is dear.

    Attributes:
        index: [m] int64, their numbers within the portion; m may be 0.
        expected: how many a portion has on average.
    """

    index: Tensor
    expected: float

    def mean(self, values: Tensor) -> Tensor:
        """This portion's contribution to the mean over all that were chosen: [m] -> scalar.

        The average over the portions, which is what gradients get, is that mean.
        """
        return values.sum() / self.expected


class Portion:
    """The portion in hand.

    Args:
        processes: those of the run.
        parts: parts that every process computes its crops in.
        batch: crops of a step; a multiple of processes x parts.
    """

    def __init__(self, processes: Processes, parts: int, batch: int) -> None:
        self.device = processes.device
        self.count = processes.world * parts
        self.batch, self.crops = batch, batch // self.count
        self._before = processes.rank * parts
        self.part = 0

    def share(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This portion of a tensor over all crops, where that tensor is."""
        return whole.chunk(self.count, dim)[self._before + self.part]

    def whole(self, portions: Tensor) -> Tensor:
        """Samples [portions x repeat x crops, ...] in the order that one portion would give."""
        by_portion = portions.unflatten(0, (self.count, -1, self.crops))
        return by_portion.transpose(0, 1).flatten(0, 2)

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape of `like` [crops, ...]."""
        return self.share(torch.randn(self.batch, *like.shape[1:], device=self.device))

    def levels(self, repeat: int, levels: int) -> Tensor:
        """Rate levels [repeat * crops] int64, in [0, levels), for `repeat` copies of the crops."""
        spread = spread_levels(self.batch, levels, repeat)
        return self._on_device(self.share(spread, dim=1).flatten())

    def first(self, share: float) -> Tensor:
        """Which of the crops are in the first share of the batch: [crops] bool."""
        numbers = torch.arange(self.batch)
        return self._on_device(self.share(numbers < round(share * self.batch)))

    def pick(self, repeat: int, share: float) -> Pick:
        """A random share of all samples, at least one in the whole batch.

        Args:
            repeat: copies of each crop, in the order of `levels`.
            share: of the samples.
        """
        samples = self.batch * repeat
        chosen = max(1, round(share * samples))
        place = self.share(torch.randperm(samples).view(repeat, -1), dim=1).flatten()
        index = place.argsort()[: int((place < chosen).sum())]
        return Pick(self._on_device(index), chosen / self.count)

    def _on_device(self, drawn: Tensor) -> Tensor:
        return drawn.to(self.device, non_blocking=True)
