# SPDX-License-Identifier: Apache-2.0
"""Integer cdfs and rates of categorical symbols beside plain torch and numpy, one thread each."""

import numpy as np
import pytest
import torch

from glc.ops import categorical_bits, categorical_cdf

pytestmark = pytest.mark.usefixtures("one_thread")


def cases():
    # high and low halves of a codebook of 16384; one row over all of it
    return [pytest.param(*size, id="{}x{}".format(*size)) for size in [(129, 128), (1, 16384)]]


def quantised_softmax(logits, bits=16):
    """As codecs do it in float: not the same on every machine."""
    k = logits.shape[1]
    below = torch.softmax(logits, 1).double().cumsum(1).numpy()
    starts = np.floor(below * ((1 << bits) - k)).astype(np.int32) + np.arange(1, k + 1)
    return np.pad(starts, ((0, 0), (1, 0)))


@pytest.mark.parametrize(("rows", "k"), cases())
def bench_cdf(race, rows, k):
    logits = 3 * torch.randn(rows, k, generator=torch.Generator().manual_seed(0))

    def check(ours, peers):
        assert int(ours[:, -1].min()) == 65536
        assert int((ours.numpy() - peers["softmax+cumsum"])[:, :-1].max()) <= 1

    race(
        lambda: categorical_cdf.plain(logits),
        {"softmax+cumsum": lambda: quantised_softmax(logits)},
        check=check,
        work=rows * k,
        unit="entries",
    )


def bench_bits_forward_backward(race):
    logits = torch.randn(16384, generator=torch.Generator().manual_seed(0))
    index = torch.randint(16384, (8, 4, 4), generator=torch.Generator().manual_seed(1))

    def ours():
        leaf = logits.clone().requires_grad_()
        bits = categorical_bits(leaf, index)
        return bits.detach(), torch.autograd.grad(bits.sum(), leaf)[0]

    def cross_entropy():
        leaf = logits.clone().requires_grad_()
        rows = leaf.expand(index.numel(), -1)
        nats = torch.nn.functional.cross_entropy(rows, index.flatten(), reduction="none")
        bits = (nats / np.log(2.0)).view_as(index)
        return bits.detach(), torch.autograd.grad(bits.sum(), leaf)[0]

    def check(mine, peers):
        for got, expected in zip(mine, peers["cross_entropy"], strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)

    race(ours, {"cross_entropy": cross_entropy}, check=check, work=index.numel(), unit="sym")
