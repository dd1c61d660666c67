# SPDX-License-Identifier: Apache-2.0
"""What values a stage's configuration may have, alone and together with its model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from glc.errors import InvalidArgumentError
from glc.models.config import GLCConfig
from glc.training.config import StageConfig

# what is expected, the test of a number, the keys it holds for; of a list every item is tested
RULES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    (
        "at least 1",
        lambda v: v >= 1,
        "steps batch accumulate nonfinite_limit checkpoint_every validate_every levels_per_image "
        "data.crop data.validation_crop adversarial.width adversarial.layers "
        "codebook.reseed_every codebook.reservoir",
    ),
    (
        "at least 0",
        lambda v: v >= 0,
        "warmup threads weight_decay code_weight lowpass_weight latent_noise "
        "data.holdout data.workers data.cache_gb features.weight adversarial.weight "
        "adversarial.start adversarial.discriminator_start codebook.start codebook.dead_fraction "
        "codebook.weight rate.gain rate.balance",
    ),
    ("0 to 2^63 - 1", lambda v: 0 <= v < 2**63, "seed"),
    (
        "above 0",
        lambda v: v > 0,
        "learning_rate clip data.resized_range adversarial.learning_rate "
        "rate.lambdas rate.targets rate.level_scales rate.boost",
    ),
    (
        "0 to 1",
        lambda v: 0 <= v <= 1,
        "final_rate quantized_share data.resized_share features.share codebook.reseed_until "
        "rate.noise_until",
    ),
    ("above 0, at most 1", lambda v: 0 < v <= 1, "rate.boost_until"),
    ("at least 0, below 1", lambda v: 0 <= v < 1, "ema_decay betas"),
)


def check_ranges(config: StageConfig) -> None:
    """Refuse numbers that no run can use.

    Raises:
        InvalidArgumentError: naming the first key out of its range.
    """
    for expected, holds, keys in RULES:
        for key in keys.split():
            value = _value(config, key)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not (math.isfinite(number) and holds(number)):
                    raise _refusal(key, expected, value)
    low, high = config.data.resized_range
    if low > high:
        raise _refusal("data.resized_range", "the smaller first", (low, high))
    if round(low * config.data.crop) < 1:
        raise _refusal("data.resized_range", "cuts of at least a pixel", (low, high))


def check_model(
    config: StageConfig, layout: GLCConfig, *, levels: bool, codes: bool = False
) -> None:
    """Refuse crops and rate levels that do not suit the model, before anything is computed.

    Args:
        config: of the stage.
        layout: of its model.
        levels: whether the stage codes at rate levels.
        codes: whether the stage predicts the codes of its crops.

    Raises:
        InvalidArgumentError: naming the first key that does not.
    """
    for key in ("data.crop", "data.validation_crop"):
        if _value(config, key) % layout.pad_multiple:
            expected = f"a multiple of {layout.pad_multiple}, the model's padding"
            raise _refusal(key, expected, _value(config, key))
    stride, positions = layout.autoencoder.stride, layout.predictor.positions
    if codes and (config.data.crop // stride) ** 2 != positions:
        expected = f"{stride * math.isqrt(positions)}, which the model's code predictor is made for"
        raise _refusal("data.crop", expected, config.data.crop)
    if not levels:
        return
    for key, may_be_empty in (("lambdas", False), ("targets", True), ("level_scales", True)):
        value = _value(config, f"rate.{key}")
        if len(value) != layout.levels and (value or not may_be_empty):
            expected = f"{layout.levels} values, one per level of the model"
            raise _refusal(f"rate.{key}", expected, value)


def _value(config: StageConfig, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), config)


def _refusal(key: str, expected: str, value: object) -> InvalidArgumentError:
    got = list(value) if isinstance(value, tuple) else value
    return InvalidArgumentError(f"config: {key}: expected {expected}, got {got}")
