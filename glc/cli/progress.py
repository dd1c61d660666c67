# SPDX-License-Identifier: Apache-2.0
"""A progress bar on stderr, shown only to a person at a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar while the block runs; it disappears afterwards.

    Args:
        title: what is being done, shown in front of the bar.

    Yields:
        A function of (step name, fraction done in [0, 1]) that moves the bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True)
    if not console.is_terminal:  # a disabled bar leaves an empty line in old releases of rich
        yield lambda _step, _fraction: None
        return
    rest = Column(ratio=1, no_wrap=True)  # a long name would leave no room for the others
    text = TextColumn("{task.description}", markup=False, table_column=rest)
    try:
        with Progress(
            *(text, BarColumn(), TimeElapsedColumn()),
            console=console,
            transient=True,
            expand=True,
        ) as bar:
            task = bar.add_task(title, total=1.0)

            def update(step: str, fraction: float) -> None:
                bar.update(task, description=f"{title}: {step}", completed=fraction)

            yield update
    finally:  # where Ctrl-C came while the bar was being set up too
        console.show_cursor(True)
