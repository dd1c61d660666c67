# SPDX-License-Identifier: Apache-2.0
"""A model of stride 32 codes as the others do: files, tiles, refining, fitting, other readers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import glc
from glc import _core
from glc.cli import app
from glc.codec import Codec
from glc.entropy_path import Quantizer, walk_parts
from glc.errors import InvalidArgumentError
from glc.models import GLC, preset
from glc.models.padding import pad_to_multiple
from glc.refinement import _windows
from tests.faces import SMALL_FACE, lively_face
from tests.outsider import canonical_rows, load_outsider

Z_POSITIONS = 2 * 2  # of a picture of 150 x 200, padded to 256 x 256


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(lively_face())


@pytest.fixture(scope="module")
def data(codec: Codec, photo: np.ndarray) -> bytes:
    assert photo.shape == (150, 200, 3)
    return codec.encode(photo, quality=2)


def test_a_file_gives_the_encoders_symbols(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    """At any number of threads."""
    networks = codec._networks
    y = networks.analysis(networks.features(photo), 2)
    quantizer = Quantizer(y, codec._tables.y.rows, codec._tables.n_zero_rows)
    coded = walk_parts(codec._coder_networks, networks.hyper_index(y), quantizer)
    assert y.shape == (1, SMALL_FACE.latent_channels, 256 // 32, 256 // 32)
    before = glc.get_num_threads()
    for n_threads in (1, 3):
        glc.set_num_threads(n_threads)
        try:
            (read,) = codec._read(data, photo.size)[1]
        finally:
            glc.set_num_threads(before)
        assert np.array_equal(read.symbols.z_index, coded.z_index)
        assert np.array_equal(read.symbols.latent, coded.latent)
        for part, other in zip(read.symbols.parts, coded.parts, strict=True):
            np.testing.assert_array_equal(part.symbols, other.symbols)
            assert np.count_nonzero(part.symbols)
    assert codec.decode(data).shape == photo.shape


def test_bits_are_accounted_for(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    found = codec.analyze(data)
    assert found.z_symbols == Z_POSITIONS
    assert found.z_estimated_bits == 5 * Z_POSITIONS
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    with pytest.raises(InvalidArgumentError, match="multiples of 128"):
        codec.model.inspect(x, 2)
    seen = codec.model.inspect(pad_to_multiple(x, codec.model.pad_multiple), 2)
    assert seen.bits_z == found.z_estimated_bits
    assert seen.z_index.shape == (1, 2, 2)
    assert sum(part.estimated_bits for part in found.parts) == pytest.approx(seen.bits_y, rel=0.02)


def test_tiles_are_of_whole_paddings(codec: Codec, photo: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="tile: expected a multiple of 128"):
        codec.encode(photo, tile=64)
    data = codec.encode(photo, tile=128, quality=2)
    tiles = [photo[top : top + 128, left : left + 128] for top in (0, 128) for left in (0, 128)]
    alone = [codec.analyze(codec.encode(tile, quality=2)).parts for tile in tiles]
    for part, parts in zip(codec.analyze(data).parts, zip(*alone, strict=True), strict=True):
        assert part.nonzero == sum(of_tile.nonzero for of_tile in parts)
    assert codec.decode(data).shape == photo.shape


def test_an_outsiders_reader_reads_it(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    outsider = load_outsider()
    logits = codec.model.z_prior.logits.detach().numpy()[2].copy()
    weights = np.empty(logits.size, np.int32)
    _core.cdf_softmax_weights(logits, weights)
    (piece,) = codec._read(data, photo.size)[1]
    rows = [part.rows.tolist() for part in piece.symbols.parts]
    file = outsider.read_file(data, codec.fingerprint)
    ((z_index, parts),) = outsider.read_pieces(
        file, weights.tolist(), canonical_rows(outsider), [rows], 128
    )
    assert z_index == piece.symbols.z_index.flatten().tolist()
    assert parts == [part.symbols.tolist() for part in piece.symbols.parts]


def test_a_folder_keeps_the_model(codec: Codec, data: bytes, tmp_path: Path) -> None:
    codec.model.save_pretrained(tmp_path)
    loaded = GLC.from_pretrained(tmp_path)
    assert loaded.config == SMALL_FACE
    assert loaded.fingerprint() == codec.fingerprint
    np.testing.assert_array_equal(Codec(loaded).decode(data), codec.decode(data))


@pytest.mark.parametrize("name", ["glc-image", "glc-face"])
def test_windows_of_refining_are_as_large_for_any_stride(name: str) -> None:
    """In pixels, as the memory that they take is."""
    config = preset(name)
    stride = config.autoencoder.stride
    height, width = 1024 // stride, 2048 // stride
    times = np.zeros((height, width), int)
    windows = _windows(height, width, multiple=config.pad_multiple)
    assert len(windows) == 6
    for window in windows:
        assert all(stride * (s.stop - s.start) <= 768 for s in window.place)
        assert all(s.start % 4 == s.stop % 4 == 0 for s in (*window.place, *window.seen))
        times[window.place] += 1
    assert (times == 1).all()


def test_refining_spends_bits_better(
    codec: Codec, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two windows, that see each other's margin."""
    monkeypatch.setattr("glc.refinement._SIDE", 128)
    monkeypatch.setattr("glc.refinement.Refiner._exchange", lambda *_: 0.05)
    cut = photo[:100]
    plain, refined = codec.encode(cut, quality=2), codec.encode(cut, quality=2, refine=2)
    assert len(refined) < len(plain)
    assert codec.verify(refined).symbols == codec.verify(plain).symbols


def test_the_command_line_fits_and_measures_it(photo: np.ndarray, tmp_path: Path) -> None:
    lively_face().save_pretrained(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    pictures = [photo[:100], photo[20:120]]
    for name, pixels in zip("ab", pictures, strict=True):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    fit = ["fit-prior", tmp_path / "photos", tmp_path / "fitted", "--model", tmp_path / "model"]
    measure = ["eval", tmp_path / "photos", "--model", tmp_path / "fitted"]
    measure += ["--quality", 2, "--json", tmp_path / "report.json"]
    for arguments in (fit, measure):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
    fitted = GLC.from_pretrained(tmp_path / "fitted")
    assert fitted.latent_range.fitted
    (level,) = json.loads((tmp_path / "report.json").read_text())["levels"]
    codec = Codec(fitted)
    files = [codec.encode(pixels, quality=2) for pixels in pictures]
    assert level["file_bytes"] == sum(map(len, files))
