# SPDX-License-Identifier: Apache-2.0
import re
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glc import bitstream
from glc.bitstream import Header, accounting, check, crc32c, pack, parse
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError

FINGERPRINT = bytes(range(200, 232))
HEADER = Header(width=768, height=512, level=21, coder=2, model_id=FINGERPRINT[:2])
THRESHOLDS = bytes([3, 0, 1, 2])
STREAM = bytes(range(1, 17)) + b"words!"  # 4 lanes: 16 bytes of states, then 3 words
PAYLOAD = THRESHOLDS + STREAM
FILE = pack(HEADER, PAYLOAD, FINGERPRINT)

headers = st.builds(
    Header,
    width=st.integers(1, 2**32 - 1),
    height=st.integers(1, 2**32 - 1),
    level=st.integers(0, 63),
    coder=st.sampled_from([16, *(lanes | escapes for lanes in range(6) for escapes in (0, 8))]),
    profile=st.integers(0, 1),
    model_id=st.just(FINGERPRINT[:2]),
)


def crc32c_bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def with_crc(head: bytes, payload: bytes) -> bytes:
    crc = crc32c_bit_by_bit(FINGERPRINT + head + payload)
    return head + struct.pack("<I", crc) + payload


def test_ordinary_photo_needs_sixteen_bytes_of_header():
    assert len(FILE) - len(PAYLOAD) == 16


def test_layout_is_the_documented_one():
    head = b"GLC" + bytes([0x11, 200, 201, 21, 2]) + b"\x80\x06" + b"\x80\x04"
    assert with_crc(head, PAYLOAD) == FILE


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 8, 9, 15, 16, 17, 31, 64, 1009])
def test_crc_of_awkward_sizes(n_bytes):
    data = bytes((i * 37 + 11) & 255 for i in range(n_bytes))
    assert crc32c(data) == crc32c_bit_by_bit(data)


def test_crc_of_the_published_check_value():
    assert crc32c(b"123456789") == 0xE3069283


@given(headers, st.binary(min_size=4, max_size=60))
def test_round_trip(header, payload):
    data = pack(header, payload, FINGERPRINT)
    parsed, view = parse(data, max_pixels=2**64 - 1)
    assert parsed == header
    assert bytes(view) == payload
    check(data, FINGERPRINT)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data):
    for blob in (data, b"GLC\x10" + data):
        try:
            parse(blob)
            check(blob, FINGERPRINT)
        except (BitstreamError, UnsupportedError):
            continue


def test_payload_is_a_view_into_the_file():
    data = bytearray(FILE)
    _, payload = parse(data)
    data[-1] ^= 1
    assert payload[-1] == data[-1]


@pytest.mark.parametrize("n_bytes", range(len(FILE)))
def test_truncated_at_every_byte(n_bytes):
    with pytest.raises(BitstreamError):
        check(FILE[:n_bytes], FINGERPRINT)
    if n_bytes < 20:  # header and thresholds
        with pytest.raises(BitstreamError, match=r"truncated \(at byte \d+\)$"):
            parse(FILE[:n_bytes])


@pytest.mark.parametrize("bit", range(8 * len(FILE)))
def test_every_flipped_bit_is_noticed(bit):
    data = bytearray(FILE)
    data[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises((BitstreamError, UnsupportedError)):
        check(data, FINGERPRINT)


def test_wrong_model_names_both_ids():
    other = bytes([1, 2]) + FINGERPRINT[2:]
    with pytest.raises(BitstreamError, match=r"expected 0102 of this model, got c8c9: .*byte 4"):
        check(FILE, other)


def test_wrong_model_with_the_same_short_id_fails_the_checksum():
    other = FINGERPRINT[:31] + b"\x00"
    with pytest.raises(BitstreamError, match=r"crc: .*damaged or was made by another model"):
        check(FILE, other)


def head(version=0x10, level=21, flags=2, size=b"\x80\x06\x80\x04", magic=b"GLC"):
    return magic + bytes([version, 200, 201, level, flags]) + size


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (head(magic=b"GLX"), BitstreamError, r"magic: .*not a \.glc file \(at byte 0\)"),
        (head(version=0x00), UnsupportedError, r"version: expected 1, got 0: .*never.*byte 3"),
        (head(version=0x20), UnsupportedError, r"version: expected 1, got 2: .*newer.*byte 3"),
        (head(version=0x12), UnsupportedError, r"profile: expected 0 or 1, got 2: .*byte 3"),
        (head(level=64), BitstreamError, r"level: expected 0\.\.63, got 64 \(at byte 6\)"),
        (head(flags=0x82), BitstreamError, r"flags: .*reserved bit zero, got 0x82 \(at byte 7\)"),
        (head(flags=6), BitstreamError, r"flags: expected at most 32 lanes.* \(at byte 7\)"),
        (head(flags=0x12), BitstreamError, r"flags: .*or segments alone, got.*0x12 \(at byte 7\)"),
        (head(flags=0x42), BitstreamError, r"flags: expected descriptor 0 of a tiled.*byte 7\)"),
        (head(flags=0x40, size=b"\x04\x04\x00"), BitstreamError, r"tile: .*at least 1.*byte 10"),
        (
            head(flags=0x40, size=b"\x04\x04\x80\x80\x80\x20"),
            BitstreamError,
            r"tile: expected at most 67108863, got 67108864 \(at byte 10\)",
        ),
        (head(flags=0x20, size=b"\x04\x04\x03"), BitstreamError, r"payload bytes: .*least 4.*10\)"),
        (head(flags=0x20, size=b"\x04\x04\x63"), BitstreamError, r"payload bytes: .*truncated.*10"),
        (head(flags=0x20, size=b"\x04\x04\x1b"), BitstreamError, r"payload bytes: .*truncated.*10"),
        (head(flags=0x20, size=b"\x04\x04\x1a"), BitstreamError, r"chunk tag: .*truncated"),
        (head(size=b"\x00\x04"), BitstreamError, r"width: .*at least 1, got 0 \(at byte 8\)"),
        (head(size=b"\x04\x00"), BitstreamError, r"height: .*at least 1, got 0 \(at byte 9\)"),
        (head(size=b"\x84\x00\x04"), BitstreamError, r"width: varint .*redundant.*\(at byte 8\)"),
        (head(size=b"\x04\x84\x80\x00"), BitstreamError, r"height: varint .*\(at byte 9\)"),
        (
            head(size=b"\xff\xff\xff\xff\x1f\x04"),
            BitstreamError,
            r"width: expected at most 4294967295, got 8589934591 \(at byte 8\)",
        ),
        (head(size=b"\xff" * 12), BitstreamError, r"width: varint longer.*\(at byte 8\)"),
        (
            head(size=b"\xc0\x9a\x0c\xe8\x07"),
            BitstreamError,
            r"size: expected at most 178956970 pixels, got 200000x1000: raise max_pixels",
        ),
    ],
)
def test_each_violation_has_its_error(bad, error, message):
    with pytest.raises(error, match=message):
        parse(with_crc(bad, PAYLOAD))


def test_largest_claim_does_not_overflow():
    huge = with_crc(head(size=b"\xff\xff\xff\xff\x0f" * 2), PAYLOAD)
    with pytest.raises(BitstreamError, match="4294967295x4294967295"):
        parse(huge)
    header, _ = parse(huge, max_pixels=2**64)
    assert header.width == header.height == 2**32 - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "size"),
        ({"height": 0}, "size"),
        ({"height": 2**32}, "height"),
        ({"width": -1}, "width"),
        ({"level": 64}, "level"),
        ({"level": 256}, "level"),
        ({"coder": 6}, "coder"),
        ({"coder": 17}, "coder"),
        ({"version": 0}, "version"),
        ({"version": 2}, "version"),
        ({"profile": 2}, "profile"),
        ({"tile": 3}, "coder: expected 0: tiles carry their own"),
        ({"tile": 1 << 26, "coder": 0}, "tile"),
        ({"model_id": b"\x00\x00"}, "model_id: expected the fingerprint's c8c9, got 0000"),
        ({"model_id": b"\xc8"}, "model_id"),
    ],
)
def test_writer_refuses_what_the_reader_would(change, message):
    with pytest.raises(InvalidArgumentError, match=message):
        pack(replace(HEADER, **change), PAYLOAD, FINGERPRINT)


def test_writer_wants_thresholds_and_a_whole_fingerprint():
    with pytest.raises(InvalidArgumentError, match="payload"):
        pack(HEADER, b"\x00" * 3, FINGERPRINT)
    with pytest.raises(InvalidArgumentError, match="fingerprint: expected 32 bytes, got 31"):
        pack(HEADER, PAYLOAD, FINGERPRINT[:31])
    with pytest.raises(InvalidArgumentError, match="fingerprint: expected 32 bytes, got 0"):
        check(FILE, b"")
    with pytest.raises(InvalidArgumentError, match="max_pixels"):
        parse(FILE, max_pixels=0)


def test_accounting_sums_to_the_file():
    account = accounting(FILE)
    assert account.total == 8 * len(FILE)
    assert account.header == 8 * 16
    assert (account.thresholds, account.escapes, account.states, account.words) == (32, 0, 128, 48)


def test_accounting_with_escapes():
    payload = THRESHOLDS + b"\x02\xaa\xbb" + bytes(4) + b"wordss"
    data = pack(replace(HEADER, coder=8), payload, FINGERPRINT)
    account = accounting(data)
    assert account.total == 8 * len(data)
    assert (account.escapes, account.states, account.words) == (24, 32, 48)


@pytest.mark.parametrize(
    ("coder", "stream", "message"),
    [
        (2, bytes(15), "lane states: expected 16 bytes, got 15"),
        (0, bytes(5), "words: expected whole 16-bit words, got 1 bytes"),
        (8, b"", "escapes: expected 1 bytes, got 0"),
        (8, b"\x09" + bytes(8), "escapes: expected 9 bytes, got 8"),
        (8, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "escapes: expected at most"),
    ],
)
def test_accounting_of_a_short_payload(coder, stream, message):
    data = pack(replace(HEADER, coder=coder), THRESHOLDS + stream, FINGERPRINT)
    with pytest.raises(BitstreamError, match=message):
        accounting(data)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (b"\x00", "tile bytes: expected 1 to the 10 left, got 0"),
        (b"\x0c\x00", "tile bytes: expected 1 to the 11 left, got 12"),
        (b"\x09\x06" + bytes(8), "tile descriptor: expected at most 32 lanes"),
        (b"\x09\x11" + bytes(8), "tile descriptor: .* or segments alone"),
        (b"\x04\x00" + bytes(3), "thresholds: expected 4 bytes, got 3"),
        (b"\x08\x00" + bytes(7), "lane states: expected 4 bytes, got 3"),
        (b"\x0a\x00" + bytes(9), "words: expected whole 16-bit words, got 1"),
        (b"\x05\x08" + bytes(4), "escapes: expected 1 bytes, got 0"),
        (b"\x06\x08" + bytes(4) + b"\x80", "escapes: longer than its tile"),
        (b"\x07\x08" + bytes(4) + b"\x02\x00", "escapes: expected 2 bytes, got 1"),
    ],
)
def test_accounting_of_a_tile_that_reaches_into_the_next(tile, message):
    whole = b"\x09\x00" + bytes(8)
    header = replace(HEADER, width=128, height=64, coder=0, tile=1)
    assert accounting(pack(header, 2 * whole, FINGERPRINT)).tiles == 8 * (1 + 2 + 2)
    with pytest.raises(BitstreamError, match=message):
        accounting(pack(header, tile + whole, FINGERPRINT))


@pytest.mark.parametrize("second", [0, 1])
def test_tags_of_chunks_ascend(second):
    data = bytearray(pack(HEADER, PAYLOAD, FINGERPRINT, {1: b"a", 2: b"b"}))
    assert data[-6:] == b"\1\1a\2\1b"
    data[-3] = second
    for read in (parse, bitstream.chunks):
        with pytest.raises(BitstreamError, match=f"chunk tag: expected more than 1, got {second}"):
            read(data)


def test_the_smallest_bound_lets_the_smallest_picture_through():
    data = pack(replace(HEADER, width=1, height=1), PAYLOAD, FINGERPRINT)
    assert parse(data, max_pixels=1)[0].width == 1


@pytest.mark.parametrize("data", [FILE, bytearray(FILE), memoryview(FILE)])
def test_any_contiguous_buffer_is_read(data):
    assert parse(data)[0] == HEADER
    assert accounting(data).total == 8 * len(FILE)
    check(data, FINGERPRINT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parse("photo.glc"), "parse: data: expected a bytes-like object, got str"),
        (lambda: parse(memoryview(FILE)[::2]), "parse: data: expected contiguous memory"),
        (lambda: check(7, FINGERPRINT), "check: data: expected a bytes-like object, got int"),
        (lambda: check(FILE, FINGERPRINT.hex()[:32]), "fingerprint: expected a bytes-like object"),
        (lambda: accounting(None), "accounting: data: expected a bytes-like object"),
        (lambda: bitstream.chunks(["x"]), "chunks: data: expected a bytes-like object"),
        (lambda: crc32c("123456789"), "crc32c: data: expected a bytes-like object"),
        (lambda: pack(HEADER, "text", FINGERPRINT), "pack: payload: expected a bytes-like object"),
        (lambda: pack(replace(HEADER, width=7.0), PAYLOAD, FINGERPRINT), "pack: width: expected"),
        (lambda: pack(replace(HEADER, model_id="ab"), PAYLOAD, FINGERPRINT), "pack: model_id"),
    ],
)
def test_what_is_no_bytes_and_no_number_has_a_typed_error(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_what_has_bytes_through_numpy_is_read_too():
    class Lent:
        def __array__(self, dtype=None, copy=None):
            return np.frombuffer(FILE, np.uint8)

    assert parse(Lent())[0] == HEADER
    assert pack(HEADER, PAYLOAD, FINGERPRINT, {1: Lent()}) == pack(
        HEADER, PAYLOAD, FINGERPRINT, {1: FILE}
    )


def test_header_speaks_in_the_users_terms():
    header = replace(HEADER, level=63, coder=13)
    assert header.quality == 3.0
    assert header.n_lanes == 32
    assert header.has_escapes
    assert not replace(header, coder=5).has_escapes
    assert replace(header, coder=0x10).n_lanes == 0
    assert header.portable
    assert not replace(HEADER, profile=0).portable


def test_works_without_torch():
    code = "import glc.bitstream, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_messages_carry_an_offset():
    with pytest.raises(BitstreamError) as caught:
        parse(b"GLC")
    assert re.fullmatch(r"container: \w+: .+ \(at byte \d+\)", str(caught.value))


def test_public_names():
    assert bitstream.MAX_PIXELS == 178_956_970
    assert bitstream.N_PARTS == 4
