# SPDX-License-Identifier: Apache-2.0
"""How a command ends: with the exit codes of a shell, whatever takes its output or does not."""

import contextlib
import os
import sys
from types import FrameType

__all__ = ["INTERRUPTED", "complain", "drop_unwritten", "terminate"]

INTERRUPTED = 130
_TERMINATED = 143


def terminate(_signal: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM by unwinding the stack, so that temporary files are removed."""
    sys.exit(_TERMINATED)


def complain(text: str) -> None:
    """Print a line on stderr; where nobody takes it, the exit code has to do."""
    if sys.stderr is not None:  # closed when Python started
        with contextlib.suppress(OSError):
            sys.stderr.write(f"glc: {' '.join(text.split())}\n")
            sys.stderr.flush()


def drop_unwritten() -> None:
    """Let go of output that could not be written, once the exit code tells of it.

    At its exit Python would try again, complain on its own, and turn the code into 120.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
