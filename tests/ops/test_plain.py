# SPDX-License-Identifier: Apache-2.0
import copy
import inspect
import pickle
import pydoc
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_map_only

from glc import ops
from glc.errors import InvalidArgumentError
from glc.ops import exact_conv2d, four_part_pick, gaussian_bits, vq_nearest
from glc.ops._op import Op

CALLS = """
import sys, torch
from glc.ops import *
x, bounds = torch.rand(4, 8), torch.tensor([0.5])
vq_nearest.plain(x, x)
gaussian_rows.plain(x, bounds)
gaussian_symbols.plain(x, x, x, bounds)
gaussian_bits.plain(x, x, x, rounding="round")
categorical_cdf.plain(x)
categorical_bits.plain(x, torch.zeros(4, dtype=torch.int64))
assert "torch._dynamo" not in sys.modules
"""

ELSEWHERE = """
import torch
torch.set_default_device("meta")  # without values: a CPU op that computes there is caught
from glc.ops import *
def cpu(*shape):
    return torch.rand(*shape, device="cpu").requires_grad_()
x, codebook = cpu(4, 8), cpu(5, 8)
for _ in range(3):  # a gradient that comes again is foreseen
    vq_quantize(x, codebook).codebook_loss.backward()
    gaussian_bits(cpu(2, 8), cpu(2, 8), cpu(2, 8)).sum().backward()
assert codebook.grad.is_cpu
assert vq_nearest(x, codebook).is_cpu
assert categorical_cdf.reference(x.detach()).is_cpu
vq = VectorQuantizer(5, 8).to_empty(device="cpu")
vq.row_usage.zero_()[0] = 1.0
assert vq.reseed(0.5, x.detach()[:3]) == 4
"""


def test_torchs_default_device_has_no_say_in_ops():
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True)


def test_plain_calls_do_not_load_the_compiler():
    # The first call of a registered op does, which would cost a command-line encoder two seconds.
    subprocess.run([sys.executable, "-c", CALLS], check=True)


class Wrapper(torch.Tensor):
    """A tensor that holds another and has no memory itself, as distributed ones do."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype)

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(Wrapper, lambda t: t.held, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, Wrapper, func(*args, **kwargs))


WEIGHT = torch.ones(4, 4, 1, 1)
BLIND = [
    lambda x: four_part_pick(x, 1),
    lambda x: exact_conv2d(x, WEIGHT, None),
    lambda x: gaussian_bits.plain(x, x, x, rounding="round"),
    lambda x: vq_nearest.plain(x[0, 0], x[0, 1]),
]


def call_fake(call, x):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        call(mode.from_tensor(x))


WITHOUT_MEMORY = {
    "fake": call_fake,
    "batched": lambda call, x: torch.func.vmap(call)(x[None]),
    "wrapper": lambda call, x: call(Wrapper(x)),
}


@pytest.mark.parametrize("call", BLIND)
@pytest.mark.parametrize("kind", WITHOUT_MEMORY)
def test_a_tensor_without_memory_is_refused(call, kind):
    with pytest.raises(InvalidArgumentError, match="expected memory to read"):
        WITHOUT_MEMORY[kind](call, torch.rand(4, 4, 4, 4))


OPS = [name for name in ops.__all__ if isinstance(getattr(ops, name), Op)]


@pytest.mark.parametrize("name", OPS)
def test_an_op_is_found_by_its_name(name):
    op = getattr(ops, name)
    assert pickle.loads(pickle.dumps(op)) is op
    assert copy.deepcopy(nn.ModuleDict({"a": Holds(op)}))["a"].op is op
    first = next(iter(inspect.signature(op).parameters))
    assert repr(op).startswith(f"<op {name}({first}")
    assert f"{name} = <op {name}({first}" in pydoc.render_doc(op, renderer=pydoc.plaintext)


class Holds(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.op = op
