# SPDX-License-Identifier: Apache-2.0
"""Stage III: everything jointly.

R + lambda_k (|x - x_hat| + L_per + lambda_adv L_adv + lambda_code D_code(l^p, l_hat^p)) + L_vq,
l^p and l_hat^p being the codes of x and x_hat through the teacher's encoder   (facts G).
The teacher is the encoder and codebook that the run begins with, after Stage II those that Stage I
left, frozen: a moving target would let both drift together.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.losses.code_prediction import code_distortion
from glc.losses.rate import LambdaController
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor
from glc.training.adversary import Adversary, new_discriminator
from glc.training.checkpoint import Stateful, checkpoint_to_resume, initial_model
from glc.training.codebook import CodebookKeeper
from glc.training.config import StageConfig
from glc.training.config_file import load_config
from glc.training.config_rules import check_model
from glc.training.data import Photos
from glc.training.distributed import prepare
from glc.training.features import perceptual_distance
from glc.training.loop import Metrics, Run
from glc.training.spread import Spread
from glc.training.validation import validate_codec

LOWPASS = 8  # pixels averaged per side in the optional low-pass term


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train Stage III from the checkpoint of Stage II.

    Args and errors are those of `glc.training.stage1.main`.
    """
    train(load_config(config_path, overrides), resume=resume)


def train(config: StageConfig, *, resume: bool, model_class: type[GLC] = GLC) -> None:
    """Train Stage III as configured; see `main`, and for the arguments Stage II's `train`."""
    prepare(config)
    resumed = checkpoint_to_resume("stage3", config, resume=resume)
    model = initial_model(config, after="stage2", resumed=resumed, model_class=model_class).train()
    predicts = config.code_weight > 0 and config.prediction_weight > 0
    check_model(config, model.config, levels=True, codes=predicts)
    photos = Photos(config.data, config.seed)
    layout = model.config
    teacher = copy.deepcopy(model.latent_encoder).requires_grad_(False)
    helpers: dict[str, nn.Module] = {"teacher": teacher}
    trained: list[nn.Module] = [
        *(model.latent_encoder, model.g_a, model.h_a, model.hyper_vq, model.z_prior, model.h_s),
        *(model.context, model.g_s, model.latent_decoder),
    ]
    predictor: CodePredictor | None = None
    if predicts:
        predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
        helpers["pixel_code_predictor"] = predictor
        trained.append(predictor)
    if config.adversarial.weight:
        helpers["discriminator"] = new_discriminator(config)
    keeper = CodebookKeeper(model.hyper_vq, config.codebook, config.steps, trained=True)
    rate = config.rate
    controller = LambdaController(rate.lambdas, rate.targets, rate.gain)
    spread = Spread()
    extras: dict[str, Stateful] = {"photos": photos, "keeper": keeper}
    extras |= {"controller": controller, "spread": spread}
    run = Run("stage3", config, model, trained, helpers, extras)
    model.image_vq.eval()
    features = perceptual_distance(config.features, run.device)
    adversary = Adversary(run)

    def pixel_code_distortion(x: Tensor, x_hat: Tensor) -> Tensor:
        with run.autocast():
            with torch.no_grad():
                l = teacher(x).float()
            l_hat = teacher(x_hat).float()
        logits = None if predictor is None else predictor(l_hat / spread.value)
        return code_distortion(
            l / spread.value,
            l_hat / spread.value,
            model.image_vq.nearest(l),
            logits,
            config.prediction_weight,
        )

    def update(step: int, x: Tensor) -> Metrics:
        repeat = config.levels_per_image
        level = run.portion.levels(repeat, layout.levels)
        with run.autocast():
            l = model.latents(x).float()
        l = l.repeat(repeat, 1, 1, 1)
        out = model.code_latent(l, level.float(), rounding=rate.rounding)
        with run.autocast():
            x_hat = model.reconstruct(out.l_hat)
        x, x_hat = x.repeat(repeat, 1, 1, 1), x_hat.float()

        bpp = (out.bits_y + out.bits_z) / (x.shape[-1] * x.shape[-2])
        run.watch(z=out.z, level=level, bpp=bpp)
        boost = 1 + (rate.boost - 1) * max(0.0, 1 - run.progress(step) / rate.boost_until)
        balance = controller.balance(level, rate.balance)
        weight = boost * controller.weights(level) * balance

        l1 = (x - x_hat).abs().mean((1, 2, 3))
        lowpass = F.avg_pool2d(x - x_hat, LOWPASS).abs().mean((1, 2, 3))
        pick = run.portion.pick(repeat, config.features.share)
        picked = pick.index
        perceptual = code = run.zero().expand(len(picked))
        if features is not None and len(picked):
            with run.autocast():
                perceptual = features(x[picked], x_hat[picked]).float()
        if config.code_weight and len(picked):
            code = pixel_code_distortion(x[picked], x_hat[picked])
        terms = {
            "l1": (weight * l1).mean(),
            "lowpass": config.lowpass_weight * (weight * lowpass).mean(),
            "perceptual": config.features.weight * pick.mean(weight[picked] * perceptual),
            "d_code": config.code_weight * pick.mean(weight[picked] * code),
        }
        likeness = terms["l1"] + terms["perceptual"]
        run.backward(
            rate=(balance * bpp).mean(),
            adversarial=adversary.term(step, x_hat, likeness, weight),
            codebook=config.codebook.weight * out.hyper.loss,
            **terms,
        )
        adversary.learn(step, x, x_hat)
        return {
            "l1": l1.mean(),
            "features": pick.mean(perceptual),
            "d_code": pick.mean(code),
            **adversary.metrics(),
        }

    def observe(step: int, seen: Mapping[str, Tensor]) -> Metrics:
        keeper.observe(seen["z"], step)
        controller.observe(seen["level"], seen["bpp"], steer=True)
        return controller.metrics()

    def validate(averaged: GLC, x: Tensor) -> tuple[dict[str, float], Tensor]:
        return validate_codec(averaged, x, features)

    if resumed is not None:
        run.resume(resumed)
    spread.measure(teacher, lambda n: photos.first_crops(n).to(run.device))
    run.loop(photos, update, observe, validate)


if __name__ == "__main__":
    from glc.training.cli import launched

    launched(main)
