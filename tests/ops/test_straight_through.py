# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from glc.ops import lower_bound, round_ste


def test_lower_bound_lets_recovery_through():
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0], requires_grad=True)
    y = lower_bound(x, 0.5)
    y.backward(torch.tensor([-2.0, 2.0, -2.0, 2.0]))
    assert y.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert x.grad.tolist() == [-2.0, 0.0, -2.0, 2.0]


def test_round_ste_is_half_to_even_with_unit_slope():
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.4], requires_grad=True)
    y = round_ste(x)
    y.backward(torch.arange(5.0))
    assert y.tolist() == [-2.0, 0.0, 0.0, 2.0, 2.0]
    assert x.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("op", [round_ste, lambda x: lower_bound(x, 0.5)])
def test_transforms_of_torch_func_take_them(op):
    """Gradients per sample are those of autograd, alone, mapped, and mapped over a function."""
    x = torch.linspace(-2, 2, 12).view(3, 4)

    def loss(row):
        return (op(row) * torch.linspace(-1, 1, 4)).sum()

    leaf = x.clone().requires_grad_()
    sum(loss(row) for row in leaf).backward()
    assert torch.equal(torch.func.vmap(op)(x), op(x))
    assert torch.equal(torch.func.vmap(torch.func.grad(loss))(x), leaf.grad)
    mapped = torch.func.grad(lambda rows: torch.func.vmap(loss)(rows).sum())
    assert torch.equal(mapped(x), leaf.grad)
    assert torch.equal(torch.func.jacrev(loss)(x[0]), leaf.grad[0])


@pytest.mark.slow
@pytest.mark.parametrize("op", [round_ste, lambda x: lower_bound(x, 0.5)])
def test_they_compile_in_one_piece(op):
    x = torch.linspace(-2, 2, 12, requires_grad=True)
    torch.compile(op, fullgraph=True)(x).square().sum().backward()
    compiled, x.grad = x.grad, None
    op(x).square().sum().backward()
    assert torch.equal(compiled, x.grad)
