# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: from a model on a folder to a model and a table of real files."""

import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from glc.cli import app
from glc.defaults import DEFAULT_MODEL
from glc.errors import InvalidArgumentError
from glc.models import GLC, preset
from glc.training.checkpoint import read_checkpoint
from glc.training.config import DataConfig
from glc.training.data import Photos
from glc.training.finetune import RATE_CROPS, _write_held_out, finetune
from glc.training.level_rates import level_rates

OVERRIDES = ["data.crop=64", "data.validation_crop=64", "batch=4", "tensorboard=false", "threads=1"]


@pytest.fixture(autouse=True)
def few_range_crops(monkeypatch):
    """Measuring the range on as many as a user's run would be most of each test's time."""
    monkeypatch.setattr("glc.training.finetune.RANGE_CROPS", 4)


@pytest.fixture
def domain(tmp_path):
    """Eleven pictures of one kind: two are held out."""
    folder = tmp_path / "domain"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(11):
        coarse = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((130, 130), Image.Resampling.NEAREST)
        picture.save(folder / f"{number}.png")
    return folder


def test_one_command_tunes_and_compares(domain, tiny_folder, tmp_path):
    out = tmp_path / "tuned"
    (out / "held_out").mkdir(parents=True)
    (out / "held_out" / "000007-of-a-run-before.png").write_bytes(b"")
    arguments = ["finetune", domain, out, "--model", tiny_folder, "--steps", "3"]
    options = [word for override in OVERRIDES for word in ("--set", override)]
    result = CliRunner().invoke(app, [str(a) for a in arguments] + options)
    assert result.exit_code == 0, result.output
    assert "2 held-out pictures, before -> after" in result.stdout
    assert len(list((out / "held_out").iterdir())) == 2
    tuned, given = GLC.from_pretrained(out / "model"), GLC.from_pretrained(tiny_folder)
    assert tuned.fingerprint() != given.fingerprint()


@pytest.mark.parametrize("levels", [1, 6])
def test_any_number_of_levels(domain, tmp_path, levels):
    """Compared where files can name them: four."""
    torch.manual_seed(0)
    model = GLC(dataclasses.replace(preset("glc-tiny"), levels=levels))
    model.save_pretrained(tmp_path / "model")
    settings = {"model": str(tmp_path / "model"), "steps": 1, "overrides": OVERRIDES}
    result = finetune(domain, tmp_path / "tuned", **settings)
    qualities = [level.quality for level in result.after.levels]
    assert qualities == [0.0, 1.0, 2.0, 3.0][:levels]
    assert GLC.from_pretrained(result.model).config.levels == levels


def test_pictures_that_networks_run_away_on_decide_nothing(tmp_path, photo, monkeypatch):
    monkeypatch.setattr("glc.training.finetune.RANGE_CROPS", 24)
    domain = tmp_path / "domain"
    domain.mkdir()
    for number in range(11):
        pixels = photo[2 * number :][:128, 5 * number :][:, :128].copy()
        if number % 4 == 2:
            pixels[:] = np.arange(128)[:, None, None] // 4 % 2 * 255
        Image.fromarray(pixels).save(domain / f"{number}.png")
    overrides = [*OVERRIDES, "data.resized_share=0"]
    result = finetune(domain, tmp_path / "tuned", model=DEFAULT_MODEL, steps=2, overrides=overrides)
    log = (tmp_path / "tuned" / "log.jsonl").read_text().splitlines()
    assert not any(json.loads(line).get("skipped") for line in log)
    targets = read_checkpoint(tmp_path / "tuned" / "checkpoint.pt")["config"]["rate"]["targets"]
    assert max(targets) < 5  # they were millions
    before, after = result.before.levels[-1], result.after.levels[-1]
    assert after.psnr_db > before.psnr_db - 1
    found = GLC.from_pretrained(tmp_path / "tuned" / "model").latent_range.l_hat
    given = GLC.from_pretrained(DEFAULT_MODEL).latent_range.l_hat
    assert found.abs().max() < 2 * given.abs().max()


def test_rates_are_kept_and_runs_resumed(domain, tiny_folder, tmp_path):
    settings = {"model": str(tiny_folder), "overrides": OVERRIDES}
    result = finetune(domain, tmp_path / "tuned", steps=4, **settings)
    state = read_checkpoint(tmp_path / "tuned" / "checkpoint.pt")
    targets = state["config"]["rate"]["targets"]
    estimates = [level.estimated_bpp for level in result.before.levels]
    assert len(targets) == len(estimates)
    assert list(targets) == sorted(targets)
    with pytest.raises(InvalidArgumentError, match="--resume"):
        finetune(domain, tmp_path / "tuned", steps=6, **settings)
    again = finetune(domain, tmp_path / "tuned", steps=6, resume=True, **settings)
    state = read_checkpoint(tmp_path / "tuned" / "checkpoint.pt")
    assert state["step"] == 6
    assert state["config"]["rate"]["targets"] == targets
    sizes = [[level.file_bytes for level in r.before.levels] for r in (again, result)]
    assert sizes[0] == sizes[1]
    settings["overrides"] = [*OVERRIDES, "rate.targets=[0.1, 0.2, 0.3, 0.4]", "steps=7"]
    finetune(domain, tmp_path / "tuned", steps=3, resume=True, **settings)
    state = read_checkpoint(tmp_path / "tuned" / "checkpoint.pt")
    assert state["step"] == 7
    assert state["config"]["rate"]["targets"] == (0.1, 0.2, 0.3, 0.4)


def test_a_short_run_ends_at_its_targets_too(domain, tiny_folder, tmp_path):
    crops = Photos(DataConfig(root=str(domain), holdout=2, crop=64), 0).first_crops(RATE_CROPS)
    targets = [1.15 * rate for rate in level_rates(GLC.from_pretrained(tiny_folder), crops)]
    overrides = [*OVERRIDES, f"rate.targets={targets}"]
    result = finetune(
        domain, tmp_path / "tuned", model=str(tiny_folder), steps=1, overrides=overrides
    )
    rates = level_rates(GLC.from_pretrained(result.model), crops)
    assert rates == pytest.approx(targets, rel=0.06)


@pytest.mark.parametrize("inside", ["", "run"])
def test_held_out_pictures_are_not_among_the_photos(domain, tiny_folder, tmp_path, inside):
    """Their copies would be, were they written there, and trained on."""
    settings = {"model": str(tiny_folder), "steps": 1}
    before = sorted(domain.iterdir())
    with pytest.raises(InvalidArgumentError, match="finetune: out: expected a folder outside"):
        finetune(domain, domain / inside, overrides=OVERRIDES, **settings)
    assert sorted(domain.iterdir()) == before
    names = tmp_path / "list.txt"  # which names no copies
    names.write_text("".join(f"{path.name}\n" for path in before))
    overrides = [*OVERRIDES, f"data.list={names}"]
    finetune(domain, domain / "run", overrides=overrides, **settings)
    photos = read_checkpoint(domain / "run" / "checkpoint.pt")["extras"]["photos"]
    assert photos["photos"] == len(before)


def test_a_misspelt_model_is_not_asked_for_elsewhere(domain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(InvalidArgumentError, match="model: expected a folder or one of"):
        finetune(domain, tmp_path / "tuned", model="runs/mdoel")


@pytest.mark.parametrize("key", ["out", "init"])
def test_what_arguments_say_is_no_setting(domain, tiny_folder, tmp_path, key):
    overrides = [*OVERRIDES, f"{key}={tmp_path / 'another'}"]
    with pytest.raises(
        InvalidArgumentError, match=rf"^finetune: {key}: expected .*, got .*another"
    ):
        finetune(domain, tmp_path / "tuned", model=str(tiny_folder), steps=1, overrides=overrides)
    assert not (tmp_path / "tuned").exists()


def test_what_does_not_suit_the_model_is_refused_before_measuring(domain, tiny_folder, tmp_path):
    overrides = [*OVERRIDES, "rate.targets=[0.1]"]
    with pytest.raises(InvalidArgumentError, match=r"rate\.targets: expected 4 values"):
        finetune(domain, tmp_path / "tuned", model=str(tiny_folder), overrides=overrides)
    assert not (tmp_path / "tuned").exists()


def test_too_few_photos_are_refused(domain, tiny_folder, tmp_path):
    for path in sorted(domain.iterdir())[1:]:
        path.unlink()
    with pytest.raises(InvalidArgumentError, match="at least 2"):
        finetune(domain, tmp_path / "tuned", model=str(tiny_folder))
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("arguments", "override"),
    [
        ({}, "data.crops=64"),
        ({}, "data.crop=192"),
        ({}, "accumulate=3"),
        ({}, "data.holdout=0"),
        ({"features": "missing.pth"}, "steps=1"),
        ({"tinydarknet": "missing.pth"}, "steps=1"),
    ],
)
def test_a_refusal_leaves_nothing_behind(domain, tiny_folder, tmp_path, arguments, override):
    overrides = [*OVERRIDES, override]
    with pytest.raises(InvalidArgumentError):
        finetune(
            domain, tmp_path / "tuned", model=str(tiny_folder), overrides=overrides, **arguments
        )
    assert not (tmp_path / "tuned").exists()


def test_held_out_photos_that_cannot_be_read_are_refused_first(domain, tiny_folder, tmp_path):
    for path in (domain / "0.png", domain / "9.png"):  # the first and the last by name
        path.write_bytes(b"no picture")
    with pytest.raises(InvalidArgumentError, match=r"expected readable photos, got .* held out"):
        finetune(domain, tmp_path / "tuned", model=str(tiny_folder), overrides=OVERRIDES)
    assert not (tmp_path / "tuned").exists()


def test_held_out_photos_have_names_that_files_can_have(domain, tmp_path):
    """Those of a tar's members may be longer, and of any characters."""
    names = ["../../a", "/b", "c" * 3000, "d\ne\0f\udcff", "\N{GRINNING FACE}" * 300]
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(f"{name}.png")
            info.size = (domain / "0.png").stat().st_size
            tar.addfile(info, io.BytesIO((domain / "0.png").read_bytes()))
    (tmp_path / "list.txt").write_text("a.tar")
    photos = Photos(DataConfig(root=str(tmp_path), list=str(tmp_path / "list.txt"), holdout=4), 0)
    photos.validation = list(range(len(names)))
    folder = _write_held_out(photos, tmp_path / "out" / "held_out")
    written = sorted(path.name for path in folder.iterdir())
    assert [name.partition("-")[2][:6] for name in written] == [
        *("a.png", "b.png", "cccccc", "d_e_f_"),
        "\N{GRINNING FACE}" * 6,
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["held_out"]
