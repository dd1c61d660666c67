# SPDX-License-Identifier: Apache-2.0
"""Restoration trains an encoder alone, stylisation a decoder alone; files stay what they were."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import glc
from glc.errors import InvalidArgumentError
from glc.losses.perceptual import FeatureDistance, SqueezeNetFeatures
from glc.losses.style import StyleLoss, total_variation
from glc.models import GLC
from glc.models.config import preset
from glc.training.cli import run
from glc.training.config import DataConfig, DegradationConfig
from glc.training.config_file import load_config
from glc.training.data import Photos


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory) -> Path:
    """Random weights: distances of some kind are all that is needed."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.manual_seed(5)
    torch.save(SqueezeNetFeatures().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(photos, write_config, squeezenet, tmp_path_factory) -> Path:
    """A model, and a few steps of both from it."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    GLC(preset("glc-tiny")).eval().save_pretrained(folder / "model")
    features = f"{{weights: {squeezenet}}}"
    style = f"{{image: {photos / '7.png'}, side: 48}}"
    for stage in ("restoration", "stylization"):
        path = write_config(folder, stage, init=folder / "model", features=features)
        run(stage, path, [f"style={style}"] if stage == "stylization" else [], False)
    return folder


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("stage", "part"), [("restoration", "latent_encoder."), ("stylization", "latent_decoder.")]
)
def test_one_network_moves_and_the_fingerprint_stays(trained, stage, part):
    before = GLC.from_pretrained(trained / "model")
    after = GLC.from_pretrained(trained / stage / "model")
    state, moved = after.state_dict(), set()
    for name, tensor in before.state_dict().items():
        if not torch.equal(tensor, state[name]):
            moved.add(name)
    assert moved
    assert all(name.startswith(part) for name in moved)
    assert after.fingerprint() == before.fingerprint()
    assert all(np.isfinite(v) for v in records(trained / stage)[-1]["validation"].values())


def test_files_are_read_by_either_model(trained, photos):
    """The restoring encoder's by the model as it was; the model's by the decoder that stylises."""
    model, restoring, stylizing = (
        glc.Codec(str(folder / "model"))
        for folder in (trained, trained / "restoration", trained / "stylization")
    )
    plain, restored = (codec.encode(photos / "0.png", quality=3) for codec in (model, restoring))
    assert plain != restored
    np.testing.assert_array_equal(model.decode(restored), restoring.decode(restored))
    assert (model.decode(plain) != stylizing.decode(plain)).any()


@pytest.mark.parametrize("stage", ["restoration", "stylization"])
def test_resuming_equals_never_having_stopped(trained, tmp_path, until_first_checkpoint, stage):
    path = trained / stage / "config.yaml"
    with until_first_checkpoint():
        run(stage, path, [f"out={tmp_path}"], False)
    run(stage, path, [f"out={tmp_path}", "init=gone"], True)
    resumed = GLC.from_pretrained(tmp_path / "model").state_dict()
    for name, tensor in GLC.from_pretrained(trained / stage / "model").state_dict().items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


def test_the_encoder_learns_what_the_noise_hides(trained, tmp_path):
    path = trained / "restoration" / "config.yaml"
    changes = [f"out={tmp_path}", "steps=80", "learning_rate=5e-3", "validate_every=80"]
    run("restoration", path, [*changes, "degradation.noise=[40, 40]"], False)
    config = load_config(tmp_path / "config.yaml", [])
    pairs = Photos(config.data, 1, config.degradation).first_crops(8)
    before, after = (GLC.from_pretrained(folder / "model").eval() for folder in (trained, tmp_path))
    with torch.no_grad():
        clean, degraded = pairs.chunk(2, dim=1)
        l = before.latents(clean)
        apart = [float((m.latents(degraded) - l).square().mean()) for m in (before, after)]
    assert apart[1] < 0.7 * apart[0]


def test_the_decoder_learns_the_style(trained, tmp_path):
    path = trained / "stylization" / "config.yaml"
    changes = [f"out={tmp_path}", "steps=60", "learning_rate=5e-3", "style.weight=10"]
    run("stylization", path, [*changes, "validate_every=60"], False)
    first, last = (records(folder)[-1] for folder in (trained / "stylization", tmp_path))
    for level in range(4):
        name = f"style{level}"
        assert last["validation"][name] < 0.7 * first["validation"][name]


def test_a_picture_is_in_its_own_style(photos, squeezenet):
    network = SqueezeNetFeatures()
    network.load_state_dict(torch.load(squeezenet, weights_only=True))
    x = Photos(DataConfig(root=str(photos), holdout=0, crop=64), 0).first_crops(2)
    losses = StyleLoss(FeatureDistance(network), x[:1])
    content, style = losses(x, x)
    torch.testing.assert_close(content, torch.zeros(2))
    assert style[0] < 1e-6 < style[1]
    moved = x.roll(16, dims=3)  # the same strokes in other places
    content, style = losses(x[:1], moved[:1])
    assert content > 0.01 > style


def test_variation_is_between_neighbours():
    x = torch.zeros(2, 1, 3, 4)
    x[1, 0, :, 2:] = 6.0  # of three steps across one, in each row
    torch.testing.assert_close(total_variation(x), torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(total_variation(x.transpose(2, 3)), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("restoration", ["init=null"], "init: expected a checkpoint of stage3"),
        ("restoration", ["degradation.noise=[-1, 5]"], r"degradation\.noise: expected 0 to 255"),
        ("restoration", ["degradation.jpeg=[90, 10]"], r"degradation\.jpeg: expected the smaller"),
        ("restoration", ["degradation.downscale=[0.5, 2]"], r"downscale: expected at least 1"),
        ("stylization", ["style.image=null"], r"style\.image: expected a picture, got none"),
        ("stylization", ["style.image=nowhere.png"], "nowhere.png"),
        (
            "stylization",
            ["features.weights=null", "features.network=tinydarknet"],
            r"features\.weights: expected a network's",
        ),
        ("stylization", ["style.image={thin}"], r"at most 16 times the other, got 340x20"),
    ],
)
def test_what_cannot_be_trained_is_refused(trained, tmp_path, recwarn, stage, changes, message):
    path, thin = trained / stage / "config.yaml", tmp_path / "thin.png"
    Image.new("RGB", (340, 20)).save(thin)
    changes = [change.replace("{thin}", str(thin)) for change in changes]
    recwarn.clear()
    with pytest.raises(InvalidArgumentError, match=message):
        run(stage, path, [f"out={tmp_path / 'none'}", *changes], False)
    assert not recwarn  # in one line
    assert not (tmp_path / "none").exists()


def test_settings_of_other_stages_are_named(trained, tmp_path):
    path = trained / "restoration" / "config.yaml"
    with pytest.warns(UserWarning, match=r"code_weight, .*style\.side: set, but restoration"):
        run("restoration", path, [f"out={tmp_path}", "style.side=64", "code_weight=1"], False)


def test_crops_stay_the_same_beside_their_copies(photos):
    config = DataConfig(root=str(photos), crop=64, holdout=2, validation_crop=64)
    plain = Photos(config, 3)
    pairs = Photos(config, 3, DegradationConfig(noise=(20.0, 20.0)))
    for alone, both in (
        (plain.first_crops(5), pairs.first_crops(5)),
        (plain.validation_batch(), pairs.validation_batch()),
    ):
        assert torch.equal(both[:, :3], alone)
        spread = (both[:, 3:] - both[:, :3]).std() * 127.5
        assert 15 < spread < 21  # what is clipped is lost
    again = Photos(config, 3, pairs.degradation).first_crops(5)
    assert torch.equal(again, pairs.first_crops(5))
