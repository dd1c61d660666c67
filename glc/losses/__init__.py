# SPDX-License-Identifier: Apache-2.0
"""Training losses of the three stages."""

from glc.losses.adversarial import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from glc.losses.code_prediction import code_distortion
from glc.losses.perceptual import (
    FeatureDistance,
    SqueezeNetFeatures,
    TinyDarknetFeatures,
    VGGFeatures,
    lpips_vgg,
    squeezenet_distance,
    tinydarknet_distance,
)
from glc.losses.rate import LambdaController, spread_levels

__all__ = [
    "FeatureDistance",
    "LambdaController",
    "PatchDiscriminator",
    "SqueezeNetFeatures",
    "TinyDarknetFeatures",
    "VGGFeatures",
    "adaptive_weight",
    "code_distortion",
    "discriminator_loss",
    "generator_loss",
    "lpips_vgg",
    "spread_levels",
    "squeezenet_distance",
    "tinydarknet_distance",
]
