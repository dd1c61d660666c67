# SPDX-License-Identifier: Apache-2.0
"""Calls on a CUDA device as races want them: finished when they return.

`waited` times what a caller sees, Python and launches included. `replayed` times the kernels: the
call is captured once in a CUDA graph, and each replay is one launch, for ours and for the peer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

ON_DEVICE = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
"""Marks of a benchmark that needs a device."""

_WARM_UP = 3  # calls before a capture: libraries choose algorithms and allocate in the first ones


def waited(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return `call`, followed by a wait for the device."""

    def run() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    return run


def replayed(call: Callable[[], Any], repeats: int = 1) -> Callable[[], Any]:
    """Capture `call` in a CUDA graph.

    Args:
        call: queues work on the current stream and waits for nothing.
        repeats: how often the graph holds it, where one is too short beside a launch.

    Returns:
        What replays the graph and waits; it gives the captured call's result, whose tensors every
        replay writes anew.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            result = call()

    def run() -> Any:
        graph.replay()
        torch.cuda.synchronize()
        return result

    return run
