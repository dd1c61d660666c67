# SPDX-License-Identifier: Apache-2.0
"""A progress bar over the races of a session: the case, its share done, the time left.

It is drawn only between rounds, from this thread: a bar that redraws itself in the background would
be measured with everything else.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

__all__ = ["Bar"]

REDRAW_SECONDS = 0.25


class Bar:
    """One task, as long as there are cases."""

    def __init__(self, n_cases: int, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=12),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            # a long name would leave no room for the others
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)
            ),
            console=console or Console(stderr=True),
            auto_refresh=False,
            transient=True,
            expand=True,
            speed_estimate_period=600,  # seconds; cases differ by far
        )
        self._task = self._progress.add_task("", total=n_cases)
        self._n_done = 0
        self._drawn = 0.0
        self._progress.start()

    def begin(self, case: str) -> None:
        """Name the case that runs now."""
        self._progress.update(self._task, description=case, refresh=True)

    def advance(self, share: float) -> None:
        """Show what share of the running case is done, 0..1."""
        self._progress.update(self._task, completed=self._n_done + share)
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self._progress.refresh()

    def end(self) -> None:
        """Count the running case as done."""
        self._n_done += 1
        self._progress.update(self._task, completed=self._n_done, refresh=True)

    def close(self) -> None:
        """Wipe the bar."""
        self._progress.stop()
