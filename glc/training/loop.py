# SPDX-License-Identifier: Apache-2.0
"""What the three stages share: optimising, averaging, logging, checkpoints, progress."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from glc.errors import InvalidArgumentError
from glc.models.config import GLCConfig, preset
from glc.models.glc import GLC
from glc.training.config import StageConfig, dump_config

MAX_SKIPPED = 50  # consecutive non-finite gradients after which a run stops
LOG_EVERY = 50

Update = Callable[[int, Tensor], dict[str, float]]
Validate = Callable[[GLC, Tensor], dict[str, float]]


class Stateful(Protocol):
    """Anything that a checkpoint carries besides modules."""

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""


class Run:
    """One run of one stage.

    Args:
        stage: "stage1", "stage2" or "stage3"; a checkpoint of another stage is refused.
        config: the resolved configuration.
        model: the model; its averaged weights are validated and exported.
        trained: parts of the model that this run trains; the rest is frozen.
        helpers: further modules by name (predictors, discriminator, teacher).
        extras: other state by name (controller, codebook keeper).
    """

    def __init__(
        self,
        stage: str,
        config: StageConfig,
        model: GLC,
        trained: Sequence[nn.Module],
        helpers: dict[str, nn.Module],
        extras: dict[str, Stateful],
    ) -> None:
        self.stage = stage
        self.config = config
        self.model = model
        self.helpers = helpers
        self.extras = extras
        self.step = 0
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.norm = 0.0  # gradient norm of the latest step, before clipping
        self.out = Path(config.out)
        self.console = Console()
        model.requires_grad_(False)
        for module in trained:
            module.requires_grad_(True)
        parameters = [p for m in trained for p in m.parameters()]
        self.parameters = [p for p in parameters if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.discriminator_optimizer: torch.optim.Optimizer | None = None
        if "discriminator" in helpers:
            self.discriminator_optimizer = torch.optim.AdamW(
                helpers["discriminator"].parameters(),
                lr=config.adversarial.learning_rate,
                betas=(0.5, 0.9),
            )
        self.average = {k: v.clone() for k, v in model.state_dict().items()}

    def progress(self, step: int) -> float:
        """Share of the run done at a step."""
        return step / self.config.steps

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Reduced precision for the image networks, when the configuration asks for it."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.config.bf16)

    def optimise(self, loss: Tensor) -> None:
        """Backpropagate and step; a non-finite gradient skips the step and is counted.

        Raises:
            InvalidArgumentError: too many non-finite steps in a row.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        if not math.isfinite(self.norm):
            self.skipped += 1
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= MAX_SKIPPED:
                raise InvalidArgumentError(
                    f"{self.stage}: gradient: expected finite values, got {MAX_SKIPPED} "
                    f"non-finite steps in a row before step {self.step}; lower learning_rate"
                )
            return
        self.skipped_in_a_row = 0
        rate = self.config.learning_rate * self._schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def loop(
        self, batch: Callable[[int], Tensor], update: Update, validate: Validate, held_out: Tensor
    ) -> None:
        """Run to the last step, with checkpoints, validations, a log and a progress bar."""
        config = self.config
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        with _progress_bar(self.console) as bar:
            task = bar.add_task(self.stage, total=config.steps, completed=self.step, note="")
            while self.step < config.steps:
                metrics = update(self.step, batch(self.step))
                self._average()
                self.step += 1
                last = self.step == config.steps
                if self.step % LOG_EVERY == 0 or last:
                    note = " ".join(f"{k} {v:.4g}" for k, v in metrics.items())
                    bar.update(task, completed=self.step, note=note)
                    self._log({"step": self.step, "skipped": self.skipped, **metrics})
                if self.step % config.validate_every == 0 or last:
                    self.report(validate, held_out)
                if self.step % config.checkpoint_every == 0 or last:
                    self.save()
        self.averaged_model().save_pretrained(self.out / "model")
        self.console.print(f"{self.stage}: done, model in {self.out / 'model'}")

    def report(self, validate: Validate, held_out: Tensor) -> None:
        """Validate the averaged weights and log the result."""
        result = validate(self.averaged_model(), held_out)
        self._log({"step": self.step, "validation": result})
        text = " ".join(f"{k} {v:.4g}" for k, v in result.items())
        self.console.print(f"{self.stage} step {self.step}: {text}")

    def averaged_model(self) -> GLC:
        """A copy of the model in evaluation mode that holds the averaged weights."""
        model = GLC(self.model.config)
        model.load_state_dict(self.average)
        return model.eval()

    def save(self) -> None:
        """Write the checkpoint to a temporary name, then rename it."""
        state = {
            "stage": self.stage,
            "step": self.step,
            "skipped": self.skipped,
            "config": dataclasses.asdict(self.config),
            "model_config": self.model.config.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average,
            "helpers": {k: m.state_dict() for k, m in self.helpers.items()},
            "extras": {k: e.state_dict() for k, e in self.extras.items()},
            "optimizer": self.optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict()
            if self.discriminator_optimizer
            else None,
            "random": torch.get_rng_state(),
        }
        temporary = self.out / "checkpoint.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "checkpoint.pt")

    def resume(self) -> None:
        """Continue from this run's own checkpoint.

        Raises:
            InvalidArgumentError: there is none, or it belongs to another stage or model.
        """
        state = read_checkpoint(self.out / "checkpoint.pt")
        if state["stage"] != self.stage:
            raise InvalidArgumentError(
                f"{self.stage}: checkpoint: expected one of {self.stage}, got {state['stage']}"
            )
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for name, module in self.helpers.items():
            module.load_state_dict(state["helpers"][name])
        for name, extra in self.extras.items():
            extra.load_state_dict(state["extras"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.discriminator_optimizer and state["discriminator_optimizer"]:
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        torch.set_rng_state(state["random"])
        self.step, self.skipped = state["step"], state["skipped"]

    def _schedule(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(self.config.warmup, 1))
        low = self.config.final_rate
        return warm * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * self.progress(step))))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def _log(self, record: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of any stage.

    Raises:
        InvalidArgumentError: missing, cut, or not one of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0]
        raise InvalidArgumentError(
            f"checkpoint: expected one written by glc train at {os.fspath(path)}, got: {first}"
        ) from error
    if not isinstance(state, dict) or not {"stage", "model", "model_config"} <= state.keys():
        raise InvalidArgumentError(
            f"checkpoint: expected one written by glc train, got other content in {path}"
        )
    return state


def initial_model(config: StageConfig, *, after: str | None) -> GLC:
    """The model a stage starts from.

    Args:
        config: `init` names the checkpoint of the stage before; its averaged weights are used.
            Without `init`, a fresh model of the preset `model`.
        after: the stage that `init` must come from; None accepts none.

    Raises:
        InvalidArgumentError: the checkpoint is of another stage, or `init` is missing.
    """
    if config.init is None:
        if after is not None:
            raise InvalidArgumentError(f"config: init: expected a checkpoint of {after}, got none")
        return GLC(preset(config.model))
    state = read_checkpoint(config.init)
    if state["stage"] != after:
        raise InvalidArgumentError(
            f"config: init: expected a checkpoint of {after}, got one of {state['stage']}"
        )
    model = GLC(GLCConfig.from_dict(state["model_config"]))
    model.load_state_dict(state["average"])
    return model


def prepare(config: StageConfig) -> None:
    """Seed torch and set its threads; denormals are flushed, they only cost time here."""
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)


def spread_levels(batch: int, levels: int) -> Tensor:
    """Rate levels of a batch [batch] int64: as even as possible, in random order."""
    even = torch.arange(levels).repeat(math.ceil(batch / levels))
    return even[torch.randperm(len(even))[:batch]] if batch % levels else even[:batch]


@contextlib.contextmanager
def _progress_bar(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        yield bar
