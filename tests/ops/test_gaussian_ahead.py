# SPDX-License-Identifier: Apache-2.0
"""Gradients that the forward pass of a rate computes ahead, once the same came twice in a row."""

import math

import pytest
import torch

from glc.ops import _gaussian_ahead, gaussian, gaussian_bits
from glc.ops._expected import Expected
from tests.ops.test_gaussian import ROUNDINGS, inputs

STEPS = 5
REDUCTIONS = ["none", "sample", "sum"]


@pytest.fixture(autouse=True)
def nothing_foreseen(monkeypatch):
    expected = Expected()
    monkeypatch.setattr(gaussian, "_expected", expected)
    return expected


@pytest.fixture
def backward_calls(monkeypatch):
    """Count the native backward passes."""
    calls = []
    native = gaussian._core.gaussian_bits_backward

    def counted(*args):
        calls.append(args)
        return native(*args)

    monkeypatch.setattr(gaussian._core, "gaussian_bits_backward", counted)
    return calls


def new_leaves(shape=(3, 1009), wanted=(True, True, True)):
    args = inputs(shape, seed=9)
    return [t.clone().requires_grad_(want) for t, want in zip(args, wanted, strict=True)]


def weight_of(bits, value):
    """Make a gradient of bits that differs between samples where there are several values."""
    if bits.dim() == 1:
        return torch.full_like(bits, value) * torch.arange(1, bits.numel() + 1)
    return torch.tensor(value).expand_as(bits)


def step(leaves, reduction, value, rounding="ste"):
    """Gradients of a training step, and the same computed anew."""
    torch.manual_seed(3)
    bits = gaussian_bits(*leaves, rounding=rounding, reduction=reduction)
    asked = [t for t in leaves if t.requires_grad]
    if rounding == "round":
        asked = asked[-1:]
    weight = weight_of(bits, value)
    first = torch.autograd.grad(bits, asked, weight, retain_graph=True)
    return first, torch.autograd.grad(bits, asked, weight)


def assert_same(first, again):
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("value", [0.25, -2.0, math.inf])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_gradient_that_stays_gives_the_same_bits(rounding, reduction, value, backward_calls):
    leaves = new_leaves()
    for i in range(STEPS):
        before = len(backward_calls)
        assert_same(*step(leaves, reduction, value, rounding))
        # the second pass of a step always computes; the first, once it has been foreseen, does not
        assert len(backward_calls) - before == 1 if i >= 2 else len(backward_calls) - before >= 2


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_another_gradient_than_the_foreseen_one_counts(reduction, backward_calls):
    leaves = new_leaves()
    for value in (0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 0.5, 0.25):
        assert_same(*step(leaves, reduction, value))
    before = len(backward_calls)
    step(leaves, reduction, 0.125)  # nothing foreseen: slopes, and the second pass
    assert len(backward_calls) == before + 2


@pytest.mark.parametrize("value", [math.nan, 0.0, -0.0])
def test_what_comparisons_do_not_tell_is_never_foreseen(value, nothing_foreseen):
    leaves = new_leaves()
    for _ in range(STEPS):
        assert_same(*step(leaves, "sum", value))
        assert nothing_foreseen.of((leaves[0].shape, "sum")) is None


@pytest.mark.parametrize("wanted", range(1, 8))
def test_any_of_the_gradients_may_be_wanted(wanted):
    everything = new_leaves()
    for _ in range(2):
        expected, _ = step(everything, "sample", 0.5)
    some = new_leaves(wanted=[bool(wanted >> i & 1) for i in range(3)])
    got, _ = step(some, "sample", 0.5)
    assert_same(got, [e for i, e in enumerate(expected) if wanted >> i & 1])


def test_shapes_and_reductions_have_gradients_of_their_own(backward_calls):
    small, large = new_leaves((2, 67)), new_leaves((3, 1009))
    for _ in range(STEPS):
        for leaves, reduction, value in ((small, "sum", 1.0), (large, "sum", 2.0)):
            assert_same(*step(leaves, reduction, value))
        assert_same(*step(small, "sample", 3.0))
    before = len(backward_calls)
    step(small, "sum", 1.0)
    step(large, "sum", 2.0)
    assert len(backward_calls) == before + 2  # the second passes


def test_what_is_done_to_gradients_stays_with_them():
    leaves = new_leaves()
    expected, _ = step(leaves, "sum", 0.5)
    for _ in range(STEPS):
        got, _ = step(leaves, "sum", 0.5)
        assert_same(got, expected)
        for g in got:
            g.mul_(-7)
    for _ in range(STEPS):
        bits = gaussian_bits(*leaves, rounding="ste", reduction="sum")
        weight = torch.full((), 0.5)
        assert_same(torch.autograd.grad(bits, leaves, weight), expected)
        weight.zero_()  # the caller's, and not what was foreseen


def test_layouts_other_than_rows(backward_calls):
    leaves = [
        t.contiguous(memory_format=torch.channels_last).requires_grad_()
        for t in inputs((2, 8, 5, 7), seed=4)
    ]
    for reduction in REDUCTIONS:
        for _ in range(STEPS):
            assert_same(*step(leaves, reduction, 0.5))
    assert len(backward_calls) < 2 * STEPS * len(REDUCTIONS)


def test_what_is_remembered_is_bounded():
    expected = Expected()
    one = torch.ones(1, 1)
    for kind in range(10 * Expected._KINDS):
        expected.came(kind, one)
        expected.came(kind, one)
    assert len(expected._last) == Expected._KINDS
    assert expected.of(0) is None
    assert expected.of(10 * Expected._KINDS - 1).values == (1.0,)
    assert expected.came("many", torch.ones(Expected._VALUES + 1, 1)) is None
    assert expected.came("none", None) is None


def test_inference_leaves_nothing(monkeypatch):
    monkeypatch.setattr(_gaussian_ahead, "new_like", None)
    args = inputs((3, 67))
    gaussian_bits(*args, rounding="ste")
    with torch.no_grad():
        gaussian_bits(*new_leaves(), rounding="ste")


def test_the_default_dtype_is_not_what_is_foreseen(nothing_foreseen):
    torch.set_default_dtype(torch.float64)
    try:
        for _ in range(STEPS):
            assert_same(*step(new_leaves(), "sum", 0.25))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (2, 4, 0, 3)])
@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_empty_maps_have_empty_gradients(reduction, wanted, shape):
    leaves = [torch.ones(shape, requires_grad=want) for want in wanted]
    for _ in range(STEPS):
        gaussian_bits(*leaves, rounding="ste", reduction=reduction).sum().backward()
    assert all((t.grad is not None) == want for t, want in zip(leaves, wanted, strict=True))
