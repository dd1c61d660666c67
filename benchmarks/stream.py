# SPDX-License-Identifier: Apache-2.0
"""What memory allows: the ceiling that elementwise ops are measured against."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.harness import seconds_text


def at_stream_speed(n_maps: float, like: Tensor) -> dict[str, str]:
    """Say how long reading or writing so many maps takes at the speed of a copy of one.

    Args:
        n_maps: maps read plus maps written.
        like: one map; how large it is decides which cache a copy runs in.

    Returns:
        A note for a race: the time, and the speed of the copy, reads and writes counted.
    """
    source, target = torch.ones_like(like), torch.empty_like(like)
    times = []
    for _ in range(15):
        begin = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - begin)
    copy = sorted(times)[len(times) // 2]
    speed = 2 * like.nbytes / copy / 1e9
    return {"at stream speed": f"{seconds_text(n_maps / 2 * copy)} ({speed:.3g} GB/s)"}
