# SPDX-License-Identifier: Apache-2.0
"""A configuration from a file builds no more than its weights are for."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from glc.errors import InvalidArgumentError
from glc.models import GLC, GLCConfig, room
from glc.models.room import RoomFor

# 2 GiB each, of which the mapping is all that may be taken
ABSURD = {
    "codebook_size": 1 << 25,
    "levels": 1 << 25,
    "prior_channels": 1 << 15,
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SLACK_BYTES", 1 << 24)


def _folder(path: Path, model: Path, **changed: object) -> Path:
    path.mkdir()
    config = json.loads((model / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changed}))
    (path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    return path


def test_absurd_sizes_take_no_memory(tmp_path: Path, tiny_folder: Path) -> None:
    pytest.importorskip("resource", reason="measures memory as Unix tells it")
    for key, value in ABSURD.items():
        _folder(tmp_path / key, tiny_folder, **{key: value})
    code = f"""
import resource, sys
from pathlib import Path
from glc import GLC, GlcError
unit = 1 if sys.platform == "darwin" else 1024
taken = lambda: unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = taken()
for folder in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        GLC.from_pretrained(folder)
    except GlcError as error:
        print(error)
print(taken() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    *refusals, taken = done.stdout.splitlines()
    assert len(refusals) == len(ABSURD)
    assert all(text.endswith("many times as large as the weights") for text in refusals), refusals
    assert int(taken) < 1 << 29


def test_absurd_depths_end(tmp_path: Path, tiny_folder: Path, narrow: None) -> None:
    folder = _folder(tmp_path / "deep", tiny_folder, prior_depth=1 << 70, prior_channels=1)
    with pytest.raises(InvalidArgumentError, match="many times as large"):
        GLC.from_pretrained(folder)


class Other(GLC):
    """Replaces and adds what the file then holds, or does not."""

    def __init__(self, config: GLCConfig) -> None:
        super().__init__(config)
        self.latent_encoder = nn.Conv2d(3, 4, 1)
        self.lazy = nn.LazyLinear(3)
        self.register_buffer("table", torch.arange(1 << 16).outer(torch.ones(2).long()))
        self.register_buffer("scratch", torch.zeros(1 << 20), persistent=False)


def test_subclasses_load_as_they_were_saved(
    tmp_path: Path, tiny_folder: Path, narrow: None
) -> None:
    model = Other(GLC.from_pretrained(tiny_folder).config)
    model.lazy(torch.zeros(1, 2))
    state = model.state_dict()
    model.save_pretrained(tmp_path / "other")
    loaded = Other.from_pretrained(tmp_path / "other")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name].float()), name


def test_only_what_is_built_inside_is_bounded(narrow: None) -> None:
    found: list[Tensor] = []

    def build() -> None:
        found.append(torch.empty(1 << 23))

    with RoomFor(1 << 23):
        build()
        with pytest.raises(ValueError, match="many times"), RoomFor(0):
            build()
        build()
    with RoomFor(0):
        other = threading.Thread(target=build)
        other.start()
        other.join()
    build()
    assert len(found) == 4
