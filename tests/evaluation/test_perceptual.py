# SPDX-License-Identifier: Apache-2.0
"""LPIPS, DISTS, FID and KID are what papers mean by them; networks here have random weights."""

import importlib
import importlib.util
import json
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from benchmarks.compressai_import import import_torchvision
from glc.cli import app
from glc.defaults import MAX_PIXELS
from glc.errors import InvalidArgumentError, UnsupportedError
from glc.evaluation import anchors, evaluate, perceptual
from glc.evaluation.measures import Measures
from glc.evaluation.perceptual import PERCEPTUAL_METRICS, SetDistances, cut_patches
from glc.losses import FeatureDistance

needs_metrics = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("torchmetrics", "torch_fidelity", "torchvision")
    ),
    reason="torchmetrics, torch-fidelity and torchvision are not installed",
)


@pytest.fixture
def networks(monkeypatch):
    """Networks that keep the random values they are made with."""
    import_torchvision()
    torch.manual_seed(0)
    fidelity = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    models = importlib.import_module("torchvision.models")
    for module in (importlib.import_module("torchvision.models._api"), fidelity):
        monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
    for network in (models.AlexNet, models.VGG, fidelity.FeatureExtractorInceptionV3):
        monkeypatch.setattr(network, "load_state_dict", lambda *_, **__: None)


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    Image.fromarray(photo[:70, :90]).save(root / "a.png")
    Image.fromarray(photo[:30, :64]).save(root / "b.png")
    return root


@pytest.mark.parametrize(("side", "expected"), [(256, 192), (64, 4152)])
def test_kodak_has_the_patches_that_the_authors_count(side, expected):
    sizes = [(512, 768)] * 18 + [(768, 512)] * 6
    pictures = (np.broadcast_to(np.uint8(0), (*size, 3)) for size in sizes)
    assert sum(len(cut_patches(x, side)) for x in pictures) == expected


@pytest.mark.parametrize(
    ("size", "places"),
    [
        ((7, 9), []),
        ((8, 8), [(0, 0)]),
        ((11, 19), [(0, 0), (0, 8)]),
        ((12, 12), [(0, 0), (4, 4)]),
        ((12, 20), [(0, 0), (0, 8), (4, 4), (4, 12)]),
    ],
)
def test_the_second_grid_begins_half_a_patch_inside(size, places):
    x = np.arange(3 * size[0] * size[1]).astype(np.uint8).reshape(*size, 3)
    patches = cut_patches(x, 8)
    assert patches.shape == (len(places), 8, 8, 3)
    for patch, (row, column) in zip(patches, places, strict=True):
        np.testing.assert_array_equal(patch, x[row : row + 8, column : column + 8])


def test_a_picture_has_no_patch_of_the_largest_size():
    Measures(patch=MAX_PIXELS)  # is not refused
    assert len(cut_patches(np.zeros((8, 9, 3), np.uint8), MAX_PIXELS)) == 0


class MeanColours(nn.Module):
    """A network of few features, whose distributions can be compared by hand."""

    def forward(self, x):
        return x.float().mean((2, 3)) / 16


@pytest.fixture
def few_features(monkeypatch):
    import_torchvision()
    monkeypatch.setattr(perceptual, "_inception", lambda: ("", MeanColours))


def features_of(x):
    return cut_patches(x, 4).reshape(-1, 16, 3).mean(1) / 16


@needs_metrics
def test_fid_is_the_distance_of_two_gaussians(few_features):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (4, 24, 3), dtype=np.uint8) for _ in range(5)]
    darker = [x // 2 for x in pictures]
    sets = SetDistances(["fid"], 2, patch=4)
    for x, x_hat in zip(pictures, darker, strict=True):
        sets.add_picture(x)
        sets.add(0, x_hat)
        sets.add(1, x)
    first, second = sets.compute()

    f, g = (np.concatenate([features_of(x) for x in some]) for some in (pictures, darker))
    covariances = np.cov(f.T), np.cov(g.T)
    cross = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real).sum()
    expected = np.square(f.mean(0) - g.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * cross
    assert sets.n_patches == 30
    assert first["fid"] == pytest.approx(expected, rel=1e-4)
    assert second["fid"] == pytest.approx(0, abs=1e-4)
    assert first["kid"] is None


@needs_metrics
def test_kid_is_the_unbiased_discrepancy_under_the_cubic_kernel(few_features):
    """Of a thousand patches every subset holds them all."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, 4000, 3), dtype=np.uint8)
    x_hat = np.where(rng.random(x.shape) < 0.5, x, x // 2)
    sets = SetDistances(["kid"], 1, patch=4)
    sets.add_picture(x)
    sets.add(0, x_hat)
    (measured,) = sets.compute()

    f, g = features_of(x), features_of(x_hat)
    within = [(a @ a.T / 3 + 1) ** 3 for a in (f, g)]
    expected = sum((k.sum() - np.trace(k)) / (1000 * 999) for k in within)
    expected -= 2 * ((f @ g.T / 3 + 1) ** 3).mean()
    assert measured["kid"] == pytest.approx(expected, rel=1e-3)
    state = torch.random.get_rng_state()
    assert sets.compute() == [measured]
    assert torch.equal(torch.random.get_rng_state(), state)


@needs_metrics
def test_too_few_patches_have_no_distance(few_features):
    sets = SetDistances(["fid", "kid"], 1, patch=4)
    x = np.zeros((4, 4, 3), np.uint8)
    for one in (x, x[:3]):
        sets.add_picture(one)
        sets.add(0, one)
    assert sets.n_patches == 1
    assert sets.compute() == [{"fid": None, "kid": None}]


@needs_metrics
def test_lpips_is_lpips(networks, photo):
    """Features of AlexNet's five ReLUs, normalised, weighted by the published heads."""
    x, x_hat = photo[:48, :64], photo[8:56, 4:68]
    measures = Measures(metrics=["lpips"])
    lpips = measures._pairs._lpips
    layers = lpips.net
    slices = [layers.slice1, layers.slice2, layers.slice3, layers.slice4, layers.slice5]

    class Taps(nn.Module):
        def forward(self, x):
            shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
            x = (x - shift) / torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
            maps = []
            for part in slices:
                x = part(x)
                maps.append(x)
            return maps

    torchmetrics = Path(importlib.import_module("torchmetrics").__file__).parent
    heads = torch.load(torchmetrics / "functional/image/lpips_models/alex.pth", "cpu")
    ours = FeatureDistance(Taps(), [heads[f"lin{k}.model.1.weight"] for k in range(5)])
    pair = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for p in (x, x_hat))
    expected = float(ours(*pair))

    measured = measures.of_pair(x, x_hat)
    assert expected > 0.01
    assert measured["lpips"] == pytest.approx(expected, rel=1e-3)
    assert measures.of_pair(x, x)["lpips"] == 0
    assert measured["dists"] is None


@needs_metrics
def test_dists_is_of_pixels_from_zero_to_one(networks, photo):
    x, x_hat = photo[:48, :64], photo[:48, :64] // 4 * 4
    measures = Measures(metrics=["dists"])
    pair = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (x, x_hat))
    measured = measures.of_pair(x, x_hat)
    assert measured["dists"] == pytest.approx(measures._pairs._dists(*pair).item())
    assert 0 < measured["dists"] < measures.of_pair(x, x // 32 * 32)["dists"]
    assert measures.of_pair(x, x)["dists"] == pytest.approx(0, abs=1e-5)
    assert measured["lpips"] is None


@needs_metrics
def test_inception_describes_patches_as_they_are(networks):
    sets = SetDistances(["fid"], 1, patch=32)
    x = np.random.default_rng(0).integers(0, 256, (64, 100, 3), dtype=np.uint8)
    patches = torch.from_numpy(cut_patches(x, 32)).permute(0, 3, 1, 2)
    features = torch.cat(sets._features(x))
    assert features.shape == (6 + 2, 2048)
    torch.testing.assert_close(features, sets._inception(patches))
    assert not sets._features(x[:31])


@needs_metrics
def test_a_report_holds_what_was_asked_for(networks, few_features, folder, tiny_folder, tmp_path):
    report = tmp_path / "eval.json"
    arguments = ["--model", tiny_folder, "--quality", "0,3", "--json", report, "--patch", "16"]
    metrics = ["--metrics", ", ".join(PERCEPTUAL_METRICS)]
    result = CliRunner().invoke(app, ["eval", str(folder), *map(str, arguments), *metrics])
    assert result.exit_code == 0, result.output
    for label in ("LPIPS", "DISTS", "FID", "KID", "n/a"):
        assert label in result.stdout

    measured = json.loads(report.read_text())
    assert (measured["patch"], measured["n_patches"]) == (16, 4 * 5 + 3 * 5 + 1 * 4 + 1 * 3)
    for level in measured["levels"]:
        images = [one for one in measured["images"] if one["quality"] == level["quality"]]
        assert images[1]["lpips"] is None  # 30 pixels high
        assert level["lpips"] == images[0]["lpips"]
        assert level["dists"] == pytest.approx(np.mean([one["dists"] for one in images]))
        assert level["fid"] > 0
        assert level["kid"] is None

    plotted = CliRunner().invoke(app, ["plot", str(report), "--metric", "lpips,fid"])
    assert plotted.exit_code == 0, plotted.output
    assert "LPIPS" in plotted.stdout


@needs_metrics
def test_anchors_are_measured_the_same_way(few_features, folder, monkeypatch):
    monkeypatch.setitem(anchors.SETTINGS, "jpeg", ((1, 25), (3, 25)))
    fine, coarse = anchors.measure(folder, "jpeg", Measures(metrics=["fid"], patch=16))
    assert 0 < fine.fid < coarse.fid
    assert (fine.lpips, fine.kid) == (None, None)


@needs_metrics
@pytest.mark.parametrize(
    ("metric", "file"),
    [("lpips", "alexnet"), ("dists", "vgg16"), ("fid", "inception"), ("kid", "inception")],
)
def test_weights_that_cannot_be_had_are_named(
    networks, monkeypatch, folder, tiny_folder, tmp_path, metric, file
):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name in ("torchvision.models._api", "torch_fidelity.feature_extractor_inceptionv3"):
        monkeypatch.setattr(sys.modules[name], "load_state_dict_from_url", refuse)
    with pytest.raises(InvalidArgumentError, match=f"{metric}.*home.*{file}.*no route"):
        evaluate(folder, str(tiny_folder), [1.0], metrics=[metric])


def test_a_torchvision_for_another_torch_is_refused(monkeypatch):
    def refuse(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(perceptual.importlib, "import_module", refuse)
    with pytest.raises(UnsupportedError, match=r"built for torch .*nms does not exist"):
        Measures(metrics=["lpips"])


@pytest.mark.parametrize(
    ("metric", "package"),
    [("lpips", "torchvision"), ("dists", "torchvision"), ("fid", "torch-fidelity")],
)
def test_a_missing_package_is_named(monkeypatch, folder, tiny_folder, metric, package):
    name = package.replace("-", "_")
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    arguments = ["--model", str(tiny_folder), "--metrics", metric]
    result = CliRunner().invoke(app, ["eval", str(folder), *arguments])
    assert result.exit_code == 2
    assert f"pip install {package}" in result.stderr


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"metrics": ["ssim"]}, "expected some of lpips, .*'ssim'"),
        ({"patch": 0}, "expected 1 .. "),
        ({"patch": 1 << 31}, "expected 1 .. "),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, tiny_folder, asked, match):
    with pytest.raises(InvalidArgumentError, match=match):
        evaluate(folder, str(tiny_folder), [1.0], **asked)


@needs_metrics
def test_a_device_that_is_not_there_is_refused(few_features, folder, tiny_folder):
    with pytest.raises(InvalidArgumentError, match="device: expected"):
        evaluate(folder, tiny_folder, metrics=["fid"], device="nowhere")
