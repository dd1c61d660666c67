# SPDX-License-Identifier: Apache-2.0
"""Keeps a codebook alive: born from real vectors, dead codes moved to where vectors are.

Stage I brings the image codebook to life, Stage II the hyper codebook. Stage III and fine-tuning
take over a codebook that the model depends on, which drawing it again would destroy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.ops.vector_quantizer import VectorQuantizer
from glc.training.config import CodebookConfig


class CodebookKeeper:
    """Watches the vectors of one quantiser and cares for its codebook.

    Args:
        quantizer: the quantiser to care for.
        config: when to start, how often to re-seed.
        steps: length of the run.
        trained: whether a stage before has trained the codebook. It is then in force from the first
            step and never drawn anew, only its dead rows are moved; `config.start` is not read.

    Raises:
        InvalidArgumentError: the run would end before the codebook is drawn.
    """

    def __init__(
        self,
        quantizer: VectorQuantizer,
        config: CodebookConfig,
        steps: int,
        *,
        trained: bool = False,
    ) -> None:
        if not trained and config.start >= steps:
            raise InvalidArgumentError(
                f"config: codebook.start: expected less than steps = {steps}, or the codebook is "
                f"never drawn, got {config.start}"
            )
        self.quantizer = quantizer
        self.config = config
        self.trained = trained
        # the first step that quantises; what is drawn is drawn from the vectors of a step before
        self.start = 0 if trained else max(config.start, 1)
        self.last = int(config.reseed_until * steps)
        self.drawn: bool | None = trained  # None: a checkpoint from before it was noted
        self.reservoir = torch.empty(0, quantizer.codebook.shape[1])

    def active(self, step: int) -> bool:
        """Whether vectors are quantised yet."""
        return step > self.config.start if self.drawn is None else self.drawn

    @torch.no_grad()
    def observe(self, z: Tensor, step: int) -> None:
        """Take the vectors of a step [b, d, h, w], and act when the step asks for it."""
        self.drawn = self.active(step)
        if self.drawn and step > self.last:
            return
        vectors = z.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
        kept = self.reservoir.to(vectors.device)  # where they are: copies would wait for the device
        self.reservoir = torch.cat((kept, vectors))[-self.config.reservoir :]
        if not self.drawn and step >= self.start - 1:  # later where that step was put back
            self.drawn = True
            pick = torch.randint(len(self.reservoir), (self.quantizer.codebook.shape[0],))
            self.quantizer.codebook.copy_(self.reservoir[pick])
            self.quantizer.row_weight.fill_(1.0)  # statistics so far are of other rows
            self.quantizer.row_usage.zero_()
        elif self.drawn and step > self.start and step % self.config.reseed_every == 0:
            self.quantizer.reseed(self.config.dead_fraction, self.reservoir)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {
            "reservoir": self.reservoir,
            "usage": self.quantizer.training_state(),
            "drawn": self.drawn,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.reservoir = state["reservoir"]
        self.quantizer.load_training_state(state["usage"])
        self.drawn = True if self.trained else state.get("drawn")
