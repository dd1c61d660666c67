# SPDX-License-Identifier: Apache-2.0
"""Levels can be moved to the rates that they shall have."""

import pytest
import torch

from glc.models import GLC
from glc.training.level_rates import hold_rates, level_rates, scale_levels


@pytest.fixture
def model(tiny_folder) -> GLC:
    return GLC.from_pretrained(tiny_folder)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand((10, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_rates_are_those_of_the_rate_term(model, x):
    rates = level_rates(model, x)
    assert len(rates) == model.config.levels
    with torch.no_grad():
        out = model(x, 2.0, rounding="round").latent
    assert rates[2] == pytest.approx(float((out.bits_y + out.bits_z).mean()) / 64**2, rel=1e-5)


def test_every_level_is_brought_to_its_target(model, x):
    before = level_rates(model, x)
    targets = [rate * change for rate, change in zip(before, (1.1, 1.05, 1.0, 0.95), strict=True)]
    factors = hold_rates(model, x, targets)
    # of few symbols, so the rate of the lowest level is a staircase
    assert level_rates(model, x) == pytest.approx(targets, rel=0.06)
    assert factors[0] > factors[1] > 1 > factors[3]


def test_no_level_is_moved_by_more_than_a_factor_of_two(model, x):
    levels = model.config.levels
    vectors = model.g_a.q.clone(), model.g_s.q.clone()
    for target, factor in ((0.0, 0.5), (1e3, 2.0)):
        assert hold_rates(model, x, [target] * levels) == pytest.approx([factor] * levels, rel=0.01)
        scale_levels(model, [1 / factor] * levels)
    for q, vector in zip((model.g_a.q, model.g_s.q), vectors, strict=True):
        torch.testing.assert_close(q, vector, rtol=0.01, atol=0.0)
