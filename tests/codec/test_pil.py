# SPDX-License-Identifier: Apache-2.0
"""`.glc` files in Pillow: what callers of it know from other formats, and glc's own answers."""

import copy
import io
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError
from typer.testing import CliRunner

import glc
import glc.pil
from glc.bitstream import Header, pack
from glc.cli import app
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError
from tests.codec.test_image import swapped_profile

ORIENTATION, MAKER = 0x0112, 0x010F


@pytest.fixture(scope="module")
def picture(photo: np.ndarray) -> Image.Image:
    return Image.fromarray(photo[:70, :90])


@pytest.fixture(scope="module")
def data(picture: Image.Image) -> bytes:
    return glc.encode(picture, quality=1)


@pytest.fixture(scope="module")
def pixels(data: bytes) -> np.ndarray:
    return glc.decode(data)


def opened(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(data))


def saved(picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "GLC", **options)
    return stream.getvalue()


def forged(width: int, height: int) -> bytes:
    """A file of a few bytes that claims to be a large picture."""
    header = Header(width=width, height=height, model_id=bytes(2))
    return pack(header, bytes(8), bytes(32))


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_file_is_opened_and_decoded_without_torch(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.glc").write_bytes(data)
    code = """
import sys
import glc
assert "PIL" not in sys.modules
import glc.pil
from PIL import Image
with Image.open(sys.argv[1]) as picture:
    assert (picture.format, picture.mode, picture.size) == ("GLC", "RGB", (90, 70))
    assert picture.get_format_mimetype() == "image/x-glc"
    picture.load()
    assert "torch" not in sys.modules
"""
    done = run_python(code, tmp_path / "a.glc")
    assert done.returncode == 0, done.stderr


def test_without_pillow_it_says_what_to_install() -> None:
    done = run_python("import sys; sys.modules['PIL'] = None; import glc, glc.pil")
    told = done.stderr.splitlines()[-1]
    assert told == "ModuleNotFoundError: Pillow is not installed: pip install Pillow"


def test_pixels_are_those_of_decode(tmp_path: Path, data: bytes, pixels: np.ndarray) -> None:
    path = tmp_path / "a.glc"
    path.write_bytes(data)
    for name in (path, str(path), io.BytesIO(data)):
        for formats in (None, ["GLC"]):
            with Image.open(name, formats=formats) as picture:
                np.testing.assert_array_equal(np.asarray(picture), pixels)
    with pytest.raises(UnidentifiedImageError):
        Image.open(path, formats=["PNG", "JPEG"])


def test_pixels_of_a_pipe(data: bytes, pixels: np.ndarray) -> None:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        np.testing.assert_array_equal(np.asarray(Image.open(stream)), pixels)


def test_pixels_may_be_asked_for_when_the_caller_has_closed_the_file(
    data: bytes, pixels: np.ndarray
) -> None:
    with io.BytesIO(data) as stream:
        picture = Image.open(stream)
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_a_file_that_pillow_opened_is_closed_with_its_last_use(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.glc"
    path.write_bytes(data)
    for use in ("load", "verify", "close"):
        picture = Image.open(path)
        stream = picture.fp
        assert not stream.closed
        getattr(picture, use)()
        assert stream.closed, use


def test_copies_are_like_those_of_other_pictures(data: bytes, pixels: np.ndarray) -> None:
    copies = [
        opened(data).copy(),
        copy.copy(opened(data)),
        copy.deepcopy(opened(data)),
        pickle.loads(pickle.dumps(opened(data))),
    ]
    for each in copies:
        np.testing.assert_array_equal(np.asarray(each), pixels)
    picture = opened(data)
    picture.thumbnail((45, 45))
    assert picture.size == (45, 35)


def test_there_is_one_frame(data: bytes) -> None:
    picture = opened(data)
    picture.seek(0)
    assert picture.tell() == 0
    with pytest.raises(EOFError):
        picture.seek(1)


def test_threads_get_the_same_pixels(data: bytes, pixels: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as threads:
        for seen in threads.map(lambda _: np.asarray(opened(data)), range(8)):
            np.testing.assert_array_equal(seen, pixels)


def test_the_parser_takes_a_file_in_pieces(data: bytes, pixels: np.ndarray) -> None:
    parser = ImageFile.Parser()
    for byte in data:
        parser.feed(bytes([byte]))
    np.testing.assert_array_equal(np.asarray(parser.close()), pixels)


def test_a_cut_file_is_damaged_or_unidentified(data: bytes) -> None:
    for n in range(len(data)):
        with pytest.raises(UnidentifiedImageError) as caught:
            opened(data[:n]).load()
        assert isinstance(caught.value, BitstreamError) == (n >= 3), n  # behind the magic


def test_a_damaged_file_is_refused_with_the_field(data: bytes) -> None:
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    picture = opened(damaged)
    for _ in range(2):  # the second time as the first
        with pytest.raises(OSError, match="crc") as caught:
            picture.load()
        assert isinstance(caught.value, BitstreamError)
    with pytest.raises(glc.pil.DamagedImageError, match="crc"):
        opened(damaged).verify()
    opened(data).verify()


def test_a_newer_file_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnidentifiedImageError, match="newer") as caught:
        opened(data[:3] + b"\x21" + data[4:])
    assert isinstance(caught.value, UnsupportedError)


def test_pillow_bounds_the_pixels(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    with pytest.raises(Image.DecompressionBombError):
        opened(forged(20000, 20000))
    with pytest.raises(Image.DecompressionBombError):
        opened(forged((1 << 32) - 1, (1 << 32) - 1))
    with pytest.warns(Image.DecompressionBombWarning):
        opened(forged(10000, 10000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(Image.DecompressionBombError):
        opened(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert opened(forged(20000, 20000)).size == (20000, 20000)


def test_a_thin_picture_comes_back() -> None:
    thin = Image.new("RGB", (1000, 1), "red")
    assert np.asarray(opened(saved(thin))).shape == (1, 1000, 3)


def test_save_takes_what_encode_takes(
    tmp_path: Path, picture: Image.Image, tiny_folder: Path
) -> None:
    for options in ({}, {"quality": 0.5}, {"target_bytes": 400}, {"model": tiny_folder}):
        picture.save(tmp_path / "a.glc", **options)
        assert (tmp_path / "a.glc").read_bytes() == glc.encode(picture, **options)
    picture.save(tmp_path / "a.bin", format="glc", quality=1)
    assert (tmp_path / "a.bin").read_bytes() == saved(picture, quality=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_taken_as_encode_takes_it(picture: Image.Image, mode: str) -> None:
    other = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    assert saved(other, quality=1) == glc.encode(other, quality=1)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"quality": 85}, "quality: expected 0 .. 3, got 85"),
        ({"quality": "keep"}, "quality"),
        ({"quality": 1, "target_bytes": 500}, "both"),
        ({"target_bytes": 5}, "target_bytes"),
        ({"model": "nonsense"}, "model"),
    ],
)
def test_save_refuses_what_encode_refuses(
    picture: Image.Image, options: dict[str, object], word: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=word):
        saved(picture, **options)
    with pytest.raises(InvalidArgumentError, match=word):
        glc.encode(picture, **options)


def test_a_file_can_be_saved_over_itself(tmp_path: Path, data: bytes, pixels: np.ndarray) -> None:
    path = tmp_path / "a.glc"
    path.write_bytes(data)
    with Image.open(path) as picture:
        picture.save(path, quality=2)
    assert path.read_bytes() == glc.encode(pixels, quality=2)


def turned(format_: str) -> ImageFile.ImageFile:
    """A photograph on its side, with a camera's name and a colour profile, as a file has it."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "A camera"
    stream = io.BytesIO()
    Image.new("RGB", (90, 70), (220, 40, 90)).save(
        stream, format_, exif=exif, icc_profile=swapped_profile()
    )
    return Image.open(stream)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("with_exif", [False, True])
@pytest.mark.parametrize("with_profile", [False, True])
def test_metadata_is_kept_where_it_is_given(
    format_: str, with_exif: bool, with_profile: bool
) -> None:
    picture = turned(format_)
    given: dict[str, object] = {}
    if with_exif:
        given["exif"] = picture.getexif()
    if with_profile:
        given["icc_profile"] = picture.info["icc_profile"]
    coded = opened(saved(picture, **given))
    assert coded.size == (70, 90), "upright"
    assert dict(coded.getexif()) == ({MAKER: "A camera"} if with_exif else {})
    assert coded.info.get("icc_profile") == (swapped_profile() if with_profile else None)
    colour = np.asarray(coded).mean((0, 1))
    assert (colour[0] > colour[1]) == with_profile  # else it was converted to sRGB


def test_metadata_goes_on_into_other_formats() -> None:
    picture = turned("JPEG")
    info = {name: picture.info[name] for name in ("exif", "icc_profile")}
    coded = opened(saved(picture, **info))
    assert set(coded.info) == set(info)
    for format_ in ("JPEG", "PNG", "WEBP", "GLC"):
        stream = io.BytesIO()
        coded.save(stream, format_, **coded.info)
        with Image.open(stream) as other:
            assert other.size == (70, 90)
            assert other.getexif()[MAKER] == "A camera"
            assert other.info["icc_profile"] == swapped_profile()


def test_exif_that_is_given_replaces_that_of_the_picture() -> None:
    exif = Image.Exif()
    exif[MAKER] = "another"
    picture = turned("PNG")
    coded = saved(picture, exif=exif)
    assert opened(coded).size == (90, 70), "it says nothing of a turn"
    assert dict(opened(coded).getexif()) == {MAKER: "another"}
    assert picture.getexif()[MAKER] == "A camera", "the picture stays as it was"


def test_metadata_that_is_cut_is_refused_before_a_pixel_is_asked_for() -> None:
    whole = saved(turned("PNG"), icc_profile=swapped_profile())
    assert opened(whole).size == (70, 90)
    with pytest.raises(glc.pil.DamagedImageError):
        opened(whole[:-1])


def test_useless_metadata_costs_no_pixel(picture: Image.Image, data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert saved(picture, quality=1, exif=b"garbage", icc_profile=b"garbage") == data
    assert saved(picture, quality=1, exif=b"", icc_profile=None) == data


def test_the_command_still_writes_glc_files(tmp_path: Path, picture: Image.Image) -> None:
    """It refuses names of formats that Pillow writes, of which `.glc` now is one."""
    picture.save(tmp_path / "a.png")
    arguments = ["encode", str(tmp_path / "a.png"), str(tmp_path / "a.glc")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.glc").read_bytes() == saved(picture)
