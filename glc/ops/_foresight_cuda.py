# SPDX-License-Identifier: Apache-2.0
"""What `glc.ops._expected` is for the CPU, on a CUDA device, which cannot be asked without waiting.

The device remembers the last gradient of a rate itself (`csrc/include/glc/cuda/entropy.h`). A
forward pass always gets room for gradients, and finds out there whether it can foresee any.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from glc.ops import _cuda
from glc.ops._op import borrow


class Foresight(NamedTuple):
    """Memory of a call on the device; its kernels alone look into it."""

    state: Tensor  # [2 n] float32
    used: Tensor  # [n] float32

    def lend(self) -> tuple[object, object]:
        """Lend both to a native call."""
        return borrow(self.state), borrow(self.used)


_MOST = 64  # kinds of calls remembered
_RESERVE = 4096  # numbers
_states: dict[Hashable, Tensor] = {}
_new_states = _cuda.Reserve(_RESERVE, math.nan, torch.float32)


def foresight_for(x: Tensor, stream: int, kind: Hashable, n: int) -> Foresight | None:
    """Find the state of calls of a kind on a stream of the device of x.

    Args:
        x: on the device.
        stream: its current stream's address.
        kind: what calls that get the same gradient have in common.
        n: values of the gradient.

    Returns:
        The state, and memory for this call; None while a capture keeps us from making more.
    """
    state: Tensor | None
    if _cuda.is_captured():
        state = _new_states.take(x, 2 * n)
    else:
        _new_states.fill(x, _RESERVE // 2)
        key = (x.device.index, stream, kind)
        state = _states.pop(key, None)
        if state is None:
            state = torch.full((2 * n,), math.nan, dtype=torch.float32, device=x.device)
        _states[key] = state  # the newest are last
        if len(_states) > _MOST:
            _states.pop(next(iter(_states)), None)
    if state is None:
        return None
    return Foresight(state, torch.empty(n, dtype=torch.float32, device=x.device))
