# SPDX-License-Identifier: Apache-2.0
"""The noise that our kernels draw, in torch."""

from __future__ import annotations

import torch
from torch import Tensor


def philox_noise(seed: Tensor, rows: int, cols: int) -> Tensor:
    """Draw the noise that the kernels draw: Philox4x32-10 with a counter per place.

    Element 64 b + 16 w + i of a row takes word w of the counter (16 b + i, row), 64 bits each.
    (Salmon et al. 2011)

    Args:
        seed: [1] int64, the key.
        rows: of the matrix.
        cols: of the matrix.

    Returns:
        [rows, cols] float32, multiples of 2^-24 in [-1/2, 1/2).
    """
    low = 0xFFFFFFFF
    count = torch.arange(-(-cols // 64) * 16, device=seed.device)
    row = torch.arange(rows, device=seed.device)[:, None]
    zero = torch.zeros(rows, len(count), dtype=torch.int64, device=seed.device)
    words = [zero + (count & low), zero + (count >> 32), zero + (row & low), zero + (row >> 32)]
    keys = [seed & low, (seed >> 32) & low]
    for _ in range(10):
        first, second = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57  # wraps; the bits are right
        words = [
            ((second >> 32) & low) ^ words[1] ^ keys[0],
            second & low,
            ((first >> 32) & low) ^ words[3] ^ keys[1],
            first & low,
        ]
        keys = [(keys[0] + 0x9E3779B9) & low, (keys[1] + 0xBB67AE85) & low]
    units = torch.stack([w.view(rows, -1, 16) for w in words], 2) >> 8
    return (units.float() * 2.0**-24 - 0.5).reshape(rows, -1)[:, :cols]
