# SPDX-License-Identifier: Apache-2.0
"""Stylisation: a decoder that draws the files it is given in the style of a picture.

content(x, x_hat) + style.weight style(x_hat) + style.smoothness variation(x_hat)
(facts I, applications: the decoder swapped; the terms are those of `glc.losses.style`).
D alone is trained, on latents as files have them, and no file's symbols depend on it: the model
keeps its fingerprint, and reads what it read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.image import load_image
from glc.losses.style import StyleLoss, total_variation
from glc.models.glc import GLC
from glc.training.adaptation import begin
from glc.training.checkpoint import Stateful
from glc.training.config import StyleConfig
from glc.training.data import Photos, to_tensor
from glc.training.features import perceptual_distance
from glc.training.loop import Metrics, Run
from glc.training.validation import validate_style

LONGEST = 16  # times the shorter side, of a picture that the network sees at once


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train a decoder that stylises, beginning with that of a trained model.

    Args and errors are those of `glc.training.stage1.main`.
    """
    config, model, resumed = begin("stylization", config_path, overrides, resume=resume)
    model.latent_decoder.train()
    picture = _picture(config.style)
    photos = Photos(config.data, config.seed)
    extras: dict[str, Stateful] = {"photos": photos}
    features = perceptual_distance(config.features, torch.device("cpu"))
    if features is None:
        raise InvalidArgumentError(
            "config: features.weights: expected a network's, whose features tell a style, got none"
        )
    run = Run("stylization", config, model, [model.latent_decoder], {}, extras)
    features.to(run.device)
    losses = StyleLoss(features, picture.to(run.device))

    def update(step: int, x: Tensor) -> Metrics:
        level = run.portion.levels(1, model.config.levels).float()
        with torch.no_grad():
            with run.autocast():
                l = model.latents(x).float()
            y = model.analysis(l, level)
            four = model.four_part(y, model.entropy_params(model.hyper_index(y)))
            l_hat = model.synthesis(four.y_hat, level)
        with run.autocast():
            x_hat = model.reconstruct(l_hat)
            content, style = losses(x, x_hat)
        variation = total_variation(x_hat.float())
        run.backward(
            content=content.mean(),
            style=config.style.weight * style.mean(),
            variation=config.style.smoothness * variation.mean(),
        )
        return {"content": content.mean(), "style": style.mean(), "variation": variation.mean()}

    def observe(step: int, seen: Mapping[str, Tensor]) -> Metrics:
        return {}

    def validate(averaged: GLC, x: Tensor) -> tuple[dict[str, float], Tensor]:
        return validate_style(averaged, x, losses)

    if resumed is not None:
        run.resume(resumed)
    run.loop(photos, update, observe, validate)


def _picture(config: StyleConfig) -> Tensor:
    if config.image is None:
        raise InvalidArgumentError("config: style.image: expected a picture, got none")
    image = Image.fromarray(load_image(config.image))
    if max(image.size) > LONGEST * min(image.size):
        raise InvalidArgumentError(
            f"config: style.image: expected one side at most {LONGEST} times the other, got "
            f"{image.width}x{image.height}"
        )
    factor = config.side / min(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    return to_tensor(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)))[None]


if __name__ == "__main__":
    from glc.training.cli import launched

    launched(main)
