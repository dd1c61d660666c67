# SPDX-License-Identifier: Apache-2.0
"""Ops that are trained through under the transforms of `torch.func`, and gradients in batches."""

import pytest
import torch
from torch.func import grad, hessian, jvp, vjp, vmap

from glc.ops import (
    categorical_bits,
    categorical_cdf,
    four_part_merge,
    four_part_step,
    gaussian_bits,
    gaussian_rows,
    gaussian_symbols,
    vq_nearest,
    vq_quantize,
)
from glc.ops.residual import residual_bits

ROUNDING = 2e-5  # relative, of float32 in two formulas for the same; gradients are sums of a few


def quantized(x, mean, _):
    out = vq_quantize(x.view(8, 4), mean.view(8, 4)[:5])
    return out.z_hat.sum(1) + out.commitment_loss + 3 * out.codebook_loss + out.usage.sum()


def merged(x, mean, scale):
    return torch.stack(four_part_merge(x, [scale, x, scale, x], [mean, scale, mean, scale]))


STRAIGHT = {  # a gradient passes straight through
    "gaussian_bits": lambda x, m, s: gaussian_bits(x, m, s, rounding="ste"),
    "sample": lambda x, m, s: gaussian_bits(x, m, s, rounding="ste", reduction="sample"),
    "sum": lambda x, m, s: gaussian_bits(x, m, s, rounding="ste", reduction="sum"),
    "residual_bits": residual_bits,
    "four_part_step": lambda x, m, s: four_part_step(x, m, s, 1),
    "first four_part_step": lambda x, m, _: four_part_step(x, m, None, 1),
    "four_part_merge": merged,
    "vq_quantize": quantized,
}
OPS = STRAIGHT | {
    "categorical_bits": lambda x, m, s: categorical_bits(x.view(8, 4) * m[0, 0, 0, 0], INDEX),
    "shared logits": lambda x, m, s: categorical_bits(x.flatten(), INDEX),
}
INDEX = torch.arange(8) % 4
INTEGERS = {
    "gaussian_rows": lambda x: gaussian_rows(x, torch.tensor([0.5, 2.0])),
    "gaussian_symbols": lambda x: gaussian_symbols(x, x / 3, x, torch.tensor([0.5, 2.0]))[0],
    "categorical_cdf": lambda x: categorical_cdf(x.view(8, 4)),
    "vq_nearest": lambda x: vq_nearest(x.view(8, 4), x.view(8, 4)[:5]),
}


def inputs(n=None):
    generator = torch.Generator().manual_seed(0)
    shape = (1, 4, 2, 4) if n is None else (n, 1, 4, 2, 4)
    return tuple(2 * torch.randn(shape, generator=generator).exp() for _ in range(3))


def loss(op):
    def weighted(*tensors):
        out = op(*tensors)
        return (out.flatten() * torch.linspace(0.5, 1.5, out.numel())).sum()

    return weighted


def eager_gradients(op, tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(loss(op)(*leaves), leaves, allow_unused=True, materialize_grads=True)


def assert_close(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", OPS)
def test_gradients_are_the_eager_ones(name):
    op, tensors = OPS[name], inputs()
    assert_close(grad(loss(op), argnums=(0, 1, 2))(*tensors), eager_gradients(op, tensors))
    value, pull = vjp(op, *tensors)
    assert_close(value, op(*tensors))
    assert len(pull(torch.ones_like(value))) == 3


@pytest.mark.parametrize("name", OPS)
def test_gradients_of_each_sample_are_the_eager_ones(name):
    op, batch = OPS[name], inputs(3)
    by_sample = vmap(grad(loss(op), argnums=(0, 1, 2)))(*batch)
    wanted = [eager_gradients(op, sample) for sample in zip(*batch, strict=True)]
    assert_close(by_sample, tuple(torch.stack(g) for g in zip(*wanted, strict=True)))
    values = vmap(op)(*batch)
    assert_close(values, torch.stack([op(*sample) for sample in zip(*batch, strict=True)]))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("way", ["is_grads_batched", "vmap"])
def test_gradients_come_in_batches(name, way):
    op, leaves = OPS[name], [t.requires_grad_() for t in inputs()]
    out = op(*leaves)
    grads = torch.randn(3, *out.shape, generator=torch.Generator().manual_seed(1))

    def back(g, **how):
        found = torch.autograd.grad(out, leaves, g, retain_graph=True, allow_unused=True, **how)
        return tuple(t for t in found if t is not None)

    batched = vmap(back)(grads) if way == "vmap" else back(grads, is_grads_batched=True)
    one_by_one = [back(g) for g in grads]
    assert_close(batched, tuple(torch.stack(g) for g in zip(*one_by_one, strict=True)))


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_passes_straight_through_has_no_forward_mode(name):
    tensors = inputs()
    with pytest.raises(NotImplementedError, match="forward mode"):
        jvp(STRAIGHT[name], tensors, tuple(map(torch.ones_like, tensors)))


def test_categorical_bits_have_every_derivative():
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))

    def ours(t):
        return categorical_bits(t, INDEX)

    def wide(t):
        return categorical_bits.reference(t, INDEX).float()

    ahead = torch.arange(32.0).view(8, 4)
    assert_close(jvp(ours, (logits,), (ahead,)), jvp(wide, (logits,), (ahead,)))
    total = hessian(lambda t: ours(t).sum())(logits)
    assert_close(total, hessian(lambda t: wide(t).sum())(logits))


def test_each_sample_has_its_noise():
    x = torch.zeros(3, 2, 5)
    for randomness, alike in (("same", True), ("different", False)):
        bits = vmap(lambda t: gaussian_bits(t, t, t + 1), randomness=randomness)(x)
        assert torch.equal(bits[0], bits[1]) == alike


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_constants(name):
    (x, *_), (batch, *_) = inputs(), inputs(2)
    op = INTEGERS[name]
    slope, value = grad(lambda t: (op(t).sum() + t.sum(), op(t)), has_aux=True)(x)
    assert torch.equal(slope, torch.ones_like(x))
    assert torch.equal(value, op(x))
    assert torch.equal(vmap(op)(batch), torch.stack([op(t) for t in batch]))


@pytest.mark.skipif(
    torch.__version__ < "2.11",
    reason="older compilers cannot trace an autograd.Function under a transform",
)
@pytest.mark.parametrize("name", ["gaussian_bits", "vq_quantize"])
def test_transforms_compile_in_one_graph(name):
    torch._dynamo.reset()
    found, tensors = grad(loss(OPS[name])), inputs()
    compiled = torch.compile(found, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors), found(*tensors))
