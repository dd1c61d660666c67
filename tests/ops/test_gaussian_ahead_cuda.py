# SPDX-License-Identifier: Apache-2.0
"""Gradients that the forward pass of a rate computes ahead on a CUDA device."""

import math
import weakref

import pytest
import torch

from glc.ops import _cuda, _foresight_cuda, _gaussian_ahead, gaussian, gaussian_bits
from glc.ops._expected import Expected
from tests.cuda_kernels import ON_DEVICE, Kernels, kernels
from tests.ops.test_cuda import latents, same_bits
from tests.ops.test_gaussian import inputs

__all__ = ["kernels"]  # the fixture

VALUES = (0.5, 0.5, 0.5, 0.5, -2.0, -2.0, -2.0, 0.0, 0.0, -0.0, math.nan, math.nan)
FORESEEN = (2, 3, 6)  # of these, each the same as the two before


@pytest.fixture(autouse=True)
def nothing_foreseen(monkeypatch):
    monkeypatch.setattr(_foresight_cuda, "_states", {})
    monkeypatch.setattr(gaussian, "_expected", Expected())


@pytest.fixture
def rooms(monkeypatch):
    """Collect what forward passes make room for."""
    made = []

    def kept(*args):
        made.append(_gaussian_ahead.new_ahead_on_device(*args))
        return made[-1]

    monkeypatch.setattr(gaussian, "new_ahead_on_device", kept)
    return made


@pytest.mark.parametrize("form", ["dense", "channels_last", "bfloat16"])
@pytest.mark.parametrize("reduction", ["sample", "sum"])
@pytest.mark.parametrize("rounding", ["ste", "noise"])
def test_gradients_are_the_same_ahead_or_not(kernels: Kernels, form, reduction, rounding, rooms):
    def train(*args):
        leaves = [t.requires_grad_() for t in args]
        steps = []
        for value in VALUES:
            torch.manual_seed(3)
            bits = gaussian_bits(*leaves, rounding=rounding, reduction=reduction)
            left = [t.clone() for t in rooms[-1].out]
            weight = torch.full_like(bits, value)
            came = torch.autograd.grad(bits, leaves, weight, retain_graph=True)
            steps.append((came, left, torch.autograd.grad(bits, leaves, weight)))
        return steps

    for i, (came, left, anew) in enumerate(kernels(train, *latents(form))):
        for a, b, c in zip(came, left, anew, strict=True):
            assert same_bits(a.float(), c.float())
            if i in FORESEEN:
                assert same_bits(b.float(), c.float())


def test_a_map_of_bits_leaves_nothing(kernels: Kernels, rooms):
    def passes(*args):
        leaves = [t.requires_grad_() for t in args]
        return [
            torch.autograd.grad(gaussian_bits(*leaves, rounding="ste").sum(), leaves)
            for _ in range(4)
        ]

    first, *rest = kernels(passes, *inputs((3, 130)))
    assert not rooms
    for other in rest:
        assert all(map(same_bits, first, other))


def test_kinds_and_captures_are_bounded(kernels: Kernels, monkeypatch):
    def states(x):
        for kind in range(3 * _foresight_cuda._MOST):
            _foresight_cuda.foresight_for(x, 0, kind, 2)
        assert len(_foresight_cuda._states) == _foresight_cuda._MOST
        taken = []
        with monkeypatch.context() as patch:
            patch.setattr(_foresight_cuda._cuda, "is_captured", lambda: True)
            while (foresight := _foresight_cuda.foresight_for(x, 0, "kind", 100)) is not None:
                taken.append(foresight.state)
        assert len({state.data_ptr() for state in taken}) == len(taken) > 1
        assert all(state.isnan().all() for state in taken)
        assert _foresight_cuda.foresight_for(x, 0, "kind", 100) is not None

    kernels(states, torch.zeros(1))


def test_what_a_capture_took_is_never_given_back(monkeypatch):
    """A graph's replays write there, even when no tensor of it is left."""
    monkeypatch.setattr(_cuda, "wait_for", lambda x: None)
    reserve, x = _cuda.Reserve(8, 0.0, torch.float32), torch.zeros(1)
    reserve.fill(x, 8)
    taken = weakref.ref(reserve.take(x, 8)._base)
    reserve.fill(x, 1)
    assert reserve.take(x, 1) is not None
    assert taken() is not None


@pytest.mark.parametrize("where", [pytest.param("cuda", marks=ON_DEVICE)])
def test_a_cuda_graph_foresees_by_itself(where):
    """Captured once, replayed with gradients that stay and change, beside calls of its own kind."""
    leaves = [t.to(where).requires_grad_() for t in inputs((3, 7001))]
    weight = torch.full((), 0.25, device=where)

    def step(given):
        bits = gaussian_bits(*leaves, rounding="ste", reduction="sum")
        return torch.autograd.grad(bits, leaves, given)

    step(weight)  # sets memory aside
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(weight)
    for value in VALUES:
        expected = step(torch.full((), value, device=where))
        weight.fill_(value)
        graph.replay()
        assert all(map(same_bits, captured, expected))
        step(torch.full((), 3.0, device=where))
