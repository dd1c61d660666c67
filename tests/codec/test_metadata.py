# SPDX-License-Identifier: Apache-2.0
"""EXIF and colour profiles that are damaged, hostile or too large."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from glc.bitstream import CHUNK_EXIF, CHUNK_ICC
from glc.image import load_image, load_with_metadata, save_png
from tests.codec.test_image import ramp, save, swapped_profile


def test_hostile_metadata_is_written_or_refused(tmp_path: Path) -> None:
    warnings.simplefilter("ignore")  # pytest restores the filters
    for content in (b"", b"\0", b"Exif\0\0", b"MM\0*" + bytes(9), bytes(range(256)) * 9):
        metadata = {CHUNK_EXIF: content, CHUNK_ICC: content, 77: content}
        save_png(tmp_path / "a.png", ramp(), metadata=metadata, overwrite=True)
        with Image.open(tmp_path / "a.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), ramp())


@pytest.mark.parametrize("content", [b"garbage!", b"II", b"Exif\0\0nothing of the kind"])
def test_exif_that_cannot_be_read_costs_no_pixel(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(ramp()).save(path, exif=b"Exif\0\0" + content, quality=100)
    with Image.open(path) as picture:
        expected = np.asarray(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels, metadata = load_with_metadata(path)
    np.testing.assert_array_equal(pixels, expected)
    assert metadata == {}


def test_exif_is_kept_as_a_tiff_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    path = save(Image.fromarray(ramp()), tmp_path / "a.jpg", exif=exif)
    kept = load_with_metadata(path)[1][CHUNK_EXIF]
    assert kept.startswith((b"II*\0", b"MM\0*"))
    for stored in (kept, b"Exif\0\0" + kept):  # as early files have it
        save_png(tmp_path / "a.png", ramp(), metadata={CHUNK_EXIF: stored}, overwrite=True)
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.getexif()[0x010F] == "maker"


def test_a_profile_too_large_for_a_png(tmp_path: Path) -> None:
    profile = swapped_profile()
    profile += bytes((1 << 20) + 1 - len(profile))
    path = save(Image.fromarray(ramp()), tmp_path / "a.tif", icc_profile=profile)
    with pytest.warns(UserWarning, match="too large to keep"):
        assert CHUNK_ICC not in load_with_metadata(path)[1]
    with pytest.warns(UserWarning, match="left out"):
        save_png(tmp_path / "a.png", ramp(), metadata={CHUNK_ICC: profile})
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), ramp())


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_tiff_keeps_what_it_says_of_the_picture(
    tmp_path: Path, compression: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "maker", "2020:01:02 03:04:05"
    exif[0x0112] = orientation
    path = tmp_path / "a.tif"
    Image.fromarray(ramp()).save(path, exif=exif, compression=compression)
    pixels, metadata = load_with_metadata(path)
    assert pixels.shape == (ramp() if orientation == 1 else ramp().transpose(1, 0, 2)).shape
    kept = Image.Exif()
    kept.load(metadata[CHUNK_EXIF])
    assert dict(kept) == {0x010F: "maker", 0x0132: "2020:01:02 03:04:05"}


@pytest.mark.parametrize("others", [{}, {0x010F: "maker"}])
def test_a_tiff_keeps_its_folders_of_exif(tmp_path: Path, others: dict[int, str]) -> None:
    folders = {0x8769: {0x9003: "2020:01:02 03:04:05"}, 0x8825: {1: "N"}}
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.update(folders | others)
    Image.fromarray(ramp()).save(tmp_path / "a.tif", tiffinfo=tags)
    kept = Image.Exif()
    kept.load(load_with_metadata(tmp_path / "a.tif")[1][CHUNK_EXIF])
    assert {tag: kept.get_ifd(tag) for tag in folders} == folders
    assert {tag: kept[tag] for tag in kept if tag not in folders} == others
    tags.update({tag: {} for tag in folders})
    Image.fromarray(ramp()).save(tmp_path / "b.tif", tiffinfo=tags)
    assert bool(load_with_metadata(tmp_path / "b.tif")[1]) == bool(others)


def test_an_orientation_alone_is_not_worth_a_chunk(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(ramp()).save(tmp_path / "a.jpg", exif=exif)
    assert load_with_metadata(tmp_path / "a.jpg")[1] == {}


def test_a_profile_that_is_srgb_is_not_worth_a_chunk(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(Image.fromarray(ramp()), tmp_path / "a.png", icc_profile=srgb)
    pixels, metadata = load_with_metadata(path)
    assert metadata == {}
    np.testing.assert_array_equal(pixels, ramp())
