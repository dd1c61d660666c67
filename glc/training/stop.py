# SPDX-License-Identifier: Apache-2.0
"""Signals that end a run, held back until its step is whole and its checkpoint is written."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

# what schedulers send before they kill, Ctrl-C, and what Slurm's --signal is mostly asked for
_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")
SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
# A scheduler and a terminal signal every process, and launchers pass on what they get: within this
# time the same request may come twice.
ONE_REQUEST_SECONDS = 2.0


class HeldSignals:
    """Holds the first signal back while a block runs, and lets it act as the block ends.

    It then does what it would have done without the block: end the process, raise
    KeyboardInterrupt, or whatever a handler does. A second request acts at once. Signals that are
    ignored stay so, and outside the main thread, which is the one that gets them, nothing is held.

    Attributes:
        number: of the signal that is held, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._hold)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()
        if self.number and kind is None:
            signal.raise_signal(self.number)

    def _hold(self, number: int, _frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > ONE_REQUEST_SECONDS:
            self._let_go()
            signal.raise_signal(number)

    def _let_go(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


def ignore_signals(_worker: int) -> None:
    """Leave it to the process that a loader's worker works for when to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
