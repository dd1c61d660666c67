# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written whole or not at all, and refused when they are another run's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from glc.errors import GlcError, InvalidArgumentError, TrainingError
from glc.files import LOAD_ERRORS, check_folder, load_complaint
from glc.loading import model_folder
from glc.models.config import GLCConfig, preset
from glc.models.glc import GLC
from glc.models.room import RoomFor
from glc.training.config import StageConfig


class Stateful(Protocol):
    """Anything that a checkpoint carries besides modules."""

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""


@contextlib.contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Keep the runs of other processes out of a folder, until the block or this process ends.

    Raises:
        InvalidArgumentError: another process has it.
    """
    with (out / ".lock").open("a") as file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by a loader's workers
        except (BlockingIOError, PermissionError) as error:
            raise InvalidArgumentError(
                f"train: out: expected a folder of this run, got {out}, which another process is "
                f"training in; wait for its end, or take another out"
            ) from error
        except (ImportError, OSError):
            pass  # Windows, and file systems that cannot
        yield


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write to a temporary name, force it to the disk, then rename it over the old one.

    A process killed at any moment, or a full disk, leaves the old checkpoint in place.

    Raises:
        TrainingError: it cannot be written; the old checkpoint still stands.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
        kept = f"the one before it stands: {path}" if path.exists() else "there was none before"
        raise TrainingError(
            f"checkpoint: expected room for the checkpoint of step {state['step']}, got: "
            f"{load_complaint(error)}; {kept}"
        ) from error
    finally:  # also where a signal ends the process
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of any stage.

    Raises:
        InvalidArgumentError: missing, cut, or not one of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        raise InvalidArgumentError(
            f"checkpoint: expected one written by glc train at {os.fspath(path)}, got: "
            f"{load_complaint(error)}"
        ) from error
    if not isinstance(state, dict) or not {"stage", "model", "model_config"} <= state.keys():
        raise InvalidArgumentError(
            f"checkpoint: expected one written by glc train, got other content in {path}"
        )
    return state


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Do inside what is done with a checkpoint's content, which may be anybody's.

    Raises:
        InvalidArgumentError: it is missing, or of another kind than is written.
    """
    try:
        yield
    except GlcError:
        raise
    except LOAD_ERRORS as error:
        raise InvalidArgumentError(
            "checkpoint: expected the content that glc train writes, got what ends in "
            f"{type(error).__name__}: {load_complaint(error)}"
        ) from error


def load_module(module: nn.Module, state: dict[str, Any], name: str) -> None:
    """Load a checkpoint's weights, strictly.

    Raises:
        InvalidArgumentError: keys or shapes that are not this module's.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InvalidArgumentError(
            f"checkpoint: {name}: expected the tensors of this configuration, got: "
            f"{load_complaint(error)}"
        ) from error


def checkpoint_to_resume(stage: str, config: StageConfig, *, resume: bool) -> dict[str, Any] | None:
    """The checkpoint that a run goes on from, None if it begins.

    A run that begins never writes over another one's checkpoint.

    Args:
        stage: of the run.
        config: its `out` is where the checkpoint is.
        resume: whether to go on.

    Raises:
        InvalidArgumentError: there is none to go on from, or it is of another stage or preset; or
            there is one, and the run is to begin, or it would in what is no folder or closed to us;
            or it has made more steps than are configured.
    """
    path = Path(config.out) / "checkpoint.pt"
    if not resume:
        if path.exists():
            raise InvalidArgumentError(
                f"{stage}: out: expected a folder without a checkpoint, got {config.out} with one; "
                f"--resume goes on from it, another out keeps it, removing it begins anew"
            )
        check_folder(path.parent, overwrite=True)
        return None
    state = read_checkpoint(path)
    if state["stage"] != stage:
        raise InvalidArgumentError(
            f"{stage}: checkpoint: expected one of {stage}, got {state['stage']!r}"
        )
    with as_written():
        before, step = state["config"]["model"], int(state["step"])
    if stage == "stage1" and config.init is None and config.model != before:
        raise InvalidArgumentError(
            f"config: model: expected {before!r}, which the checkpoint holds, got {config.model}"
        )
    if step > config.steps:
        raise InvalidArgumentError(
            f"config: steps: expected at least {step}, which the checkpoint has made, "
            f"got {config.steps}"
        )
    return state


def initial_model(
    config: StageConfig,
    *,
    after: str | None,
    resumed: dict[str, Any] | None = None,
    model_class: type[GLC] = GLC,
) -> GLC:
    """The model a stage starts from.

    Args:
        config: `init` names the checkpoint of the stage before, whose averaged weights are used,
            or a model to go on from. Without `init`, a fresh model of the preset `model`.
        after: the stage that a checkpoint must come from; None accepts no checkpoint.
        resumed: the checkpoint of this stage that the run goes on from, if it does: it says what
            model to build, and `init` is not looked at.
        model_class: of the model.

    Raises:
        InvalidArgumentError: the checkpoint is of another stage, or `init` is missing or no model.
    """
    model = _initial_model(config, after, resumed, model_class)
    if not config.keep_range:
        model.latent_range.open()
    return model


def _initial_model(
    config: StageConfig,
    after: str | None,
    resumed: dict[str, Any] | None,
    model_class: type[GLC],
) -> GLC:
    if resumed is not None:
        return _untrained(resumed, model_class)
    if config.init is None:
        if after is not None:
            raise InvalidArgumentError(f"config: init: expected a checkpoint of {after}, got none")
        return model_class(preset(config.model))
    if not config.init.endswith(".pt"):
        return model_class.from_pretrained(model_folder(config.init, "config: init"))
    if after is None:
        raise InvalidArgumentError(
            f"config: init: expected a model's folder or name, as there is no stage before, got "
            f"{config.init}; --resume goes on from a run's own checkpoint"
        )
    state = read_checkpoint(config.init)
    if state["stage"] != after:
        raise InvalidArgumentError(
            f"config: init: expected a checkpoint of {after}, got one of {state['stage']!r}"
        )
    model = _untrained(state, model_class)
    with as_written():
        load_module(model, state["average"], "init")
    return model


def _untrained(state: dict[str, Any], model_class: type[GLC]) -> GLC:
    with as_written(), RoomFor(sum(tensor.nbytes for tensor in state["model"].values())):
        return model_class(GLCConfig.from_dict(state["model_config"]))


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
