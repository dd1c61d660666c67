# SPDX-License-Identifier: Apache-2.0
"""The adversarial half-step that Stages I and III share (facts G)."""

from __future__ import annotations

from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.losses.adversarial import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from glc.training.config import StageConfig
from glc.training.loop import Run

LEAST_SIDE = 3  # that a discriminator's last two layers, of 4 x 4 taps, leave something of


def new_discriminator(config: StageConfig) -> PatchDiscriminator:
    """A discriminator as configured.

    Raises:
        InvalidArgumentError: its layers leave nothing of a crop.
    """
    layers = config.adversarial.layers
    if config.data.crop >> layers < LEAST_SIDE:
        raise InvalidArgumentError(
            f"config: adversarial.layers: expected fewer, as each halves the side of a crop, "
            f"{config.data.crop}, to no less than {LEAST_SIDE}, got {layers}"
        )
    return PatchDiscriminator(config.adversarial.width, layers)


class Adversary:
    """A discriminator in training, if the run has one.

    Args:
        run: the run whose "discriminator" helper and optimiser are used.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = run.config.adversarial
        self.discriminator = run.helpers.get("discriminator")
        self.weight = self.loss = run.zero()

    def term(
        self, step: int, x_hat: Tensor, reconstruction: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """lambda_adv * adaptive weight * L_adv, a scalar; zero until its start.

        Args:
            step: of the run.
            x_hat: [b, 3, h, w] float32.
            reconstruction: scalar loss whose gradient size the adversarial one may reach.
            weight: [b] float32 factor per sample; None counts all alike.
        """
        if self.discriminator is None or step < self.config.start:
            return self.run.zero()
        self.discriminator.requires_grad_(False)
        per_sample = generator_loss(self.discriminator(x_hat))
        loss = per_sample.mean() if weight is None else (per_sample * weight).mean()
        last = self.run.model.latent_decoder.last_layer
        adaptive = adaptive_weight(reconstruction, loss, last)
        self.weight = adaptive
        return self.config.weight * adaptive * loss

    def learn(self, step: int, x: Tensor, x_hat: Tensor) -> None:
        """Add the discriminator's gradient on [b, 3, h, w] originals and reconstructions."""
        if self.discriminator is None or step < self.config.discriminator_start:
            return
        self.discriminator.requires_grad_(True).train()
        loss = discriminator_loss(self.discriminator(x), self.discriminator(x_hat.detach()))
        self.run.backward_discriminator(loss)
        self.loss = loss.detach()

    def metrics(self) -> dict[str, Tensor]:
        """Values for the log; empty without a discriminator."""
        if self.discriminator is None:
            return {}
        return {"adversarial_weight": self.weight, "discriminator": self.loss}
