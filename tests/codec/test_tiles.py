# SPDX-License-Identifier: Apache-2.0
"""Tiles are pictures of their own that share a header."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glc.bitstream import Header, accounting, pack, parse
from glc.codec import Codec
from glc.errors import BitstreamError, InvalidArgumentError
from glc.models import GLC, preset
from glc.payload import join_tiles, split_tiles
from glc.pieces import boxes


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> Codec:
    return Codec(tiny_folder)


def test_boxes_tile_the_picture() -> None:
    for height, width, tile in ((1, 1, 1), (64, 64, 1), (65, 130, 1), (200, 300, 2), (50, 9, 0)):
        seen = np.zeros((height, width), int)
        for box in boxes(height, width, tile):
            seen[box] += 1
        assert (seen == 1).all()


def test_each_tile_is_the_picture_it_covers(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, quality=2.0, tile=64)
    header, _ = parse(data)
    assert (header.tile, header.coder) == (1, 0)
    decoded = codec.decode(data)
    for box in boxes(*photo.shape[:2], 1):
        alone = codec.decode(codec.encode(np.ascontiguousarray(photo[box]), quality=2.0))
        np.testing.assert_array_equal(decoded[box], alone)


def test_tiled_file_adds_up(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, quality=2.0, tile=128, metadata={1: b"profile"})
    analysis = codec.analyze(data)
    assert sum(analysis.bits().values()) == 8 * len(data) == accounting(data).total
    assert analysis.fields.tiles > 0
    assert analysis.fields.chunks > 8 * 7
    whole = codec.analyze(codec.encode(photo, quality=2.0))
    assert [p.symbols for p in analysis.parts] == [p.symbols for p in whole.parts]
    alone = [
        codec.analyze(codec.encode(np.ascontiguousarray(photo[box]), quality=2.0))
        for box in boxes(*photo.shape[:2], 2)
    ]
    assert analysis.z_symbols == sum(tile.z_symbols for tile in alone)
    assert analysis.z_bits == sum(tile.z_bits for tile in alone)
    for n, part in enumerate(analysis.parts):
        for name in ("symbols", "coded", "nonzero", "bits"):
            assert getattr(part, name) == sum(getattr(tile.parts[n], name) for tile in alone), name
        assert part.threshold == min(tile.parts[n].threshold for tile in alone)
        estimated = sum(tile.parts[n].estimated_bits for tile in alone)
        assert part.estimated_bits == pytest.approx(estimated)
    report = codec.verify(data)
    assert report.symbols == codec.verify(codec.encode(photo, quality=2.0)).symbols


def test_target_bytes_hold_for_tiles(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, target_bytes=900, tile=128)
    assert len(data) <= 900


@pytest.mark.parametrize("tile", [0, -64, 1, 63, 65])
def test_bad_sides(codec: Codec, photo: np.ndarray, tile: int) -> None:
    with pytest.raises(InvalidArgumentError, match="tile: expected a multiple of 64"):
        codec.encode(photo, tile=tile)


@pytest.mark.parametrize(("stem", "least"), [(4, 64), (12, 192), (16, 128)])
def test_sides_suit_the_model_and_the_file(photo: np.ndarray, stem: int, least: int) -> None:
    plain = preset("glc-tiny")
    autoencoder = replace(plain.autoencoder, stem=stem)
    codec = Codec(GLC(replace(plain, autoencoder=autoencoder)))
    for tile in (codec.model.pad_multiple, 64, 96):
        if tile % least:
            with pytest.raises(InvalidArgumentError, match=f"tile: expected a multiple of {least}"):
                codec.encode(photo, tile=tile)
    data = codec.encode(photo, tile=least)
    assert parse(data)[0].tile == least // 64
    assert codec.decode(data).shape == photo.shape


def test_a_side_that_the_model_cannot_pad_is_refused(photo: np.ndarray) -> None:
    plain = preset("glc-tiny")
    codec = Codec(GLC(replace(plain, autoencoder=replace(plain.autoencoder, stem=16))))
    header, payload = parse(codec.encode(photo, tile=128))
    forged = pack(replace(header, tile=1), payload, codec.fingerprint)
    with pytest.raises(BitstreamError, match="tile: expected a multiple of 128 pixels, got 64"):
        codec.decode(forged)


def test_split_undoes_join() -> None:
    pieces = [(3, b"abcd" + bytes(200)), (0x10, b"1234"), (0, bytes(20000))]
    split = [(d, bytes(body)) for d, body in split_tiles(memoryview(join_tiles(pieces)))]
    assert split == pieces


def test_forged_tiles(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo[:64, :128], quality=1.0, tile=64)
    header, payload = parse(data)

    def forge(body: bytes, **changes: int) -> bytes:
        fields = {"width": 128, "height": 64, "level": header.level, "tile": 1} | changes
        forged = Header(coder=0, model_id=header.model_id, **fields)
        return pack(forged, body, codec.fingerprint)

    np.testing.assert_array_equal(codec.decode(forge(bytes(payload))), codec.decode(data))
    for body, changes in (
        (bytes(payload) + b"\0", {}),  # a byte too many
        (bytes(payload), {"width": 129}),  # a tile too few
        (bytes(payload), {"width": 64}),  # a tile too many
        (b"\0" + bytes(payload), {}),  # an empty tile
        (b"\x06\x07" + bytes(payload), {}),  # 128 lanes
        (b"\xff\xff\xff\x7f" + bytes(payload), {}),
        (bytes(4), {}),
        (bytes(payload), {"tile": (1 << 26) - 1}),
        (bytes(payload), {"width": 10**4, "height": 10**4}),
    ):
        with pytest.raises(BitstreamError):
            codec.decode(forge(body, **changes))
