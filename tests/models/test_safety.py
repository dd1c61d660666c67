# SPDX-License-Identifier: Apache-2.0
"""Loading a model runs no code of its author's, whatever the file claims to be."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.models import GLC, load_official
from glc.training.checkpoint import read_checkpoint


class Bomb:
    """Unpickled with full trust, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": Bomb(tmp_path / "exploded"), "stage": "stage3"}, path)
    return path


def test_the_bomb_is_live(bomb: Path, tmp_path: Path) -> None:
    torch.load(bomb, weights_only=False)
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("load", [load_official, read_checkpoint])
def test_checkpoints_run_no_code(load: Callable[[Path], Any], bomb: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError):
        load(bomb)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_holds_safetensors_or_no_model(
    bomb: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text((tiny_folder / "config.json").read_text())
    for name in ("pytorch_model.bin", "model.safetensors"):
        (folder / name).write_bytes(bomb.read_bytes())
        for load in (GLC.from_pretrained, Codec):
            with pytest.raises(InvalidArgumentError):
                load(folder)
    assert not (tmp_path / "exploded").exists()


def test_what_is_saved_is_safetensors(tmp_path: Path, tiny_folder: Path) -> None:
    GLC.from_pretrained(tiny_folder).save_pretrained(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"config.json", "model.safetensors"}
