# SPDX-License-Identifier: Apache-2.0
"""The perceptual term by its configured name: LPIPS where its weights are, stand-ins elsewhere."""

from __future__ import annotations

import torch

from glc.errors import InvalidArgumentError
from glc.losses.perceptual import (
    FeatureDistance,
    lpips_vgg,
    squeezenet_distance,
    tinydarknet_distance,
)
from glc.training.config import FeatureLossConfig


def perceptual_distance(config: FeatureLossConfig, device: torch.device) -> FeatureDistance | None:
    """The perceptual term that a run is configured to train with, or None.

    Raises:
        InvalidArgumentError: a file is missing or does not hold the network that is named.
    """
    if config.weights is None:
        return None
    if config.network == "lpips-vgg":
        if config.heads is None:
            raise InvalidArgumentError("config: features.heads: expected LPIPS's heads, got none")
        return lpips_vgg(config.weights, config.heads).to(device)
    makers = {"squeezenet": squeezenet_distance, "tinydarknet": tinydarknet_distance}
    return makers[config.network](config.weights).to(device)
