# SPDX-License-Identifier: Apache-2.0
"""Fine-tune a model on one kind of pictures: Stage III from its weights, at the rates it has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from glc.errors import InvalidArgumentError
from glc.evaluation import Evaluation, evaluate
from glc.files import is_within
from glc.fit_range import fit_range
from glc.loading import model_folder
from glc.losses.perceptual import tinydarknet_distance
from glc.models.glc import GLC
from glc.rate import LEVELS_PER_QUALITY, top_level
from glc.training.checkpoint import checkpoint_to_resume
from glc.training.config import (
    AdversarialConfig,
    CodebookConfig,
    DataConfig,
    FeatureLossConfig,
    RateConfig,
    StageConfig,
)
from glc.training.config_file import override_config
from glc.training.config_rules import check_model
from glc.training.data import Photos
from glc.training.distributed import Processes
from glc.training.features import perceptual_distance
from glc.training.level_rates import hold_rates, level_rates
from glc.training.stage3 import train

HELD_OUT_SHARE, HELD_OUT_MOST = 0.2, 12
STEM_CHARACTERS = 50  # of a photo's name that its copy keeps
RATE_CROPS = 64
RANGE_CROPS = 512
# where the controller held the bundled model's levels at the end of its training
LAMBDAS = (0.14, 0.37, 1.1, 3.5)


@dataclass(frozen=True)
class FineTuned:
    """Real files of held-out pictures, before and after.

    Attributes:
        before: by the model that was given.
        after: by the fine-tuned one.
        model: folder of the fine-tuned one.
    """

    before: Evaluation
    after: Evaluation
    model: Path


def finetune(
    photos: Path,
    out: Path,
    *,
    model: str,
    steps: int = 500,
    features: Path | None = None,
    tinydarknet: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> FineTuned:
    """Train on a folder of photos, hold a fifth of them out (12 at most), and compare on those.

    Rates are steered to what the given model spends on crops of the same photos, and what is left
    of the difference is made up for in the levels of the result, so that before and after differ in
    quality at equal bytes, not in where they spend.

    Args:
        photos: folder, with sub-folders and tar shards.
        out: folder of the run.
        model: a bundled model's name or a folder holding a model.
        steps: of 8 crops.
        features: weights of SqueezeNet 1.1 for the perceptual term; None leaves it out.
        tinydarknet: weights of Tiny Darknet, to compare its feature distance too.
        overrides: "a.b=value" strings, as for the stages.
        resume: go on from the run's checkpoint.

    Raises:
        InvalidArgumentError: as for the stages, no such model, fewer than two photos, none held
            out, `out` among them, or overrides of `out` or `init`, which are arguments.
        TrainingError: as for the stages.
    """
    model_folder(model)
    config = override_config(_config(photos, out, model, steps, features), overrides)
    for key, said, got in (("out", str(out), config.out), ("init", model, config.init)):
        if got != said:  # the result would be looked for, and compared, elsewhere
            raise InvalidArgumentError(
                f"finetune: {key}: expected {said}, which an argument says, got {got}"
            )
    if config.data.list is None and is_within(out, photos):
        raise InvalidArgumentError(
            f"finetune: out: expected a folder outside {photos}, got {out}, where what is held out "
            "would be trained on"
        )
    if not config.data.holdout:
        raise InvalidArgumentError("config: data.holdout: expected photos to compare on, got 0")
    resumed = checkpoint_to_resume("stage3", config, resume=resume)
    layout = GLC.from_pretrained(model).config
    # all of this not after measuring, and before anything is written
    check_model(config, layout, levels=True, codes=config.code_weight > 0)
    Processes(config)
    perceptual_distance(config.features, torch.device("cpu"))
    if tinydarknet is not None:
        tinydarknet_distance(tinydarknet)
    loader = Photos(config.data, config.seed)
    loader.validation_batch()
    crops = loader.first_crops(RATE_CROPS)
    targets = config.rate.targets
    if not targets and resumed is not None:
        targets = tuple(resumed["config"]["rate"]["targets"])
    elif not targets:
        targets = level_rates(GLC.from_pretrained(model), crops)
    rate = dataclasses.replace(config.rate, targets=targets)
    held_out = _write_held_out(loader, out / "held_out")
    last = top_level(len(targets)) // LEVELS_PER_QUALITY
    qualities = [float(quality) for quality in range(last + 1)]
    before = evaluate(held_out, model, qualities, tinydarknet=tinydarknet)
    train(dataclasses.replace(config, rate=rate), resume=resume)
    tuned = out / "model"
    trained = GLC.from_pretrained(tuned)
    hold_rates(trained, crops, targets)
    fit_range(trained, loader.first_crops(RANGE_CROPS).split(1))
    trained.save_pretrained(tuned)
    after = evaluate(held_out, str(tuned), qualities, tinydarknet=tinydarknet)
    return FineTuned(before, after, tuned)


def _config(photos: Path, out: Path, model: str, steps: int, features: Path | None) -> StageConfig:
    data = DataConfig(root=str(photos), holdout=0)
    count = len(Photos(data, 0).sources)
    if count < 2:
        raise InvalidArgumentError(
            f"finetune: photos: expected at least 2 in {photos}, got {count}"
        )
    layout = GLC.from_pretrained(model).config
    data = dataclasses.replace(
        data,
        holdout=max(1, min(HELD_OUT_MOST, int(HELD_OUT_SHARE * count))),
        crop=layout.crop,  # as the model was trained on
        validation_crop=layout.crop,
    )
    return StageConfig(
        out=str(out),
        data=data,
        init=model,
        keep_range=True,  # pictures that its networks run away on would decide every step
        steps=steps,
        learning_rate=2e-4,
        warmup=max(1, steps // 10),
        ema_decay=0.99,
        checkpoint_every=250,
        validate_every=max(1, steps // 2),
        features=FeatureLossConfig(weights=None if features is None else str(features)),
        adversarial=AdversarialConfig(weight=0.0),
        codebook=CodebookConfig(reseed_until=0.0),
        rate=RateConfig(
            lambdas=_spread(LAMBDAS, layout.levels), gain=min(0.02, 5 / steps), balance=0.5
        ),
        code_weight=0.0,
        lowpass_weight=1.0,
    )


def _write_held_out(photos: Photos, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for before in folder.glob("[0-9]" * 6 + "-*.png"):  # of a run that held out others
        before.unlink()
    for number in photos.validation:
        source = photos.sources[number]
        photo = photos.photo(number)
        if photo is not None:
            stem = Path(source.name or source.path.name).stem[:STEM_CHARACTERS]
            stem = "".join(c if c.isprintable() else "_" for c in stem)  # a tar may say anything
            Image.fromarray(photo).save(folder / f"{number:06d}-{stem}.png")
    return folder


def _spread(values: tuple[float, ...], levels: int) -> tuple[float, ...]:
    """As many values as levels, evenly spaced in log between the first and the last."""
    if levels == len(values):
        return values
    logs = torch.linspace(math.log(values[0]), math.log(values[-1]), levels)
    return tuple(logs.exp().tolist())
