# SPDX-License-Identifier: Apache-2.0
"""How a command ends: with the exit codes of a shell, whatever takes its output or does not."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from glc._missing import advice
from glc.errors import GlcError

__all__ = [
    "BAD_INPUT",
    "INTERRUPTED",
    "complain",
    "complaint",
    "drop_unwritten",
    "ending",
    "prepare",
]

BAD_INPUT = 2
INTERRUPTED = 130
_NO_READER = 1
_TERMINATED = 143


def prepare() -> None:
    """Let SIGTERM unwind the stack, and names of files be printed that are no text."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """End a command that is no verb of `glc` with the lines and exit codes of one."""
    prepare()
    try:
        yield
        if sys.stdout is not None:  # closed when Python started
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(_NO_READER)
    except Exception as error:
        text = complaint(error)
        if text is None:
            raise
        complain(text)
        sys.exit(BAD_INPUT)
    finally:
        drop_unwritten()


def complaint(error: Exception) -> str | None:
    """What to say of an error that is the caller's or the system's; None of a bug."""
    if isinstance(error, GlcError | OSError):  # the second such as a full disk behind the output
        return str(error)
    if isinstance(error, ImportError):
        return advice(error)
    lacks = ("can't allocate", "out of memory")  # torch's words, of a CPU and of a device
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in lacks)
    ):
        return "expected more memory than this machine has left"
    return None


def _terminate(_signal: int, _frame: FrameType | None) -> None:
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
