# SPDX-License-Identifier: Apache-2.0
"""What `load_image` makes of every kind of picture people have."""

import contextlib
import io
import os
import struct
import threading
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageCms

from glc.bitstream import CHUNK_ICC
from glc.errors import InvalidArgumentError
from glc.image import load_image, load_with_metadata, png_bytes, save_png
from tests.codec.raw_png import raw_png

ORIENTATION = 0x0112


def ramp(height: int = 6, width: int = 9) -> np.ndarray:
    """A picture in which no pixel equals another."""
    grid = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    return np.stack([grid, 255 - grid, grid * 3], axis=-1)


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_png_comes_back_as_it_is(tmp_path: Path) -> None:
    x = ramp()
    path = save(Image.fromarray(x), tmp_path / "a.png")
    for image in (path, str(path), Image.open(path), x):
        loaded = load_image(image)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, x)


def test_result_never_shares_memory_with_the_input() -> None:
    x = ramp()
    loaded = load_image(x)
    loaded[0, 0, 0] ^= 255
    np.testing.assert_array_equal(x, ramp())


def test_non_contiguous_array() -> None:
    x = ramp()[::-1, ::2]
    np.testing.assert_array_equal(load_image(x), x)


def test_float_tensor_is_rounded() -> None:
    x = ramp()
    tensor = torch.from_numpy(x).permute(2, 0, 1).float() / 255
    np.testing.assert_array_equal(load_image(tensor), x)
    np.testing.assert_array_equal(load_image(tensor.double().requires_grad_()), x)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_baked_in(tmp_path: Path, orientation: int) -> None:
    upright = ramp()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # a viewer must turn it clockwise
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(path), upright)


def test_grey_16_bit_is_rounded(tmp_path: Path) -> None:
    samples = np.array([[0, 127, 128, 129], [385, 386, 65406, 65535]], dtype=np.uint16)
    path = save(Image.fromarray(samples), tmp_path / "a.png")
    expected = np.rint(samples / 257).astype(np.uint8)
    np.testing.assert_array_equal(load_image(path), np.repeat(expected[..., None], 3, axis=2))


def test_grey_16_bit_pgm(tmp_path: Path) -> None:
    samples = np.array([[0, 257, 65535]], dtype=">u2")
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 3 1 65535\n" + samples.tobytes())
    np.testing.assert_array_equal(load_image(path)[0, :, 0], [0, 1, 255])


def test_colour_16_bit_png(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 0, 0x8000, 0xFFFF, 0x0100, 0x7F00, 0xFE00)
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(2, 1, depth=16, colour=2, rows=rows))
    expected = [[[0, 128, 255], [1, 127, 254]]]
    np.testing.assert_allclose(load_image(path).astype(int), expected, atol=1)


@pytest.mark.parametrize(("mode", "grey"), [("L", [0, 128, 255]), ("1", [0, 255, 255])])
def test_grey(tmp_path: Path, mode: str, grey: list[int]) -> None:
    picture = Image.fromarray(np.array([[0, 128, 255]], dtype=np.uint8)).convert(
        mode, dither=Image.Dither.NONE
    )
    loaded = load_image(save(picture, tmp_path / "a.png"))
    np.testing.assert_array_equal(loaded, np.repeat(np.array(grey)[None, :, None], 3, axis=2))


def test_palette(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    loaded = load_image(save(picture, tmp_path / "a.png"))
    np.testing.assert_array_equal(loaded, [[[10, 20, 30], [200, 100, 50]]])


def test_palette_with_transparency_goes_over_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    path = save(picture, tmp_path / "a.png", transparency=bytes([0, 255]))
    np.testing.assert_array_equal(load_image(path), [[[255, 255, 255], [200, 100, 50]]])


@pytest.mark.parametrize("alpha", [0, 1, 127, 128, 254, 255])
def test_alpha_goes_over_white(tmp_path: Path, alpha: int) -> None:
    colour = np.array([200, 100, 0])
    picture = Image.new("RGBA", (3, 2), (*colour.tolist(), alpha))
    loaded = load_image(save(picture, tmp_path / "a.png"))
    expected = (colour * alpha + 255 * (255 - alpha)) / 255
    np.testing.assert_allclose(loaded[1, 2], expected, atol=0.51)


def test_grey_alpha_goes_over_white(tmp_path: Path) -> None:
    loaded = load_image(save(Image.new("LA", (1, 1), (100, 51)), tmp_path / "a.png"))
    np.testing.assert_allclose(loaded, 224, atol=1)


def test_cmyk(tmp_path: Path) -> None:
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    loaded = load_image(save(picture, tmp_path / "a.tif"))
    np.testing.assert_array_equal(loaded[0, 0], [255, 0, 0])
    jpeg = load_image(save(picture, tmp_path / "a.jpg", quality=95))
    np.testing.assert_allclose(jpeg[4, 4].astype(int), [255, 0, 0], atol=4)


def test_lab(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    x = np.array([[[200, 100, 50], [60, 80, 140]]], dtype=np.uint8)
    lab = ImageCms.applyTransform(Image.fromarray(x), to_lab)
    assert lab is not None
    loaded = load_image(save(lab, tmp_path / "a.tif"))
    np.testing.assert_allclose(loaded.astype(int), x, atol=4)  # 8-bit Lab is coarse


@cache  # it holds the second it was made in
def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")  # both in the tag table
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def test_icc_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), (220, 40, 90))
    path = save(picture, tmp_path / "a.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(load_image(path)[0, 0].astype(int), [40, 220, 90], atol=2)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_icc_profile_of_colours_in_another_form(mode: str) -> None:
    picture = Image.new("RGB", (4, 4), (220, 40, 90)).convert(mode)
    np.testing.assert_allclose(load_image(picture)[0, 0].astype(int), [220, 40, 90], atol=2)
    picture.info["icc_profile"] = swapped_profile()
    np.testing.assert_allclose(load_image(picture)[0, 0].astype(int), [40, 220, 90], atol=3)


def grey_profile() -> bytes:
    """A profile of linear grey, in white of D50."""

    def tag(kind: bytes, content: bytes) -> bytes:
        return kind + bytes(4) + content

    tags = {
        b"desc": tag(b"desc", struct.pack(">I", 2) + b"g\0" + bytes(78)),
        b"wtpt": tag(b"XYZ ", struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)),
        b"kTRC": tag(b"curv", bytes(4)),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        at = 128 + 4 + 12 * len(tags) + len(body)
        table += name + struct.pack(">2I", at, len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(128)
    head[:4] = struct.pack(">I", 128 + len(table) + len(body))
    head[8:12], head[12:24], head[36:40] = b"\2\x10\0\0", b"mntrGRAYXYZ ", b"acsp"
    head[68:80] = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return bytes(head) + table + body


@pytest.mark.parametrize("mode", ["L", "P"])
def test_grey_profile_holds_for_a_palette_of_greys_too(tmp_path: Path, mode: str) -> None:
    picture = Image.new("L", (4, 4), 55).convert(mode)
    path = save(picture, tmp_path / "a.png", icc_profile=grey_profile())
    # linear 55 / 255 = 0.2157, in sRGB 1.055 * 0.2157^(1 / 2.4) - 0.055 = 0.502
    np.testing.assert_allclose(load_image(path)[0, 0].astype(int), 128, atol=1)


def test_icc_profile_of_colours_fits_a_grey_picture(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = save(Image.new("L", (4, 4), 128), tmp_path / "a.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(load_image(path)[0, 0].astype(int), 128, atol=1)
    assert not recwarn.list


def test_icc_profile_and_alpha(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 4), (220, 40, 90, 255))
    picture.putpixel((0, 0), (220, 40, 90, 0))
    path = save(picture, tmp_path / "a.png", icc_profile=swapped_profile())
    loaded = load_image(path).astype(int)
    np.testing.assert_array_equal(loaded[0, 0], [255, 255, 255])
    np.testing.assert_allclose(loaded[1, 1], [40, 220, 90], atol=2)


def test_useless_icc_profile_is_ignored_aloud(tmp_path: Path) -> None:
    path = save(Image.fromarray(ramp()), tmp_path / "a.png", icc_profile=b"not a profile")
    with pytest.warns(UserWarning, match="colour profile"):
        loaded = load_image(path)
    np.testing.assert_array_equal(loaded, ramp())


def turned_photo(tmp_path: Path, **options: object) -> Path:
    """A photograph on its side, with a camera's name and a colour profile."""
    picture = Image.new("RGB", (6, 4), (220, 40, 90))
    exif = picture.getexif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    return save(
        picture, tmp_path / "a.png", exif=exif.tobytes(), icc_profile=swapped_profile(), **options
    )


def test_metadata_is_dropped_unless_asked_for(tmp_path: Path) -> None:
    pixels, metadata = load_with_metadata(turned_photo(tmp_path), keep=())
    assert metadata == {}
    np.testing.assert_array_equal(pixels, load_image(tmp_path / "a.png"))


def test_kept_metadata_fits_the_pixels(tmp_path: Path) -> None:
    path = turned_photo(tmp_path)
    pixels, metadata = load_with_metadata(path)
    assert pixels.shape == (6, 4, 3), "upright"
    np.testing.assert_array_equal(pixels[0, 0], [220, 40, 90])  # in its own colour space
    assert metadata[CHUNK_ICC] == swapped_profile()
    save_png(tmp_path / "b.png", pixels, metadata=metadata)
    with Image.open(tmp_path / "b.png") as again:
        assert again.getexif()[0x010F] == "A camera"
        assert again.getexif().get(0x0112, 1) == 1, "a viewer must not turn it once more"
    np.testing.assert_array_equal(load_image(tmp_path / "b.png"), load_image(path))


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_profile_of_converted_pixels_is_not_kept(tmp_path: Path, mode: str) -> None:
    picture = Image.new(mode, (4, 4))
    path = save(picture, tmp_path / "a.tif", icc_profile=swapped_profile())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert CHUNK_ICC not in load_with_metadata(path)[1]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(load_image(path)[0, 0], [255, 0, 0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes(tmp_path: Path, shape: tuple[int, int]) -> None:
    x = np.full((*shape, 3), 7, dtype=np.uint8)
    np.testing.assert_array_equal(load_image(save(Image.fromarray(x), tmp_path / "a.png")), x)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 array \[h, w, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 array \[h, w, 3\]"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "float tensor"),
        (torch.zeros(4, 4, 3), "float tensor"),
        (torch.full((3, 2, 2), 1.01), r"\[0, 1\]"),
        (torch.zeros(3, 2, 2, device="meta"), "with values"),
        (torch.zeros(3, 2, 2).to_sparse(), "dense tensor"),
        (torch.full((3, 2, 2), float("nan")), r"\[0, 1\]"),
        (torch.zeros(3, 0, 2), "no pixels"),
        (Image.new("RGB", (0, 0)), "no pixels"),
        (Image.new("F", (2, 2)), "floating point"),
        (Image.new("I", (2, 2), -1), r"8 or 16 bits per sample, got values in -1\.\.-1"),
        (Image.new("I", (2, 2), 65536), r"got values in 65536\.\.65536"),
        (7, "expected a path"),
        (None, "expected a path"),
    ],
)
def test_what_is_no_picture_is_refused(image: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        load_image(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"hello, world\n" * 50, "unknown format"),
        ("zeros.jpg", bytes(5000), "unknown format"),
        ("signature.png", b"\x89PNG\r\n\x1a\n", "load_image"),
    ],
)
def test_files_that_are_no_pictures(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        load_image(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no such file"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(InvalidArgumentError, match="directory"):
        load_image(tmp_path)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "bmp"])
def test_truncation_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    stream = io.BytesIO()
    formats = {"jpg": "jpeg", "tif": "tiff"}
    picture = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    picture.save(stream, format=formats.get(kind, kind))
    whole = stream.getvalue()
    path = tmp_path / f"a.{kind}"
    for size in {*range(0, len(whole) // 2, 97), len(whole) // 2}:
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidArgumentError) as caught:
            load_image(path)
        assert "\n" not in str(caught.value)


def test_flipped_bytes_give_a_picture_or_our_error(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(ramp(20, 20)).save(stream, format="png")
    whole = stream.getvalue()
    path = tmp_path / "a.png"
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        with contextlib.suppress(InvalidArgumentError):
            assert load_image(path).ndim == 3


@pytest.mark.parametrize("opened", [False, True])
def test_a_program_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    """Pillow knows PostScript by its first bytes, whatever its name, and has Ghostscript run it."""
    ghostscript, ran = tmp_path / "gs", tmp_path / "ran"
    ghostscript.write_text(f"#!/bin/sh\ntouch {ran}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # what it has found before
    path = tmp_path / "photo.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n{} loop\n")
    with pytest.raises(InvalidArgumentError, match="a PostScript program"):
        load_image(Image.open(path) if opened else path)
    assert not ran.exists()


def test_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    def held() -> tuple[threading.Thread, threading.Event, threading.Event]:
        picture = Image.fromarray(ramp())
        inside, go_on = threading.Event(), threading.Event()

        def load() -> object:
            inside.set()
            go_on.wait(10)
            return Image.Image.load(picture)

        picture.load = load  # type: ignore[method-assign]
        return threading.Thread(target=load_image, args=(picture,)), inside, go_on

    before = list(warnings.filters)
    threads = [held(), held()]
    for thread, inside, _ in threads:
        thread.start()
        assert inside.wait(10)
    for thread, _, go_on in threads:  # the first one in is the first one out
        go_on.set()
        thread.join()
    assert warnings.filters == before


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(20000, 10000, depth=8, colour=2, rows=b"\0" * 100))
    with pytest.raises(InvalidArgumentError, match="pixels"):
        load_image(path)
    path.write_bytes(raw_png(2_000_000, 1_000_000, depth=8, colour=2, rows=b"\0" * 100))
    with pytest.raises(InvalidArgumentError, match="pixels"):
        load_image(path)
    with pytest.raises(InvalidArgumentError, match="at most 53 pixels"):
        load_image(ramp(), max_pixels=53)
    assert load_image(ramp(), max_pixels=54).shape == (6, 9, 3)


def test_a_large_picture_within_the_bound_draws_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = save(Image.fromarray(ramp()), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    load_image(path)
    assert not recwarn.list


def test_save_png_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(path, ramp())
    np.testing.assert_array_equal(np.asarray(Image.open(path)), ramp())
    assert path.read_bytes() == png_bytes(ramp())
    with pytest.raises(InvalidArgumentError, match="overwrite"):
        save_png(path, ramp())
    with pytest.raises(InvalidArgumentError, match=r"\.png"):
        save_png(tmp_path / "a.jpg", ramp())


def test_srgb_profile_changes_next_to_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    x = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    loaded = load_image(save(Image.fromarray(x), tmp_path / "a.png", icc_profile=profile))
    assert np.abs(loaded.astype(int) - x).max() <= 1
