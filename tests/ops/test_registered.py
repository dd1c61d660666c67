# SPDX-License-Identifier: Apache-2.0
"""Ops that are trained through skip torch's registry only where nothing can tell the difference."""

import importlib
import pkgutil

import pytest
import torch
from torch._library.custom_ops import CustomOpDef
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import glc.ops
from glc.ops import (
    categorical_bits,
    four_part_merge,
    four_part_step,
    gaussian_bits,
    vq_quantize,
)


class Calls(TorchDispatchMode):
    """Names of the operators that were called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def each(leaves):
    return gaussian_bits(*leaves, rounding="ste")


def sums(leaves):
    return gaussian_bits(*leaves, rounding="ste", reduction="sample")


def choices(leaves):
    return categorical_bits(leaves[0], torch.arange(5) % 3)


def maps(leaves):
    return [t.flatten()[:32].view(1, 4, 2, 4) for t in leaves]


def step(leaves):
    return four_part_step(*maps(leaves), 1)


def merged(leaves):
    y, scale, mean = maps(leaves)
    return torch.stack(four_part_merge(y, [scale, y, scale, y], [mean, scale, mean, scale]))


def quantized(leaves):
    out = vq_quantize(*leaves[:2])
    return out.z_hat + 2 * out.commitment_loss + 3 * out.codebook_loss


RATES = {
    "gaussian_bits": each,
    "gaussian_total_bits": sums,
    "categorical_bits": choices,
}
OPS = RATES | {"four_part_step": step, "four_part_merge": merged, "vq_quantize": quantized}


def leaves():
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(5, 7, generator=generator).exp() for _ in range(3)]
    return [t.requires_grad_() for t in made]


def gradients(op, tensors, **options):
    bits = op(tensors)
    return bits, torch.autograd.grad(bits.square().sum(), tensors, allow_unused=True, **options)


@pytest.mark.parametrize("name", OPS)
def test_registered_and_eager_agree(name):
    bits, grads = gradients(OPS[name], leaves())
    with Calls() as calls:
        registered, expected = gradients(OPS[name], leaves())
    assert f"glc::{name}" in calls.names
    assert torch.equal(bits, registered)
    for got, wanted in zip(grads, expected, strict=True):
        assert (got is None and wanted is None) or torch.equal(got, wanted)


@pytest.mark.parametrize("name", OPS)
def test_tracing_sees_one_operator(name):
    graph = make_fx(lambda *t: OPS[name](t))(*(t.detach() for t in leaves())).graph
    assert f"glc.{name}.default" in [str(n.target) for n in graph.nodes]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = [mode.from_tensor(t.detach()) for t in leaves()]
    assert type(gaussian_bits(*fake)) is type(fake[0])  # no mode is on any more


@pytest.mark.parametrize("name", RATES)
def test_second_derivatives_are_refused(name):
    tensors = leaves()
    _, grads = gradients(RATES[name], tensors, create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        torch.autograd.grad(grads[0].sum(), tensors)


def test_signatures_are_read_by_the_oldest_torch_that_is_allowed():
    """Torch 2.5 knows no `list[...]` in what is registered without a schema."""
    registered = {
        value._qualname: value._init_fn.__annotations__
        for name in (module.name for module in pkgutil.iter_modules(glc.ops.__path__))
        for value in vars(importlib.import_module(f"glc.ops.{name}")).values()
        if isinstance(value, CustomOpDef)
    }
    assert registered.pop("glc::four_part_spread")  # has one
    assert len(registered) > 10
    for name, annotations in registered.items():
        assert not any("list[" in str(kind) for kind in annotations.values()), name
