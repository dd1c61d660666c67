# SPDX-License-Identifier: Apache-2.0
"""Integer cdfs and rates of categorical symbols beside torch and CompressAI, one thread each.

`at stream speed` is what the bytes that must move would take at the speed of a plain copy.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.compressai_import import import_compressai
from benchmarks.on_device import ON_DEVICE, replayed, waited
from benchmarks.stream import streaming
from glc.ops import categorical_bits, categorical_cdf

pytestmark = pytest.mark.usefixtures("one_thread")


def shapes(*sizes):
    return [pytest.param(*size, id="{}x{}".format(*size)) for size in sizes]


def quantised_softmax(logits, bits=16):
    """As codecs do it in float: not the same on every machine."""
    k = logits.shape[1]
    below = torch.softmax(logits, 1).double().cumsum(1).numpy()
    starts = np.floor(below * ((1 << bits) - k)).astype(np.int32) + np.arange(1, k + 1)
    return np.pad(starts, ((0, 0), (1, 0)))


def compressai_cdfs(logits, bits=16):
    """A call a row, as its models build their tables."""
    from compressai._CXX import pmf_to_quantized_cdf

    return [pmf_to_quantized_cdf(row, bits) for row in torch.softmax(logits, 1).tolist()]


# high and low halves of a codebook of 16384; one row over all of it
@pytest.mark.parametrize(("rows", "k"), shapes((129, 128), (1, 16384)))
def bench_cdf(race, rows, k):
    logits = 3 * torch.randn(rows, k, generator=torch.Generator().manual_seed(0))
    peers = {"softmax+cumsum": lambda: quantised_softmax(logits)}
    if import_compressai() is not None:
        peers["softmax+pmf_to_quantized_cdf"] = lambda: compressai_cdfs(logits)

    def check(ours, outcomes):
        assert int(ours[:, -1].min()) == 65536
        assert int((ours.numpy() - outcomes["softmax+cumsum"])[:, :-1].max()) <= 1
        for theirs in outcomes.get("softmax+pmf_to_quantized_cdf", []):
            assert theirs[0] == 0
            assert theirs[-1] == 65536

    race(
        lambda: categorical_cdf.plain(logits),
        peers,
        check=check,
        work=rows * k,
        unit="entries",
        **streaming(2, logits),
    )


def cross_entropy_bits(logits, index):
    return cross_entropy(logits, index, reduction="none") / math.log(2.0)


def with_gradient(bits, logits, index):
    leaf = logits.detach().requires_grad_()
    total = bits(leaf, index).sum()
    return total.detach(), torch.autograd.grad(total, leaf)[0]


# hyper latents of a large picture over a small codebook; code prediction over the image codebook
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("rows", "k"), shapes((2304, 512), (1536, 16384)))
def bench_bits_forward_backward(race, rows, k, dtype):
    logits = torch.randn(rows, k, generator=torch.Generator().manual_seed(0)).to(dtype)
    index = torch.randint(k, (rows,), generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(cross_entropy_bits, fullgraph=True)
    sides = {"cross_entropy": cross_entropy_bits, "torch.compile": compiled}

    def check(ours, peers):
        wide = logits.double()
        total, slope = with_gradient(categorical_bits.reference, wide, index)
        assert abs(ours[0].double() / total - 1) < 1e-6
        # bfloat16 keeps 8 bits
        rtol, atol = (1e-4, 1e-6) if dtype is torch.float32 else (1e-2, 1e-6)
        torch.testing.assert_close(ours[1].double(), slope, rtol=rtol, atol=atol)
        for bits, gradient in peers.values():  # they compute in bfloat16
            assert abs(bits.double() / total - 1) < 1e-2
            torch.testing.assert_close(gradient.double(), slope, rtol=10 * rtol, atol=1e3 * atol)

    race(
        lambda: with_gradient(categorical_bits, logits, index),
        {n: lambda bits=b: with_gradient(bits, logits, index) for n, b in sides.items()},
        check=check,
        work=rows * k,
        unit="logits",
        **streaming(3, logits),  # read twice, written once
    )


@pytest.mark.parametrize(("rows", "k"), shapes((2304, 512), (1536, 16384)))
def bench_bits_forward(race, rows, k):
    logits = torch.randn(rows, k, generator=torch.Generator().manual_seed(0))
    index = torch.randint(k, (rows,), generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(cross_entropy_bits, fullgraph=True)

    def check(ours, peers):
        for theirs in peers.values():
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

    race(
        lambda: categorical_bits.plain(logits, index),
        {
            "cross_entropy": torch.no_grad()(lambda: cross_entropy_bits(logits, index)),
            "torch.compile": torch.no_grad()(lambda: compiled(logits, index)),
        },
        check=check,
        work=rows * k,
        unit="logits",
        **streaming(1, logits),
    )


DEVICE = "cuda"
TIMED = {"replayed": replayed, "waited": waited}


@pytest.mark.parametrize("timed", [pytest.param(how, marks=ON_DEVICE) for how in TIMED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("rows", "k"), shapes((2304, 512), (1536, 16384)))
def bench_bits_on_device(race, rows, k, dtype, timed):
    """Forward and backward, on a CUDA device."""
    logits = torch.randn(rows, k, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    index = torch.randint(k, (rows,), generator=torch.Generator().manual_seed(1)).to(DEVICE)

    def check(ours, peers):
        total, slope = with_gradient(categorical_bits.reference, logits.double(), index)
        assert abs(ours[0].double() / total - 1) < 1e-6
        rtol, atol = (1e-4, 1e-6) if dtype is torch.float32 else (1e-2, 1e-6)
        torch.testing.assert_close(ours[1].double(), slope, rtol=rtol, atol=atol)

    race(
        TIMED[timed](lambda: with_gradient(categorical_bits, logits, index)),
        {"cross_entropy": TIMED[timed](lambda: with_gradient(cross_entropy_bits, logits, index))},
        check=check,
        work=rows * k,
        unit="logits",
        moved_bytes=3 * logits.nbytes,
    )


def bench_shared_bits_forward_backward(race):
    """As the prior of the hyper indices is trained: one distribution for a batch of small maps."""
    logits = torch.randn(16384, generator=torch.Generator().manual_seed(0))
    index = torch.randint(16384, (8, 4, 4), generator=torch.Generator().manual_seed(1))

    def rows_of_all(leaf, chosen):
        return cross_entropy_bits(leaf.expand(chosen.numel(), -1), chosen.flatten())

    def log_softmax(leaf, chosen):
        return torch.log_softmax(leaf, 0)[chosen] / -math.log(2.0)

    def check(ours, peers):
        for theirs in peers.values():
            for got, expected in zip(ours, theirs, strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)

    sides = {"cross_entropy": rows_of_all, "log_softmax, gathered": log_softmax}
    race(
        lambda: with_gradient(categorical_bits, logits, index),
        {n: lambda bits=b: with_gradient(bits, logits, index) for n, b in sides.items()},
        check=check,
        work=index.numel(),
        unit="sym",
    )
