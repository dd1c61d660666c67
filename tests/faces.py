# SPDX-License-Identifier: Apache-2.0
"""The layout of `glc-face`, its stride of 32 among it, as small as tests can afford."""

import dataclasses

import torch

from glc.models import GLC
from glc.models.config import GLC_FACE, PredictorConfig

SMALL_FACE = dataclasses.replace(
    GLC_FACE,
    autoencoder=dataclasses.replace(
        GLC_FACE.autoencoder, channels=32, channel_multipliers=(1, 1, 1, 1, 1, 2), res_blocks=1
    ),
    l_channels=16,
    codebook_size=64,
    latent_channels=16,
    transform_blocks=1,
    hyper_codebook_size=32,
    hyper_channels=8,
    fusion_widths=(32, 48),
    prior_channels=32,
    prior_depth=1,
    predictor=PredictorConfig(positions=16, width=16, heads=2, layers=1, ffn_width=16),
)


def lively_face() -> GLC:
    """A model of random weights, in evaluation mode, with symbols enough to test."""
    torch.manual_seed(1)
    model = GLC(SMALL_FACE).eval()
    with torch.no_grad():
        model.g_a.q.copy_(torch.linspace(1.0, 6.0, 4).reshape(4, 1, 1, 1).expand_as(model.g_a.q))
    return model
