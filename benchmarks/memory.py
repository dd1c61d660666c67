# SPDX-License-Identifier: Apache-2.0
"""Peak memory of one call, beyond what the process already held: measured in a child process.

`python -m benchmarks.memory symbols encode "mid 8M" ours` prints the bytes. The output of the call
counts; its inputs and tables, made before, do not.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def peak_bytes(workload: str, direction: str, case: str, side: str) -> int | None:
    """Run one call of one side in a process of its own.

    Args:
        workload: "symbols" (W2) or "bytes" (W1).
        direction: "encode" or "decode".
        case: name of the message.
        side: "ours", or the name of a peer.

    Returns:
        Bytes, or None where the system does not tell a process's peak (it is not Linux).
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "benchmarks.memory", workload, direction, case, side]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _status(key: str) -> int:
    for row in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if row.startswith(key + ":"):
            return int(row.split()[1]) * 1024
    raise KeyError(key)


def measure(call: Callable[[], Any]) -> int:
    """Reset this process's peak, make the call, and return by how many bytes the peak rose."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # free memory kept by the allocator would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5 resets VmHWM
    before = _status("VmRSS")
    outcome = call()
    peak = _status("VmHWM") - before
    del outcome
    return peak


def _call(workload: str, direction: str, case: str, side: str) -> Callable[[], Any]:
    """Make the message, make every import by coding a small one, and return the call."""
    from benchmarks import rans_cases, rans_peers

    def side_of(name: str) -> rans_cases.Coder:
        if workload == "bytes":
            data = rans_cases.byte_data(name)
            return (
                rans_cases.our_bytes(data) if side == "ours" else rans_peers.byte_peers(data)[side]
            )
        m = rans_cases.message(name)
        return rans_cases.our_symbols(m) if side == "ours" else rans_peers.symbol_peers(m)[side]

    if workload == "symbols":
        small = side_of(f"{case.split()[0]} 8K")
        small.decode(small.encode())
    coder = side_of(case)
    if direction == "encode":
        return coder.encode
    coded = coder.encode()
    return lambda: coder.decode(coded)


if __name__ == "__main__":
    print(measure(_call(*sys.argv[1:5])))
