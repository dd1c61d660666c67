# SPDX-License-Identifier: Apache-2.0
"""Stage II: transform coding in the latent space.

R(y_hat) + lambda_k D_code(l, l_hat) + L_vq,  D_code = alpha CE + |l - l_hat|^2   (facts G).
Without code prediction (alpha = 0) D_code is the square alone.
The encoder and its codebook are a frozen teacher; the image decoder is not used. Latents
enter D_code in units of their standard deviation, so that lambda does not depend on Stage I.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from glc.losses.code_prediction import code_distortion
from glc.losses.rate import LambdaController
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor
from glc.training.checkpoint import Stateful, checkpoint_to_resume, initial_model
from glc.training.codebook import CodebookKeeper
from glc.training.config import StageConfig
from glc.training.config_file import load_config
from glc.training.config_rules import check_model
from glc.training.data import Photos
from glc.training.distributed import prepare
from glc.training.loop import Metrics, Run
from glc.training.spread import Spread
from glc.training.validation import validate_codec


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train Stage II from the checkpoint of Stage I.

    Args and errors are those of `glc.training.stage1.main`.
    """
    train(load_config(config_path, overrides), resume=resume)


def train(config: StageConfig, *, resume: bool, model_class: type[GLC] = GLC) -> None:
    """Train Stage II as configured; see `main`.

    Args:
        config: of the stage.
        resume: continue from the run's own checkpoint.
        model_class: of the model, for a class derived from GLC that is to be tried.
    """
    prepare(config)
    resumed = checkpoint_to_resume("stage2", config, resume=resume)
    model = initial_model(config, after="stage1", resumed=resumed, model_class=model_class).train()
    predicts = config.prediction_weight > 0
    check_model(config, model.config, levels=True, codes=predicts)
    photos = Photos(config.data, config.seed)
    layout = model.config
    if config.rate.level_scales:
        model.g_a.spread_levels(config.rate.level_scales)
        model.g_s.spread_levels([1 / scale for scale in config.rate.level_scales])
    helpers: dict[str, nn.Module] = {}
    predictor: CodePredictor | None = None
    if predicts:
        predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
        helpers["code_predictor"] = predictor
    keeper = CodebookKeeper(model.hyper_vq, config.codebook, config.steps)
    rate = config.rate
    controller = LambdaController(rate.lambdas, rate.targets, rate.gain)
    spread = Spread()
    extras: dict[str, Stateful] = {"photos": photos, "keeper": keeper}
    extras |= {"controller": controller, "spread": spread}
    trained = [
        *(model.g_a, model.h_a, model.hyper_vq, model.z_prior, model.h_s),
        *(model.context, model.g_s, *helpers.values()),
    ]
    run = Run("stage2", config, model, trained, helpers, extras)
    model.image_vq.eval()  # the teacher's codebook follows nothing any more

    def noisy(step: int) -> bool:
        return run.progress(step) < rate.noise_until

    def update(step: int, x: Tensor) -> Metrics:
        repeat = config.levels_per_image
        level = run.portion.levels(repeat, layout.levels)
        with torch.no_grad(), run.autocast():
            l = model.latents(x).float()
        index = model.image_vq.nearest(l)
        l, index = l.repeat(repeat, 1, 1, 1), index.repeat(repeat, 1, 1)

        rounding = "noise" if noisy(step) else rate.rounding
        out = model.code_latent(l, level.float(), rounding=rounding, quantize_z=keeper.active(step))
        bpp = (out.bits_y + out.bits_z) / (x.shape[-1] * x.shape[-2])
        run.watch(z=out.z, level=level, bpp=bpp)

        l_hat = out.l_hat / spread.value
        logits = None if predictor is None else predictor(l_hat)
        distortion = code_distortion(
            l / spread.value, l_hat, index, logits, config.prediction_weight
        )
        boost = 1 + (rate.boost - 1) * max(0.0, 1 - run.progress(step) / rate.boost_until)
        balance = controller.balance(level, rate.balance)
        weight = boost * controller.weights(level) * balance
        codebook = out.hyper.loss if keeper.active(step) else run.zero()
        run.backward(
            rate=(balance * bpp).mean(),
            d_code=(weight * distortion).mean(),
            codebook=config.codebook.weight * codebook,
        )
        metrics = {
            "bpp": bpp.mean(),
            "d_code": distortion.mean(),
            "codebook": codebook,
            "spread_y": out.y.std(),
        }
        if logits is not None:
            metrics["accuracy"] = (logits.argmax(-1) == index.flatten(1)).float().mean()
        return metrics

    def observe(step: int, seen: Mapping[str, Tensor]) -> Metrics:
        steer = keeper.active(step) and not noisy(step)  # asked before the codebook may be drawn
        keeper.observe(seen["z"], step)
        controller.observe(seen["level"], seen["bpp"], steer=steer)
        return controller.metrics()

    def validate(averaged: GLC, x: Tensor) -> tuple[dict[str, float], Tensor]:
        return validate_codec(averaged, x, None)

    if resumed is not None:
        run.resume(resumed)
    spread.measure(model.latents, lambda n: photos.first_crops(n).to(run.device))
    run.loop(photos, update, observe, validate)


if __name__ == "__main__":
    from glc.training.cli import launched

    launched(main)
