# SPDX-License-Identifier: Apache-2.0
"""Metrics against values worked out by hand."""

import math
import tracemalloc

import numpy as np
import pytest
import pytorch_msssim
import torch

from glc.errors import InvalidArgumentError
from glc.evaluation import feature_distance, metrics, ms_ssim, psnr
from glc.losses.perceptual import FeatureDistance, TinyDarknetFeatures
from glc.strips import reach


def test_psnr_of_a_known_error() -> None:
    x = np.full((5, 7, 3), 100, dtype=np.uint8)
    assert psnr(x, x + 1) == pytest.approx(20 * math.log10(255))
    assert psnr(np.zeros_like(x), np.full_like(x, 255)) == pytest.approx(0.0)
    y = x.copy()
    y[0, 0, 0] += 16  # mean squared error 256 / 105
    assert psnr(x, y) == pytest.approx(10 * math.log10(255**2 * 105 / 256))
    assert psnr(x, y) == psnr(y, x)


def test_psnr_of_equal_images() -> None:
    x = np.zeros((2, 2, 3), dtype=np.uint8)
    assert psnr(x, x) == math.inf


def test_psnr_takes_no_memory_of_the_pictures_size() -> None:
    x = np.zeros((2000, 1000, 3), dtype=np.uint8)
    tracemalloc.start()
    assert psnr(x, x + 1) == pytest.approx(20 * math.log10(255))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * x.size


def noisy_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height)
    x = np.kron(rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))
    x = x[:height, :width]
    x_hat = np.clip(x + rng.normal(size=x.shape) * 20, 0, 255)
    return x.astype(np.uint8), x_hat.astype(np.uint8)


@pytest.mark.parametrize("strip", [1, 3000, metrics._MS_SSIM_STRIP])
@pytest.mark.parametrize("size", [(161, 161), (176, 192), (203, 190)])
def test_ms_ssim_is_that_of_its_reference(
    size: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_MS_SSIM_STRIP", strip)
    x, x_hat = noisy_pair(*size)
    pair = [torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (x, x_hat)]
    expected = float(pytorch_msssim.ms_ssim(*pair, data_range=255))
    assert ms_ssim(x, x_hat) == pytest.approx(expected, abs=1e-6)  # the order of its sums
    assert expected < 0.99


def test_ms_ssim_range_and_order() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(np.repeat(rng.integers(0, 256, (40, 50, 3)), 5, axis=0), 5, axis=1)
    x = x.astype(np.uint8)
    noise = rng.normal(size=x.shape)
    noisy = [np.clip(x + s * noise, 0, 255).astype(np.uint8) for s in (5, 40)]
    same, little, much = ms_ssim(x, x), ms_ssim(x, noisy[0]), ms_ssim(x, noisy[1])
    assert same is not None
    assert little is not None
    assert much is not None
    assert same == pytest.approx(1.0)
    assert 0.0 < much < little < same


def test_ms_ssim_is_not_defined_for_small_images() -> None:
    for side, defined in ((160, False), (161, True)):
        x = np.zeros((side, 300, 3), dtype=np.uint8)
        assert (ms_ssim(x, x) is not None) == defined


def test_shapes_must_agree() -> None:
    for metric in (psnr, ms_ssim):
        with pytest.raises(InvalidArgumentError, match="shape"):
            metric(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))


@pytest.mark.parametrize("size", [(64, 40), (300, 33), (321, 50)])
def test_features_are_compared_in_strips(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    distance = FeatureDistance(TinyDarknetFeatures())
    heights: list[int] = []
    distance.network.register_forward_pre_hook(lambda _, x: heights.append(x[0].shape[2]))
    x, x_hat = noisy_pair(*size)
    whole = feature_distance(distance, x, x_hat)
    assert heights == [size[0]] * 2
    monkeypatch.setattr(metrics, "_FEATURE_STRIP", 1)
    assert feature_distance(distance, x, x_hat) == pytest.approx(whole, rel=1e-6)
    assert max(heights[2:]) <= 3 * TinyDarknetFeatures.SEES


@pytest.mark.parametrize("tap", range(5))
def test_strips_share_what_features_see(tap: int) -> None:
    network = TinyDarknetFeatures().eval()
    stride = TinyDarknetFeatures.STRIDES[-1]
    with torch.no_grad():
        sees = reach(lambda x: network(torch.from_numpy(x))[tap].numpy(), 3, stride)
    assert sees is not None
    assert max(sees) * stride <= TinyDarknetFeatures.SEES
    assert network(torch.zeros(1, 3, 64, 64))[tap].shape[2] == 64 // network.STRIDES[tap]
