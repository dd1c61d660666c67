# SPDX-License-Identifier: Apache-2.0
"""Pictures unlike all photographs: the encoder's maps are held within what it was trained on."""

import dataclasses

import numpy as np
import pytest
import torch

from glc.codec import Codec
from glc.errors import BitstreamError, InvalidArgumentError
from glc.fit_range import fit_range, middles
from glc.image import MAX_PIXELS, load_image
from glc.models import GLC
from glc.models.config import preset
from glc.models.latent_range import UNBOUNDED


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def stripes(period: int) -> np.ndarray:
    rows = np.arange(128)[:, None] // period % 2 * 255
    return grey(np.broadcast_to(rows, (128, 128)))


def blocks(side: int) -> np.ndarray:
    code = np.random.default_rng(0).integers(0, 2, (128 // side, 128 // side)) * 255
    return grey(np.kron(code, np.ones((side, side))))


PICTURES = {
    **{f"stripes {n}": stripes(n) for n in (1, 3, 4, 5, 6)},
    **{f"blocks {n}": blocks(n) for n in (4, 8)},
    "noise": np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8),
}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


@pytest.mark.parametrize("quality", [0.0, 2.0, 3.0])
@pytest.mark.parametrize("name", PICTURES)
def test_any_picture_has_a_file_that_shows_it(codec, name, quality):
    pixels = PICTURES[name]
    data = codec.encode(pixels, quality=quality)
    # nothing that a photograph's prior knows; but a file, and a picture of the same grey
    assert len(data) < pixels.size
    decoded = codec.decode(data)
    assert abs(float(decoded.mean()) - float(pixels.mean())) < 50
    assert decoded.std() > 5


def test_a_window_of_stripes_leaves_the_rest_alone(codec, photo):
    pixels = photo[:192, :192].copy()
    pixels[80:112, 80:112] = stripes(4)[:32, :32]
    decoded = codec.decode(codec.encode(pixels, quality=2.0))
    plain = codec.decode(codec.encode(photo[:192, :192], quality=2.0))
    far = np.abs(decoded[:32].astype(int) - plain[:32].astype(int))
    assert far.mean() < 8


def test_photographs_are_not_touched(codec, photo):
    data = codec.encode(photo, quality=2.0)
    free = GLC.from_pretrained("glc-image-small")
    free.latent_range.open()
    assert Codec(free).encode(photo, quality=2.0) == data


def test_bounds_are_no_part_of_the_coded_path(tiny_folder, photo, tmp_path):
    model = GLC.from_pretrained(tiny_folder)
    assert float(model.latent_range.y.max()) == UNBOUNDED
    before = model.fingerprint()
    fit_range(model, [torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1])
    assert model.fingerprint() == before
    assert float(model.latent_range.y.max()) < UNBOUNDED
    model.save_pretrained(tmp_path / "half", half=True)
    again = GLC.from_pretrained(tmp_path / "half")
    low, high = again.latent_range.l
    assert bool((low < high).all())
    y = np.full((1, model.config.latent_channels, 1, 1), 1e6, np.float32)
    between = Codec(again)._weights.map_range.limit_y(y, 1.5).flatten()
    assert np.array_equal(between, again.latent_range.y[1:3, 1].amax(0))


def test_models_hold_their_maps_within_bounds(photo):
    model = GLC.from_pretrained("glc-image-small").eval()
    x = torch.from_numpy(photo[None, :128, :128]).permute(0, 3, 1, 2) / 10.0  # far too bright
    with torch.inference_mode():
        l = model.latents(x)
        features = model.features(10 * l)
        x_hat = model.reconstruct(torch.full_like(l, 1e6))
    for values, bounds in ((l, model.latent_range.l), (features, model.latent_range.features)):
        low, high = bounds.view(2, -1, 1, 1)
        assert bool(((values >= low) & (values <= high)).all())
        assert bool(((values == low) | (values == high)).any())
    assert bool(torch.isfinite(x_hat).all())


def test_pictures_that_networks_run_away_on_do_not_widen_the_range(photo):
    model = GLC.from_pretrained("glc-image-small").eval()
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    photographs = [x[..., n : n + 128, n : n + 128] for n in (0, 32, 64)]
    striped = torch.from_numpy(stripes(4)).permute(2, 0, 1)[None] / 127.5 - 1
    fit_range(model, photographs)
    expected = {name: bounds.clone() for name, bounds in model.latent_range.named_buffers()}
    fit_range(model, [photographs[0], 100 * x[..., :128, :128], *photographs[1:], striped])
    for name, bounds in model.latent_range.named_buffers():
        assert torch.equal(bounds, expected[name]), name
    with pytest.raises(InvalidArgumentError, match="finite"):
        fit_range(model, [torch.full_like(striped, torch.nan)])


@pytest.mark.parametrize("how", [{"quality": 3.0}, {"target_bytes": 10**6}, {"tile": 64}])
def test_what_the_decoder_could_not_draw_is_not_written(how, photo):
    torch.manual_seed(1)
    model = GLC(dataclasses.replace(preset("glc-tiny"), gated_transforms=True, transform_blocks=2))
    pixels = photo[:100, :120]
    for gain, drawn in ((1.0, True), (100.0, False)):  # symbols of both are a photograph's
        with torch.no_grad():
            model.g_a.q.fill_(gain)
        codec = Codec(model)
        if drawn:
            assert codec.decode(codec.encode(pixels, **how)).shape == pixels.shape
        else:
            with pytest.raises(InvalidArgumentError, match="picture: expected one whose file"):
                codec.encode(pixels, **how)


def test_nor_is_what_it_could_not_draw_of_the_tightest_range(tiny_folder, photo):
    model = GLC.from_pretrained(tiny_folder)
    for bounds in model.latent_range.buffers():
        bounds[..., 0, :] = -1e-3
        bounds[..., 1, :] = 1e-3
    model.latent_range.features.mul_(1e4)
    pixels = photo[:64, :64]
    codec = Codec(model)
    assert codec.decode(codec.encode(pixels)).shape == pixels.shape
    with torch.no_grad():
        next(model.g_s.parameters()).fill_(torch.finfo(torch.float32).max)
    with pytest.raises(InvalidArgumentError, match="l_hat: expected finite values"):
        Codec(model).encode(pixels)


def test_networks_that_draw_nothing_have_no_range(tiny_folder, photo):
    model = GLC.from_pretrained(tiny_folder)
    with torch.no_grad():
        model.latent_decoder.blocks[0].weight.fill_(torch.finfo(torch.float32).max)
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    with pytest.raises(InvalidArgumentError, match="expected finite pictures"):
        fit_range(model, [x])
    assert not model.latent_range.fitted
    with pytest.raises(InvalidArgumentError, match="picture: expected one whose file"):
        Codec(model).encode(photo)


def test_a_model_that_knows_its_range_reads_no_file_back(codec, tiny_folder, photo, monkeypatch):
    assert codec.model.latent_range.fitted
    monkeypatch.setattr(codec, "restore", None)
    codec.encode(photo[:64, :64])
    assert not GLC.from_pretrained(tiny_folder).latent_range.fitted


def test_weights_from_before_have_no_bounds(tiny_folder):
    state = GLC.from_pretrained(tiny_folder).state_dict()
    old = {k: v for k, v in state.items() if not k.startswith("latent_range.")}
    model = GLC(GLC.from_pretrained(tiny_folder).config)
    model.latent_range.l.zero_()
    model.load_state_dict(old)
    assert model.latent_range.l.abs().min() == UNBOUNDED


@pytest.mark.parametrize("assign", [False, True])
def test_a_model_made_without_values_takes_weights_from_before(tiny_folder, assign):
    usual = GLC.from_pretrained(tiny_folder)
    ours = ("latent_range.", "z_prior.")
    old = {k: v for k, v in usual.state_dict().items() if not k.startswith(ours)}
    with torch.device("meta"):
        late = GLC(usual.config)
    if not assign:
        late.to_empty(device="cpu")
    late.load_state_dict(old, assign=assign)
    assert not any(t.is_meta for t in (*late.parameters(), *late.buffers()))
    assert late.latent_range.l.abs().min() == UNBOUNDED
    assert not late.z_prior.logits.any()
    assert bool((late.hyper_vq.row_weight == 1).all())


def test_only_the_middle_of_a_large_photograph_is_looked_at(tmp_path, photo):
    from PIL import Image

    Image.fromarray(np.tile(photo[:, :70], (8, 1, 1))[:1500]).save(tmp_path / "long.png")
    (x,) = middles([tmp_path / "long.png"])
    assert x.shape == (1, 3, 1024, 70)
    assert x.min() >= -1
    assert x.max() <= 1
    whole = load_image(tmp_path / "long.png")
    shown = ((x[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    top = (whole.shape[0] - 1024) // 2
    assert np.array_equal(shown, whole[top : top + 1024])


def test_thin_pictures_are_bounded_by_what_the_networks_work_on(codec, photo):
    thin = np.ascontiguousarray(photo[:1, :100])
    data = codec.encode(thin)
    with pytest.raises(BitstreamError, match="size: expected at most 1000 pixels, got 100x1"):
        codec.decode(data, max_pixels=1000)
    assert codec.decode(data, max_pixels=2048).shape == (1, 100, 3)


def test_a_picture_too_thin_to_be_padded_is_not_begun(codec, monkeypatch):
    def begun(*_arguments):
        raise AssertionError("networks ran")

    monkeypatch.setattr(codec._networks, "features", begun)
    most = (2 * MAX_PIXELS + 64**2) // 64**2 * 64  # columns, at 64 rows for the one there is
    with pytest.raises(InvalidArgumentError, match="with sides padded to multiples of 64"):
        codec.encode(np.zeros((1, most + 1, 3), np.uint8))
    with pytest.raises(AssertionError, match="networks ran"):
        codec.encode(np.zeros((1, most, 3), np.uint8))


def test_a_picture_that_is_not_finite_is_no_picture(codec, photo):
    data = codec.encode(photo[:64, :64])
    model = GLC.from_pretrained("glc-image-small")
    with torch.no_grad():
        next(model.latent_decoder.parameters()).fill_(float("nan"))
    other = Codec(model)
    with pytest.raises(BitstreamError, match="picture: expected finite values"):
        other.decode(data)


def test_metadata_is_a_mapping(codec, photo):
    with pytest.raises(InvalidArgumentError, match="chunks: expected a mapping"):
        codec.encode(photo[:64, :64], metadata=[1])
