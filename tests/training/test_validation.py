# SPDX-License-Identifier: Apache-2.0
"""The perceptual term where its weights are: it is trained with, and validation measures it."""

import json
import math
from pathlib import Path

import pytest
import torch

from glc.losses.perceptual import TinyDarknetFeatures
from glc.models import GLC, preset
from glc.training import validation
from glc.training.cli import run


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tinydarknet.pth"
    torch.save(TinyDarknetFeatures().state_dict(), path)
    return path


@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_stages_train_with_the_perceptual_term(write_config, tmp_path, weights, stage):
    options = {"steps": 1, "validate_every": 1, "codebook": "{start: 0}", "warmup": 0}
    init = {}
    for before in ("stage1", "stage2") if stage == "stage3" else ():
        run(before, write_config(tmp_path, before, **options, **init), [], False)
        init = {"init": tmp_path / before / "checkpoint.pt"}
    steps, tested, norms = [], [], []
    for weight in (0.0, 3.0):
        folder = tmp_path / f"{weight}"
        folder.mkdir()
        features = f"{{network: tinydarknet, weights: {weights}, weight: {weight}}}"
        run(stage, write_config(folder, stage, features=features, **options, **init), [], False)
        step, last = map(json.loads, (folder / stage / "log.jsonl").read_text().splitlines())
        steps.append(step["features"])
        norms.append(step["norm"])
        tested.append({k: v for k, v in last["validation"].items() if k.startswith("features")})
    assert steps[0] == steps[1] > 0
    assert norms[0] != norms[1], "the term has a gradient"
    named = ["", "_quantized"] if stage == "stage1" else range(4)
    for measured in tested:
        assert set(measured) == {f"features{name}" for name in named}
        assert min(measured.values()) > 0


def test_validation_measures_every_picture_alike(photo):
    torch.manual_seed(1)
    model = GLC(preset("glc-tiny")).eval()
    crops = [photo[n : n + 64, 9 * n : 9 * n + 64] for n in range(validation.CHUNK + 3)]
    x = torch.stack([torch.from_numpy(c.copy()).permute(2, 0, 1) for c in crops]) / 127.5 - 1

    def distance(a, b):
        return (a - b).abs().mean((1, 2, 3))

    found, drawn = validation.validate_codec(model, x, distance)
    rounding = 1e-4  # a batch is convolved in another order than its pictures
    for level in range(4):
        alone = [model.inspect(one / 2 + 0.5, quality=level) for one in x.split(1)]
        x_hat = torch.cat([run.x_hat for run in alone]) * 2 - 1
        bits = sum(float(run.bits_y + run.bits_z) for run in alone)
        assert found[f"bpp{level}"] == pytest.approx(bits / (len(x) * 64 * 64), rel=rounding)
        square = ((x - x_hat.clamp(-1, 1)) / 2).square().mean((1, 2, 3))
        psnr = float(-10 * square.log10().mean())
        assert found[f"psnr{level}"] == pytest.approx(psnr, rel=rounding)
        expected = float(distance(x, x_hat).mean())
        assert found[f"features{level}"] == pytest.approx(expected, rel=rounding)
        rows = torch.cat([run.z_index for run in alone]).unique().numel()
        assert found[f"usage{level}"] == rows / model.config.hyper_codebook_size
    assert "features0" not in validation.validate_codec(model, x[:1], None)[0]
    torch.testing.assert_close(drawn, x_hat, atol=1e-3, rtol=0)


def test_health_of_a_codebook():
    health = validation.codebook_health(torch.tensor([[0, 0], [3, 3]]), 8, suffix="2")
    assert health == {"usage2": 0.25, "perplexity2": pytest.approx(2.0)}
    uneven = validation.codebook_health(torch.tensor([1, 1, 1, 2]), 4)
    entropy = 0.75 * math.log2(4 / 3) + 0.25 * 2
    assert uneven == {"usage": 0.5, "perplexity": pytest.approx(2**entropy)}
