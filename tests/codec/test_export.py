# SPDX-License-Identifier: Apache-2.0
"""A model as one file for codecs without Python; what reads it is in tests/test_embedding.py."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save_file

from glc import _core, cdf
from glc.codec import Codec
from glc.errors import InvalidArgumentError, UnsupportedError
from glc.models import GLC, preset


def header_of(file: bytes) -> tuple[dict[str, str], bytes]:
    """Metadata, and what follows the header."""
    end = 8 + int.from_bytes(file[:8], "little")
    return json.loads(file[8:end])["__metadata__"], file[end:]


@pytest.mark.parametrize("encoder", [False, True])
def test_what_is_in_the_file(tiny_folder: Path, tmp_path: Path, encoder: bool) -> None:
    codec = Codec(tiny_folder)
    file = codec.export(encoder=encoder)
    metadata, data = header_of(file)
    assert metadata["format"] == "1"
    assert metadata["fingerprint"] == codec.fingerprint.hex()
    assert int(metadata["crc32c"], 16) == _core.crc32c(data)
    assert metadata["config.latent_channels"] == "16"
    assert metadata["config.autoencoder.decoder_widths"] == "16,16,16"
    assert metadata["config.normalize_z"] == "1"
    assert b"\\" not in file[: len(file) - len(data)]

    tensors = load(file)
    tables, bounds = cdf.canonical()
    for name, expected in zip(("freqs", "n_bins", "offsets"), tables.arrays(), strict=True):
        assert np.array_equal(tensors.pop(f"tables.{name}"), expected)
    assert np.array_equal(tensors.pop("tables.bounds"), bounds)
    state = codec.model.state_dict()
    for name, tensor in tensors.items():
        assert np.array_equal(tensor.astype(np.float32), state[name].numpy())
    of_encoder = ("latent_encoder.", "g_a.", "h_a.", "latent_range.y")
    assert any(name.startswith(of_encoder) for name in tensors) == encoder
    left = state.keys() - tensors.keys()
    unused = {name for name in left if not encoder or not name.startswith(of_encoder)}
    assert {name.split(".")[0] for name in unused} <= {
        *("image_vq", "code_predictor", "aux_predictor", "latent_encoder"),
        *("g_a", "h_a", "latent_range"),
    }

    path = tmp_path / "model.safetensors"  # any tool for the format reads it
    path.write_bytes(file)
    with safe_open(path, "numpy") as opened:
        assert opened.metadata() == metadata


def test_half_where_half_is_exact(tiny_folder: Path, tmp_path: Path) -> None:
    """And not where a single element of a tensor is beyond it."""

    def of_weights(file: bytes) -> set[np.dtype]:
        return {x.dtype for name, x in load(file).items() if name.endswith(".weight")}

    assert of_weights(Codec(tiny_folder).export()) == {np.dtype("f4")}
    model = GLC.from_pretrained(tiny_folder)
    model.save_pretrained(tmp_path / "half", half=True)
    assert of_weights(Codec(tmp_path / "half").export()) == {np.dtype("f2")}
    wide = {"h_s.layers.0.conv.bias": np.full(16, 1e6, np.float32)}
    stored = load((tmp_path / "half" / "model.safetensors").read_bytes())
    save_file({**stored, **wide}, tmp_path / "half" / "model.safetensors")
    kept = load(Codec(tmp_path / "half").export())["h_s.layers.0.conv.bias"]
    assert kept.dtype == np.float32
    assert (kept == 1e6).all()


def test_the_same_model_gives_the_same_file(tiny_folder: Path) -> None:
    file = Codec(tiny_folder).export()
    assert Codec(GLC.from_pretrained(tiny_folder)).export() == file


def test_models_that_torch_draws_are_refused(tiny_folder: Path) -> None:
    gated = dataclasses.replace(preset("glc-tiny"), gated_transforms=True)
    with pytest.raises(UnsupportedError, match=r"^export: model: expected one that draws by exact"):
        Codec(GLC(gated)).export()
    model = GLC.from_pretrained(tiny_folder)
    codec = Codec(model)
    model.h_s.layers[0].conv.bias.data.add_(1)
    model.h_s.layers[0].conv.bias.requires_grad_(False).add_(1)
    with pytest.raises(InvalidArgumentError, match="make a new Codec"):
        codec.export()
