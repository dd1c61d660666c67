# SPDX-License-Identifier: Apache-2.0
"""Nearest-codebook search beside the two usual ways of writing it in torch, one thread each."""

import pytest
import torch

from glc.ops import vq_nearest

pytestmark = pytest.mark.usefixtures("one_thread")

AGREEMENT = 0.999  # the peer rounds its sums in another order, so near-ties may fall differently


def cases():
    sizes = [
        (96, 16384, 256),  # hyper indices of a photograph, published codebook
        (96, 512, 32),  # the same, small model
        (1536, 1024, 256),
        (1536, 8192, 32),
        (1536, 8192, 8),
    ]
    return [pytest.param(*size, id="n{}-k{}-d{}".format(*size)) for size in sizes]


def addmm_argmax(latents, codebook):
    scores = torch.addmm(-0.5 * codebook.square().sum(1), latents, codebook.t())
    return scores.argmax(1)


def distance_and_one_hot(latents, codebook):
    """As in the original VQ-VAE code: all distances, then a one-hot matrix for the lookup."""
    distance = (
        latents.square().sum(1, keepdim=True)
        + codebook.square().sum(1)
        - 2 * latents @ codebook.t()
    )
    index = distance.argmin(1)
    one_hot = torch.zeros_like(distance).scatter_(1, index[:, None], 1)
    return index, one_hot @ codebook


@pytest.mark.parametrize(("n", "k", "d"), cases())
def bench_vq_nearest(race, n, k, d):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(n, d, generator=generator)
    codebook = torch.randn(k, d, generator=generator)

    def check(ours, peers):
        assert (ours == peers["addmm+argmax"]).float().mean() >= AGREEMENT

    race(
        lambda: vq_nearest.plain(latents, codebook),
        {"addmm+argmax": lambda: addmm_argmax(latents, codebook)},
        check=check,
        work=n * k * d,
        unit="FMA",
    )


def bench_vq_search_and_lookup(race):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(96, 256, generator=generator)
    codebook = torch.randn(16384, 256, generator=generator)

    def ours():
        index = vq_nearest.plain(latents, codebook)
        return index, torch.nn.functional.embedding(index, codebook)

    def check(mine, peers):
        index, rows = peers["distances+one-hot"]
        same = mine[0] == index
        assert same.float().mean() >= AGREEMENT
        torch.testing.assert_close(mine[1][same], rows[same])

    race(
        ours,
        {"distances+one-hot": lambda: distance_and_one_hot(latents, codebook)},
        check=check,
        work=96,
        unit="latents",
    )
