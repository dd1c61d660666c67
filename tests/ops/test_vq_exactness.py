# SPDX-License-Identifier: Apache-2.0
"""A million queries against float64 brute force, over codebooks that 8 bits see well and badly."""

import pytest
import torch
from torch import Tensor

from glc import _core
from glc.ops.vq import nearest_rows

CHUNK = 8192


def rows_of(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def random(n, k, d):
    return rows_of(n, d, 1), rows_of(k, d, 2)


def clustered(n, k, d):
    centres = rows_of(64, d, 3).repeat(max(n, k) // 64 + 1, 1)
    return centres[:n] + 0.2 * rows_of(n, d, 4), centres[:k] + 0.2 * rows_of(k, d, 5)


def low_rank(n, k, d):
    directions = rows_of(6, d, 6)
    codes = rows_of(k, 6, 7) @ directions + 0.01 * rows_of(k, d, 8)
    return rows_of(n, 6, 9) @ directions + 0.01 * rows_of(n, d, 10), codes


def duplicated(n, k, d):
    codes = rows_of(k, d, 11)
    codes[k // 2 :] = codes[: k - k // 2].clone()
    return rows_of(n, d, 12), codes


def adversarial(n, k, d):
    """Latents halfway between two codes; spikes that cost the small values their bits."""
    codes = rows_of(k, d, 13)
    codes[::2] *= 0.01
    codes[torch.arange(k), torch.arange(k) % d] += 10.0
    first, second = (
        torch.randint(k, (n,), generator=torch.Generator().manual_seed(s)) for s in (14, 15)
    )
    middle = (codes[first] + codes[second]) / 2
    return middle + 1e-4 * rows_of(n, d, 16), codes


CODEBOOKS = [random, clustered, low_rank, duplicated, adversarial]


def mismatches(latents: Tensor, codebook: Tensor, index: Tensor) -> tuple[int, int]:
    """Count indices that brute force in float64 contradicts, and those within rounding of a tie.

    A tie is a pair of scores closer than their chains of d float32 operations can be off: each by
    at most d 2^-24 (|c|^2 + |l| |c|), see `csrc/vq/vq_screen.cpp`.
    """
    wide = codebook.double()
    norms = wide.norm(dim=1)
    unit = 1.01 * codebook.shape[1] * 2.0**-24
    n_wrong = n_ties = 0
    for part, chosen in zip(latents.split(CHUNK), index.long().split(CHUNK), strict=True):
        scores = torch.addmm(-0.5 * norms.square(), part.double(), wide.t())
        best, at = scores.max(1)
        ours = scores.gather(1, chosen[:, None])[:, 0]
        length = part.double().norm(dim=1)
        slack = sum(unit * norms[j] * (norms[j] + length) for j in (at, chosen))
        differs = ours < best
        n_ties += int((differs & (best - ours <= slack)).sum())
        n_wrong += int((differs & (best - ours > slack)).sum())
    return n_wrong, n_ties


@pytest.mark.slow
@pytest.mark.parametrize("make", CODEBOOKS)
@pytest.mark.parametrize(("n", "k", "d"), [(198_000, 1024, 32), (2_000, 16384, 256)])
def test_no_index_contradicts_brute_force(make, n, k, d, record_property):
    latents, codebook = make(n, k, d)
    index = nearest_rows(latents, codebook, _core.VqSearch.SCREEN)
    assert torch.equal(index, nearest_rows(latents, codebook, _core.VqSearch.EXACT))
    n_wrong, n_ties = mismatches(latents, codebook, index)
    record_property("ties", n_ties)
    assert n_wrong == 0
    assert n_ties < n / 100
    if make is duplicated:
        assert (index < k // 2).all()
