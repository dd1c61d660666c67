# SPDX-License-Identifier: Apache-2.0
"""Stage I: the autoencoder.  |x - x_hat| + L_per + lambda_adv L_adv + L_codebook  (facts G).

The surprising thing first: only a share of each batch is decoded from quantised latents.
Stages II and III never quantise l, so the decoder must also serve the continuous latent;
the other share reaches it with a little noise, as coding will add.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from glc.models.glc import GLC
from glc.training.adversary import Adversary, new_discriminator
from glc.training.checkpoint import Stateful, checkpoint_to_resume, initial_model
from glc.training.codebook import CodebookKeeper
from glc.training.config_file import load_config
from glc.training.config_rules import check_model
from glc.training.data import Photos
from glc.training.distributed import prepare
from glc.training.features import perceptual_distance
from glc.training.loop import Metrics, Run
from glc.training.validation import validate_autoencoder

BOUND_WEIGHT = 0.01  # of the penalty that keeps the mean square of l near or below 1


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train Stage I.

    Args:
        config_path: YAML with the fields of `StageConfig`.
        overrides: "a.b=value" strings.
        resume: continue from the run's own checkpoint.

    Raises:
        InvalidArgumentError: a wrong configuration, no photos, or no checkpoint to resume.
        TrainingError: gradients that are not finite, or a checkpoint that cannot be written.
    """
    config = load_config(config_path, overrides)
    prepare(config)
    resumed = checkpoint_to_resume("stage1", config, resume=resume)
    model = initial_model(config, after=None, resumed=resumed).train()
    check_model(config, model.config, levels=False)
    photos = Photos(config.data, config.seed)
    helpers: dict[str, nn.Module] = {}
    if config.adversarial.weight:
        helpers["discriminator"] = new_discriminator(config)
    keeper = CodebookKeeper(model.image_vq, config.codebook, config.steps)
    extras: dict[str, Stateful] = {"photos": photos, "keeper": keeper}
    trained = [model.latent_encoder, model.latent_decoder, model.image_vq]
    run = Run("stage1", config, model, trained, helpers, extras)
    features = perceptual_distance(config.features, run.device)
    adversary = Adversary(run)

    def update(step: int, x: Tensor) -> Metrics:
        with run.autocast():
            l = model.latents(x).float()
        quantized = model.image_vq(l)
        run.watch(l=l)
        spread = l.detach().std()
        decoded_from = l + config.latent_noise * spread * run.portion.noise(l)
        if keeper.active(step):
            first = run.portion.first(config.quantized_share)
            decoded_from = torch.where(first[:, None, None, None], quantized.z_hat, decoded_from)
        with run.autocast():
            x_hat = model.reconstruct(decoded_from)
        x_hat = x_hat.float()

        l1 = (x - x_hat).abs().mean()
        perceptual = run.zero()
        if features is not None:
            pick = run.portion.pick(1, config.features.share)
            if len(pick.index):
                with run.autocast():
                    distance = features(x[pick.index], x_hat[pick.index]).float()
                perceptual = pick.mean(distance)
        reconstruction = l1 + config.features.weight * perceptual
        adversarial = adversary.term(step, x_hat, reconstruction)
        codebook = quantized.loss if keeper.active(step) else run.zero()
        bound = BOUND_WEIGHT * torch.relu(l.square().mean() - 1)
        run.backward(
            l1=l1,
            perceptual=config.features.weight * perceptual,
            adversarial=adversarial,
            codebook=codebook,
            bound=bound,
        )
        adversary.learn(step, x, x_hat)
        return {
            "l1": l1,
            "features": perceptual,
            "codebook": codebook,
            "spread": spread,
            **adversary.metrics(),
        }

    def observe(step: int, seen: Mapping[str, Tensor]) -> Metrics:
        keeper.observe(seen["l"], step)
        return {}

    def validate(averaged: GLC, x: Tensor) -> tuple[dict[str, float], Tensor]:
        return validate_autoencoder(averaged, x, features)

    if resumed is not None:
        run.resume(resumed)
    run.loop(photos, update, observe, validate)


if __name__ == "__main__":
    from glc.training.cli import launched

    launched(main)
