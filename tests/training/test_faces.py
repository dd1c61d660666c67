# SPDX-License-Identifier: Apache-2.0
"""A model of stride 32 trains through all stages, and on crops of its size."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.image import load_image
from glc.models import GLC
from glc.models.config import PRESETS
from glc.training.cli import run
from glc.training.finetune import _config
from glc.training.spread import CROPS, Spread
from glc.training.validation import CHUNK
from tests.faces import SMALL_FACE

DATA = "{{root: {}, holdout: 1, crop: {crop}, validation_crop: 128, resized_share: 0.0}}"


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """Four smooth pictures, 144 x 136."""
    folder = tmp_path_factory.mktemp("portraits")
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((144, 136), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(portraits, write_config, tmp_path_factory):
    """All three stages in a row, with a discriminator in the first and the last."""
    folder = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "glc-face", SMALL_FACE)
        patch.setattr("glc.training.spread.CROPS", 4)
        before = "null"
        for stage in ("stage1", "stage2", "stage3"):
            changes = {
                "model": "glc-face",
                "data": DATA.format(portraits, crop=128),
                "adversarial": "{}" if stage == "stage2" else "{start: 1, width: 8, layers: 2}",
                "codebook": "{}" if stage == "stage3" else "{start: 1}",
            }
            path = write_config(folder, stage, init=before, steps=2, batch=1, **changes)
            run(stage, path, [], False)
            before = folder / stage / "checkpoint.pt"
    return folder


def test_every_stage_moves_what_it_trains(trained):
    first, second, third = (
        GLC.from_pretrained(trained / f"stage{n}" / "model").state_dict() for n in (1, 2, 3)
    )
    for before, after, trains in (
        (first, second, {"g_a", "h_a", "hyper_vq", "z_prior", "h_s", "context", "g_s"}),
        (second, third, {*("latent_encoder", "latent_decoder", "g_a", "g_s", "context")}),
    ):
        moved = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
        assert trains <= moved
    assert all(t.isfinite().all() for t in third.values())


def test_rates_are_counted_for_the_stride(trained):
    """A hyper index of 5 bits for 128 x 128 pixels, and the rest."""
    lines = (trained / "stage3" / "log.jsonl").read_text().splitlines()
    validation = json.loads(lines[-1])["validation"]
    model = GLC.from_pretrained(trained / "stage3" / "model")
    for level in range(4):
        assert validation[f"bpp{level}"] > 5 / 128**2
    picture = load_image(trained.parent / "portraits0" / "0.png")
    codec = Codec(model)
    data = codec.encode(picture, quality=1)
    assert codec.decode(data).shape == picture.shape
    assert codec.analyze(data).z_symbols == 2 * 2


def test_codes_are_predicted_for_its_crops_only(portraits, trained, write_config, tmp_path):
    data = DATA.format(portraits, crop=256)
    path = write_config(tmp_path, "stage2", init=trained / "stage1" / "checkpoint.pt", data=data)
    with pytest.raises(InvalidArgumentError, match=r"data\.crop: expected 128, which the model's"):
        run("stage2", path, [], False)


def test_fine_tuning_takes_crops_of_a_models_size(portraits, tmp_path):
    """On smaller ones its normalisation sees what it was not trained on."""
    predictor = dataclasses.replace(SMALL_FACE.predictor, positions=64)
    layout = dataclasses.replace(SMALL_FACE, predictor=predictor)
    GLC(layout).save_pretrained(tmp_path / "model")
    data = _config(portraits, tmp_path / "tuned", str(tmp_path / "model"), 1, None).data
    assert data.crop == data.validation_crop == 256


def test_the_unit_of_latents_is_measured_on_a_few_crops_at_a_time():
    """Of 512 x 512 pixels all of them at once take more memory than a step does."""
    seen, spread = [], Spread()

    def encode(crops):
        seen.append(len(crops))
        return crops

    spread.measure(encode, lambda n: torch.arange(float(n)))
    assert sum(seen) == CROPS
    assert max(seen) <= CHUNK
    assert spread.value == torch.arange(float(CROPS)).std()
