# SPDX-License-Identifier: Apache-2.0
"""Peak memory of one call, beyond what the process already held: measured in a child process.

`python -m benchmarks.memory encode "mid 8M" ours` prints the bytes. The output of the call
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


def peak_bytes(direction: str, case: str, side: str) -> int | None:
    """Run one call of one side in a process of its own.

    Args:
        direction: "encode" or "decode".
        case: name of the message, of W1 or W2.
        side: "ours", or the name of a peer.

    Returns:
        Bytes, or None where the system does not tell a process's peak (it is not Linux).
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "benchmarks.memory", direction, case, side]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _status(key: str) -> int:
    for row in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if row.startswith(key + ":"):
            return int(row.split()[1]) * 1024
    raise KeyError(key)


def resident_peak() -> int:
    """Bytes that this process held at most; its `ru_maxrss` would count its parent's as well."""
    return _status("VmHWM")


def measure(call: Callable[[], Any]) -> int:
    """Reset this process's peak, make the call, and return by how many bytes the peak rose."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # free memory kept by the allocator would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5 resets VmHWM
    before = _status("VmRSS")
    outcome = call()
    peak = resident_peak() - before
    del outcome
    return peak


def _call(direction: str, case: str, side: str) -> Callable[[], Any]:
    """Make the message, make every import by coding a small one, and return the call."""
    from benchmarks import rans_cases, rans_peers

    def coder_of(name: str) -> rans_cases.Coder:
        if name in rans_cases.BYTE_CASES:
            data = rans_cases.byte_data(name)
            sides = {"ours": rans_cases.our_bytes(data), **rans_peers.byte_peers(data)}
        else:
            m = rans_cases.message(name)
            sides = {"ours": rans_cases.our_symbols(m), **rans_peers.symbol_peers(m)}
        return sides[side]

    if case in rans_cases.CASES:
        small = coder_of(rans_cases.CASES[0])
        small.decode(small.encode())
    coder = coder_of(case)
    if direction == "encode":
        return coder.encode
    coded = coder.encode()
    return lambda: coder.decode(coded)


if __name__ == "__main__":
    print(measure(_call(*sys.argv[1:4])))
