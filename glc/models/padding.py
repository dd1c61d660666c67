# SPDX-License-Identifier: Apache-2.0
"""Padding to the model's multiple (facts B6)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of `multiple`.

    Args:
        x: [n, c, h, w] float; h and w at least 1.
        multiple: pixels, at least 1.

    Returns:
        [n, c, H, W] with H and W the next multiples; `x` itself when nothing is missing.
    """
    height, width = x.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x
