# SPDX-License-Identifier: Apache-2.0
"""Stage I: the autoencoder.  |x - x_hat| + L_per + lambda_adv L_adv + L_codebook  (facts G).

The surprising thing first: only a share of each batch is decoded from quantised latents.
Stages II and III never quantise l, so the decoder must also serve the continuous latent;
the other share reaches it with a little noise, as coding will add.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from glc.losses.adversarial import PatchDiscriminator
from glc.losses.perceptual import squeezenet_distance
from glc.models.glc import GLC
from glc.training.adversary import Adversary
from glc.training.codebook import CodebookKeeper
from glc.training.config import load_config
from glc.training.data import Photos
from glc.training.loop import Run, Stateful, initial_model, prepare
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
    """
    config = load_config(config_path, overrides)
    prepare(config)
    photos = Photos(config.data, config.seed)
    model = initial_model(config, after=None).train()
    helpers: dict[str, nn.Module] = {}
    if config.adversarial.weight:
        width, layers = config.adversarial.width, config.adversarial.layers
        helpers["discriminator"] = PatchDiscriminator(width, layers)
    keeper = CodebookKeeper(model.image_vq, config.codebook, config.steps)
    extras: dict[str, Stateful] = {"keeper": keeper}
    trained = [model.latent_encoder, model.latent_decoder, model.image_vq]
    run = Run("stage1", config, model, trained, helpers, extras)
    features = squeezenet_distance(config.features.weights) if config.features.weights else None
    adversary = Adversary(run)
    n_quantized = round(config.quantized_share * config.batch)
    n_features = max(1, round(config.features.share * config.batch))

    def update(step: int, x: Tensor) -> dict[str, float]:
        with run.autocast():
            l = model.latents(x).float()
        quantized = model.image_vq(l)
        keeper.observe(l, step)
        spread = l.detach().std()
        decoded_from = l + config.latent_noise * spread * torch.randn_like(l)
        if keeper.active(step):
            decoded_from = torch.cat((quantized.z_hat[:n_quantized], decoded_from[n_quantized:]))
        with run.autocast():
            x_hat = model.reconstruct(decoded_from)
        x_hat = x_hat.float()

        distortion = (x - x_hat).abs().mean()
        perceptual = torch.zeros(())
        if features is not None:
            pick = torch.randperm(len(x))[:n_features]
            with run.autocast():
                perceptual = features(x[pick], x_hat[pick]).float().mean()
        reconstruction = distortion + config.features.weight * perceptual
        adversarial = adversary.term(step, x_hat, reconstruction)
        codebook = quantized.loss if keeper.active(step) else torch.zeros(())
        bound = torch.relu(l.square().mean() - 1)
        run.optimise(reconstruction + adversarial + codebook + BOUND_WEIGHT * bound)
        adversary.learn(step, x, x_hat)
        return {
            "l1": distortion.item(),
            "features": perceptual.item(),
            "codebook": codebook.item(),
            "spread": spread.item(),
            "norm": run.norm,
            **adversary.metrics(),
        }

    def validate(averaged: GLC, x: Tensor) -> dict[str, float]:
        return validate_autoencoder(averaged, x, features)

    if resume:
        run.resume()
    held_out = photos.validation_batch()
    run.loop(lambda step: photos.batch(step, config.batch), update, validate, held_out)
