# SPDX-License-Identifier: Apache-2.0
"""The authors' architecture, against a numeric case with rule-made weights (not trained ones)."""

import json
import math
import zlib

import numpy as np
import pytest
import torch

from glc.entropy_path import walk_parts
from glc.errors import InvalidArgumentError
from glc.model_in_use import coding_networks
from glc.models import load_official, load_official_predictors
from glc.models.official import official_layout
from glc.torch_networks import Networks

L_ATOL = 1e-4  # float32 through 20 layers, another summation order
Y_Q_SHARE = 0.999  # rounding ties flip between BLAS builds, and flip their neighbours
BITS_RTOL = 1e-3
X_HAT_ATOL = 2e-3  # the case is stored as float16


def rule_made(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The case's weight rule: every tensor from its own generator, seeded by its name."""
    g = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if key in ("q_enc", "q_dec"):
        base = [0.7, 0.8, 0.9, 1.0] if key == "q_enc" else [1.3, 1.2, 1.1, 1.0]
        scale = 1 + 0.2 * torch.rand(shape, generator=g)
        return torch.tensor(base).reshape(4, 1, 1, 1) * scale
    if key.endswith("embedding.weight"):
        return torch.randn(shape, generator=g) * 0.5
    if len(shape) >= 2:
        gain = 1.0 if key.startswith(("vqgan.", "code_pred")) else 0.7
        return torch.randn(shape, generator=g) * (gain / math.sqrt(math.prod(shape[1:])))
    if key.endswith(".weight"):
        return 1 + 0.1 * torch.randn(shape, generator=g)
    bias = 0.05 * torch.randn(shape, generator=g)
    if key == "y_prior_fusion.1.block.1.conv_out.bias":
        bias[:512] += 1
    if key == "y_spatial_prior.2.block.1.conv_out.bias":
        bias[:256] += 1
    return bias


@pytest.fixture(scope="module")
def state():
    return {key: rule_made(key, shape) for key, shape in official_layout().items()}


@pytest.fixture(scope="module")
def model(state):
    return load_official({"net": {"net_g": {f"module.{k}": t for k, t in state.items()}}})


@pytest.fixture(scope="module")
def case(shared_data):
    return np.load(shared_data / "golden" / "glc_image_a_q0.npz")


def test_layout_is_the_authors(shared_data):
    manifest = shared_data.parent / "docs" / "glc_image_state_dict_manifest.json"
    if not manifest.exists():
        pytest.skip("no manifest of the authors' state dict beside the shared data")
    wanted = {key: tuple(shape) for key, shape in json.loads(manifest.read_text()).items()}
    assert official_layout() == wanted


def test_layout_counts_are_the_published_ones():
    layout = official_layout()
    assert len(layout) == 792
    assert sum(math.prod(shape) for shape in layout.values()) == 163_988_099


def test_weights_follow_the_rule(state, shared_data):
    checksums = json.loads((shared_data / "golden" / "golden_weight_checksums.json").read_text())
    assert checksums.keys() == state.keys()
    for key, (total, magnitude) in checksums.items():
        tensor = state[key].double()
        assert tensor.sum().item() == pytest.approx(total, rel=1e-6, abs=1e-6), key
        assert tensor.abs().mean().item() == pytest.approx(magnitude, rel=1e-6), key


def test_golden_case(model, case):
    x = torch.from_numpy(case["A_x"])
    run = model.inspect(x / 2 + 0.5, quality=0)
    np.testing.assert_allclose(run.l.numpy(), case["A_y_ori"], atol=L_ATOL)
    np.testing.assert_array_equal(run.z_index[0].numpy(), case["A_q0_z_idx"])
    difference = np.abs(run.y_q.numpy() - case["A_q0_y_q"].astype(np.int32))
    assert (difference == 0).mean() >= Y_Q_SHARE
    assert difference.max() <= 1
    assert run.bits_y == pytest.approx(float(case["A_q0_bit_y"]), rel=BITS_RTOL)
    assert run.bits_z == float(case["A_q0_bit_z"])
    with torch.no_grad():
        x_hat = model.reconstruct(torch.from_numpy(case["A_q0_l_hat"])).numpy()
    np.testing.assert_allclose(x_hat, case["A_q0_x_hat"].astype(np.float32), atol=X_HAT_ATOL)


class NoSymbols:
    """A file that ends behind its hyper indices."""

    def symbols(self, kit, part, rows, mean, step):
        return kit.xp.zeros_like(rows, dtype=kit.xp.int32), 0

    def require_finite(self, name, value):
        assert np.isfinite(value).all(), name


def test_hyper_indices_alone_give_the_authors_picture(model, case):
    index = case["A_q0_z_idx"].astype(np.int64)[None]
    found = walk_parts(coding_networks(model), index, NoSymbols())
    with torch.inference_mode():
        there = walk_parts(Networks(model), index, NoSymbols())
        assert np.array_equal(there.latent.numpy(), found.latent)
        x_hat = model.reconstruct(model.synthesis(there.latent, 0)).numpy()
    wanted = case["A_q0_recon_with_z_x_hat"].astype(np.float32)
    np.testing.assert_allclose(x_hat, wanted, atol=X_HAT_ATOL)


def test_windowed_attention_differs_from_training_mode_only_on_large_maps(model):
    x = torch.rand(1, 3, 64, 576, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        windowed, whole = model.latents(x), model.train().latents(x)
        model.eval()
        assert (windowed - whole).abs().max() > 1e-3
        small = x[..., :512]
        torch.testing.assert_close(model.latents(small), model.train().latents(small))
    model.eval()


def test_predictors_load_and_predict(state):
    latent, pixel = load_official_predictors({"state_dict": state})
    assert latent(torch.zeros(1, 256, 16, 16)).shape == (1, 256, 16384)
    key = "code_pred_pix_loss.feat_emb.weight"
    torch.testing.assert_close(pixel.feat_emb.weight.detach(), state[key], rtol=0, atol=0)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "content", "key", "meta"])
def test_loader_is_strict(state, fault):
    broken = dict(state)
    if fault == "missing":
        del broken["z_vq.embedding.weight"]
    elif fault == "unknown":
        broken["extra.weight"] = torch.zeros(1)
    elif fault == "shape":
        broken["q_enc"] = torch.zeros(5, 256, 1, 1)
    elif fault == "key":
        broken[1] = torch.zeros(1)
    elif fault == "meta":
        broken["q_enc"] = broken["q_enc"].to("meta")
    else:
        broken["q_enc"] = "not a tensor"
    with pytest.raises(InvalidArgumentError, match="load_official"):
        load_official(broken)


def test_loader_reads_a_file_and_refuses_another(tmp_path, state, model):
    torch.save({"net_g": state}, tmp_path / "glc.pth.tar")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            loaded = load_official(tmp_path / "glc.pth.tar")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {(p.dtype, p.device.type) for p in loaded.parameters()} == {(torch.float32, "cpu")}
    assert loaded.fingerprint() == model.fingerprint()
    for other in (b"", b"no checkpoint", b"hello world", b"# A page\n"):
        (tmp_path / "other").write_bytes(other)
        refusal = "expected a checkpoint of tensors, got .*other: something other than tensors"
        with pytest.raises(InvalidArgumentError, match=refusal):
            load_official(tmp_path / "other")
