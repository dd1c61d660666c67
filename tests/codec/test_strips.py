# SPDX-License-Identifier: Apache-2.0
"""Strips are an economy of memory, not another picture: no seam, no other symbol."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.entropy_path import Quantizer, Symbols, on_host, walk_parts
from glc.image import load_image
from glc.models.config import GLC_IMAGE, VQGANConfig
from glc.models.vqvae import build_autoencoder
from glc.portable import PortableNetworks
from glc.strips import CoderNetworks, PictureNetworks, Reach, map_strips, reach
from glc.torch_networks import Networks

ROW_OF_Z = 1  # pixels: less than a row of z, and a strip is never lower than one


class Reaching(nn.Module):
    """Convolutions that see `above` rows up and `below` rows down."""

    def __init__(self, above: int, below: int) -> None:
        super().__init__()
        self.above, self.below = above, below
        self.conv = nn.Conv2d(1, 1, (above + below + 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x, (0, 0, self.above, self.below)))


def reach_of(network: nn.Module, channels: int, in_cell: int) -> Reach | None:
    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(x)).numpy()

    return reach(run, channels, in_cell)


@pytest.mark.parametrize("sees", [(0, 0), (1, 0), (0, 3), (5, 2)])
def test_reach_is_found(sees: tuple[int, int]) -> None:
    assert reach_of(Reaching(*sees), 1, 1) == sees


def test_reach_in_cells() -> None:
    down = nn.Conv2d(2, 2, 3, stride=2, padding=1)  # 3 rows about every second one
    assert reach_of(down, 2, 2) == (1, 0)
    up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1))
    assert reach_of(up, 2, 1) == (1, 1)


def test_what_sees_everything_has_no_reach() -> None:
    assert reach_of(nn.GroupNorm(1, 4), 4, 1) is None
    narrow = VQGANConfig(channels=32, res_blocks=1)
    encoder, decoder = build_autoencoder(narrow, 16, 1.0)
    assert reach_of(encoder.eval(), 3, 16) is None
    assert reach_of(decoder.eval(), 16, 1) is None
    assert isinstance(GLC_IMAGE.autoencoder, VQGANConfig)


@pytest.mark.parametrize("per_strip", [1, 2, 3, 7, 8, 50])
def test_strips_join_without_a_seam(per_strip: int) -> None:
    network = Reaching(2, 1).double()
    x = torch.rand(1, 1, 8, 3, dtype=torch.float64)
    with torch.no_grad():
        whole = network(x)
        strips = map_strips(lambda a, b: network(x[:, :, a:b]), 8, per_strip, (2, 1))
        torch.testing.assert_close(strips, whole)
        if per_strip < 8:
            short = map_strips(lambda a, b: network(x[:, :, a:b]), 8, per_strip, (1, 1))
            assert not torch.allclose(short, whole), "an overlap too small must show"


def analyse(networks: PictureNetworks, pixels: np.ndarray, quality: float) -> tuple[Any, Any]:
    y = networks.analysis(networks.features(pixels), quality)
    return y, networks.hyper_index(y)


class Double(Networks):
    """The encoder's networks in float64, where the order of sums leaves no trace in a symbol."""

    def __init__(self, codec: Codec, strip_pixels: int) -> None:
        super().__init__(copy.deepcopy(codec.model).double(), strip_pixels)
        self.search = codec.model.hyper_vq.nearest

    def hyper_index(self, y: np.ndarray) -> np.ndarray:
        z = self._over_rows("h_a", self.model.h_a, y, 4, per_z=1)
        return self.search(torch.from_numpy(z).float()).numpy()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tall(sample_path: Path) -> np.ndarray:
    return np.ascontiguousarray(load_image(sample_path)[:, 200:395])  # 512 rows, 8 of z


def portable(codec: Codec, strip_pixels: int) -> PortableNetworks:
    return PortableNetworks(codec._weights, strip_pixels)


def by_torch(codec: Codec, strip_pixels: int) -> Networks:
    return Networks(codec.model, strip_pixels)


def symbols(codec: Codec, y: np.ndarray, z_index: np.ndarray, networks: CoderNetworks) -> Symbols:
    source = Quantizer(y, codec._tables.y.rows)
    with networks.computing():
        return walk_parts(networks, z_index, source)


def require_equal(found: Symbols, expected: Symbols) -> None:
    assert np.array_equal(on_host(found.y_hat), on_host(expected.y_hat))
    assert np.array_equal(on_host(found.step), on_host(expected.step))
    for part, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_array_equal(part.symbols, other.symbols)
        np.testing.assert_array_equal(part.rows, other.rows)
        assert np.array_equal(on_host(part.scale), on_host(other.scale))
        assert np.count_nonzero(part.symbols)


@pytest.mark.parametrize("z_rows", [1, 3])
@pytest.mark.parametrize("networks", [portable, by_torch])
def test_entropy_path_is_the_same_bit_for_bit(
    codec: Codec, tall: np.ndarray, networks: Callable[..., Any], z_rows: int
) -> None:
    """In strips, and by the core or by torch."""
    y, z_index = analyse(codec._networks, tall, 2.0)
    expected = symbols(codec, y, z_index, codec._coder_networks)
    found = symbols(codec, y, z_index, networks(codec, z_rows * 64 * 256))
    require_equal(found, expected)


def test_encoder_by_torch_gives_the_same_symbols(codec: Codec, tall: np.ndarray) -> None:
    """In float64; in float32 torch's kernels add in an order that depends on the height."""
    coder = codec._coder_networks
    y, z_index = analyse(Double(codec, 1 << 30), tall, 2.0)
    y_strips, z_strips = analyse(Double(codec, ROW_OF_Z), tall, 2.0)
    np.testing.assert_allclose(y_strips, y, rtol=0, atol=1e-10)
    assert np.array_equal(z_strips, z_index)
    expected = symbols(codec, y.astype(np.float32), z_index, coder)
    found = symbols(codec, y_strips.astype(np.float32), z_strips, coder)
    for part, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_array_equal(part.symbols, other.symbols)


def test_picture_by_torch_has_no_seam(codec: Codec, tall: np.ndarray) -> None:
    y, z_index = analyse(codec._networks, tall, 2.0)
    coded = symbols(codec, y, z_index, codec._coder_networks)
    drawn = [
        by_torch(codec, strip_pixels).pixels(coded.latent, 2.0, tall.shape[:2]).astype(int)
        for strip_pixels in (1 << 30, ROW_OF_Z)
    ]
    assert drawn[0].shape == tall.shape
    assert np.abs(drawn[0] - drawn[1]).max() <= 1  # a value on the edge of two, rounded
    assert np.mean(drawn[0] != drawn[1]) < 1e-3


def test_files_and_pictures_of_strips_are_the_same_bit_for_bit(
    codec: Codec, tall: np.ndarray
) -> None:
    low = Codec(DEFAULT_MODEL)
    low._networks = low._coder_networks = portable(codec, ROW_OF_Z)
    data = codec.encode(tall, quality=1.0)
    assert low.encode(tall, quality=1.0) == data
    assert np.array_equal(low.decode(data), codec.decode(data))
