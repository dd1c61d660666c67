# SPDX-License-Identifier: Apache-2.0
"""Order-0 bytes: `glc.rans.encode_bytes` and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glc import rans
from glc.errors import BitstreamError, InvalidArgumentError
from tests.rans.test_rans import SEGMENT_BYTES


@given(st.binary(max_size=3000) | st.binary(min_size=1, max_size=4).map(lambda b: b * 700))
@settings(max_examples=150, deadline=None)
def test_bytes_round_trip(data: bytes) -> None:
    coded = rans.encode_bytes(data)
    assert len(coded) <= len(data) + 11
    assert rans.decode_bytes(coded, max_size=len(data)) == data
    if data:
        with pytest.raises(BitstreamError):
            rans.decode_bytes(coded, max_size=len(data) - 1)
        with pytest.raises(BitstreamError):
            rans.decode_bytes(coded[:-1])


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_bytes_or_an_error(data: bytes) -> None:
    try:
        out = rans.decode_bytes(data, max_size=10_000)
    except BitstreamError:
        return
    assert len(out) <= 10_000


def test_bytes_come_near_their_entropy() -> None:
    rng = np.random.default_rng(12)
    data = np.clip(np.rint(rng.normal(128, 2.7, 1 << 20)), 0, 255).astype(np.uint8)
    counts = np.bincount(data)
    share = counts[counts > 0] / data.size
    entropy_bytes = -np.sum(share * np.log2(share)) * data.size / 8
    for segment_bytes, n_segments in ((0, 1), (1 << 20, 1), (1 << 16, 16), (None, 7)):
        coded = rans.encode_bytes(data, segment_bytes)
        overhead = 300 + SEGMENT_BYTES * n_segments
        assert entropy_bytes < len(coded) < 1.0002 * entropy_bytes + overhead
        assert rans.decode_bytes(coded) == data.tobytes()


def test_bytes_made_to_expand_are_refused_before_memory_is_taken() -> None:
    giant = bytes([1]) + b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(8)
    with pytest.raises(BitstreamError, match="expected at most"):
        rans.decode_bytes(giant)


@pytest.mark.parametrize("segment_bytes", [None, 0, 4096])
@pytest.mark.parametrize("lanes", [1, 2, 8, 32])
def test_bytes_in_so_many_lanes(lanes: int, segment_bytes: int | None) -> None:
    data = np.random.default_rng(3).geometric(0.2, 50_000).astype(np.uint8).tobytes()
    coded = rans.encode_bytes(data, segment_bytes, lanes)
    assert rans.decode_bytes(coded) == data
    assert abs(len(coded) - len(rans.encode_bytes(data, segment_bytes))) <= 4 * 32 * 13


@pytest.mark.parametrize("lanes", [0, 3, 33, 64])
def test_bytes_refuse_other_lanes(lanes: int) -> None:
    with pytest.raises(InvalidArgumentError, match="lanes"):
        rans.encode_bytes(b"abc" * 100, None, lanes)
