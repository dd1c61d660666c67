# SPDX-License-Identifier: Apache-2.0
"""Networks by the native core are those of the torch model, whatever its layout."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from glc.codec import Codec
from glc.entropy_path import Quantizer, Symbols, on_host, walk_parts
from glc.errors import InvalidArgumentError
from glc.loading import read_networks
from glc.model_in_use import coding_networks
from glc.models.config import GLC_IMAGE_SMALL, TINY, GLCConfig, LightConfig, VQGANConfig
from glc.models.glc import GLC
from glc.portable import EntropyCore, PortableNetworks
from glc.torch_networks import Networks

N_ROWS = 64  # of the coding tables
WHOLE, ROW_OF_Z = 1 << 23, 1  # pixels of a strip


def light(stem: int, widths: tuple[int, ...], depths: tuple[int, ...], **others: Any) -> GLCConfig:
    a, b, *decoder = widths
    c, d, *deep = depths
    autoencoder = LightConfig(
        stem=stem,
        encoder_widths=(a, b),
        encoder_depths=(c, d),
        decoder_widths=tuple(decoder),
        decoder_depths=tuple(deep),
    )
    return dataclasses.replace(TINY, autoencoder=autoencoder, **others)


LAYOUTS = {
    "tiny": TINY,
    "nothing optional": light(
        *(4, (1, 1, 1, 1, 1), (0, 0, 0, 0, 0)),
        l_channels=1,
        latent_channels=4,
        transform_blocks=0,
        hyper_codebook_size=1,
        hyper_channels=1,
        normalize_z=False,
        fusion_widths=(),
        prior_channels=8,
        prior_depth=0,
        levels=1,
    ),
    "adaptors give the parameters": light(
        *(8, (3, 7, 5, 3, 1), (0, 1, 1, 0, 2)),
        l_channels=7,
        latent_channels=8,
        fusion_widths=(5, 24),
        prior_channels=16,
        prior_depth=0,
        adaptor_blocks=True,
        levels=2,
    ),
    "odd widths": light(
        *(16, (7, 3, 3, 1, 7), (1, 0, 0, 2, 0)),
        l_channels=12,
        latent_channels=12,
        transform_blocks=2,
        hyper_channels=3,
        hyper_codebook_size=257,
        normalize_z=False,
        codebook_ema=None,
        fusion_widths=(3, 7),
        prior_channels=7,
        prior_depth=2,
        adaptor_blocks=True,
        levels=6,
    ),
    "a prior that ends in a block": light(
        *(12, (1, 8, 2, 2, 2), (2, 2, 2, 1, 1)),
        l_channels=3,
        latent_channels=4,
        transform_blocks=0,
        fusion_widths=(12,),
        prior_channels=8,
        prior_depth=2,
        adaptor_blocks=False,
        levels=3,
    ),
    "a prior of a convolution": light(
        *(4, (2, 2, 8, 8, 4), (0, 0, 1, 1, 1)),
        l_channels=8,
        latent_channels=8,
        fusion_widths=(24,),
        prior_channels=5,
        prior_depth=0,
        adaptor_blocks=False,
        levels=5,
    ),
    "a prior of one block": light(
        *(8, (4, 4, 4, 4, 5), (1, 1, 0, 0, 1)),
        l_channels=5,
        latent_channels=4,
        fusion_widths=(9,),
        prior_channels=8,
        prior_depth=1,
        adaptor_blocks=True,
        levels=4,
    ),
}
BY_TORCH = {
    "gated": dataclasses.replace(TINY, gated_transforms=True),
    "VQGAN": dataclasses.replace(
        TINY,
        autoencoder=VQGANConfig(channels=32, channel_multipliers=(1, 1), res_blocks=1),
        adaptor_blocks=True,
    ),
}


def lively(config: GLCConfig) -> GLC:
    """A model of random weights, none of which is zero."""
    torch.manual_seed(0)
    model = GLC(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor), alpha=0.05)
    return model


def require_equal(found: Symbols, expected: Symbols) -> None:
    assert np.array_equal(found.y_hat, on_host(expected.y_hat))
    assert np.array_equal(found.step, on_host(expected.step))
    for part, other in zip(found.parts, expected.parts, strict=True):
        assert np.array_equal(part.symbols, other.symbols)
        assert np.array_equal(part.rows, other.rows)
        assert np.array_equal(part.scale, on_host(other.scale))
        assert part.threshold == other.threshold


def require_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(params=[(1, 1), (70, 190)], ids=["a pixel", "three rows of z at most"])
def pixels(request: pytest.FixtureRequest, photo: np.ndarray) -> np.ndarray:
    height, width = request.param
    return np.ascontiguousarray(photo[:height, :width])


@pytest.mark.parametrize("strip_pixels", [WHOLE, ROW_OF_Z])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_networks_are_those_of_the_torch_model(
    layout: str, strip_pixels: int, pixels: np.ndarray
) -> None:
    model = lively(LAYOUTS[layout])
    coder = coding_networks(model)
    assert isinstance(coder, PortableNetworks)
    networks, by_torch = (
        PortableNetworks(coder.weights, strip_pixels),
        Networks(model, strip_pixels),
    )
    size = pixels.shape[:2]
    for quality in {0.0, 0.4 * (model.config.levels - 1), model.config.levels - 1.0}:
        with networks.computing(), by_torch.computing():
            features = by_torch.features(pixels)
            require_close(networks.features(pixels), features)
            y = by_torch.analysis(features, quality)
            require_close(networks.analysis(features, quality), y)
            z_index = by_torch.hyper_index(y)
            assert np.array_equal(networks.hyper_index(y), z_index)
            coded = walk_parts(networks, z_index, Quantizer(y, N_ROWS))
            require_equal(coded, walk_parts(by_torch, z_index, Quantizer(y, N_ROWS)))
            latent = coded.latent
            require_close(networks.synthesis(latent, quality), by_torch.synthesis(latent, quality))
            drawn = networks.pixels(latent, quality, size)
            expected = by_torch.pixels(latent, quality, size)
        assert drawn.shape == expected.shape == pixels.shape
        assert np.abs(drawn.astype(int) - expected).max() <= 1  # on the edge of two values


@pytest.mark.parametrize("layout", BY_TORCH)
def test_of_other_models_the_entropy_path_alone(layout: str, photo: np.ndarray) -> None:
    model = lively(BY_TORCH[layout])
    codec = Codec(model)
    assert isinstance(codec._networks, Networks)
    coder = codec._coder_networks
    assert type(coder) is EntropyCore
    by_torch = Networks(model)
    with by_torch.computing(), coder.computing():
        y = by_torch.analysis(by_torch.features(photo), 2.0)
        z_index = by_torch.hyper_index(y)
        coded, expected = (
            walk_parts(networks, z_index, Quantizer(y, N_ROWS)) for networks in (coder, by_torch)
        )
    require_equal(coded, expected)
    codec.decode(codec.encode(photo, quality=2.0))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_holds_the_same_model(layout: str, half: bool, tmp_path: Path) -> None:
    lively(LAYOUTS[layout]).save_pretrained(tmp_path, half=half)
    networks, model = read_networks(tmp_path), GLC.from_pretrained(tmp_path)
    assert networks is not None
    assert networks.weights.fingerprint == model.fingerprint()
    for name, tensor in model.state_dict().items():
        assert np.array_equal(networks.weights.tensors[name], tensor.numpy())


State = dict[str, torch.Tensor]
Plain = dict[str, Any]


def without(prefix: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if not k.startswith(prefix)}


def with_(name: str, tensor: torch.Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


def all_as(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {k: v.to(dtype) for k, v in state.items()}


STATES: dict[str, Callable[[State], State]] = {
    "a bias missing": without("h_s.layers.0.conv.bias"),
    "the image codebook missing": without("image_vq"),
    "another image codebook": with_("image_vq.codebook", torch.zeros(2, 16)),
    "no prior": without("z_prior"),
    "no bounds": without("latent_range"),
    "other bounds": with_("latent_range.y", torch.zeros(4, 2, 3)),
    "one more": with_("latent_decoder.blocks.9.weight", torch.zeros(1)),
    "one more of the codebook": with_("image_vq.usage", torch.zeros(1)),
    "another shape": with_("g_a.q", torch.ones(4, 16)),
    "not a number": with_("g_a.q", torch.full((4, 16, 1, 1), float("nan"))),
    "float16": all_as(torch.float16),
    "bfloat16": all_as(torch.bfloat16),
    "float64": all_as(torch.float64),
    "integers": all_as(torch.int32),
    "eight bits": all_as(torch.float8_e4m3fn),
    "eight bits once": lambda state: {**state, "g_a.q": state["g_a.q"].to(torch.float8_e5m2)},
}
HUGE = 4_000_000_000
CONFIGS: dict[str, Callable[[Plain], Any]] = {
    "nothing": lambda plain: None,
    "a list": lambda plain: [plain],
    "more levels": lambda plain: {**plain, "levels": HUGE},
    "more channels": lambda plain: {**plain, "latent_channels": HUGE, "l_channels": HUGE},
    "more codes": lambda plain: {**plain, "codebook_size": HUGE},
    "a deeper prior": lambda plain: {**plain, "prior_depth": 200},
    "a deeper prior, of blocks": lambda plain: {**plain, "prior_channels": 32, "prior_depth": 200},
    "more digits": lambda plain: {**plain, "levels": 10**400},
    "more digits of a fraction": lambda plain: {**plain, "residual_gain": 10**400},
    "other adaptors": lambda plain: {**plain, "adaptor_blocks": True},
    "gated": lambda plain: {**plain, "gated_transforms": True},
    "not normalised": lambda plain: {**plain, "normalize_z": False},
    "another autoencoder": lambda plain: {**plain, "autoencoder": {"type": "vqgan"}},
}
DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut weights": lambda folder: cut(folder / "model.safetensors"),
    "no weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "half a configuration": lambda folder: cut(folder / "config.json"),
    "a configuration of brackets": lambda folder: (folder / "config.json").write_text("[" * 10**5),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "a folder for weights": lambda folder: (
        (folder / "model.safetensors").rename(folder / "a")
        and (folder / "model.safetensors").mkdir()
    ),
}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def require_as_by_torch(folder: Path) -> None:
    """The codec takes a folder, with its model's fingerprint, or refuses it: as torch's loader."""
    try:
        expected = GLC.from_pretrained(folder).fingerprint()
    except InvalidArgumentError:
        with pytest.raises(InvalidArgumentError, match=f"^from_pretrained: {folder}: expected"):
            Codec(folder)
    else:
        assert Codec(folder).fingerprint == expected


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.mark.parametrize("name", STATES)
def test_folders_of_other_weights(folder: Path, name: str) -> None:
    file = folder / "model.safetensors"
    save_file(STATES[name](load_file(file)), file)
    require_as_by_torch(folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_folders_of_other_configurations(folder: Path, name: str) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(CONFIGS[name](json.loads(file.read_text()))))
    require_as_by_torch(folder)


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_folders(folder: Path, name: str) -> None:
    DAMAGE[name](folder)
    require_as_by_torch(folder)


def test_a_configuration_allocates_nothing(folder: Path) -> None:
    """Tensors that old models lack have the configuration's sizes, which may be anything."""
    weights, config = (folder / name for name in ("model.safetensors", "config.json"))
    state = load_file(weights)
    save_file(without("z_prior")(without("latent_range")(state)), weights)
    plain = json.loads(config.read_text())
    for change in ({"levels": HUGE}, {"prior_depth": HUGE}, {"l_channels": HUGE}):
        config.write_text(json.dumps({**plain, **change}))
        with pytest.raises(InvalidArgumentError, match="of one model, got: "):
            read_networks(folder)


def test_the_model_of_a_codec_is_what_it_codes_with(
    folder: Path, other_tiny_folder: Path, photo: np.ndarray
) -> None:
    """Whatever has become of its folder."""
    codec = Codec(folder)
    state = GLC.from_pretrained(folder).state_dict()
    shutil.copytree(other_tiny_folder, folder, dirs_exist_ok=True)
    data = codec.encode(photo)
    assert codec.model.fingerprint() == codec.fingerprint
    assert not codec.model.training
    for name, tensor in codec.model.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert Codec(codec.model).encode(photo) == codec.encode(photo) == data


def test_bundled_layout_draws_by_exact_layers() -> None:
    assert isinstance(Codec()._networks, PortableNetworks)
    assert Codec().config == GLC_IMAGE_SMALL
