# SPDX-License-Identifier: Apache-2.0
"""The paper's ablations: what is left out is out, and every variant's bytes decode."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glc.codec import Codec
from glc.errors import BitstreamError
from glc.evaluation.curves import load_curves
from glc.image import load_image
from glc.losses import code_distortion
from glc.models import GLC
from glc.models.config import preset
from glc.models.padding import pad_to_multiple
from glc.training.checkpoint import read_checkpoint
from glc.training.cli import run

FOLDER = Path(__file__).parents[2] / "examples" / "ablations"


@pytest.fixture(scope="module", autouse=True)
def importable():
    """The examples import one another, as scripts of one folder do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield
    for name in ("factorized", "index_maps", "measuring", "predictor_inside"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def stage1(write_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stage1")
    torch.manual_seed(0)
    run("stage1", write_config(folder, "stage1"), [], False)
    return folder / "stage1"


@pytest.fixture(scope="module")
def stage2(write_config, stage1) -> Path:
    config = write_config(stage1.parent, "stage2", init=stage1 / "checkpoint.pt")
    run("stage2", config, [], False)
    return stage1.parent / "stage2"


@pytest.fixture
def pictures(photos, tmp_path) -> Path:
    """One of sides that are no multiples of anything, and a small one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo = Image.open(photos / "0.png")
    photo.crop((0, 0, 101, 67)).save(folder / "a.png")
    photo.crop((0, 0, 17, 5)).save(folder / "b.png")
    return folder


def start(monkeypatch, script: str, *arguments: object) -> None:
    """Run a script's command line in this process."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    importlib.import_module(script).main()


def test_distortion_without_prediction_is_the_square():
    torch.manual_seed(0)
    l, l_hat = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    index, logits = torch.randint(0, 9, (2, 4, 4)), torch.randn(2, 16, 9)
    square = (l - l_hat).square().mean((1, 2, 3))
    torch.testing.assert_close(code_distortion(l, l_hat, index, None), square)
    half = code_distortion(l, l_hat, index, logits) - square
    torch.testing.assert_close(code_distortion(l, l_hat, index, logits, 1.0), square + 2 * half)


def test_stages_without_prediction_have_no_predictor(write_config, stage1, tmp_path):
    config = write_config(tmp_path, "stage2", init=stage1 / "checkpoint.pt")
    run("stage2", config, ["prediction_weight=0"], False)
    before = tmp_path / "stage2" / "checkpoint.pt"
    assert read_checkpoint(before)["helpers"] == {}
    config = write_config(tmp_path, "stage3", init=before, code_weight=1.0, prediction_weight=0.0)
    run("stage3", config, [], False)
    assert read_checkpoint(tmp_path / "stage3" / "checkpoint.pt")["helpers"].keys() == {"teacher"}
    log = (tmp_path / "stage3" / "log.jsonl").read_text().splitlines()
    assert any(json.loads(line).get("d_code", 0) > 0 for line in log)  # of features, still


def test_a_factorised_prior_trains_resumes_and_codes(
    monkeypatch, write_config, stage1, pictures, tmp_path, until_first_checkpoint
):
    config = write_config(tmp_path, "stage2", init=stage1 / "checkpoint.pt")
    start(monkeypatch, "factorized", "stage2", config)
    with until_first_checkpoint():
        start(monkeypatch, "factorized", "stage2", config, "--set", f"out={tmp_path / 'again'}")
    start(
        monkeypatch,
        "factorized",
        "stage2",
        config,
        "--resume",
        "--set",
        f"out={tmp_path / 'again'}",
    )
    whole, again = (read_checkpoint(tmp_path / n / "checkpoint.pt") for n in ("stage2", "again"))
    assert all(torch.equal(v, again["model"][k]) for k, v in whole["model"].items())
    untrained = importlib.import_module("factorized").FactorizedPrior(preset("glc-tiny")).logits
    assert not torch.equal(whole["model"]["z_prior.logits"], untrained)

    config = write_config(tmp_path, "stage3", init=tmp_path / "stage2" / "checkpoint.pt")
    start(monkeypatch, "factorized", "stage3", config)
    report = tmp_path / "factorized.json"
    model = tmp_path / "stage3" / "model"
    start(monkeypatch, "factorized", "measure", pictures, "--model", model, "--json", report)
    (curve,) = load_curves(report)
    assert len(curve.bpp) == 4


@pytest.fixture
def factorized():
    """A codec of random weights, whose z has something to round."""
    module = importlib.import_module("factorized")
    torch.manual_seed(0)
    model = module.FactorizedGLC(preset("glc-tiny")).eval()
    with torch.no_grad():
        model.h_a.layers[3].weight.mul_(50)
    return module.FactorizedCodec(model)


def test_a_factorised_file_says_what_the_model_sees(factorized):
    x = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    model = factorized.networks.model
    with torch.inference_mode():
        found = model.inspect(torch.from_numpy(x).permute(2, 0, 1)[None] / 255, 2.0)
    assert found.z_index.unique().numel() > 3
    data = factorized.encode(x, 2)
    # the estimate has no header, no thresholds and whole words; a random model's rows are coarse
    assert len(data) == pytest.approx((found.bits_y + found.bits_z) / 8, rel=0.3, abs=24)
    drawn = factorized.decode(data)
    expected = (found.x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy()
    assert np.abs(drawn - expected).mean() < 1


def test_a_cut_factorised_file_is_refused(factorized):
    data = factorized.encode(np.full((40, 50, 3), 90, np.uint8), 0)
    for n in range(len(data)):
        with pytest.raises(BitstreamError):
            factorized.decode(data[:n])
    for header in ((0, 50, 0), (40, 0, 0), (40, 50, 4)):
        with pytest.raises(BitstreamError, match="expected sides"):
            factorized.decode(
                importlib.import_module("factorized").HEADER.pack(*header, 0) + data[6:]
            )


def test_factorised_bits_are_those_of_the_tables(factorized):
    """At integers; between them they lie between, so that z has a gradient."""
    model = factorized.networks.model
    z = torch.randint(-9, 10, (1, 8, 3, 5)).float()
    index = model.hyper_vq.nearest(z)
    coded = factorized.tables.index(16).cost_bits(index.numpy())  # quality 1
    assert float(model.z_prior(z, 1.0).detach()) == pytest.approx(coded, rel=0.01)
    torch.testing.assert_close(model.hyper_vq.lookup(index), z)
    halfway = (z + 0.5).requires_grad_()
    bits = model.z_prior(halfway, torch.tensor([1.0]))
    ends = [float(model.z_prior(end, 1).detach()) for end in (z, z + 1)]
    assert float(bits.detach()) == pytest.approx(sum(ends) / 2, rel=1e-5)
    (slope,) = torch.autograd.grad(bits.sum(), halfway)
    assert bool((slope != 0).any())


def test_index_maps_are_coded_and_read(monkeypatch, stage1, photos, pictures, tmp_path):
    module = importlib.import_module("index_maps")
    monkeypatch.setattr(module, "SIZES", (4, 16))
    monkeypatch.setattr(module, "PHOTOS", 8)
    monkeypatch.setattr(module, "SIDE", 64)
    report = tmp_path / "maps.json"
    arguments = ("--model", stage1 / "model", "--photos", photos, "--json", report)
    start(monkeypatch, "index_maps", pictures, *arguments)
    (curve,) = load_curves(report)
    assert len(curve.bpp) == 3

    torch.manual_seed(0)
    model = GLC.from_pretrained(stage1 / "model")
    vectors = torch.randn(200, 16)
    codebook = module.k_means(vectors, 7)
    codec = module.IndexMapCodec(model, [codebook], vectors)
    x = load_image(pictures / "a.png")
    data = codec.encode(x, 0)
    with torch.inference_mode():
        pixels = torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1
        l = model.latents(pad_to_multiple(pixels, model.pad_multiple))[0].permute(1, 2, 0)
        nearest = codebook[torch.cdist(l, codebook[None]).argmin(-1)]
        x_hat = model.reconstruct(nearest.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    expected = ((x_hat.clamp(-1, 1) + 1) * 127.5).round()[:67, :101]
    np.testing.assert_allclose(codec.decode(data), expected.numpy(), atol=1)
    for header in ((0, 101, 0), (67, 0, 0), (67, 101, 1)):
        with pytest.raises(BitstreamError, match="expected sides"):
            codec.decode(module.HEADER.pack(*header) + data[module.HEADER.size :])
    for n in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode(data[:n])


def test_k_means_finds_clusters():
    module = importlib.import_module("index_maps")
    torch.manual_seed(1)
    centres = 20 * torch.eye(3)
    vectors = (centres[torch.arange(300) % 3] + torch.randn(300, 3)).contiguous()
    far = min(
        float(torch.cdist(centres, module.k_means(vectors, 3)).amin(1).amax()) for _ in range(9)
    )
    assert far < 0.5  # of several beginnings one finds them all


@pytest.mark.parametrize("sides", [(4, 4), (8, 4), (12, 20), (5, 3)])
def test_windows_of_predictions_lie_where_they_were_seen(stage2, sides):
    module = importlib.import_module("predictor_inside")
    decoder = module.PredictorInside(str(stage2 / "model"), str(stage2 / "checkpoint.pt"))
    codebook = decoder.model.image_vq

    class Nearest(torch.nn.Module):
        def forward(self, l_hat):
            far = torch.cdist(l_hat.flatten(2).transpose(1, 2), codebook.codebook)
            return -far

    decoder.predictor, decoder.spread = Nearest(), torch.tensor(1.0)
    l_hat = torch.randn(1, 16, *sides)
    expected = codebook.lookup(codebook.nearest(l_hat))
    torch.testing.assert_close(decoder.predicted(l_hat), expected)


def test_a_predictor_draws_the_models_own_files(monkeypatch, stage2, pictures, tmp_path):
    report = tmp_path / "inside.json"
    arguments = ("--model", stage2 / "model", "--checkpoint", stage2 / "checkpoint.pt")
    start(monkeypatch, "predictor_inside", pictures, *arguments, "--json", report)
    (curve,) = load_curves(report)
    files = [
        Codec(str(stage2 / "model")).encode(pictures / n, quality=3) for n in ("a.png", "b.png")
    ]
    bpp = [8 * len(data) / n for data, n in zip(files, (101 * 67, 17 * 5), strict=True)]
    assert curve.bpp[3] == pytest.approx(sum(bpp) / 2)


def test_a_checkpoint_without_a_predictor_is_named(monkeypatch, stage1, pictures, tmp_path, capsys):
    arguments = ("--model", stage1 / "model", "--checkpoint", stage1 / "checkpoint.pt")
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, "predictor_inside", pictures, *arguments, "--json", tmp_path / "x.json")
    assert capsys.readouterr().err.startswith("glc: checkpoint: expected")
    assert not (tmp_path / "x.json").exists()


def test_a_misspelt_model_is_not_asked_for_elsewhere(monkeypatch, pictures, tmp_path, capsys):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("asked"))
    arguments = ("measure", pictures, "--model", "runs/mdoel", "--json", tmp_path / "x.json")
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, "factorized", *arguments)
    assert capsys.readouterr().err.startswith("glc: factorised z: model: expected a folder or one")


def test_a_model_without_a_factorised_z_is_not_measured_as_one(
    monkeypatch, stage2, pictures, tmp_path, capsys
):
    arguments = ("measure", pictures, "--model", stage2 / "model", "--json", tmp_path / "x.json")
    with pytest.raises(SystemExit, match="2"):
        start(monkeypatch, "factorized", *arguments)
    assert capsys.readouterr().err.startswith("glc: factorized: model: expected one that")
    assert not (tmp_path / "x.json").exists()
