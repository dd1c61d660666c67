# SPDX-License-Identifier: Apache-2.0
"""However a batch is cut into processes and parts, the same is drawn and decided for its crops."""

from types import SimpleNamespace

import pytest
import torch

from glc.losses.rate import spread_levels
from glc.training.portion import Portion

CROPS, LEVELS = 8, 4
CUTS = [(2, 1), (1, 2), (2, 2), (8, 1), (1, 8)]


def drawn(world: int, parts: int, draw) -> list:
    """What every portion of a batch gets, in the order of its crops."""
    got = []
    for rank in range(world):
        processes = SimpleNamespace(rank=rank, world=world, device=torch.device("cpu"))
        portion = Portion(processes, parts, CROPS)
        for part in range(parts):
            torch.manual_seed(7)
            portion.part = part
            got.append(draw(portion))
    return got


@pytest.mark.parametrize(("world", "parts"), CUTS)
def test_noise_and_levels_are_those_of_the_whole_batch(world, parts):
    def noise(portion):
        return portion.noise(torch.empty(portion.crops, 2, 3))

    assert torch.equal(torch.cat(drawn(world, parts, noise)), drawn(1, 1, noise)[0])
    for repeat in (1, 2, 3):

        def levels(portion, repeat=repeat):
            return portion.levels(repeat, LEVELS).view(repeat, -1)

        assert torch.equal(torch.cat(drawn(world, parts, levels), 1), drawn(1, 1, levels)[0])


@pytest.mark.parametrize(("world", "parts"), [(1, 1), *CUTS])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_a_share_is_one_of_the_whole_batch(world, parts, share):
    first = torch.cat(drawn(world, parts, lambda portion: portion.first(share)))
    assert first.tolist() == [n < round(share * CROPS) for n in range(CROPS)]


@pytest.mark.parametrize(("world", "parts"), CUTS)
@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_samples_are_picked_from_the_whole_batch(world, parts, repeat, share):
    """And the portions' average is the mean over those that were picked."""
    values = torch.arange(CROPS * repeat).double().view(repeat, CROPS) ** 2

    def pick(portion):
        picked = portion.pick(repeat, share)
        mine = portion.share(values, dim=1).flatten()
        return mine[picked.index], picked.mean(mine[picked.index])

    whole, mean = drawn(1, 1, pick)[0]
    assert len(whole) == max(1, round(share * CROPS * repeat))
    torch.testing.assert_close(mean, whole.mean())
    got = drawn(world, parts, pick)
    assert sorted(torch.cat([v for v, _ in got]).tolist()) == sorted(whole.tolist())
    torch.testing.assert_close(torch.stack([m for _, m in got]).mean(), mean)


@pytest.mark.parametrize(("world", "parts"), CUTS)
@pytest.mark.parametrize("repeat", [1, 3])
def test_portions_are_put_together_in_the_order_of_the_batch(world, parts, repeat):
    values = torch.arange(repeat * CROPS * 2).view(repeat, CROPS, 2)

    def mine(portion):
        return portion, portion.share(values, dim=1).flatten(0, 1)

    got = drawn(world, parts, mine)
    portion = got[0][0]
    whole = portion.whole(torch.cat([samples for _, samples in got]))
    assert torch.equal(whole, values.flatten(0, 1))


@pytest.mark.parametrize("crops", [1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("levels", [1, 2, 4, 5])
@pytest.mark.parametrize("repeat", [1, 2, 3, 4, 7])
def test_levels_are_spread_evenly_over_crops_and_batch(crops, levels, repeat):
    torch.manual_seed(crops)
    for _ in range(20):
        spread = spread_levels(crops, levels, repeat)
        assert spread.shape == (repeat, crops)
        for part in (spread, *(spread[:, [n]] for n in range(crops))):  # the batch, and every crop
            counts = torch.bincount(part.flatten(), minlength=levels)
            assert counts.max() - counts.min() <= 1


def test_every_pair_of_levels_comes_together():
    torch.manual_seed(0)
    draws = [spread_levels(4, 4, 2) for _ in range(50)]
    pairs = {tuple(sorted(pair)) for draw in draws for pair in draw.T.tolist()}
    assert len(pairs) == 6
