# SPDX-License-Identifier: Apache-2.0
"""What memory allows: the ceiling that elementwise ops are measured against."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import seconds_text


def streaming(n_maps: float, like: Tensor) -> dict[str, Any]:
    """Say what a race moves, and how long that takes at the speed of a copy.

    Args:
        n_maps: maps read plus maps written.
        like: one map; how large it is decides which cache a copy runs in.

    Returns:
        Arguments for the race: the bytes, and as a note the time and the speed of the copy, reads
        and writes counted.
    """
    source, target = torch.ones_like(like), torch.empty_like(like)
    times = []
    for _ in range(15):
        begin = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - begin)
    copy = sorted(times)[len(times) // 2]
    moved = n_maps * like.nbytes
    speed = 2 * like.nbytes / copy
    note = f"{seconds_text(moved / speed)} ({speed / 1e9:.3g} GB/s)"
    return {"moved_bytes": moved, "notes": {"at stream speed": note}}
