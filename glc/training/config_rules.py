# SPDX-License-Identifier: Apache-2.0
"""What values a stage's configuration may have, alone and together with its model."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

from glc.errors import InvalidArgumentError
from glc.models.config import PRESETS, GLCConfig
from glc.training.config import StageConfig

# what is expected, the test of a number, the keys it holds for; of a list every item is tested
RULES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    (
        "at least 1",
        lambda v: v >= 1,
        "steps batch accumulate nonfinite_limit checkpoint_every validate_every levels_per_image "
        "adversarial.width adversarial.layers "
        "codebook.reseed_every codebook.reservoir degradation.downscale",
    ),
    # VGG's four halvings leave a pixel of it, the low-pass term four
    ("at least 16", lambda v: v >= 16, "data.crop data.validation_crop style.side"),
    (
        "at least 0",
        lambda v: v >= 0,
        "warmup threads weight_decay code_weight prediction_weight lowpass_weight latent_noise "
        "data.holdout data.workers data.cache_gb features.weight adversarial.weight "
        "adversarial.start adversarial.discriminator_start codebook.start codebook.dead_fraction "
        "codebook.weight rate.gain rate.balance degradation.blur style.weight style.smoothness",
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
    ("0 to 255", lambda v: 0 <= v <= 255, "degradation.noise"),
    ("1 to 100", lambda v: 1 <= v <= 100, "degradation.jpeg"),
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
    degradations = [f"degradation.{f.name}" for f in dataclasses.fields(config.degradation)]
    for key in ("data.resized_range", *degradations):
        low, high = _value(config, key)
        if low > high:
            raise _refusal(key, "the smaller first", (low, high))
    low, high = config.data.resized_range
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
    if codes and config.data.crop != layout.crop:
        expected = f"{layout.crop}, which the model's code predictor is made for"
        raise _refusal("data.crop", expected, config.data.crop)
    if not levels:
        return
    for key, may_be_empty in (("lambdas", False), ("targets", True), ("level_scales", True)):
        value = _value(config, f"rate.{key}")
        if len(value) != layout.levels and (value or not may_be_empty):
            expected = f"{layout.levels} values, one per level of the model"
            raise _refusal(f"rate.{key}", expected, value)


def warn_of_unread(stage: str, config: StageConfig, layout: GLCConfig) -> None:
    """Warn of settings that are not the defaults, and that this run never looks at.

    One file may serve all stages, so they are not refused.

    Args:
        stage: its name on the command line.
        config: of the stage.
        layout: of its model.
    """
    features, adversarial, rate = config.features, config.adversarial, config.rate
    keeps_latents = stage in ("restoration", "stylization")
    unread = (
        (
            stage == "stage1",
            "rate levels_per_image code_weight prediction_weight lowpass_weight codebook.weight",
        ),
        (stage == "stage2", "features adversarial code_weight lowpass_weight"),
        (
            keeps_latents,
            "rate levels_per_image code_weight prediction_weight lowpass_weight codebook "
            "adversarial features.weight features.share",
        ),
        (stage != "restoration", "degradation"),
        (stage != "stylization", "style"),
        (stage != "stage1", "quantized_share latent_noise"),
        (stage == "stage3" and not config.code_weight, "prediction_weight"),
        (stage == "stage3", "codebook.start rate.level_scales rate.noise_until"),
        (PRESETS.get(config.model) != layout, "model"),
        (features.weights is None, "features.network features.heads features.weight"),
        (features.network != "lpips-vgg", "features.heads"),
        (
            not adversarial.weight,
            "adversarial.start adversarial.discriminator_start adversarial.width "
            "adversarial.layers adversarial.learning_rate",
        ),
        (not rate.targets, "rate.gain"),
        (rate.boost == 1, "rate.boost_until"),
    )
    default = StageConfig(out=config.out, data=config.data)
    names: dict[str, None] = {}  # in this order, each once
    for holds, keys in unread:
        for key in keys.split() if holds else ():
            names.update(dict.fromkeys(_changed(key, _value(config, key), _value(default, key))))
    if names:
        warnings.warn(
            f"config: {', '.join(names)}: set, but {stage} as configured does not read "
            f"{'them' if len(names) > 1 else 'it'}",
            stacklevel=2,
        )


def _changed(key: str, value: Any, default: Any) -> list[str]:
    """The keys at and below one whose values are not the defaults."""
    if not dataclasses.is_dataclass(value):
        return [key] if value != default else []
    fields = [(f"{key}.{f.name}", f.name) for f in dataclasses.fields(value)]
    pairs = [(name, getattr(value, leaf), getattr(default, leaf)) for name, leaf in fields]
    return [name for pair in pairs for name in _changed(*pair)]


def _value(config: StageConfig, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), config)


def _refusal(key: str, expected: str, value: object) -> InvalidArgumentError:
    got = list(value) if isinstance(value, tuple) else value
    return InvalidArgumentError(f"config: {key}: expected {expected}, got {got}")
