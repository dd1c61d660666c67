# SPDX-License-Identifier: Apache-2.0
"""How a command ends that is told to: with the exit codes of a shell."""

import sys
from types import FrameType

__all__ = ["INTERRUPTED", "terminate"]

INTERRUPTED = 130
_TERMINATED = 143


def terminate(_signal: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM by unwinding the stack, so that temporary files are removed."""
    sys.exit(_TERMINATED)
