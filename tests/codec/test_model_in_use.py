# SPDX-License-Identifier: Apache-2.0
"""A codec does what the forward passes of the model it is given do, or refuses the model."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import weight_norm

from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.models.glc import GLC
from glc.models.vqvae import Bottleneck
from glc.portable import PortableNetworks
from glc.torch_networks import Networks

Change = Callable[[GLC], object]


def times_two(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return 2 * output


class Stylised(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, l: Tensor) -> Tensor:
        return -self.decoder(l)


class Negative(GLC):
    def reconstruct(self, l_hat: Tensor) -> Tensor:
        return -super().reconstruct(l_hat)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class WithLow(nn.Module):
    """A low-rank adapter that shows the weight it was made for."""

    def __init__(self, base: nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Conv2d(base.in_channels, 1, 1)
        self.up = nn.Conv2d(1, base.out_channels, 1)
        self.weight, self.bias = base.weight, base.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def put(place: str, make: Callable[[nn.Module], nn.Module]) -> Change:
    return lambda model: model.set_submodule(place, make(model.get_submodule(place)))


def on(place: str, change: Callable[[nn.Module], object]) -> Change:
    return lambda model: change(model.get_submodule(place))


def without_bias(conv: nn.Module) -> nn.Module:
    assert isinstance(conv, nn.Conv2d)
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size)
    plain = nn.Conv2d(*sizes, padding=conv.padding, bias=False)
    plain.weight = conv.weight
    return plain


def shared(model: GLC) -> None:
    first, second = model.g_a.first[0].block[0], model.g_s.first[0].block[0]
    second.conv2.weight = first.conv2.weight
    model.h_a.layers[0] = model.g_a.second[0]


def negated(model: GLC, method: str) -> None:
    plain = getattr(model, method)
    setattr(model, method, lambda *args: -plain(*args))


def negated_forward(module: nn.Module) -> None:
    plain = module.forward
    module.forward = lambda *args: -plain(*args)


LAST = "latent_decoder.blocks.6"
BY_TORCH: dict[str, Change] = {
    "another decoder": put("latent_decoder", Stylised),
    "a subclass": lambda model: setattr(model, "__class__", Negative),
    "a hook": on("latent_decoder", lambda m: m.register_forward_hook(times_two)),
    "a hook inside": on("g_a.first.0.block.1", lambda m: m.register_forward_hook(times_two)),
    "a pre-hook": on(
        "latent_encoder", lambda m: m.register_forward_pre_hook(lambda _, x: (x[0] / 2,))
    ),
    "another forward": on("h_a", negated_forward),
    "another forward of a conv": on("latent_encoder.blocks.1", negated_forward),
    "another reconstruct": partial(negated, method="reconstruct"),
    "another latents": partial(negated, method="latents"),
    "another finish": on("g_s", lambda m: setattr(m, "finish", lambda x, quality: -x)),
    "other limits": on("latent_range", lambda m: setattr(m, "limit_l_hat", lambda x: -x)),
    "another search": on("hyper_vq", lambda m: setattr(m, "nearest", lambda z: z[:, 0].long() * 0)),
    "another slope": on(
        "latent_encoder.blocks.2.block.0.conv1.1", lambda m: setattr(m, "negative_slope", 0.5)
    ),
    "another LeakyReLU": put("h_a.layers.2", lambda _: nn.LeakyReLU(0.7)),
    "another padding": on(LAST, lambda m: setattr(m, "padding_mode", "reflect")),
    "another layer": on("latent_decoder.blocks", lambda m: m.append(nn.LeakyReLU(0.2))),
    "a layer less": put("g_a.first.0.block.0.conv1", lambda m: nn.Sequential(m[0])),
    "no normalisation": on("h_a", lambda m: setattr(m, "normalize", not m.normalize)),
    "no bias": put(LAST, without_bias),
    "an adapter": put("g_s.first.0.block.1.conv_out", WithLow),
    "an adapter in the encoder": put("latent_encoder.blocks.1", WithLow),
    "pruning": on(LAST, lambda m: prune.l1_unstructured(m, "weight", 0.3)),
    "nothing for a block": put("g_s.second.0", lambda _: nn.Identity()),
    "a parametrized scale": on(
        "g_a", lambda m: parametrize.register_parametrization(m, "q", Doubled(), unsafe=True)
    ),
    "data parallel": put("latent_decoder", lambda m: nn.DataParallel(m)),
    "compiled": put("latent_decoder", lambda m: torch.compile(m, backend="eager")),
    "a wider part": put("latent_decoder.blocks.5", lambda _: nn.Sequential(Bottleneck(16, 1.0))),
}

BY_EXACT_LAYERS: dict[str, Change] = {
    "nothing": lambda model: None,
    "training": lambda model: model.train(),
    "no gradients": lambda model: model.requires_grad_(False),
    "shared weights": shared,
    "weight norm": on("latent_decoder.blocks.0", weight_norm),
    "a frozen mode": on("g_a", lambda m: setattr(m, "train", lambda mode=True: m)),
    "a name": on("g_a", lambda m: setattr(m, "label", "mine")),
}


def changed(folder: Path, change: Change) -> GLC:
    model = GLC.from_pretrained(folder)
    change(model)
    return model


def require_the_models_own(codec: Codec, pixels: np.ndarray) -> None:
    """The codec's maps and pictures are those of its model's forward passes, but for rounding."""
    networks, by_torch = codec._networks, Networks(codec.model)
    with networks.computing(), by_torch.computing():
        features = networks.features(pixels)
        np.testing.assert_allclose(features, by_torch.features(pixels), atol=1e-4)
        y = networks.analysis(features, 2.0)
        np.testing.assert_allclose(y, by_torch.analysis(features, 2.0), atol=1e-4)
        assert np.array_equal(networks.hyper_index(y), by_torch.hyper_index(y))
        l_hat = networks.synthesis(y, 2.0)
        np.testing.assert_allclose(l_hat, by_torch.synthesis(y, 2.0), atol=1e-4)
        size = pixels.shape[:2]
        drawn, expected = (each.pixels(y, 2.0, size).astype(int) for each in (networks, by_torch))
    assert np.abs(drawn - expected).max() <= 1


@pytest.mark.parametrize("name", BY_TORCH)
def test_a_changed_picture_network_is_what_runs(
    tiny_folder: Path, photo: np.ndarray, name: str
) -> None:
    model = changed(tiny_folder, BY_TORCH[name])
    codec = Codec(model)
    assert isinstance(codec._networks, Networks)
    require_the_models_own(codec, photo[:64, :64])
    codec.decode(codec.encode(photo[:64, :64], quality=2.0))


@pytest.mark.parametrize("name", BY_EXACT_LAYERS)
def test_what_computes_the_same_needs_no_torch(
    tiny_folder: Path, photo: np.ndarray, name: str
) -> None:
    codec = Codec(changed(tiny_folder, BY_EXACT_LAYERS[name]))
    assert isinstance(codec._networks, PortableNetworks)
    require_the_models_own(codec, photo[:64, :64])


REFUSED: dict[str, Change] = {
    "a hook": on("h_s", lambda m: m.register_forward_hook(times_two)),
    "another forward": on("context.fusion.0", negated_forward),
    "another exact form": on("h_s", lambda m: setattr(m, "exact", lambda x: x)),
    "another block": on("h_s.layers", lambda m: m.append(nn.LeakyReLU())),
    "nothing for a block": put("h_s.layers.2", lambda _: nn.Identity()),
    "another padding": on("h_s.layers.0.conv", lambda m: setattr(m, "padding_mode", "reflect")),
    "another slope": on(
        "context.fusion.0.block.0.conv1.1", lambda m: setattr(m, "negative_slope", 0.5)
    ),
    "no bias": put("context.reduction", without_bias),
    "another lookup": on("hyper_vq", lambda m: setattr(m, "lookup", lambda index: index)),
    "other parameters": lambda model: setattr(model, "exact_params", lambda z_hat: None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_changed_entropy_path_is_refused(tiny_folder: Path, name: str) -> None:
    """Decoders elsewhere know the configuration and the weights alone."""
    with pytest.raises(InvalidArgumentError, match=r"model|exact layers"):
        Codec(changed(tiny_folder, REFUSED[name]))


def test_shared_modules_of_the_entropy_path(tiny_folder: Path, photo: np.ndarray) -> None:
    model = GLC.from_pretrained(tiny_folder)
    model.context.adaptors[1] = model.context.adaptors[0]
    codec = Codec(model)
    alone = copy.deepcopy(model)
    alone.context.adaptors[1] = copy.deepcopy(model.context.adaptors[0])
    assert codec.encode(photo) == Codec(alone).encode(photo)


def test_a_hook_put_on_later_is_called_or_refused(tiny_folder: Path, photo: np.ndarray) -> None:
    codec = Codec(tiny_folder)
    data = codec.encode(photo)
    hook = codec.model.latent_decoder.register_forward_hook(times_two)
    with pytest.raises(InvalidArgumentError, match="make a new Codec"):
        codec.decode(data)
    by_torch = Codec(codec.model)
    assert not np.array_equal(by_torch.decode(data), Codec(tiny_folder).decode(data))
    calls: list[object] = []
    codec.model.latent_decoder.register_forward_hook(lambda *_: calls.append(1))
    by_torch.decode(data)
    assert calls
    hook.remove()
