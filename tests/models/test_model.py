# SPDX-License-Identifier: Apache-2.0
import copy
import dataclasses
import hashlib
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from glc.cdf import canonical
from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.models import GLC, GLCConfig, preset
from glc.models.config import LightConfig, VQGANConfig
from glc.models.context import part_index
from glc.models.padding import pad_to_multiple
from glc.models.pretrained import bundled_models


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GLC(preset("glc-tiny")).eval()


# ---------------------------------------------------------------- configuration
@pytest.mark.parametrize("name", ["glc-image", "glc-face", "glc-image-small", "glc-tiny"])
def test_config_round_trips_through_a_dictionary(name):
    config = preset(name)
    assert GLCConfig.from_dict(config.to_dict()) == config


def test_config_names_what_is_wrong():
    plain = preset("glc-tiny").to_dict()
    with pytest.raises(InvalidArgumentError, match="wheels"):
        GLCConfig.from_dict(plain | {"wheels": 4})
    with pytest.raises(InvalidArgumentError, match="multiple of 4"):
        GLCConfig.from_dict(plain | {"latent_channels": 18})
    with pytest.raises(InvalidArgumentError, match="latent_channels: expected int >= 1, got 0"):
        GLCConfig.from_dict(plain | {"latent_channels": 0})
    with pytest.raises(InvalidArgumentError, match="autoencoder: expected"):
        GLCConfig.from_dict({})
    for no_dictionary in (None, [1], "glc-tiny"):
        with pytest.raises(InvalidArgumentError, match="autoencoder: expected a dictionary"):
            GLCConfig.from_dict(no_dictionary)
        with pytest.raises(InvalidArgumentError, match="PredictorConfig: expected a dictionary"):
            GLCConfig.from_dict(plain | {"predictor": no_dictionary})
    with pytest.raises(InvalidArgumentError, match=r"autoencoder\.type"):
        GLCConfig.from_dict(plain | {"autoencoder": {"type": "steam"}})
    with pytest.raises(InvalidArgumentError, match=r"autoencoder\.type"):
        GLCConfig.from_dict(plain | {"autoencoder": {"type": []}})
    for stem in (2, 6):
        light = {**plain["autoencoder"], "stem": stem}
        with pytest.raises(InvalidArgumentError, match=f"stem: expected .* of 4, got {stem}"):
            GLCConfig.from_dict(plain | {"autoencoder": light})
    for change in ({"channels": 100}, {"channels": 0}, {"channel_multipliers": []}):
        vqgan = {**preset("glc-image").to_dict()["autoencoder"], **change}
        with pytest.raises(InvalidArgumentError, match=f"VQGANConfig: {next(iter(change))}: exp"):
            GLCConfig.from_dict(plain | {"autoencoder": vqgan})
    with pytest.raises(InvalidArgumentError, match="attention_window: expected int >= 1, got 0"):
        VQGANConfig(attention_window=0)
    with pytest.raises(InvalidArgumentError, match="glc-image-small"):
        preset("glc-huge")
    for config in ("glc-tiny", plain, None):
        with pytest.raises(
            InvalidArgumentError, match=r"GLC: config: expected a GLCConfig.*preset"
        ):
            GLC(config)


@pytest.mark.parametrize(
    ("part", "field", "values"),
    [
        ("", "autoencoder", [None, "light"]),
        ("", "l_channels", [0, -1, 1.5, "16", None, True]),
        ("", "latent_channels", [0, -4, 6, 16.0, None]),
        ("", "codebook_size", [0, 2.0]),
        ("", "hyper_codebook_size", [0, 65537]),
        ("", "transform_blocks", [-1, 1.5]),
        ("", "prior_depth", [-1]),
        ("", "levels", [0, 2.5]),
        ("", "fusion_widths", [16, (0,), (8, 1.5), [16], None]),
        ("", "gated_transforms", [0, 1, None, "yes"]),
        ("", "codebook_ema", [0, 1, 1.5, float("nan"), "0.9", True]),
        ("", "residual_gain", [float("nan"), float("inf"), None]),
        ("autoencoder", "stem", [0, -4, 8.0]),
        ("autoencoder", "encoder_widths", [(16,), (16, 16, 16), (16, 0)]),
        ("autoencoder", "decoder_depths", [(1, 1, -1), (1, 1)]),
        ("predictor", "positions", [0, 15]),
        ("predictor", "heads", [0, 3]),
        ("predictor", "layers", [-1]),
    ],
)
def test_a_value_that_no_model_can_have_is_refused_when_the_config_is_made(part, field, values):
    tiny = preset("glc-tiny")
    config = getattr(tiny, part) if part else tiny
    key = {"heads": "heads|width"}.get(field, field)  # one is a multiple of the other
    for value in values:
        with pytest.raises(InvalidArgumentError, match=rf"Config: ({key}): expected .*, got "):
            dataclasses.replace(config, **{field: value})


def test_the_least_model_codes():
    """Every size at its smallest; a prior without blocks, whose adaptors give what it would."""
    least = GLCConfig(
        autoencoder=LightConfig(
            stem=4,
            encoder_widths=(1, 1),
            encoder_depths=(0, 0),
            decoder_widths=(1, 1, 1),
            decoder_depths=(0, 0, 1),
        ),
        l_channels=1,
        codebook_size=1,
        latent_channels=4,
        transform_blocks=0,
        hyper_codebook_size=1,
        hyper_channels=1,
        fusion_widths=(),
        prior_channels=8,
        prior_depth=0,
        levels=1,
    )
    photo = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    for blocks in (False, True):
        torch.manual_seed(0)
        model = GLC(dataclasses.replace(least, adaptor_blocks=blocks))
        model.g_a.q.data.mul_(30)
        x = pad_to_multiple(torch.rand(2, 3, 50, 40) * 2 - 1, model.pad_multiple)
        out = model(x, 0.0)
        (out.x_hat.square().mean() + out.latent.bits_y.mean()).backward()
        assert bool(
            torch.isfinite(
                model.context.adaptors[0]
                .get_parameter("block.0.conv2.bias" if blocks else "bias")
                .grad
            ).all()
        )
        codec = Codec(model)
        data = codec.encode(photo, quality=0)
        assert codec.decode(data).shape == photo.shape
        assert codec.verify(data).symbols > 0


@pytest.mark.parametrize("stem", [4, 12])
def test_a_picture_keeps_its_size_whatever_the_stem(stem):
    tiny = preset("glc-tiny")
    autoencoder = dataclasses.replace(tiny.autoencoder, stem=stem)
    model = GLC(dataclasses.replace(tiny, autoencoder=autoencoder)).eval()
    x = torch.zeros(1, 3, model.pad_multiple, 2 * model.pad_multiple)
    assert model(x, 1.0).x_hat.shape == x.shape


def test_the_faces_autoencoder_is_as_large_as_the_authors():
    """63,740,099 floats (facts K); the rest is as in their other model."""
    with torch.device("meta"):
        face, image = GLC(preset("glc-face")), GLC(preset("glc-image"))
    parts = (face.latent_encoder, face.latent_decoder, face.image_vq)
    floats = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert floats == [29_416_000, 34_061_955, 262_144]
    assert face.pad_multiple == 128
    assert face.config.crop == 512
    rest = ("g_a.", "h_a.", "h_s.", "context.", "g_s.")
    assert {k: v.shape for k, v in face.state_dict().items() if k.startswith(rest)} == {
        k: v.shape for k, v in image.state_dict().items() if k.startswith(rest)
    }


def test_small_preset_keeps_its_promise():
    small = GLC(preset("glc-image-small"))
    assert small.inference_parameters() <= 6_000_000
    norms = (torch.nn.GroupNorm, torch.nn.BatchNorm2d, torch.nn.LayerNorm)
    assert not any(isinstance(m, norms) for m in small.modules())


# ---------------------------------------------------------------- parts
@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (3, 5), (1, 1), (2, 7)])
def test_parts_tile_the_map(height, width):
    parts = [part_index(8, height, width, part) for part in range(4)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(8 * height * width))
    assert all((np.diff(p) > 0).all() for p in parts)


def test_parts_are_the_published_ones():
    # part -> pixel phase (row, column) of channel groups g0..g3, as the facts sheet lists them
    published = {
        0: [(0, 0), (0, 1), (1, 0), (1, 1)],
        1: [(1, 1), (1, 0), (0, 1), (0, 0)],
        2: [(1, 0), (1, 1), (0, 0), (0, 1)],
        3: [(0, 1), (0, 0), (1, 1), (1, 0)],
    }
    for part, phases in published.items():
        expected = [group * 4 + 2 * row + column for group, (row, column) in enumerate(phases)]
        assert part_index(4, 2, 2, part).tolist() == expected


# ---------------------------------------------------------------- model
def test_parts_see_only_earlier_parts(model):
    """What the decoder does part by part gives exactly what the one-pass model computed."""
    torch.manual_seed(1)
    y = torch.randn(1, 16, 8, 12) * 3
    with torch.no_grad():
        params = model.entropy_params(model.hyper_index(y))
        whole = model.four_part(y, params)
        step, context = model.split_params(params)
        decoded = torch.zeros_like(y)
        for part in range(4):
            scale, mean = model.part_params(part, params, context, decoded)
            at = torch.from_numpy(part_index(16, 8, 12, part).copy())
            torch.testing.assert_close(
                scale.flatten()[at], whole.scale.flatten()[at], rtol=0, atol=0
            )
            decoded.view(-1)[at] = whole.y_q.flatten()[at] + mean.flatten()[at]
    torch.testing.assert_close(decoded * step, whole.y_hat, rtol=0, atol=1e-6)
    assert whole.y_q.abs().max() > 0


def test_rounding_error_is_half_a_step(model):
    torch.manual_seed(2)
    y = torch.randn(2, 16, 4, 4)
    with torch.no_grad():
        params = model.entropy_params(model.hyper_index(y))
        four = model.four_part(y, params)
        step, _ = model.split_params(params)
    assert ((y - four.y_hat).abs() <= 0.5 * step + 1e-5).all()
    assert (step >= 0.5).all()


def test_levels_interpolate(model):
    with torch.no_grad():
        model.g_a.q.copy_(torch.arange(1.0, 5.0).reshape(4, 1, 1, 1).expand_as(model.g_a.q))
    scale = model.g_a.rate_scale(torch.tensor([0.0, 1.5, 3.0]))
    assert scale[:, 0, 0, 0].tolist() == [1.0, 2.5, 4.0]
    assert model.g_a.rate_scale(2.0).unique().tolist() == [3.0]
    for quality in (-0.1, 3.01, float("nan"), [0.0, 1.0], "1", None):
        with pytest.raises(InvalidArgumentError, match="quality"):
            model.g_a.rate_scale(quality)
    with torch.no_grad():
        model.g_a.q.fill_(1.0)


def test_forward_trains_every_parameter():
    torch.manual_seed(0)
    model = GLC(dataclasses.replace(preset("glc-tiny"), codebook_ema=None)).train()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    out = model(x, torch.tensor([0.0, 3.0]))
    assert out.x_hat.shape == x.shape
    bits = out.latent.bits_y + out.latent.bits_z
    loss = out.x_hat.abs().mean() + bits.mean() / 100 + out.latent.hyper.loss
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == ["image_vq.codebook"]  # Stage I alone uses it
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_inspect_agrees_with_forward(model):
    x = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(3))
    run = model.inspect(x, quality=1)
    with torch.no_grad():
        out = model((x - 0.5) * 2, 1.0, rounding="round")
    torch.testing.assert_close(run.y_hat, out.latent.four_part.y_hat)
    torch.testing.assert_close(run.x_hat, out.x_hat / 2 + 0.5)
    assert run.y_q.dtype == torch.int32
    assert run.bits_z == 2 * 5  # two hyper positions, 32 codes
    with pytest.raises(InvalidArgumentError, match="multiples of 64"):
        model.inspect(x[..., :100])


@pytest.mark.parametrize("shape", [(1, 3, 64, 80), (1, 3, 65, 64), (3, 64, 64), (1, 1, 64, 64)])
@pytest.mark.parametrize("op", ["forward", "inspect"])
def test_pictures_of_another_shape_are_refused(model, op, shape):
    with pytest.raises(
        InvalidArgumentError, match=rf"{op}: x: .*multiples of 64, got \({shape[0]}"
    ):
        getattr(model, op)(torch.zeros(shape), 1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_dtype_are_refused(model, dtype):
    other, x = copy.deepcopy(model).to(dtype), torch.zeros(1, 3, 64, 64)
    for call in (lambda: other(x.to(dtype), 1.0), lambda: other.inspect(x.to(dtype))):
        with pytest.raises(
            InvalidArgumentError, match=rf"expected torch.float32, got {dtype}; .*autocast"
        ):
            call()
    for less in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", less):
            out = model(x, 1.0)
        assert out.x_hat.dtype == less
        assert out.x_hat.isfinite().all()


def test_inspect_leaves_every_part_in_its_mode():
    model = GLC(preset("glc-tiny")).train()
    model.latent_encoder.eval()
    model.inspect(torch.rand(1, 3, 64, 64))
    assert model.training
    assert model.g_a.training
    assert not any(module.training for module in model.latent_encoder.modules())


def test_a_quality_in_a_tensor_is_traced(model):
    x, quality = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.5, 2.0])

    def rates(x, quality):
        latent = model(x, quality).latent
        return latent.bits_y + latent.bits_z

    expected = rates(x, quality)
    torch._dynamo.reset()
    compiled = torch.compile(rates, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, quality), expected)
    assert compiled(x, torch.tensor([0.5, 9.0])).isnan().tolist() == [False, True]
    one_by_one = torch.func.vmap(lambda x, level: rates(x[None], level)[0])
    torch.testing.assert_close(one_by_one(x, quality), expected)
    meta = copy.deepcopy(model).to("meta")
    assert meta(x.to("meta"), quality.to("meta")).x_hat.shape == x.shape


def test_a_prior_has_a_row_for_any_quality_that_a_device_is_given(model):
    levels = model.config.levels
    index = torch.zeros(3, 1, 1, dtype=torch.int64)
    bits = model.z_prior(index, torch.tensor([0.0, -2.0, 9.0]))
    assert bits[0] == bits[1]
    assert bits[2] == model.z_prior(index[:1], float(levels - 1))


def test_padding_repeats_the_edge():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0, 3].tolist() == [3.0, 4.0, 5.0, 5.0]
    assert pad_to_multiple(padded, 4) is padded


# ---------------------------------------------------------------- files
def test_half_precision_file_is_the_model(tmp_path, model):
    model.save_pretrained(tmp_path / "half", half=True)
    loaded = GLC.from_pretrained(tmp_path / "half")
    loaded.save_pretrained(tmp_path / "again", half=True)
    again = GLC.from_pretrained(tmp_path / "again")
    assert loaded.fingerprint() == again.fingerprint() != model.fingerprint()
    assert not loaded.training
    assert loaded.config == model.config


def test_fingerprint_covers_the_coded_path_only(model):
    before = model.fingerprint()
    assert len(before) == 32
    for name, parameter in model.named_parameters():
        coded = name.startswith(("z_prior.", "h_s.", "context.", "g_s."))
        with torch.no_grad():
            kept = parameter.clone()
            parameter.view(-1)[0] += 1
            assert (model.fingerprint() != before) == coded, name
            parameter.copy_(kept)
    assert model.fingerprint() == before


@pytest.mark.parametrize("half", [False, True])
def test_fingerprint_is_what_the_format_says(tmp_path, model, half):
    """docs/format.md, "Model fingerprint", from a folder alone."""
    model.save_pretrained(tmp_path, half=half)
    everything = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    keys = "adaptor_blocks fusion_widths gated_transforms hyper_channels hyper_codebook_size"
    keys += " l_channels latent_channels levels prior_channels prior_depth transform_blocks"
    tables, _ = canonical()
    freqs, n_bins, offsets = tables.arrays()
    digest = hashlib.sha256(struct.pack("<BBI", tables.bits, 1, tables.rows))
    for array, kind in ((n_bins, "<i4"), (offsets, "<i4"), (freqs, "<u4")):
        digest.update(array.astype(kind).tobytes())
    whole = hashlib.sha256(json.dumps({key: everything[key] for key in keys.split()}).encode())
    whole.update(b"profile 1" + digest.digest())
    for name, values in sorted(load_file(tmp_path / "model.safetensors").items()):
        if name.startswith(("context.", "g_s.", "h_s.", "hyper_vq.", "z_prior.")):
            whole.update(f"{name} {values.shape}".encode() + values.astype("<f4").tobytes())
    assert GLC.from_pretrained(tmp_path).fingerprint() == whole.digest()


def test_a_model_may_store_what_it_has_beside_a_bundled_one(tmp_path):
    model = GLC.from_pretrained("glc-image-small")
    with torch.no_grad():
        model.latent_decoder.get_parameter(next(iter(model.latent_decoder.state_dict()))).add_(0.25)
    model.save_pretrained(tmp_path / "beside", half=True, base_model="glc-image-small")
    (name,) = load_file(tmp_path / "beside" / "model.safetensors")
    assert name.startswith("latent_decoder.")
    model.save_pretrained(tmp_path / "whole", half=True)
    whole, beside = (GLC.from_pretrained(tmp_path / n).state_dict() for n in ("whole", "beside"))
    assert all(torch.equal(tensor, beside[key]) for key, tensor in whole.items())
    x = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    data = Codec("glc-image-small").encode(x)
    drawn = [Codec(str(tmp_path / name)).decode(data) for name in ("whole", "beside")]
    np.testing.assert_array_equal(*drawn)


def test_what_no_model_can_be_stored_beside_is_refused(tmp_path, model):
    for base in ("glc-image-small", "glc-nowhere", "."):  # of another layout, not bundled
        with pytest.raises(InvalidArgumentError, match="base_model: expected"):
            model.save_pretrained(tmp_path / "beside", base_model=base)
    more = GLC.from_pretrained("glc-image-small")
    more.latent_decoder.register_buffer("more", torch.zeros(1))
    with pytest.raises(InvalidArgumentError, match="base_model: expected a model of the same lay"):
        more.save_pretrained(tmp_path / "beside", base_model="glc-image-small")
    assert not (tmp_path / "beside").exists()
    model.save_pretrained(tmp_path)  # the weights of a tiny one
    stated = [
        {"base_model": base}
        for base in ("glc-image-small", "glc-nowhere", str(tmp_path), "..", [], {}, None, 1)
    ]
    for plain in (*stated, {"base_model": "glc-image-small", "levels": 4}):
        (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
        for load in (GLC.from_pretrained, Codec):
            with pytest.raises(InvalidArgumentError, match="from_pretrained"):
                load(str(tmp_path))


def test_the_bundled_denoiser_writes_files_of_the_bundled_model():
    model, denoiser = (GLC.from_pretrained(n) for n in bundled_models())
    theirs = denoiser.state_dict()
    other = {k for k, v in model.state_dict().items() if not torch.equal(v, theirs[k])}
    assert other
    assert all(name.startswith("latent_encoder.") for name in other)
    assert denoiser.fingerprint() == model.fingerprint()


@pytest.mark.parametrize("fault", ["no folder", "no config", "cut", "other weights"])
def test_from_pretrained_names_what_is_wrong(tmp_path, model, fault):
    folder = tmp_path / "model"
    if fault != "no folder":
        model.save_pretrained(folder)
    if fault == "no config":
        (folder / "config.json").unlink()
    elif fault == "cut":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif fault == "other weights":
        wider = GLC(dataclasses.replace(model.config, hyper_channels=12))
        wider.save_pretrained(tmp_path / "wider")
        (tmp_path / "wider" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(InvalidArgumentError, match="from_pretrained"):
        GLC.from_pretrained(folder)


def test_a_full_disk_leaves_the_model_that_was_there(tmp_path, model):
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code = f"""
import resource, glc
model = glc.GLC.from_pretrained({str(tmp_path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
model.save_pretrained({str(tmp_path)!r}, half=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    told = done.stderr.splitlines()[-1]
    assert told.endswith(f"write: output: {tmp_path / 'model.safetensors'}: file too large")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture
def uploads(monkeypatch):
    """What would have been uploaded, as (options, files of the folder), instead."""
    from huggingface_hub import HfApi, RepoUrl

    found = []

    def upload_folder(api, *, folder_path, **options):
        files = {path.name: path.read_bytes() for path in folder_path.iterdir()}
        found.append((options, files))
        return f"https://huggingface.co/{options['repo_id']}/commit/0"

    def create_repo(api, repo_id, **options):
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    return found


def test_a_push_of_what_a_model_has_beside_another(tmp_path, uploads):
    model = GLC.from_pretrained("glc-image-small-denoise")
    options = {"base_model": "glc-image-small", "repo_id": "me/it", "push_to_hub": True}
    model.save_pretrained(tmp_path, half=True, **options)
    ((_, files),) = uploads
    for path in tmp_path.iterdir():
        assert files[path.name] == path.read_bytes()
    assert json.loads(files["config.json"]) == {"base_model": "glc-image-small"}


@pytest.mark.parametrize("half", [False, True])
def test_a_push_uploads_what_is_saved_and_a_card(tmp_path, model, uploads, half):
    assert model.save_pretrained(tmp_path, half=half) is None
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(saved) == ["config.json", "model.safetensors"]
    model.save_pretrained(tmp_path / "other", half=not half)
    assert "huggingface.co/me/it" in model.push_to_hub("me/it", half=half, branch="b")
    options = {"half": half, "repo_id": "me/it", "push_to_hub": True}
    assert "huggingface.co/me/it" in model.save_pretrained(tmp_path / "it", **options)
    for options, files in uploads:
        assert options["repo_id"] == "me/it"
        assert b"pytorch_model_hub_mixin" in files.pop("README.md")
        assert files == saved
    assert [options["revision"] for options, _ in uploads] == ["b", None]
