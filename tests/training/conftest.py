# SPDX-License-Identifier: Apache-2.0
"""Drawn photos and a configuration that trains the tiny model on them in seconds."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glc.training.loop import Run


@pytest.fixture(autouse=True)
def denormals_as_before():
    """Training flushes denormals in its thread; other tests count on them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Eight smooth pictures, 112 x 96."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(8):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((112, 96), Image.Resampling.BICUBIC).save(
            folder / f"{number}.png"
        )
    return folder


@pytest.fixture(scope="session")
def write_config(photos) -> Callable[..., Path]:
    """Write a stage's YAML into a folder; keyword arguments replace its fields."""

    def write(folder: Path, stage: str, **changes) -> Path:
        lines = [
            f"out: {folder / stage}",
            f"data: {{root: {photos}, holdout: 2, crop: 64, validation_crop: 64}}",
            "model: glc-tiny",
            "steps: 6",
            "batch: 4",
            "warmup: 2",
            "threads: 1",
            "device: cpu",
            "tensorboard: false",
            "adversarial: {weight: 0.0}",
            "checkpoint_every: 3",
            "validate_every: 6",
            "codebook: {start: 2, reseed_every: 2}",
            *(f"{key}: {value}" for key, value in changes.items()),  # a later key wins
        ]
        path = folder / f"{stage}.yaml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def until_first_checkpoint(monkeypatch) -> Callable[[], contextlib.AbstractContextManager]:
    """A context in which a run ends when it has written its first checkpoint."""

    class StoppedError(Exception):
        pass

    save = Run.save

    def stop_after_checkpoint(self):
        save(self)
        raise StoppedError

    @contextlib.contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(Run, "save", stop_after_checkpoint)
            with pytest.raises(StoppedError):
                yield

    return context
