# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from glc.cli import app
from tests.cli.refusal import Run


@pytest.fixture
def run(tiny_folder: Path) -> Run:
    """Run the command in this process with the tiny model."""

    def call(verb: str, *arguments: object, model: Path | None = tiny_folder) -> Result:
        extra = ["--model", str(model)] if model else []
        return CliRunner().invoke(app, [verb, *map(str, arguments), *extra])

    return call


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo[:70, :90]).save(path)
    return path


@pytest.fixture
def coded(run: Run, picture: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photo.glc"
    assert run("encode", picture, path).exit_code == 0
    return path
