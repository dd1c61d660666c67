# SPDX-License-Identifier: Apache-2.0
"""What one training run needs to know: frozen dataclasses, read from YAML."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from glc.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos and how crops are cut from them.

    Attributes:
        root: folder of photos, searched recursively, or the base of `list`.
        list: text file with one path per line, relative to `root`; None takes every photo.
        holdout: number of photos kept for validation, spread evenly over the sorted list.
        crop: side of a training crop, pixels; a multiple of the model's padding.
        resized_share: share of crops cut larger or smaller and resized to `crop`.
        resized_range: smallest and largest side of such a cut, in multiples of `crop`.
        validation_crop: side of the centred validation crops, pixels.
    """

    root: str
    list: str | None = None
    holdout: int = 32
    crop: int = 128
    resized_share: float = 0.35
    resized_range: tuple[float, float] = (0.75, 1.625)
    validation_crop: int = 256


@dataclass(frozen=True, kw_only=True)
class FeatureLossConfig:
    """The perceptual term: SqueezeNet feature distance on weights the user supplies.

    Attributes:
        weights: state dict of SqueezeNet 1.1; None leaves the term out.
        weight: factor beside the L1 term.
        share: share of each batch it is computed on.
    """

    weights: str | None = None
    weight: float = 0.5
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """The adversarial term.

    Attributes:
        weight: lambda_adv; 0 leaves the term and the discriminator out.
        start: step at which the generator begins to see it.
        discriminator_start: step at which the discriminator begins to train.
        width: channels of the discriminator's first layer.
        layers: its stride-2 layers.
        learning_rate: its constant learning rate.
    """

    weight: float = 0.8
    start: int = 0
    discriminator_start: int = 0
    width: int = 64
    layers: int = 4
    learning_rate: float = 1e-4


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """How a codebook is brought to life and kept alive.

    Attributes:
        start: steps during which vectors pass unquantised; the codebook is then drawn
            from recent vectors.
        reseed_every: steps between re-seedings of dead codes.
        reseed_until: share of the run after which codes are left alone.
        dead_fraction: share of the mean usage below which a code is dead.
        reservoir: recent vectors kept to draw from.
        weight: factor on the codebook and commitment losses of Stages II and III.
    """

    start: int = 300
    reseed_every: int = 50
    reseed_until: float = 0.5
    dead_fraction: float = 0.05
    reservoir: int = 4096
    weight: float = 0.1


@dataclass(frozen=True, kw_only=True)
class RateConfig:
    """The weights lambda of the rate levels, and the controller that steers them.

    Attributes:
        lambdas: initial weight per level, low rate first.
        targets: bits per pixel asked for per level; empty leaves the lambdas alone.
        gain: log-lambda change per step per unit of log rate error.
        balance: every sample's loss is multiplied by (largest lambda / its lambda) to this
            power. At 0, the paper's weighting, the highest level drowns the others' gradients
            when the lambdas span a factor of 30; at 1, distortions weigh alike.
        level_scales: what q_enc starts at per level in Stage II, and q_dec at the inverse;
            empty starts both at one, as the authors do, and the levels then part slowly.
        boost: factor on every lambda at step 0, falling to 1 at `boost_until`.
        boost_until: share of the run.
        noise_until: share of the run with additive noise in the rate term; rounded
            symbols afterwards.
    """

    lambdas: tuple[float, ...] = (0.05, 0.11, 0.25, 0.6)
    targets: tuple[float, ...] = ()
    gain: float = 0.002
    balance: float = 0.0
    level_scales: tuple[float, ...] = ()
    boost: float = 1.0
    boost_until: float = 0.33
    noise_until: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Everything common to the three stages.

    Attributes:
        out: folder of the run: checkpoint, log, validation table, exported model.
        data: photos and crops.
        model: name of a preset (Stage I; later stages take it from `init`).
        init: checkpoint of the stage before; None starts from scratch.
        steps: optimiser steps.
        batch: crops per step.
        learning_rate: peak rate of AdamW.
        final_rate: last learning rate as a share of the peak; cosine between.
        warmup: steps of linear warm-up.
        betas: AdamW moments.
        weight_decay: AdamW decay.
        clip: largest gradient norm.
        ema_decay: decay per step of the averaged weights that are validated and exported.
        seed: of weights, crops and noise.
        threads: CPU threads; 0 leaves torch's choice.
        bf16: autocast of the image networks; the entropy path stays float32.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        levels_per_image: rate levels each crop is coded at, sharing one encoder pass.
        features: perceptual term.
        adversarial: adversarial term.
        codebook: care of the stage's codebook.
        rate: rate levels (Stages II and III).
        code_weight: lambda_code, weight of D_code in Stage III.
        lowpass_weight: of |x - x_hat| after averaging 8 x 8 pixels, in Stage III; keeps the
            hue of flat areas, which the features hardly see. Not in the paper, so 0.
        quantized_share: share of each Stage I batch that the decoder sees quantised;
            the rest it sees with noise of `latent_noise`.
        latent_noise: standard deviation relative to l's.
    """

    out: str
    data: DataConfig
    model: str = "glc-image-small"
    init: str | None = None
    steps: int = 1000
    batch: int = 8
    learning_rate: float = 1.5e-3
    final_rate: float = 0.02
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema_decay: float = 0.998
    seed: int = 0
    threads: int = 0
    bf16: bool = False
    checkpoint_every: int = 1000
    validate_every: int = 1000
    levels_per_image: int = 1
    features: FeatureLossConfig = field(default_factory=FeatureLossConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    rate: RateConfig = field(default_factory=RateConfig)
    code_weight: float = 0.05
    lowpass_weight: float = 0.0
    quantized_share: float = 0.5
    latent_noise: float = 0.3


def load_config(path: Path, overrides: list[str]) -> StageConfig:
    """Read a stage configuration.

    Args:
        path: YAML file with the fields of `StageConfig`.
        overrides: "a.b=value" strings, the value in YAML.

    Raises:
        InvalidArgumentError: no such file, not YAML, an unknown or missing key, a wrong type.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgumentError(f"config: {path}: expected a YAML file, got {error}") from error
    if not isinstance(plain, dict):
        raise InvalidArgumentError(f"config: {path}: expected a mapping, got {plain!r:.60}")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InvalidArgumentError(f"config: override: expected key=value, got {override!r}")
        *parents, leaf = key.split(".")
        node = plain
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = yaml.safe_load(text)
    return _build(StageConfig, plain, "")


def dump_config(config: StageConfig) -> str:
    """YAML text of a resolved configuration; `load_config` reads it back."""
    text: str = yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False)
    return text


_Config = TypeVar("_Config")


def _build(cls: type[_Config], plain: Any, where: str) -> _Config:
    hints = typing.get_type_hints(cls)
    if not isinstance(plain, dict):
        raise InvalidArgumentError(f"config: {where or '.'}: expected a mapping, got {plain!r}")
    unknown = sorted(set(plain) - set(hints))
    required = {
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(plain))
    if unknown or missing:
        raise InvalidArgumentError(
            f"config: {where or '.'}: expected keys among {sorted(hints)}, got unknown {unknown}, "
            f"missing {missing}"
        )
    values = {
        key: _convert(hints[key], value, f"{where}.{key}".lstrip("."))
        for key, value in plain.items()
    }
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise InvalidArgumentError(f"config: {where}: expected a list, got {value!r}")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    kinds = typing.get_args(hint) or (hint,)
    if float in kinds and isinstance(value, str):  # YAML reads 6e-4, without a point, as text
        with contextlib.suppress(ValueError):
            return float(value)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidArgumentError(f"config: {where}: expected {hint}, got {value!r}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
