# SPDX-License-Identifier: Apache-2.0
"""Frozen configurations of the models, and the presets that ship with them."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from dataclasses import dataclass, field
from typing import Any

from glc.errors import InvalidArgumentError

DEPTH_SLOPE = 0.01  # LeakyReLU of the depthwise part of a block
FFN_SLOPE = 0.1  # LeakyReLU of its gated feed-forward part
STEP_MIN = 0.5  # the quantisation step is clamped from below only
Z_NORM_EPS = 1e-6  # keeps an all-zero z finite; far below any trained vector's mean square
MOST_HYPER_CODES = 1 << 16  # that the tables of files have room for (`cdf.ranked_index_tables`)


@dataclass(frozen=True, kw_only=True)
class VQGANConfig:
    """Shape of the convolutional VQGAN autoencoder of the authors (GLC, facts B1-B3, K)."""

    channels: int = 128  # times each multiplier: a multiple of 32, the groups of a normalisation
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    res_blocks: int = 2  # per level in the encoder; the decoder may have one more
    attention_window: int = 32  # latent positions; evaluation mode only
    final_swish: bool = True
    quant_conv: bool = True
    extra_decoder_block: bool = True

    def __post_init__(self) -> None:
        _check_values(self)
        widths = [self.channels * multiplier for multiplier in self.channel_multipliers]
        if not widths:
            raise InvalidArgumentError("VQGANConfig: channel_multipliers: expected some, got none")
        if any(width % 32 for width in widths):
            raise InvalidArgumentError(
                "VQGANConfig: channels: expected multiples of 32 times each of "
                f"channel_multipliers, got {widths}"
            )

    @property
    def stride(self) -> int:
        """Image pixels per latent position, per side."""
        return int(2 ** (len(self.channel_multipliers) - 1))


@dataclass(frozen=True, kw_only=True)
class LightConfig:
    """Shape of the CPU-sized autoencoder: space-to-depth stem, no normalisation or attention."""

    stem: int = 8  # space-to-depth factor in front of the first layer; a multiple of 4
    encoder_widths: tuple[int, int] = (96, 160)  # at 1/stem and 1/(2 stem)
    encoder_depths: tuple[int, int] = (2, 2)
    decoder_widths: tuple[int, int, int] = (192, 128, 64)  # at 1/(2 stem), 1/stem and 1/4
    decoder_depths: tuple[int, int, int] = (2, 3, 1)

    def __post_init__(self) -> None:
        _check_values(self)
        if self.stem % 4:  # the decoder doubles the sides, and ends with 4
            raise InvalidArgumentError(
                f"LightConfig: stem: expected a multiple of 4, got {self.stem}"
            )

    @property
    def stride(self) -> int:
        """Image pixels per latent position, per side."""
        return 2 * self.stem


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Shape of the code predictor, a supervision network used in training only (facts G)."""

    positions: int = 256  # latent positions of a training crop: a square, as the crop is one
    width: int = 512  # a multiple of the heads
    heads: int = 8
    layers: int = 9
    ffn_width: int = 1024

    def __post_init__(self) -> None:
        _check_values(self)
        if math.isqrt(self.positions) ** 2 != self.positions:
            raise InvalidArgumentError(
                f"PredictorConfig: positions: expected a square, got {self.positions}"
            )
        if self.width % self.heads:
            raise InvalidArgumentError(
                f"PredictorConfig: width: expected a multiple of {self.heads} heads, got "
                f"{self.width}"
            )


@dataclass(frozen=True, kw_only=True)
class GLCConfig:
    """Everything that fixes the layout of a GLC model.

    Values that no model can have are refused here, not where the model is built or codes.

    Attributes:
        autoencoder: image <-> latent maps E and D.
        l_channels: channels of the latent l.
        codebook_size: entries of the image codebook C (Stage I and code prediction).
        latent_channels: channels N of y; a multiple of 4.
        transform_blocks: blocks before and after the rate scaling in g_a and g_s.
        gated_transforms: product blocks (the authors') rather than plain ones in g_a and g_s.
        hyper_codebook_size: entries K of the hyper codebook C_h; 65536 at most.
        hyper_channels: dimension of a hyper code vector.
        normalize_z: divide every z vector by its root mean square before the search; the
            authors do not.
        codebook_ema: None trains both codebooks by gradient (the authors' way); a decay in
            (0, 1) lets them follow the moving average of their vectors.
        fusion_widths: widths of the prior fusion blocks; a 1x1 convolution to 3N follows
            unless the last width is 3N already.
        prior_channels: width of the spatial prior; a 1x1 convolution to 2N follows
            unless it is 2N already.
        prior_depth: blocks of the spatial prior shared by parts 1 to 3.
        adaptor_blocks: full blocks (the authors') rather than 1x1 convolutions as adaptors.
        levels: learned rate levels; four for files, whose qualities are 0 .. 3.
        residual_gain: factor on the last convolution of every residual branch at
            initialisation.
        predictor: shape of the code predictors.
    """

    autoencoder: VQGANConfig | LightConfig = field(default_factory=VQGANConfig)
    l_channels: int = 256
    codebook_size: int = 16384
    latent_channels: int = 256
    transform_blocks: int = 2
    gated_transforms: bool = True
    hyper_codebook_size: int = 16384
    hyper_channels: int = 256
    normalize_z: bool = False
    codebook_ema: float | None = None
    fusion_widths: tuple[int, ...] = (512, 768)
    prior_channels: int = 512
    prior_depth: int = 3
    adaptor_blocks: bool = True
    levels: int = 4
    residual_gain: float = 1.0
    predictor: PredictorConfig = field(default_factory=PredictorConfig)

    def __post_init__(self) -> None:
        _check_values(self)
        if self.latent_channels % 4:
            raise InvalidArgumentError(
                f"GLCConfig: latent_channels: expected a multiple of 4, got {self.latent_channels}"
            )
        if self.hyper_codebook_size > MOST_HYPER_CODES:
            raise InvalidArgumentError(
                f"GLCConfig: hyper_codebook_size: expected at most {MOST_HYPER_CODES}, got "
                f"{self.hyper_codebook_size}"
            )
        if self.codebook_ema is not None and not 0 < self.codebook_ema < 1:
            raise InvalidArgumentError(
                "GLCConfig: codebook_ema: expected None or a value in (0, 1), got "
                f"{self.codebook_ema}"
            )

    @property
    def pad_multiple(self) -> int:
        """Image sides are padded to this: the latent stride times the hyper stride of 4."""
        return 4 * self.autoencoder.stride

    @property
    def crop(self) -> int:
        """Side of the training crops that the code predictor is made for, pixels."""
        return self.autoencoder.stride * math.isqrt(self.predictor.positions)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary; `from_dict` restores the same configuration."""
        plain = dataclasses.asdict(self)
        plain["autoencoder"]["type"] = (
            "vqgan" if isinstance(self.autoencoder, VQGANConfig) else "light"
        )
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> GLCConfig:
        """Rebuild a configuration from `to_dict`'s output.

        Raises:
            InvalidArgumentError: a key is unknown, the autoencoder's type is, or it is missing; or
                a value is none of its field's.
        """
        if not isinstance(plain, dict) or not isinstance(plain.get("autoencoder"), dict):
            raise InvalidArgumentError("GLCConfig: autoencoder: expected a dictionary, got none")
        autoencoder = dict(plain["autoencoder"])
        kind = autoencoder.pop("type", None)
        kinds: dict[str, type] = {"vqgan": VQGANConfig, "light": LightConfig}
        if kind not in list(kinds):  # which may be of any type, a list too
            raise InvalidArgumentError(
                f"GLCConfig: autoencoder.type: expected one of {sorted(kinds)}, got {kind!r}"
            )
        config: GLCConfig = _build(
            cls,
            plain
            | {
                "autoencoder": _build(kinds[kind], autoencoder),
                "predictor": _build(PredictorConfig, plain.get("predictor", {})),
            },
        )
        return config


# of numbers of blocks; every other integer counts something there must be one of
_MAY_BE_ZERO = {
    *("res_blocks", "encoder_depths", "decoder_depths"),
    *("transform_blocks", "prior_depth", "layers"),
}


def _check_values(config: Any) -> None:
    """Refuse values of another type than their field's, and sizes that no network has."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        least = 0 if name in _MAY_BE_ZERO else 1
        if not _fits(value, hint, least):
            expected = hint.__name__ if isinstance(hint, type) else str(hint)
            at_least = f" >= {least}" if "int" in expected else ""
            raise InvalidArgumentError(
                f"{type(config).__name__}: {name}: expected {expected}{at_least}, got {value!r}"
            )


def _fits(value: Any, hint: Any, least: int) -> bool:
    if typing.get_origin(hint) is tuple:
        item, *others = typing.get_args(hint)
        return (
            isinstance(value, tuple)
            and (others == [...] or len(value) == 1 + len(others))
            and all(_fits(each, item, least) for each in value)
        )
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool) or bool in kinds:
        return isinstance(value, bool) and bool in kinds
    if float in kinds and isinstance(value, (int, float)):
        return abs(value) <= sys.float_info.max  # an integer may be beyond it
    return isinstance(value, kinds) and not (isinstance(value, int) and value < least)


def _build(cls: type, plain: Any) -> Any:
    if not isinstance(plain, dict):
        raise InvalidArgumentError(f"{cls.__name__}: expected a dictionary, got {plain!r:.60}")
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(plain) - known, key=str)
    if unknown:
        raise InvalidArgumentError(
            f"{cls.__name__}: expected keys among {sorted(known)}, got unknown {unknown}"
        )
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})


GLC_IMAGE = GLCConfig()
"""The authors' GLC-image layout (164.0 M floats with predictors, 104.6 M at inference)."""

GLC_FACE = dataclasses.replace(
    GLC_IMAGE,
    autoencoder=VQGANConfig(
        channels=64,
        channel_multipliers=(1, 2, 2, 4, 4, 8),
        final_swish=False,
        quant_conv=False,
        extra_decoder_block=False,
    ),
    codebook_size=1024,
    hyper_codebook_size=1024,
)
"""GLC-face, for portraits of 512 x 512 pixels: an autoencoder like CodeFormer's (facts K).

The authors published neither its code nor its weights. Known are the autoencoder, with a stride of
32 and 1024 codes, and that every stage is trained on FFHQ at 512. Ours is the choice of the rest,
which is as in `GLC_IMAGE`: N = 256, four levels, attention in windows of 32 x 32 positions, whole
at that size. As there the hyper codebook is as large as the image codebook, so that the 16 hyper
indices of a portrait count 160 bits.
"""

GLC_IMAGE_SMALL = GLCConfig(
    autoencoder=LightConfig(),
    l_channels=128,
    codebook_size=1024,
    latent_channels=96,
    transform_blocks=1,
    gated_transforms=False,
    hyper_codebook_size=512,
    hyper_channels=32,
    normalize_z=True,
    codebook_ema=0.99,
    fusion_widths=(96,),
    prior_channels=128,
    prior_depth=2,
    adaptor_blocks=False,
    residual_gain=0.3,
    predictor=PredictorConfig(positions=64, width=128, heads=4, layers=3, ffn_width=256),
)
"""The bundled preset for ordinary CPUs, trained on 128 x 128 crops."""

TINY = dataclasses.replace(
    GLC_IMAGE_SMALL,
    autoencoder=LightConfig(
        encoder_widths=(16, 16),
        encoder_depths=(1, 1),
        decoder_widths=(16, 16, 16),
        decoder_depths=(1, 1, 1),
    ),
    l_channels=16,
    codebook_size=64,
    latent_channels=16,
    hyper_codebook_size=32,
    hyper_channels=8,
    fusion_widths=(16,),
    prior_channels=16,
    prior_depth=1,
    predictor=PredictorConfig(positions=16, width=16, heads=2, layers=1, ffn_width=16),
)
"""The smallest model with every joint of the real one: for tests and for quick trials."""

PRESETS: dict[str, GLCConfig] = {
    "glc-image": GLC_IMAGE,
    "glc-face": GLC_FACE,
    "glc-image-small": GLC_IMAGE_SMALL,
    "glc-tiny": TINY,
}


def preset(name: str) -> GLCConfig:
    """Configuration of a named preset.

    Raises:
        InvalidArgumentError: the name is unknown.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidArgumentError(
            f"preset: name: expected one of {sorted(PRESETS)}, got {name!r}"
        ) from None
