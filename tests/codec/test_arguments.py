# SPDX-License-Identifier: Apache-2.0
"""What callers get wrong, and where a model's name is looked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import glc
from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.models import GLC


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> Codec:
    return Codec(tiny_folder)


@pytest.fixture(scope="module")
def data(codec: Codec, photo: np.ndarray) -> bytes:
    return codec.encode(photo)


@pytest.mark.parametrize(
    "call",
    [
        lambda codec, photo, data: codec.encode(photo, quality="2"),
        lambda codec, photo, data: codec.encode(photo, quality=True),
        lambda codec, photo, data: codec.encode(photo, quality=10**400),
        lambda codec, photo, data: codec.encode(photo, target_bytes="100"),
        lambda codec, photo, data: codec.encode(photo, tile=64.0),
        lambda codec, photo, data: codec.encode(photo, metadata={1.5: b"x"}),
        lambda codec, photo, data: codec.encode(photo, metadata={1: "x"}),
        lambda codec, photo, data: codec.restore(data, until=1.5),
        lambda codec, photo, data: codec.restore(data, until=None),
        lambda codec, photo, data: codec.decode(data, max_pixels=None),
        lambda codec, photo, data: glc.encode(photo, 2),
        lambda codec, photo, data: glc.encode(photo, codec),
        lambda codec, photo, data: Codec(""),
        lambda codec, photo, data: Codec(device="meta"),
    ],
)
def test_wrong_arguments_have_a_typed_error(call, codec: Codec, photo: np.ndarray, data: bytes):
    with pytest.raises(InvalidArgumentError, match="expected"):
        call(codec, photo, data)


@pytest.mark.parametrize("part", ["latent_encoder", "h_s", "z_prior", "g_s", "latent_range"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_in_another_dtype_makes_no_codec(part: str, dtype: torch.dtype, tiny_folder: Path):
    model = GLC.from_pretrained(tiny_folder)
    model.get_submodule(part).to(dtype)
    with pytest.raises(InvalidArgumentError, match=rf"{dtype} in {part}.*model\.float\(\)"):
        Codec(model)
    assert Codec(model.float()).model is model


def test_a_model_without_values_makes_no_codec(tiny_folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no values"):
        Codec(GLC.from_pretrained(tiny_folder).to("meta"))


def test_a_relative_folder_is_not_looked_for_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    bundled = GLC.from_pretrained("glc-image-small").fingerprint()
    run, mine = tmp_path / "run", tmp_path / "pretrained" / "glc-image-small"
    run.mkdir()
    shutil.copytree(tiny_folder, mine)
    monkeypatch.chdir(run)
    assert Codec("../pretrained/glc-image-small").fingerprint != bundled
    monkeypatch.chdir(mine)
    assert Codec(".").fingerprint != bundled
