# SPDX-License-Identifier: Apache-2.0
"""Files of a codec whose networks are on a CUDA device: the same symbols there and on the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glc.codec import Codec
from glc.entropy_path import Symbols, on_host
from glc.evaluation.metrics import psnr
from tests.cuda_kernels import Kernels, kernels

__all__ = ["kernels"]  # the fixture

PICTURE_DB = 45.0  # between pictures of two devices, drawn in float16 and in float32


def symbols_of(codec: Codec, data: bytes) -> Symbols:
    _, (piece,) = codec._read(data, 1 << 20)
    symbols: Symbols = piece.symbols
    return symbols


def require_equal(there: Symbols, here: Symbols) -> None:
    for name in ("z_index", "y_hat", "step"):
        got, expected = (on_host(getattr(s, name)) for s in (there, here))
        assert got.tobytes() == expected.tobytes(), name
    for got, expected in zip(there.parts, here.parts, strict=True):
        assert np.array_equal(got.symbols, expected.symbols)
        assert np.array_equal(got.rows, expected.rows)
        assert on_host(got.scale).tobytes() == on_host(expected.scale).tobytes()


@pytest.mark.parametrize("quality", [0.0, 2.5])
def test_a_file_from_either_device_gives_the_same_symbols_on_both(
    kernels: Kernels, tiny_folder: Path, photo: np.ndarray, quality: float
) -> None:
    here = Codec(tiny_folder)
    picture = photo[:100, :70]
    files = [here.encode(picture, quality)]

    def there() -> list[Symbols]:
        codec = Codec(tiny_folder, kernels.device)
        assert codec._coder_networks is codec._networks
        files.append(codec.encode(picture, quality))
        assert psnr(here.decode(files[0]), codec.decode(files[0])) > PICTURE_DB
        assert codec.analyze(files[0]).estimated_bits > 0
        return [symbols_of(codec, data) for data in files]

    for data, symbols in zip(files, kernels(there), strict=True):
        require_equal(symbols, symbols_of(here, data))
        assert any(part.symbols.any() for part in symbols.parts)


def test_a_latent_refined_there_is_read_here(
    kernels: Kernels, tiny_folder: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a model that was never trained: what a bit is worth it does not know."""
    monkeypatch.setattr("glc.refinement.Refiner._exchange", lambda *_: 0.1)
    here = Codec(tiny_folder)
    picture = photo[:64, :70]

    def there() -> list[bytes]:
        codec = Codec(tiny_folder, kernels.device)
        return [codec.encode(picture, 1.0, refine=steps) for steps in (0, 2)]

    plain, refined = kernels(there)
    assert plain != refined
    assert here.verify(refined)


def test_strips_keep_the_symbols(kernels: Kernels, tiny_folder: Path, photo: np.ndarray) -> None:
    here = Codec(tiny_folder)
    data = here.encode(photo, 2.0)

    def there() -> Symbols:
        codec = Codec(tiny_folder, kernels.device)
        codec._coder_networks.strip_pixels = 1
        return symbols_of(codec, data)

    with torch.inference_mode():
        require_equal(kernels(there), symbols_of(here, data))
