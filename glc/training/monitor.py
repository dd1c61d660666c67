# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run: progress with time left, a log, tensorboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.files import write_file

SHOWN_IMAGES = 4


class Monitor:
    """Progress bar, `log.jsonl` and tensorboard of a run; silent in all but the first process.

    Args:
        stage: name shown.
        out: folder of the run.
        steps: length of the run.
        start: step the run goes on from; later records of a killed run are dropped.
        tensorboard: write events below `out/tensorboard`.
        first: whether this is the first process.

    Attributes:
        validated: whether the log holds a validation of step `start`.

    Raises:
        InvalidArgumentError: tensorboard is asked for and not installed, or there is no room to
            write the log anew without the records that are dropped; it stays as it was.
    """

    def __init__(
        self, stage: str, out: Path, steps: int, *, start: int, tensorboard: bool, first: bool
    ) -> None:
        self.stage, self.steps, self.first = stage, steps, first
        self.log_path = out / "log.jsonl"
        self.console = Console(quiet=not first)
        self.writer: Any = None
        self.validated = False
        if not first:
            return
        kept = _truncate(self.log_path, start)
        self.validated = any(r["step"] == start and "validation" in r for r in kept)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise InvalidArgumentError(
                    "config: tensorboard: expected it and what it needs to be installed, got: "
                    f"{error}; pip install --upgrade '.[train]', or --set tensorboard=false"
                ) from error
            self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)

    def __enter__(self) -> Monitor:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            # takes the room that is left, or the others would have none
            TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True)),
        )
        self.bar = Progress(*columns, console=self.console, disable=not self.first, expand=True)
        self.bar.start()
        self.task = self.bar.add_task(self.stage, total=self.steps, note="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def advance(self, step: int) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the numbers of a training step."""
        note = " ".join(f"{k} {v:.4g}" for k, v in metrics.items() if v)  # a line is short
        self.bar.update(self.task, completed=step, note=note)
        self.record({"step": step, **metrics})
        self._scalars("train", step, metrics)

    def validation(self, step: int, result: Mapping[str, float], images: Tensor | None) -> None:
        """Log a validation; `images` [n, 3, h, w] in [0, 1] go to tensorboard."""
        self.record({"step": step, "validation": dict(result)})
        self._scalars("validation", step, result)
        if self.writer is not None and images is not None and len(images):
            self.writer.add_images("validation", images, step)
        self.say(f"step {step}: " + " ".join(f"{k} {v:.4g}" for k, v in result.items()))

    def record(self, record: Mapping[str, Any]) -> None:
        """Append a line to the log."""
        if self.first:
            with self.log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(f"{self.stage} {text}", markup=False, highlight=False, soft_wrap=True)

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)


def _truncate(log: Path, start: int) -> list[dict[str, Any]]:
    """Drop the records of steps that a resumed run will make again; the others."""
    if not log.exists():
        return []
    text = log.read_text(encoding="utf-8")
    lines, records = [], []
    for line in text.splitlines(keepends=True):
        try:
            record = json.loads(line)
            if record["step"] <= start:
                lines.append(line)
                records.append(record)
        except (ValueError, KeyError):  # the line a killed process was writing
            continue
    if "".join(lines) != text:
        write_file(log, "".join(lines).encode(), overwrite=True)
    return records
