# SPDX-License-Identifier: Apache-2.0
"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from glc.errors import InvalidArgumentError
from glc.evaluation import ms_ssim, psnr


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
