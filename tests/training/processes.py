# SPDX-License-Identifier: Apache-2.0
"""Processes that find each other as a launcher's do, without each importing torch first."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

LIMIT_SECONDS = 300
_server = multiprocessing.get_context("forkserver")  # which has run nothing that a fork could break
_server.set_forkserver_preload(["torch._dynamo", "glc.training.stage3", "glc.training.distributed"])


def run_in_processes(n: int, function: Callable[..., object], *arguments: Any) -> None:
    """Call a function with the same arguments in n processes of one run, and wait for all.

    What they say is in this test's captured output.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = [
        _server.Process(target=_call, args=(rank, n, port, function, *arguments))
        for rank in range(n)
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(LIMIT_SECONDS)
        assert [process.exitcode for process in started] == [0] * n
    finally:
        for process in started:
            process.kill()


def _call(rank: int, n: int, port: int, function: Callable[..., object], *arguments: Any) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(n),
        LOCAL_WORLD_SIZE=str(n),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    function(*arguments)
