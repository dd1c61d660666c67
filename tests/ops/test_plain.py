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


def test_plain_calls_do_not_load_the_compiler():
    # The first call of a registered op does, which would cost a command-line encoder two seconds.
    subprocess.run([sys.executable, "-c", CALLS], check=True)
