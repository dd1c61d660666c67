# SPDX-License-Identifier: Apache-2.0
"""The picture drawn in other dtypes and by other kernels: the same picture, from the same y_hat."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from glc.codec import Codec
from glc.errors import InvalidArgumentError
from glc.evaluation.metrics import psnr
from glc.models import GLC
from glc.models.config import GLC_IMAGE, TINY, GLCConfig, VQGANConfig
from glc.models.generator import Generator, _FusedUpsample, _Sum
from glc.models.vqvae import Upsample
from glc.torch_networks import Networks
from tests.cuda_kernels import Kernels, kernels
from tests.faces import SMALL_FACE

__all__ = ["kernels"]  # the fixture

AUTHORS = dataclasses.replace(  # theirs, narrower, with windows that do not fill the map
    GLC_IMAGE, autoencoder=VQGANConfig(channels=32, attention_window=3), latent_channels=32
)
FACES = dataclasses.replace(
    SMALL_FACE, autoencoder=dataclasses.replace(SMALL_FACE.autoencoder, attention_window=3)
)
WORST_DB = {torch.float32: 80.0, torch.float16: 50.0, torch.bfloat16: 35.0}  # to float32's picture
HEIGHT, WIDTH = 60, 100  # pixels; less than the map gives
QUALITY = 1.5


@pytest.fixture(scope="module", params=[AUTHORS, FACES, TINY], ids=["authors", "faces", "light"])
def model(request: pytest.FixtureRequest) -> GLC:
    config: GLCConfig = request.param
    torch.manual_seed(1)
    return GLC(config).eval()


def y_hat_of(model: GLC) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(1, model.config.latent_channels, 4, 8, generator=generator)


def draw(model: GLC, dtype: torch.dtype, y_hat: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return Networks(model, picture_dtype=dtype).pixels(y_hat, QUALITY, (HEIGHT, WIDTH))


@pytest.mark.parametrize("dtype", WORST_DB, ids=str)
def test_a_dtype_changes_little(model: GLC, dtype: torch.dtype) -> None:
    expected = draw(model, torch.float32, y_hat_of(model))
    assert expected.shape == (HEIGHT, WIDTH, 3)
    assert psnr(expected, draw(model, dtype, y_hat_of(model))) > WORST_DB[dtype]


@pytest.mark.parametrize("dtype", WORST_DB, ids=str)
def test_kernels_draw_the_same_picture(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, model: GLC, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # float32 itself is meant here

    def there(y_hat: Tensor) -> Tensor:
        with torch.inference_mode():
            return Generator(model.to(y_hat.device), dtype)(y_hat, QUALITY).float()

    got = kernels(there, y_hat_of(model))
    with torch.inference_mode():
        expected = model.cpu().reconstruct(model.synthesis(y_hat_of(model), QUALITY))
    squares = (got.double() - expected.double()).square().mean()
    assert 10 * torch.log10(4.0 / squares) > WORST_DB[dtype]  # of a range of 2


def test_a_doubling_is_folded_into_its_convolution() -> None:
    block = Upsample(3).double().requires_grad_(False)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    got = _FusedUpsample(block, torch.float64)(_Sum(x)).added()
    assert torch.allclose(got, block(x), rtol=0.0, atol=1e-7)  # the bias is kept in float32


def test_values_too_large_for_float16_are_drawn_in_bfloat16() -> None:
    torch.manual_seed(1)
    model = GLC(AUTHORS).eval()
    with torch.no_grad():  # the first normalisation takes the factor out again
        model.latent_decoder.blocks[0].weight.mul_(1e6)
    y_hat = y_hat_of(model)
    got = draw(model, torch.float16, y_hat)
    assert np.array_equal(got, draw(model, torch.bfloat16, y_hat))
    assert psnr(got, draw(model, torch.float32, y_hat)) > WORST_DB[torch.bfloat16]


def test_symbols_do_not_depend_on_the_dtype(photo: np.ndarray) -> None:
    torch.manual_seed(1)
    model = GLC(TINY)
    plain, short = Codec(model), Codec(model, picture_dtype=torch.bfloat16)
    data = plain.encode(photo[:100, :70], QUALITY)
    assert short.encode(photo[:100, :70], QUALITY) == data
    assert psnr(plain.decode(data), short.decode(data)) > WORST_DB[torch.bfloat16]


def test_another_dtype_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="picture_dtype: expected float32"):
        Codec(GLC(TINY), picture_dtype=torch.float64)
