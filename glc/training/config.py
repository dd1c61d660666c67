# SPDX-License-Identifier: Apache-2.0
"""What one training run needs to know: frozen dataclasses, read from YAML by `config_file`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Network = Literal["squeezenet", "tinydarknet", "lpips-vgg"]
RateRounding = Literal["residual", "ste"]
Device = Literal["auto", "cpu"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos and how crops are cut from them.

    Attributes:
        root: folder of photos and tar shards, searched recursively, or the base of `list`.
        list: text file with one photo or tar per line, relative to `root`; None takes all.
        holdout: number of photos kept for validation, spread evenly over the sorted list.
        crop: side of a training crop, pixels; a multiple of the model's padding, at least 16.
        resized_share: share of crops cut larger or smaller and resized to `crop`.
        resized_range: smallest and largest side of such a cut, in multiples of `crop`.
        validation_crop: side of the centred validation crops, pixels; a multiple likewise.
        workers: processes that decode ahead of the training loop; 0 decodes inside it. None takes
            up to 8 of the cores that training on a GPU leaves idle, and 0 for training on a CPU.
        cache_gb: memory for decoded photos, shared between the workers; what does not fit is
            decoded again each time.
    """

    root: str
    list: str | None = None
    holdout: int = 32
    crop: int = 128
    resized_share: float = 0.35
    resized_range: tuple[float, float] = (0.75, 1.625)
    validation_crop: int = 256
    workers: int | None = None
    cache_gb: float = 2.0


@dataclass(frozen=True, kw_only=True)
class FeatureLossConfig:
    """The perceptual term, on weights the user supplies.

    Attributes:
        network: "lpips-vgg", the authors' choice; "squeezenet" or "tinydarknet", stand-ins that
            are a plain feature distance and not LPIPS.
        weights: the network's state dict; None leaves the term out.
        heads: LPIPS's own linear heads (v0.1), for "lpips-vgg" only.
        weight: factor beside the L1 term.
        share: share of each batch it is computed on.
    """

    network: Network = "squeezenet"
    weights: str | None = None
    heads: str | None = None
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
        start: steps during which vectors pass unquantised, the first in any case; the codebook is
            then drawn from recent vectors. Less than `steps`; not read by Stage III, which goes on
            with the codebook of Stage II.
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
        balance: every sample's loss is multiplied by its lambda to minus this power, the factors
            being 1 on average. At 0, the paper's weighting, the highest level drowns the others'
            gradients when the lambdas span a factor of 30; at 1, distortions weigh alike.
        level_scales: what q_enc starts at per level in Stage II, and q_dec at the inverse;
            empty starts both at one, as the authors do, and the levels then part slowly.
        boost: factor on every lambda at step 0, falling to 1 at `boost_until`.
        boost_until: share of the run.
        noise_until: share of Stage II with additive noise in the rate term; rounded symbols
            afterwards, and in all of Stage III.
        rounding: the rate term after that: "residual" gives y and its mean the slope of the
            unrounded residual's bits (`glc.ops.residual`); "ste" passes gradients straight
            through the rounding, which trains no mean where the symbol is zero.
    """

    lambdas: tuple[float, ...] = (0.05, 0.11, 0.25, 0.6)
    targets: tuple[float, ...] = ()
    gain: float = 0.002
    balance: float = 0.0
    level_scales: tuple[float, ...] = ()
    boost: float = 1.0
    boost_until: float = 0.33
    noise_until: float = 0.0
    rounding: RateRounding = "residual"


@dataclass(frozen=True, kw_only=True)
class DegradationConfig:
    """What is done, in this order, to the crops that a restoring encoder is given.

    How much of it is drawn for every crop evenly between the two values; of equal values, always
    so much.

    Attributes:
        blur: standard deviation of a Gaussian blur, pixels.
        downscale: factor by which sides shrink, to grow again.
        noise: standard deviation of Gaussian noise, steps of an 8-bit value.
        jpeg: quality of JPEG; at 100 none is made.
    """

    blur: tuple[float, float] = (0.0, 0.0)
    downscale: tuple[float, float] = (1.0, 1.0)
    noise: tuple[float, float] = (0.0, 50.0)
    jpeg: tuple[float, float] = (100.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """The picture whose style a decoder takes on.

    Attributes:
        image: the picture.
        side: its shorter side is resized to this, in pixels: strokes grow with it.
        weight: of the distance in style, beside that in content.
        smoothness: weight of the total variation, which keeps patterns of single pixels away.
    """

    image: str | None = None
    side: int = 256
    weight: float = 2.0
    smoothness: float = 0.3


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Everything common to the stages.

    Attributes:
        out: folder of the run: checkpoint, log, validation table, exported model. One that holds
            a checkpoint is only taken to resume.
        data: photos and crops.
        model: name of a preset (Stage I; later stages take it from `init`).
        init: checkpoint of the stage before, or a model (a folder, or a bundled one's name)
            to go on from; None starts from scratch.
        keep_range: hold maps within the latent range that the model of `init` has, for short runs
            on pictures like those it knows; by default it is forgotten, since another encoder has
            another.
        steps: optimiser steps.
        batch: crops per step, all processes together.
        accumulate: parts a process computes its crops in, one after the other, to save memory.
        learning_rate: peak rate of AdamW.
        final_rate: last learning rate as a share of the peak; cosine between.
        warmup: steps of linear warm-up.
        betas: AdamW moments.
        weight_decay: AdamW decay.
        clip: largest gradient norm.
        nonfinite_limit: steps with a gradient that is not finite, in a row, that stop the run;
            fewer are skipped and counted.
        ema_decay: decay per step of the averaged weights that are validated and exported.
        seed: of weights, crops and noise.
        threads: CPU threads; 0 leaves torch's choice.
        device: "cpu", or "auto" for the accelerator of this process, if there is one.
        bf16: autocast of the image networks; the entropy path stays float32.
        compile: torch.compile the image networks; pays on a GPU, not on a CPU.
        channels_last: memory layout of the image networks; pays on a GPU, not on a CPU.
        tensorboard: also write scalars and validation pictures below `out`.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        levels_per_image: rate levels each crop is coded at, sharing one encoder pass; different
            ones as long as the model has as many.
        features: perceptual term.
        adversarial: adversarial term.
        codebook: care of the stage's codebook.
        rate: rate levels (Stages II and III).
        code_weight: lambda_code, weight of D_code in Stage III.
        prediction_weight: alpha, weight within D_code of the cross entropy of predicted codes
            (Stages II and III); 0 leaves the predictor out.
        lowpass_weight: of |x - x_hat| after averaging 8 x 8 pixels, in Stage III; keeps the
            hue of flat areas, which the features hardly see. Not in the paper, so 0.
        quantized_share: share of each Stage I batch that the decoder sees quantised;
            the rest it sees with noise of `latent_noise`.
        latent_noise: standard deviation relative to l's.
        degradation: of the crops, in restoration.
        style: to be taken on, in stylisation.
    """

    out: str
    data: DataConfig
    model: str = "glc-image-small"
    init: str | None = None
    keep_range: bool = False
    steps: int = 1000
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 1.5e-3
    final_rate: float = 0.02
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    nonfinite_limit: int = 5
    ema_decay: float = 0.998
    seed: int = 0
    threads: int = 0
    device: Device = "auto"
    bf16: bool = False
    compile: bool = False
    channels_last: bool = False
    tensorboard: bool = True
    checkpoint_every: int = 1000
    validate_every: int = 1000
    levels_per_image: int = 1
    features: FeatureLossConfig = field(default_factory=FeatureLossConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    rate: RateConfig = field(default_factory=RateConfig)
    code_weight: float = 0.05
    prediction_weight: float = 0.5
    lowpass_weight: float = 0.0
    quantized_share: float = 0.5
    latent_noise: float = 0.3
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    style: StyleConfig = field(default_factory=StyleConfig)
