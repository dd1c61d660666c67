# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

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
"""


def test_torchs_default_device_has_no_say_in_ops():
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True)


def test_plain_calls_do_not_load_the_compiler():
    # The first call of a registered op does, which would cost a command-line encoder two seconds.
    subprocess.run([sys.executable, "-c", CALLS], check=True)
