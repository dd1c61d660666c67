# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for CompressAI's coder classes, on machines that need not have CompressAI."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glc.compat import compressai
from glc.compat.compressai import BufferedRansEncoder, RansDecoder, RansEncoder
from glc.errors import BitstreamError, InvalidArgumentError

FORMATS = ("glc", "compressai")
REACH = 1 << 27  # escapes in CompressAI's format end this far outside a row

CDFS = [[0, 16384, 32768, 65536], [0, 1, 65535, 65536], [0, 20000, 40000, 60000, 64000, 65536]]
SIZES = [4, 4, 6]
OFFSETS = [0, -1, -2]
TABLES = (CDFS, SIZES, OFFSETS)

# What compressai.ans 1.2.8 wrote for these symbols and indexes.
GOLDEN = {
    "in_range": (
        [0, 1, 0, -1, 0, -2, -1, 0, 1],
        [0, 0, 1, 1, 1, 2, 2, 2, 2],
        "673535abd3f70312",
    ),
    "small_escapes": ([2, -1, 17, -8, 3], [0] * 5, "1081140000100000e2913e14"),
    "far_escapes": (
        [REACH + 1, -REACH, 0, 0, 0],
        [0] * 5,
        "e780010080000000fffffff7ffffff00",
    ),
    "mixed": (
        list(range(-40, 40)),
        [i % 3 for i in range(80)],
        "f2f4ff5f545541344b72fc5b49ffff5224a16f08fffff2f3b2233dff9223dfcf3572f3ff3223bf2f2231ffffd2"
        "22e95fb2f2ff2f2732fc30f2ff2f21d2fb3085ffffb2f1722119ff5221dfaf1132f1fff1b1fbe0fdff1f195171"
        "ffff31313b8f41a1fac714f6ff3f1afaaf540221dfff1022f1ff6221d65f82f1ff7fc221bc0f1effff2222c20f"
        "8bf2ff2f2882fcb031e2f2ff0fe22230ff4223d49f2336ffffa223fa5fc2f3ff5f4002fc5b42ffff6224a66fc0"
        "ffffc204",
    ),
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[int], list[int], list[list[int]], list[int], list[int]]:
    """Symbols inside and far outside of random tables."""
    cdfs = []
    for _ in range(draw(st.integers(1, 4))):
        inner = draw(st.sets(st.integers(1, 65535), min_size=1, max_size=30))
        cdfs.append([0, *sorted(inner), 65536])
    offsets = draw(st.lists(st.integers(-99, 99), min_size=len(cdfs), max_size=len(cdfs)))
    rows = draw(st.lists(st.integers(0, len(cdfs) - 1), max_size=60))
    near, far = st.integers(-150, 150), st.integers(-REACH + 99, REACH - 99)
    symbols = draw(st.lists(near | far, min_size=len(rows), max_size=len(rows)))
    return symbols, rows, cdfs, [len(cdf) for cdf in cdfs], offsets


def decode_singly(format: Any, data: bytes, rows: list[int]) -> list[int]:
    decoder = RansDecoder(format)
    decoder.set_stream(data)
    return [symbol for row in rows for symbol in decoder.decode_stream([row], *TABLES)]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_streams_of_compressai(name):
    symbols, rows, stream = GOLDEN[name]
    assert RansEncoder("compressai").encode_with_indexes(symbols, rows, *TABLES).hex() == stream
    decoder = RansDecoder("compressai")
    assert decoder.decode_with_indexes(bytes.fromhex(stream), rows, *TABLES) == symbols


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(message=messages())
@example(message=([], [], [[0, 65536]], [2], [0]))
@example(message=([5], [0], [[0, 65536]], [2], [0]))
def test_round_trip(format, message):
    symbols, *rest = message
    stream = RansEncoder(format).encode_with_indexes(symbols, *rest)
    assert RansDecoder(format).decode_with_indexes(stream, *rest) == symbols


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(message=messages(), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_pieces(format, message, cuts):
    """Pushed in some pieces, pulled in others."""
    symbols, rows, *tables = message
    encoder = BufferedRansEncoder(format)
    half = len(symbols) // 2
    encoder.encode_with_indexes(symbols[:half], rows[:half], *tables)
    encoder.encode_with_indexes(symbols[half:], rows[half:], *tables)
    stream = encoder.flush()
    decoder = RansDecoder(format)
    decoder.set_stream(stream)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    got: list[int] = []
    for begin, end in itertools.pairwise(edges):
        got += decoder.decode_stream(rows[begin:end], *tables)
    assert got == symbols
    encoder.encode_with_indexes(symbols, rows, *tables)
    assert encoder.flush() == stream  # flush emptied it, and the pieces do not show


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n", [40, 30_000, 200_000])
@pytest.mark.parametrize("buffered", [False, True])
def test_long_streams_in_pieces(format, n, buffered):
    """With lanes or without, a piece may end anywhere; the longest stream has about 120 KB."""
    rng = np.random.default_rng(n)
    cdfs, sizes, offsets = [[*range(0, 65536, 2048), 65536]], [33], [-16]
    symbols, rows = rng.integers(-17, 18, n), np.zeros(n, np.int32)
    if buffered or n > 100_000:
        encoder = BufferedRansEncoder(format)
        encoder.encode_with_indexes(symbols, rows, cdfs, sizes, offsets)
        stream = encoder.flush()
    else:
        stream = RansEncoder(format).encode_with_indexes(symbols, rows, cdfs, sizes, offsets)
    assert np.array_equal(
        RansDecoder(format).decode_with_indexes(stream, rows, cdfs, sizes, offsets), symbols
    )
    decoder = RansDecoder(format)
    decoder.set_stream(stream)
    pieces = np.split(rows, np.sort(rng.integers(0, n, 300)))
    got = [decoder.decode_stream(piece, cdfs, sizes, offsets) for piece in pieces]
    assert np.array_equal(np.concatenate(got), symbols)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["list", "int32", "int64", "uint8", "tensor", "strided"])
def test_arguments_of_every_kind(format, kind):
    torch = (
        pytest.importorskip("torch", reason="torch is not installed") if kind == "tensor" else None
    )
    make: dict[str, Any] = {
        "list": list,
        "int32": lambda v: np.array(v, np.int32),
        "int64": lambda v: np.array(v, np.int64),
        "uint8": lambda v: np.array(v, np.uint8 if min(np.ravel(v)) >= 0 <= 255 else np.int64),
        "tensor": lambda v: torch.tensor(v, dtype=torch.int32),
        "strided": lambda v: np.repeat(np.array(v, np.int32), 2, axis=-1)[..., ::2],
    }
    square = [row + [0] * (6 - len(row)) for row in CDFS]
    symbols, rows, _ = GOLDEN["in_range"]
    if kind == "uint8":
        symbols = [abs(s) for s in symbols]
    table = np.array(square) if kind == "uint8" else make[kind](square)
    tables = (table, make[kind](SIZES), make[kind](OFFSETS))
    expected = RansEncoder(format).encode_with_indexes(symbols, rows, *TABLES)
    indexes = make[kind](rows)
    assert RansEncoder(format).encode_with_indexes(make[kind](symbols), indexes, *tables) == (
        expected
    )
    got = RansDecoder(format).decode_with_indexes(expected, indexes, *tables)
    assert isinstance(got, list if kind == "list" else np.ndarray)
    assert list(got) == symbols


def test_arrays_keep_their_shape():
    symbols = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)
    rows = np.full((3, 4), 2)
    stream = RansEncoder().encode_with_indexes(symbols, rows, *TABLES)
    assert np.array_equal(RansDecoder().decode_with_indexes(stream, rows, *TABLES), symbols)


def test_glc_streams_are_those_of_the_coder():
    from glc import rans

    rng = np.random.default_rng(3)
    rows = rng.integers(0, 3, 30_000)
    symbols = rng.integers(-4, 4, rows.size)
    stream = RansEncoder().encode_with_indexes(symbols, rows, *TABLES)
    width = max(SIZES)
    cdfs = np.array([row + [0] * (width - len(row)) for row in CDFS])
    tables = rans.TableSet.from_cdfs(cdfs, SIZES, OFFSETS)
    assert stream == rans.encode(symbols, rows, tables)
    assert rans.Decoder(stream).lanes > 1


def test_tables_of_another_precision():
    cdfs, sizes, offsets = [[0, 1000, 4000, 4096]], [4], [-1]
    symbols, rows = [0, -1, 5, 0, 0], [0] * 5
    for format in FORMATS:
        stream = RansEncoder(format).encode_with_indexes(symbols, rows, cdfs, sizes, offsets)
        decoder = RansDecoder(format)
        assert decoder.decode_with_indexes(stream, rows, cdfs, sizes, offsets) == symbols


@pytest.mark.parametrize("format", FORMATS)
def test_lists_changed_in_place_are_noticed(format):
    cdfs, sizes, offsets = copy.deepcopy(TABLES)
    symbols, rows = [0, 1, 0], [0, 0, 0]
    before = RansEncoder(format).encode_with_indexes(symbols, rows, cdfs, sizes, offsets)
    cdfs[0][1] = 60
    after = RansEncoder(format).encode_with_indexes(symbols, rows, cdfs, sizes, offsets)
    assert before != after
    decoder = RansDecoder(format)
    assert decoder.decode_with_indexes(after, rows, cdfs, sizes, offsets) == symbols
    array = np.array([row[:4] for row in CDFS[:2]])
    first = RansEncoder(format).encode_with_indexes(symbols, rows, array, [4, 4], [0, -1])
    array[0, 1] = 60
    second = RansEncoder(format).encode_with_indexes(symbols, rows, array, [4, 4], [0, -1])
    assert (first, second) == (before, after)


@pytest.mark.parametrize("format", FORMATS)
def test_more_tables_than_are_remembered(format):
    symbols, rows = [0, 1, 2] * 9, [0] * 27
    streams = {}
    for _ in range(2):
        for k in range(1, 30):
            tables = [[0, 2000 * k, 65536]], [3], [0]
            stream = RansEncoder(format).encode_with_indexes(symbols, rows, *tables)
            assert streams.setdefault(k, stream) == stream
            assert RansDecoder(format).decode_with_indexes(stream, rows, *tables) == symbols
    assert len(set(streams.values())) == 29


@pytest.mark.parametrize("format", FORMATS)
def test_streams_are_bytes_like_in_either_format(format: str) -> None:
    stream = RansEncoder(format).encode_with_indexes([0, 1], [0, 0], *TABLES)
    decoder = RansDecoder(format)

    class Lent:  # as a tensor is
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.frombuffer(stream, np.uint8)

    for good in (bytearray(stream), Lent()):
        assert decoder.decode_with_indexes(good, [0, 0], *TABLES) == [0, 1]
        decoder.set_stream(good)
        assert decoder.decode_stream([0, 0], *TABLES) == [0, 1]
    for bad in ("text", None, [1, 2]):
        with pytest.raises(InvalidArgumentError, match="encoded: expected a bytes-like object"):
            decoder.decode_with_indexes(bad, [0, 0], *TABLES)
        with pytest.raises(InvalidArgumentError, match="encoded: expected a bytes-like object"):
            decoder.set_stream(bad)


@pytest.mark.parametrize("format", FORMATS)
def test_bad_arguments(format):
    encode = RansEncoder(format).encode_with_indexes
    bad: list[tuple[Any, ...]] = [
        ([0], [3], *TABLES),
        ([0], [-1], *TABLES),
        ([0, 0], [0], *TABLES),
        ([0.5], [0], *TABLES),
        ([2**31], [0], *TABLES),
        (["0"], [0], *TABLES),
        ([0], [0], CDFS, [9, 4, 6], OFFSETS),
        ([0], [0], CDFS, [1, 4, 6], OFFSETS),
        ([0], [0], CDFS, SIZES, [0]),
        ([0], [0], CDFS, [4], OFFSETS),
        ([0], [0], [], [], []),
        ([0], [0], np.array([0, 65536]), [2], [0]),
        ([0], [0], [[0, 40000, 30000, 65536]], [4], [0]),
        ([0], [0], [[1, 40000, 65536]], [3], [0]),
    ]
    for arguments in bad:
        with pytest.raises(InvalidArgumentError):
            encode(*arguments)
    with pytest.raises(InvalidArgumentError, match="set_stream"):
        RansDecoder(format).decode_stream([0], *TABLES)
    decoder = RansDecoder(format)
    decoder.set_stream(RansEncoder(format).encode_with_indexes([0, 0], [0, 0], *TABLES))
    with pytest.raises(BitstreamError):
        decoder.set_stream(b"")
    with pytest.raises(InvalidArgumentError, match="set_stream"):  # the stream before has ended
        decoder.decode_stream([0], *TABLES)
    with pytest.raises(InvalidArgumentError, match="format"):
        RansEncoder("zip")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("cdfs", "sizes", "what"),
    [
        ([[0, 9, 65536]], [9], r"tables: row 0: .*size.* 2\.\.3.* got 9"),
        ([[0, 9, 65536]], [], "expected"),
        ([[0, 9, 65536]], [np.array([3, 3])], "expected"),
        ([0, 9, 65536], [3], "cdfs: expected rows of integers"),
        ([[[0, 9, 65536], [0, 5, 65536]]], [3], "cdfs: expected rows of integers"),
        ([[]], [0], "expected"),
    ],
)
def test_errors_speak_of_the_tables_that_were_passed(format, cdfs, sizes, what):
    for _ in range(2):  # the second time beside tables that are known
        with pytest.raises(InvalidArgumentError, match=what) as error:
            RansEncoder(format).encode_with_indexes([0], [0], cdfs, sizes, [0])
        assert "bits" not in str(error.value)  # which nobody passed
        RansEncoder(format).encode_with_indexes([0], [0], *TABLES)


@pytest.mark.parametrize("total", [200, 60000, 70000])
def test_a_total_that_is_no_power_of_two(total):
    with pytest.raises(InvalidArgumentError, match=f"65536 last, got 0 and {total}"):
        RansEncoder().encode_with_indexes([0], [0], [[0, 9, total]], [3], [0])


def test_more_rows_than_a_table_set_has():
    n = (1 << 16) + 1
    cdfs = np.tile(np.int32([0, 30000, 65536]), (n, 1))
    symbols, rows, tables = np.arange(n) % 5, np.arange(n), (cdfs, np.full(n, 3), np.zeros(n, int))
    with pytest.raises(InvalidArgumentError, match=r"65536 rows.*got 65537; .*'compressai'"):
        RansEncoder().encode_with_indexes(symbols, rows, *tables)
    stream = RansEncoder("compressai").encode_with_indexes(symbols, rows, *tables)
    back = RansDecoder("compressai").decode_with_indexes(stream, rows, *tables)
    assert np.array_equal(back, symbols)


def test_tables_for_one_message_are_not_kept():
    """Models that make a row for each symbol never come back to them."""
    n, width = 1 << 12, (1 << 8) + 1
    cdfs = np.tile(np.arange(width, dtype=np.int32) << 8, (n, 1))
    RansEncoder().encode_with_indexes([0], [0], *TABLES)
    kept = compressai._recent
    for arrays in (cdfs, cdfs.tolist()):
        RansEncoder().encode_with_indexes([7], [1], arrays, [width] * n, [0] * n)
        assert compressai._recent is kept


@pytest.mark.parametrize("symbol", [REACH + 2, -REACH - 1, 2**31 - 1, -(2**31)])
def test_escapes_beyond_compressai(symbol):
    """compressai.ans never returns from these; its format has no place for most of them."""
    with pytest.raises(InvalidArgumentError, match="28 bits"):
        RansEncoder("compressai").encode_with_indexes([symbol], [0], *TABLES)
    stream = RansEncoder().encode_with_indexes([symbol], [0], *TABLES)
    assert RansDecoder().decode_with_indexes(stream, [0], *TABLES) == [symbol]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", GOLDEN)
def test_every_cut_is_noticed(format, name):
    symbols, rows, _ = GOLDEN[name]
    stream = RansEncoder(format).encode_with_indexes(symbols, rows, *TABLES)
    for n in range(len(stream)):
        with pytest.raises(BitstreamError, match="at byte"):
            RansDecoder(format).decode_with_indexes(stream[:n], rows, *TABLES)
        with pytest.raises(BitstreamError, match="at byte"):
            decode_singly(format, stream[:n], rows)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=80), rows=st.lists(st.integers(0, 2), max_size=40))
def test_any_bytes_give_symbols_or_an_error(format, data, rows):
    results: list[Any] = []
    for decode in (
        lambda: RansDecoder(format).decode_with_indexes(data, rows, *TABLES),
        lambda: decode_singly(format, data, rows),
    ):
        try:
            results.append(decode())
        except BitstreamError as error:
            results.append(error)
    whole, pieces = results
    segments = format == "glc" and data[:1] == b"\x10"  # which are not for pieces
    if isinstance(whole, list) and not segments:
        assert pieces == whole
        assert all(-(2**31) <= symbol < 2**31 for symbol in whole)


@pytest.mark.parametrize("format", FORMATS)
def test_threads(format):
    rng = np.random.default_rng(0)
    results = {}

    def work(seed: int) -> None:
        tables = [[0, 1000 * (seed + 1), 65000, 65536]], [4], [0]
        symbols = (np.arange(5000) * (seed + 7) % 3).tolist()
        for _ in range(5):
            stream = RansEncoder(format).encode_with_indexes(symbols, [0] * 5000, *tables)
            back = RansDecoder(format).decode_with_indexes(stream, [0] * 5000, *tables)
            results[seed] = results.get(seed, True) and back == symbols

    threads = [threading.Thread(target=work, args=(int(s),)) for s in rng.permutation(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(12), True)


def test_install_without_compressai_says_what_to_do():
    code = """
import sys
sys.modules["compressai"] = None  # any import of it raises
sys.modules["torch"] = None
from glc.compat import compressai
from glc.errors import UnsupportedError
compressai.uninstall()  # nothing to undo
for call in (compressai.install, compressai.installed("compressai").__enter__):
    try:
        call()
    except UnsupportedError as error:
        assert "pip install" in str(error)
    else:
        raise AssertionError
tables = [[0, 30000, 65536]], [3], [0]
stream = compressai.RansEncoder().encode_with_indexes([0, 1, 9], [0, 0, 0], *tables)
assert compressai.RansDecoder().decode_with_indexes(stream, [0, 0, 0], *tables) == [0, 1, 9]
"""
    root = Path(compressai.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
