# SPDX-License-Identifier: Apache-2.0
"""Stage III: everything jointly.

R + lambda_k (|x - x_hat| + L_per + lambda_adv L_adv + lambda_code D_code(l^p, l_hat^p)) + L_vq,
l^p and l_hat^p being the codes of x and x_hat through the teacher's encoder   (facts G).
The teacher is the encoder and codebook as Stage I left them, frozen: a moving target would
let both drift together.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.losses.adversarial import PatchDiscriminator
from glc.losses.code_prediction import code_distortion
from glc.losses.perceptual import squeezenet_distance
from glc.losses.rate import LambdaController
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor
from glc.training.adversary import Adversary
from glc.training.codebook import CodebookKeeper
from glc.training.config import load_config
from glc.training.data import Photos
from glc.training.loop import Run, Stateful, initial_model, prepare, spread_levels
from glc.training.validation import validate_codec

LOWPASS = 8  # pixels averaged per side in the optional low-pass term


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train Stage III from the checkpoint of Stage II.

    Args and errors are those of `glc.training.stage1.main`.
    """
    config = load_config(config_path, overrides)
    prepare(config)
    photos = Photos(config.data, config.seed)
    model = initial_model(config, after="stage2").train()
    layout = model.config
    teacher = copy.deepcopy(model.latent_encoder).requires_grad_(False)
    helpers: dict[str, nn.Module] = {"teacher": teacher}
    trained: list[nn.Module] = [
        *(model.latent_encoder, model.g_a, model.h_a, model.hyper_vq, model.z_prior, model.h_s),
        *(model.context, model.g_s, model.latent_decoder),
    ]
    predictor: CodePredictor | None = None
    if config.code_weight:
        predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
        helpers["pixel_code_predictor"] = predictor
        trained.append(predictor)
    if config.adversarial.weight:
        width, layers = config.adversarial.width, config.adversarial.layers
        helpers["discriminator"] = PatchDiscriminator(width, layers)
    keeper = CodebookKeeper(model.hyper_vq, config.codebook, config.steps)
    rate = config.rate
    controller = LambdaController(rate.lambdas, rate.targets, rate.gain)
    extras: dict[str, Stateful] = {"keeper": keeper, "controller": controller}
    run = Run("stage3", config, model, trained, helpers, extras)
    model.image_vq.eval()
    features = squeezenet_distance(config.features.weights) if config.features.weights else None
    adversary = Adversary(run)
    with torch.no_grad():
        spread = teacher(photos.batch(0, 32)).std()

    def pixel_code_distortion(x: Tensor, x_hat: Tensor) -> Tensor:
        assert predictor is not None
        with run.autocast():
            with torch.no_grad():
                l = teacher(x).float()
            l_hat = teacher(x_hat).float()
        logits = predictor(l_hat / spread)
        return code_distortion(l / spread, l_hat / spread, model.image_vq.nearest(l), logits)

    def update(step: int, x: Tensor) -> dict[str, float]:
        done = run.progress(step)
        repeat = config.levels_per_image
        level = spread_levels(len(x) * repeat, layout.levels)
        with run.autocast():
            l = model.latents(x).float()
        out = model.code_latent(l.repeat(repeat, 1, 1, 1), level.float(), rounding="ste")
        keeper.observe(out.z, step)
        with run.autocast():
            x_hat = model.reconstruct(out.l_hat)
        x, x_hat = x.repeat(repeat, 1, 1, 1), x_hat.float()

        bpp = (out.bits_y + out.bits_z) / (x.shape[-1] * x.shape[-2])
        controller.observe(level, bpp, steer=True)
        boost = 1 + (rate.boost - 1) * max(0.0, 1 - done / rate.boost_until)
        balance = controller.balance(level, rate.balance)
        weight = boost * controller.weights(level) * balance

        distortion = (x - x_hat).abs().mean((1, 2, 3))
        lowpass = F.avg_pool2d(x - x_hat, LOWPASS).abs().mean((1, 2, 3))
        pick = torch.randperm(len(x))[: max(1, round(config.features.share * len(x)))]
        perceptual, code = torch.zeros(1), torch.zeros(1)
        if features is not None:
            with run.autocast():
                perceptual = features(x[pick], x_hat[pick]).float()
        if predictor is not None:
            code = pixel_code_distortion(x[pick], x_hat[pick])
        reconstruction = (weight * (distortion + config.lowpass_weight * lowpass)).mean() + (
            weight[pick] * (config.features.weight * perceptual + config.code_weight * code)
        ).mean()
        adversarial = adversary.term(step, x_hat, reconstruction, weight)
        codebook = config.codebook.weight * out.hyper.loss
        run.optimise((balance * bpp).mean() + reconstruction + adversarial + codebook)
        adversary.learn(step, x, x_hat)
        rates = {f"bpp{k}": r for k, r in enumerate(controller.rates())}
        lambdas = {f"lambda{k}": v for k, v in enumerate(controller.log_lambda.exp().tolist())}
        return {
            "l1": distortion.mean().item(),
            "features": perceptual.mean().item(),
            "d_code": code.mean().item(),
            "norm": run.norm,
            **rates,
            **lambdas,
            **adversary.metrics(),
        }

    def validate(averaged: GLC, x: Tensor) -> dict[str, float]:
        return validate_codec(averaged, x, features)

    if resume:
        run.resume()
    held_out = photos.validation_batch()
    run.loop(lambda step: photos.batch(step, config.batch), update, validate, held_out)
