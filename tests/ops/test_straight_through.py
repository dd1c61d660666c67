# SPDX-License-Identifier: Apache-2.0
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
