# SPDX-License-Identifier: Apache-2.0
"""Stage II: transform coding in the latent space.

R(y_hat) + lambda_k D_code(l, l_hat) + L_vq,  D_code = alpha CE + |l - l_hat|^2   (facts G).
The encoder and its codebook are a frozen teacher; the image decoder is not used. Latents
enter D_code in units of their standard deviation, so that lambda does not depend on Stage I.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from glc.losses.code_prediction import code_distortion
from glc.losses.rate import LambdaController
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor
from glc.ops.gaussian import Rounding
from glc.training.codebook import CodebookKeeper
from glc.training.config import load_config
from glc.training.data import Photos
from glc.training.loop import Run, Stateful, initial_model, prepare, spread_levels
from glc.training.validation import validate_codec


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train Stage II from the checkpoint of Stage I.

    Args and errors are those of `glc.training.stage1.main`.
    """
    config = load_config(config_path, overrides)
    prepare(config)
    photos = Photos(config.data, config.seed)
    model = initial_model(config, after="stage1").train()
    layout = model.config
    if config.rate.level_scales:
        model.g_a.spread_levels(config.rate.level_scales)
        model.g_s.spread_levels([1 / scale for scale in config.rate.level_scales])
    predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
    keeper = CodebookKeeper(model.hyper_vq, config.codebook, config.steps)
    rate = config.rate
    controller = LambdaController(rate.lambdas, rate.targets, rate.gain)
    extras: dict[str, Stateful] = {"keeper": keeper, "controller": controller}
    trained = [
        *(model.g_a, model.h_a, model.hyper_vq, model.z_prior, model.h_s),
        *(model.context, model.g_s, predictor),
    ]
    run = Run("stage2", config, model, trained, {"code_predictor": predictor}, extras)
    model.image_vq.eval()  # the teacher's codebook follows nothing any more
    with torch.no_grad():
        spread = model.latents(photos.batch(0, 32)).std()

    def update(step: int, x: Tensor) -> dict[str, float]:
        done = run.progress(step)
        repeat = config.levels_per_image
        level = spread_levels(len(x) * repeat, layout.levels)
        with torch.no_grad(), run.autocast():
            l = model.latents(x).float()
        index = model.image_vq.nearest(l)
        l, index = l.repeat(repeat, 1, 1, 1), index.repeat(repeat, 1, 1)

        rounding: Rounding = "noise" if done < rate.noise_until else "ste"
        out = model.code_latent(l, level.float(), rounding=rounding, quantize_z=keeper.active(step))
        keeper.observe(out.z, step)
        bpp = (out.bits_y + out.bits_z) / (x.shape[-1] * x.shape[-2])
        controller.observe(level, bpp, steer=rounding == "ste" and keeper.active(step))

        logits = predictor(out.l_hat / spread)
        distortion = code_distortion(l / spread, out.l_hat / spread, index, logits)
        boost = 1 + (rate.boost - 1) * max(0.0, 1 - done / rate.boost_until)
        weighted = (boost * controller.weights(level) * distortion).mean()
        codebook = out.hyper.loss if keeper.active(step) else torch.zeros(())
        run.optimise(bpp.mean() + weighted + codebook * config.codebook.weight)
        accuracy = (logits.argmax(-1) == index.flatten(1)).float().mean()
        return {
            "bpp": bpp.mean().item(),
            "d_code": distortion.mean().item(),
            "accuracy": accuracy.item(),
            "codebook": codebook.item(),
            "norm": run.norm,
            "spread_y": out.y.std().item(),
        }

    def validate(averaged: GLC, x: Tensor) -> dict[str, float]:
        return validate_codec(averaged, x, None)

    if resume:
        run.resume()
    held_out = photos.validation_batch()
    run.loop(lambda step: photos.batch(step, config.batch), update, validate, held_out)
