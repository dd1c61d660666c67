# SPDX-License-Identifier: Apache-2.0
"""The rate-distortion weights of the levels, steered towards the rates asked for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError

SMOOTHING = 0.98  # of the measured rates, per step
RANGE = math.log(100.0)  # how far a lambda may move from where it started


class LambdaController:
    """Per-level lambdas that move slowly until every level has the rate asked for.

    log lambda += gain (log target - log measured), the measured rate being a moving average
    of the rounded bits of training crops: those seen before it steers are forgotten, as they may be
    of another kind. A larger lambda buys quality with bits. The lambda of a level that was never
    measured stays where it is.

    Args:
        lambdas: initial weight per level.
        targets: bits per pixel per level, or empty to leave the lambdas where they are.
        gain: change per step per unit of error.

    Raises:
        InvalidArgumentError: a number that is not above 0 and finite, or not as many targets as
            lambdas.
    """

    def __init__(self, lambdas: tuple[float, ...], targets: tuple[float, ...], gain: float) -> None:
        for name, values in (("lambdas", lambdas), ("targets", targets)):
            if not all(0.0 < value < math.inf for value in values):
                raise InvalidArgumentError(
                    f"LambdaController: {name}: expected numbers above 0, got {list(values)}"
                )
        if len(targets) not in (0, len(lambdas)):
            raise InvalidArgumentError(
                f"LambdaController: targets: expected {len(lambdas)}, one per level, or none, got "
                f"{list(targets)}"
            )
        self.initial = torch.tensor(lambdas).log()
        self.log_lambda = self.initial.clone()
        self.log_targets = torch.tensor(targets).log()
        self.gain = gain
        self.measured = torch.zeros(len(lambdas))
        self.weight = torch.zeros(len(lambdas))
        self.steered = False

    def weights(self, level: Tensor) -> Tensor:
        """Lambda of every sample: level [b] int64 -> [b] float32."""
        self._follow(level)
        return self.log_lambda.exp()[level]

    def balance(self, level: Tensor, power: float) -> Tensor:
        """Factor lambda ** -power of every sample, 1 on average: level [b] int64 -> [b] float32."""
        self._follow(level)
        factor = (-power * self.log_lambda).exp()
        return (factor / factor.mean())[level]

    @torch.no_grad()
    def observe(self, level: Tensor, bpp: Tensor, *, steer: bool) -> None:
        """Take the rates of a step, and move the lambdas when `steer` is set.

        Args:
            level: [b] int64.
            bpp: [b] float32, bits per pixel; from rounded symbols, where they steer.
            steer: whether to move the lambdas.
        """
        self._follow(level)
        if steer and not self.steered:
            self.steered = True
            self.measured, self.weight = (torch.zeros_like(v) for v in (self.measured, self.weight))
        # in the order of the samples on every device: all processes have to agree on the bits
        bpp = bpp.detach().float()
        count, total = (
            torch.zeros_like(self.measured).index_put_((level,), values, accumulate=True)
            for values in (torch.ones_like(bpp), bpp)
        )
        seen = count > 0
        keep = torch.where(seen, SMOOTHING, 1.0)
        self.measured = self.measured * keep + (1 - keep) * total / count.clamp_min(1)
        self.weight = self.weight * keep + (1 - keep)
        if steer and len(self.log_targets):
            moved = self.log_lambda + self.gain * (
                self.log_targets - self._rates().clamp_min(1e-6).log()
            )
            moved = moved.clamp(self.initial - RANGE, self.initial + RANGE)
            self.log_lambda = torch.where(self.weight > 0, moved, self.log_lambda)

    def metrics(self) -> dict[str, Tensor]:
        """Rates and lambdas for the log, "bpp0", "lambda0" and on: scalars, where they are."""
        rates = {f"bpp{k}": rate for k, rate in enumerate(self._rates().unbind())}
        return rates | {f"lambda{k}": v for k, v in enumerate(self.log_lambda.exp().unbind())}

    def rates(self) -> list[float]:
        """Moving average of the bits per pixel, per level."""
        rates: list[float] = self._rates().tolist()
        return rates

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {
            "log_lambda": self.log_lambda,
            "measured": self.measured,
            "weight": self.weight,
            "steered": self.steered,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.log_lambda = state["log_lambda"]
        self.measured = state["measured"]
        self.weight = state["weight"]
        self.steered = state.get("steered", True)  # older checkpoints do not say

    def _rates(self) -> Tensor:
        return self.measured / self.weight.clamp_min(1e-9)

    def _follow(self, level: Tensor) -> None:
        """Keep the state where the levels are: reading it elsewhere would wait for the device."""
        for name in ("initial", "log_lambda", "log_targets", "measured", "weight"):
            setattr(self, name, getattr(self, name).to(level.device))


def spread_levels(crops: int, levels: int, repeat: int = 1) -> Tensor:
    """Rate levels for every copy of every crop, as even as possible.

    The order is random, unless single crops divide evenly: those are random themselves. The copies
    of a crop have levels of their own as long as there are as many. Any run of consecutive crops is
    as even as the whole, if there are several copies.

    Args:
        crops: of the batch.
        levels: of the model.
        repeat: copies of each crop.

    Returns:
        [repeat, crops] int64, in [0, levels).
    """
    if repeat == 1:
        even = torch.arange(levels).repeat(crops // levels)
        if crops % levels == 0:
            return even[None]
        chosen = torch.cat([even, torch.randperm(levels)[: crops % levels]])
        return chosen[torch.randperm(crops)][None]
    in_turn = torch.arange(crops * repeat) % levels  # crop by crop
    return torch.randperm(levels)[in_turn].view(crops, repeat).T.contiguous()
