# SPDX-License-Identifier: Apache-2.0
"""Offsets and counts beyond 2^31 elements, without that much memory."""

import pytest
import torch

from glc.ops import categorical_bits, categorical_cdf, gaussian_bits, gaussian_rows

FAR = 2**31 + 8  # elements from one row to the next


def far_apart(rows: torch.Tensor) -> torch.Tensor:
    """The same two rows, 2^31 elements apart: 8 GiB of addresses, of which few are touched."""
    try:
        memory = torch.empty(FAR + rows.shape[1])
    except RuntimeError:
        pytest.skip("the system does not lend 8 GiB of addresses")
    return memory.as_strided(rows.shape, (FAR, 1)).copy_(rows)


def with_gradients(op, *tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    bits = op(*leaves)
    return bits, *torch.autograd.grad(bits.sum(), leaves)


@pytest.mark.parametrize("reduction", ["none", "sample"])
def test_gaussian_rates_of_rows_far_apart(reduction):
    generator = torch.Generator().manual_seed(0)
    near = [3 * torch.rand(2, 100, generator=generator) + 0.1 for _ in range(3)]

    def op(y, mean, scale):
        return gaussian_bits(y, mean, scale, rounding="ste", reduction=reduction)

    for at in range(3):  # one at a time
        tensors = [far_apart(t) if i == at else t for i, t in enumerate(near)]
        for got, expected in zip(
            with_gradients(op, *tensors), with_gradients(op, *near), strict=True
        ):
            assert torch.equal(got, expected)


def test_rows_and_logits_far_apart():
    near = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    far = far_apart(near)
    bounds = torch.tensor([0.1, 1.0])
    assert torch.equal(gaussian_rows(far, bounds), gaussian_rows(near, bounds))
    assert torch.equal(categorical_cdf(far), categorical_cdf(near))

    def op(logits):
        return categorical_bits(logits, torch.tensor([7, 93]))

    for got, expected in zip(with_gradients(op, far), with_gradients(op, near), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.slow
def test_sums_over_more_than_2_31_elements():
    n, repeats = 2**16, 2**15 + 3
    y = torch.randn(1, n, generator=torch.Generator().manual_seed(0)).expand(repeats, n)
    assert y.numel() > 2**31
    one = torch.ones(1, n).expand(repeats, n)
    totals = gaussian_bits(y, one, one, rounding="round", reduction="sample")
    expected = gaussian_bits(y[:1], one[:1], one[:1], rounding="round", reduction="sample")
    assert torch.equal(totals, expected.expand(repeats))
