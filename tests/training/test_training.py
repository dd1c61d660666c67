# SPDX-License-Identifier: Apache-2.0
"""Every stage takes steps, learns, stops and resumes; on a tiny model and drawn photos."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.losses.adversarial import adaptive_weight
from glc.models import GLC
from glc.models.config import PRESETS, VQGANConfig
from glc.training.cli import run
from glc.training.config_file import load_config
from glc.training.data import Photos
from glc.training.loop import Run


@pytest.fixture(scope="module")
def trained(photos, write_config, tmp_path_factory):
    """All three stages in a row, with a discriminator in the first and the last."""
    folder = tmp_path_factory.mktemp("runs")
    adversarial = "{weight: 0.8, start: 2, discriminator_start: 1, width: 8, layers: 2}"
    run("stage1", write_config(folder, "stage1", adversarial=adversarial), [], False)
    first = folder / "stage1" / "checkpoint.pt"
    rate = "{level_scales: [0.5, 1.0, 1.5, 2.0]}"
    run("stage2", write_config(folder, "stage2", init=first, rate=rate), [], False)
    second = folder / "stage2" / "checkpoint.pt"
    third = write_config(
        folder,
        "stage3",
        init=second,
        adversarial=adversarial,
        levels_per_image=2,
        rate="{lambdas: [0.1, 0.2, 0.3, 0.4], targets: [0.1, 0.2, 0.3, 0.4]}",
    )
    run("stage3", third, [], False)
    return folder


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_a_stage_ends_in_a_model(trained, stage):
    model = GLC.from_pretrained(trained / stage / "model")
    assert all(t.isfinite().all() for t in model.state_dict().values())
    validation = records(trained / stage)[-1]["validation"]
    assert all(np.isfinite(v) for v in validation.values())
    assert load_config(trained / stage / "config.yaml", []).steps == 6


def test_the_adversarial_term_is_weighed_by_likeness_alone(
    trained, write_config, tmp_path, monkeypatch
):
    """By |x - x_hat| and L_per, whatever codes and low frequencies weigh (facts G)."""
    weighed = []

    def weight(reconstruction, *rest):
        weighed.append(reconstruction.item())
        return adaptive_weight(reconstruction, *rest)

    monkeypatch.setattr("glc.training.adversary.adaptive_weight", weight)
    first = trained / "stage2" / "checkpoint.pt"
    for number, factor in enumerate((0.05, 50.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write_config(folder, "stage3", init=first, code_weight=factor, lowpass_weight=factor)
        changes = ["adversarial={weight: 0.8, start: 0, width: 8, layers: 2}", "features.weight=2"]
        run("stage3", path, ["steps=1", *changes], False)
    assert weighed[0] == weighed[1] > 0


def test_a_discriminator_deeper_than_the_crop_is_refused(write_config, tmp_path):
    path = write_config(tmp_path, "stage1", steps=1, codebook="{start: 0}")
    run("stage1", path, ["adversarial={weight: 0.8, width: 8, layers: 4}"], False)
    changes = [f"out={tmp_path / 'deeper'}", "adversarial={weight: 0.8, width: 8, layers: 5}"]
    with pytest.raises(InvalidArgumentError, match=r"adversarial\.layers: expected fewer"):
        run("stage1", path, changes, False)


def test_levels_start_where_asked(trained):
    model = GLC.from_pretrained(trained / "stage2" / "model")
    started = torch.tensor([0.5, 1.0, 1.5, 2.0])
    torch.testing.assert_close(model.g_a.q.mean((1, 2, 3)), started, rtol=0, atol=0.05)
    torch.testing.assert_close(model.g_s.q.mean((1, 2, 3)), 1 / started, rtol=0, atol=0.05)
    with pytest.raises(InvalidArgumentError, match="expected 4, got 1"):
        model.g_a.spread_levels([1.0])


def test_stages_train_what_they_should(trained):
    first, second, third = (
        GLC.from_pretrained(trained / f"stage{n}" / "model").state_dict() for n in (1, 2, 3)
    )

    def moved(before, after, prefix):
        return any(not torch.equal(before[k], after[k]) for k in before if k.startswith(prefix))

    for part in ("latent_encoder.", "latent_decoder.", "image_vq."):
        assert not moved(first, second, part), part
    for part in ("g_a.", "h_a.", "h_s.", "hyper_vq.", "z_prior.", "context.", "g_s."):
        assert moved(first, second, part), part
        assert moved(second, third, part), part
    assert moved(second, third, "latent_encoder.")
    assert moved(second, third, "latent_decoder.")
    assert not moved(second, third, "image_vq.")


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_resuming_equals_never_having_stopped(trained, tmp_path, until_first_checkpoint, stage):
    config = load_config(trained / stage / "config.yaml", [])
    path = trained / f"{stage}.yaml"
    out = tmp_path / "again"

    with until_first_checkpoint():
        run(stage, path, [f"out={out}"], False)
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == config.checkpoint_every
    run(stage, path, [f"out={out}"], True)
    whole = GLC.from_pretrained(trained / stage / "model").state_dict()
    resumed = GLC.from_pretrained(out / "model").state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


def test_balance_weighs_the_levels_in_stage2(trained, tmp_path, monkeypatch):
    """At 1 all distortions weigh alike, by the factor that makes the balance 1 on average."""
    first_terms = []

    def keep_first(self, **terms):
        if self.step == 0:
            first_terms.append({name: term.item() for name, term in terms.items()})
        backward(self, **terms)

    backward = Run.backward
    monkeypatch.setattr(Run, "backward", keep_first)
    for lambdas, power in (([1.0] * 4, 0.0), ([0.1, 0.2, 0.4, 0.8], 1.0)):
        changes = [f"out={tmp_path / str(power)}", "steps=3", f"rate.lambdas={lambdas}"]
        run("stage2", trained / "stage2.yaml", [*changes, f"rate.balance={power}"], False)
    plain, balanced = first_terms
    assert balanced["d_code"] == pytest.approx(plain["d_code"] / ((10 + 5 + 2.5 + 1.25) / 4))


def test_stage1_learns_to_reconstruct(write_config, tmp_path):
    """After 200 steps the tiny model beats the best flat picture by a wide margin."""
    path = write_config(tmp_path, "stage1", steps=200, learning_rate=5e-3)
    run("stage1", path, ["validate_every=1000"], False)
    x = Photos(load_config(path, []).data, seed=0).validation_batch()
    flat = ((x - x.mean((2, 3), keepdim=True)) / 2).square().mean((1, 2, 3))
    reached = records(tmp_path / "stage1")[-1]["validation"]["psnr"]
    assert reached > float((-10 * flat.log10()).mean()) + 3


def test_wrong_stage_order_is_refused(trained, write_config, tmp_path):
    path = write_config(tmp_path, "stage3", init=trained / "stage1" / "checkpoint.pt")
    with pytest.raises(InvalidArgumentError, match="expected a checkpoint of stage2"):
        run("stage3", path, [], False)
    with pytest.raises(InvalidArgumentError, match="init"):
        run("stage2", write_config(tmp_path, "stage2"), [], False)
    path = write_config(tmp_path, "stage1", init=trained / "stage1" / "checkpoint.pt")
    with pytest.raises(InvalidArgumentError, match="init: expected a model's folder or name"):
        run("stage1", path, [], False)
    with pytest.raises(InvalidArgumentError, match="checkpoint"):
        run("stage1", write_config(tmp_path, "stage1"), [], True)
    with pytest.raises(InvalidArgumentError, match="stage4"):
        run("stage4", path, [], False)


@pytest.fixture
def read_events():
    """Reads what a run wrote for tensorboard."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )

    def read(folder: Path):
        events = accumulator.EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        return events

    return read


def test_tensorboard_gets_scalars_and_pictures(write_config, read_events, tmp_path):
    run("stage1", write_config(tmp_path, "stage1"), ["tensorboard=true"], False)
    events = read_events(tmp_path / "stage1")
    tags = events.Tags()
    assert "validation" in {tag.split("/")[0] for tag in tags["images"]}
    assert {"train/l1", "validation/psnr", "validation/perplexity"} <= set(tags["scalars"])


def test_tensorboard_keeps_the_records_of_the_step_that_a_run_goes_on_from(
    write_config, read_events, tmp_path
):
    path = write_config(tmp_path, "stage1", validate_every=2, checkpoint_every=2)
    run("stage1", path, ["tensorboard=true", "steps=4"], False)
    run("stage1", path, ["tensorboard=true"], True)
    events = read_events(tmp_path / "stage1")
    logged = records(tmp_path / "stage1")
    for tag, group in (("train/l1", "l1"), ("validation/psnr", "validation")):
        assert [e.step for e in events.Scalars(tag)] == [r["step"] for r in logged if group in r]


def test_layouts_are_a_setting_and_batches_must_divide(write_config, tmp_path):
    path = write_config(tmp_path, "stage1")
    run("stage1", path, ["channels_last=true"], False)
    assert GLC.from_pretrained(tmp_path / "stage1" / "model")
    with pytest.raises(InvalidArgumentError, match=r"batch: expected a multiple.*got 4"):
        run("stage1", path, ["accumulate=3", f"out={tmp_path / 'parts'}"], False)


def test_the_authors_kind_of_model_trains(write_config, tmp_path, monkeypatch):
    """Codebooks trained by gradient, gated blocks, a VQGAN autoencoder: three stages in a row."""
    layout = dataclasses.replace(
        PRESETS["glc-tiny"],
        autoencoder=VQGANConfig(channels=32, channel_multipliers=(1, 1, 1, 1, 1), res_blocks=1),
        codebook_ema=None,
        gated_transforms=True,
        adaptor_blocks=True,
        normalize_z=False,
    )
    monkeypatch.setitem(PRESETS, "glc-tiny", layout)
    before = None
    for stage in ("stage1", "stage2", "stage3"):
        path = write_config(tmp_path, stage, init=before or "null", steps=4, batch=2)
        run(stage, path, ["codebook.start=1"], False)
        before = tmp_path / stage / "checkpoint.pt"
    first, second, third = (
        GLC.from_pretrained(tmp_path / f"stage{n}" / "model").state_dict() for n in (1, 2, 3)
    )
    assert torch.equal(first["image_vq.codebook"], second["image_vq.codebook"])
    for before, after in ((first, second), (second, third)):
        assert not torch.equal(before["hyper_vq.codebook"], after["hyper_vq.codebook"])
