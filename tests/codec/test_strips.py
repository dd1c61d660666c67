# SPDX-License-Identifier: Apache-2.0
"""Strips are an economy of memory, not another picture: no seam, no other symbol."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.entropy_path import Quantizer, Symbols, walk_parts
from glc.image import load_image
from glc.models.config import GLC_IMAGE, VQGANConfig
from glc.models.vqvae import build_autoencoder
from glc.strips import Networks, map_strips, reach

LIKE = torch.zeros(1)
ROW_OF_Z = 1  # pixels: less than a row of z, and a strip is never lower than one


class Reaching(nn.Module):
    """Convolutions that see `above` rows up and `below` rows down."""

    def __init__(self, above: int, below: int) -> None:
        super().__init__()
        self.above, self.below = above, below
        self.conv = nn.Conv2d(1, 1, (above + below + 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, (0, 0, self.above, self.below)))


@pytest.mark.parametrize("sees", [(0, 0), (1, 0), (0, 3), (5, 2)])
def test_reach_is_found(sees: tuple[int, int]) -> None:
    assert reach(Reaching(*sees), 1, 1, LIKE) == sees


def test_reach_in_cells() -> None:
    down = nn.Conv2d(2, 2, 3, stride=2, padding=1)  # 3 rows about every second one
    assert reach(down, 2, 2, LIKE) == (1, 0)
    up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1))
    assert reach(up, 2, 1, LIKE) == (1, 1)


def test_what_sees_everything_has_no_reach() -> None:
    assert reach(nn.GroupNorm(1, 4), 4, 1, LIKE) is None
    narrow = VQGANConfig(channels=32, res_blocks=1)
    encoder, decoder = build_autoencoder(narrow, 16, 1.0)
    assert reach(encoder.eval(), 3, 16, LIKE) is None
    assert reach(decoder.eval(), 16, 1, LIKE) is None
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


def analyse(networks: Networks, pixels: np.ndarray, quality: float) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        y = networks.analysis(networks.features(pixels), quality)
        return y, networks.hyper_index(y)


class Double(Networks):
    """The encoder's networks in float64, where the order of sums leaves no trace in a symbol."""

    def __init__(self, codec: Codec, strip_pixels: int) -> None:
        super().__init__(copy.deepcopy(codec.model).double(), strip_pixels)
        self.search = codec.model.hyper_vq.nearest

    def hyper_index(self, y: Tensor) -> Tensor:
        return self.search(self._over_rows("h_a", self.model.h_a, y, in_cell=4, per_z=1).float())


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def tall(sample_path: Path) -> np.ndarray:
    return np.ascontiguousarray(load_image(sample_path)[:, 200:395])  # 512 rows, 8 of z


def symbols(codec: Codec, y: Tensor, z_index: Tensor, strip_pixels: int) -> Symbols:
    networks = Networks(codec.model, strip_pixels)
    source = Quantizer(y, codec._tables.y.rows)
    return walk_parts(networks, codec._tables.bounds(networks.device), z_index, source)


@pytest.mark.parametrize("z_rows", [1, 3])
def test_entropy_path_is_the_same_bit_for_bit(codec: Codec, tall: np.ndarray, z_rows: int) -> None:
    whole = codec._networks
    y, z_index = analyse(whole, tall, 2.0)
    expected = symbols(codec, y, z_index, 1 << 30)
    found = symbols(codec, y, z_index, z_rows * 64 * 256)
    assert torch.equal(found.y_hat, expected.y_hat)
    assert torch.equal(found.step, expected.step)
    for part, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_array_equal(part.symbols, other.symbols)
        np.testing.assert_array_equal(part.rows, other.rows)
        assert torch.equal(part.scale, other.scale)
        assert np.count_nonzero(part.symbols)


def test_encoder_gives_the_same_symbols(codec: Codec, tall: np.ndarray) -> None:
    """In float64; in float32 torch's kernels add in an order that depends on the height."""
    y, z_index = analyse(Double(codec, 1 << 30), tall, 2.0)
    y_strips, z_strips = analyse(Double(codec, ROW_OF_Z), tall, 2.0)
    torch.testing.assert_close(y_strips, y, rtol=0, atol=1e-10)
    assert torch.equal(z_strips, z_index)
    expected = symbols(codec, y.float(), z_index, 1 << 30)
    found = symbols(codec, y_strips.float(), z_strips, 1 << 30)
    for part, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_array_equal(part.symbols, other.symbols)


def test_picture_has_no_seam(codec: Codec, tall: np.ndarray) -> None:
    y, z_index = analyse(codec._networks, tall, 2.0)
    coded = symbols(codec, y, z_index, 1 << 30)
    drawn = []
    with torch.inference_mode():
        for networks in (codec._networks, Networks(codec.model, ROW_OF_Z)):
            picture = networks.pixels(coded.y_hat * coded.step, 2.0, tall.shape[:2])
            drawn.append(picture.astype(int))
    assert drawn[0].shape == tall.shape
    assert np.abs(drawn[0] - drawn[1]).max() <= 1  # a value on the edge of two, rounded
    assert np.mean(drawn[0] != drawn[1]) < 1e-3


def test_files_in_strips_decode(codec: Codec, tall: np.ndarray) -> None:
    low = Codec(codec.model)
    low._networks = low._coder_networks = Networks(codec.model, ROW_OF_Z)
    data = low.encode(tall, quality=1.0)
    whole = codec.decode(data).astype(int)
    assert np.abs(low.decode(data).astype(int) - whole).max() <= 1
    assert abs(len(data) - len(codec.encode(tall, quality=1.0))) < 20
