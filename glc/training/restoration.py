# SPDX-License-Identifier: Apache-2.0
"""Restoration: an encoder that is given degraded pictures and writes the files of clean ones.

|E'(x') - E(x)|^2 in units of l's standard deviation, x' being x degraded   (facts I, applications:
an encoder from degraded images to the clean latent space, the decoder kept). E alone is trained,
and no file's symbols depend on it, so the model keeps its fingerprint: what the trained encoder
writes, every decoder of the model that it began as reads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from glc.models.glc import GLC
from glc.training.adaptation import begin
from glc.training.checkpoint import Stateful
from glc.training.data import Photos
from glc.training.features import perceptual_distance
from glc.training.loop import Metrics, Run
from glc.training.spread import Spread
from glc.training.validation import validate_codec


def main(config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train an encoder for degraded pictures, beginning with that of a trained model.

    Args and errors are those of `glc.training.stage1.main`.
    """
    config, model, resumed = begin("restoration", config_path, overrides, resume=resume)
    model.latent_encoder.train()
    photos = Photos(config.data, config.seed, config.degradation)
    teacher = copy.deepcopy(model.latent_encoder)
    spread = Spread()
    extras: dict[str, Stateful] = {"photos": photos, "spread": spread}
    run = Run("restoration", config, model, [model.latent_encoder], {"teacher": teacher}, extras)
    features = perceptual_distance(config.features, run.device)

    def update(step: int, x: Tensor) -> Metrics:
        clean, degraded = x.chunk(2, dim=1)
        with torch.no_grad(), run.autocast():
            l = model.latent_range.limit_l(teacher(clean)).float()
        with run.autocast():
            restored = model.latent_encoder(degraded).float()
        distance = ((restored - l) / spread.value).square().mean()
        run.backward(latent=distance)
        return {"latent": distance}

    def observe(step: int, seen: Mapping[str, Tensor]) -> Metrics:
        return {}

    def validate(averaged: GLC, x: Tensor) -> tuple[dict[str, float], Tensor]:
        clean, degraded = x.chunk(2, dim=1)
        return validate_codec(averaged, degraded, features, reference=clean)

    if resumed is not None:
        run.resume(resumed)
    spread.measure(teacher, lambda n: photos.first_crops(n)[:, :3].to(run.device))
    run.loop(photos, update, observe, validate)


if __name__ == "__main__":
    from glc.training.cli import launched

    launched(main)
