# SPDX-License-Identifier: Apache-2.0
"""The sample or colour of a PNG that is transparent, and what becomes of it."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from glc.errors import InvalidArgumentError
from glc.image import load_image
from tests.codec.raw_png import raw_png


@pytest.mark.parametrize(
    ("depth", "row", "sample", "grey"),
    [
        (1, 0b01_000000, 0, [255, 255]),
        (1, 0b01_000000, 1, [0, 255]),
        (2, 0b1110_0000, 3, [255, 170]),
        (2, 0b0110_0000, 1, [255, 170]),
        (4, 0x56, 5, [255, 102]),
        (4, 0x56, 0xFFF5, [255, 102]),  # as many bits count as a sample has
    ],
)
def test_transparent_grey_of_few_bits_is_white(
    depth: int, row: int, sample: int, grey: list[int]
) -> None:
    more = [(b"tRNS", struct.pack(">H", sample))]
    data = raw_png(2, 1, depth=depth, colour=0, rows=bytes([0, row]), more=more)
    picture = Image.open(io.BytesIO(data))
    before = picture.info["transparency"]
    assert load_image(picture)[0, :, 0].tolist() == grey
    assert picture.info["transparency"] == before


def test_transparent_grey_of_16_bits_is_white() -> None:
    rows = b"".join(struct.pack(">BHH", 0, sample, sample) for sample in (515, 1000))
    more = [(b"tRNS", struct.pack(">H", 515))]
    data = raw_png(2, 2, depth=16, colour=0, rows=rows, more=more)
    pixels = load_image(Image.open(io.BytesIO(data)))
    assert (pixels[0] == 255).all()
    assert (pixels[1] == 4).all()


def test_transparency_of_more_colours_than_a_palette_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for n_alphas in (2, 300):
        chunks = [(b"PLTE", bytes(6)), (b"tRNS", bytes(n_alphas))]
        path.write_bytes(raw_png(1, 1, depth=8, colour=3, rows=bytes(2), more=chunks))
        if n_alphas == 2:
            assert load_image(path).tolist() == [[[255, 255, 255]]]
        else:
            with pytest.raises(InvalidArgumentError, match=r"damaged .*palette"):
                load_image(path)
