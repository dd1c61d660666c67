# SPDX-License-Identifier: Apache-2.0
"""AdamW and averaged weights, each by as few kernels as the device allows; the schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from glc.training.config import StageConfig


def adamw(
    parameters: list[nn.Parameter],
    *,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """AdamW, on a CUDA device in one kernel for many parameters ("fused")."""
    fused = True if parameters and all(p.is_cuda for p in parameters) else None
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=fused
    )


def learning_rate(config: StageConfig, step: int) -> float:
    """Of a step in [0, steps): linear up to the peak, times a cosine down to `final_rate` of it."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    low = config.final_rate
    cosine = 0.5 * (1 + math.cos(math.pi * (step / config.steps)))
    return config.learning_rate * (warm * (low + (1 - low) * cosine))


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimiser's moments and counts from a run on any kind of device.

    Its settings stay as they are: the configuration says them, which may have changed since, and
    the device decides how it computes, and where it keeps its count of steps.
    """
    groups = [
        {**mine, "params": group["params"]}
        for group, mine in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


class Average:
    """Exponentially averaged weights of a model.

    Args:
        model: whose state is averaged; its tensors may be written, but not replaced. Parameters
            that need no gradient now are taken never to change.
    """

    def __init__(self, model: nn.Module) -> None:
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        self.state: dict[str, Tensor] = {k: v.clone() for k, v in model.state_dict().items()}
        self._current = {k: v for k, v in model.state_dict().items() if k not in frozen}
        self._averages = [self.state[name] for name in self._current]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move every average to decay * average + (1 - decay) * weight."""
        torch._foreach_lerp_(self._averages, list(self._current.values()), 1 - decay)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Restore `state`, from any device."""
        for name, average in self.state.items():
            average.copy_(state[name])
