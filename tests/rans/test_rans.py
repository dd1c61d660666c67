# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import doctest
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glc import cdf, rans, rans_reference
from glc.errors import BitstreamError, InvalidArgumentError

LANES = (1, 2, 4, 8, 16, 32)
INT32 = st.integers(-(2**31), 2**31 - 1)

# Lane states are 4 bytes and the descriptor 1; an escape section adds its length.
LANE_BYTES, HEAD_BYTES = 4, 1
SEGMENT_BYTES = 32 * LANE_BYTES + 7  # states, its entry in the table, padding


def gaussian_message(n: int, seed: int, low: float = 0.11, high: float = 64.0):
    """Symbols drawn from the canonical rows themselves."""
    rng = np.random.default_rng(seed)
    tables, bounds = cdf.canonical()
    scales = np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)
    symbols = np.rint(rng.normal(size=n) * scales).astype(np.int32)
    return symbols, cdf.gaussian_rows(scales, bounds), tables


def reference_rows(tables: rans.TableSet) -> list[rans_reference.Row]:
    freqs, n_bins, offsets = tables.arrays()
    parts = np.split(freqs, np.cumsum(n_bins)[:-1])
    return [
        rans_reference.Row(part.tolist(), int(offset), tables.bits, tables.escape)
        for part, offset in zip(parts, offsets, strict=True)
    ]


@st.composite
def table_sets(draw: st.DrawFn) -> rans.TableSet:
    bits = draw(st.integers(8, 16))
    escape = draw(st.booleans())
    counts = st.lists(st.integers(0, 5000), min_size=1, max_size=40).filter(any)
    rows = draw(st.lists(counts, min_size=1, max_size=5))
    offsets = [draw(st.integers(-50, 50)) for _ in rows]
    return rans.TableSet.from_freqs([np.array(r) for r in rows], offsets, bits, escape)


@st.composite
def pushes(draw: st.DrawFn, tables: rans.TableSet) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 70))
    rows = np.array(draw(st.lists(st.integers(0, tables.rows - 1), min_size=n, max_size=n)), int)
    reference = reference_rows(tables)
    symbols = []
    for row in rows:
        info = reference[row]
        present = [i for i in range(info.n_direct) if info.freqs[i]]
        if tables.escape and (not present or draw(st.integers(0, 9)) == 0):
            symbols.append(draw(INT32))
        else:
            symbols.append(info.offset + draw(st.sampled_from(present)))
    return np.array(symbols, np.int64), rows


@given(st.data(), st.sampled_from(LANES))
@settings(max_examples=150, deadline=None)
def test_streams_equal_the_reference(data: st.DataObject, lanes: int) -> None:
    sets = data.draw(st.lists(table_sets(), min_size=1, max_size=3))
    messages = [data.draw(pushes(tables)) for tables in sets]
    encoder = rans.Encoder(lanes)
    for (symbols, rows), tables in zip(messages, sets, strict=True):
        encoder.push(symbols, rows, tables)
    stream = encoder.finish()

    plain = []
    for (symbols, rows), tables in zip(messages, sets, strict=True):
        reference = reference_rows(tables)
        plain.append((symbols.tolist(), [reference[row] for row in rows]))
    assert stream == rans_reference.encode(plain, lanes)
    assert rans_reference.decode(stream, [rows for _, rows in plain]) == [s for s, _ in plain]

    decoder = rans.Decoder(stream)
    assert decoder.lanes == lanes
    for (symbols, rows), tables in zip(messages, sets, strict=True):
        np.testing.assert_array_equal(decoder.pull(rows, tables), symbols)
    decoder.finish()


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_any_bytes_read_as_the_reference_reads_them(data: bytes, seed: int) -> None:
    tables = rans.TableSet.from_freqs([[9, 3, 1, 1], [200, 30, 20, 6]], [-1, 5], 8, escape=True)
    rows = np.random.default_rng(seed).integers(0, 2, 9)
    reference = reference_rows(tables)
    try:
        expected = rans_reference.decode(data, [[reference[row] for row in rows]])[0]
    except BitstreamError:
        with pytest.raises(BitstreamError):
            rans.decode(data, rows, tables)
    else:
        assert rans.decode(data, rows, tables).tolist() == expected


@given(st.lists(INT32, max_size=30), st.sampled_from(LANES), st.integers(0, 67))
@settings(max_examples=100, deadline=None)
def test_any_int32_round_trips(values: list[int], lanes: int, row: int) -> None:
    tables, _ = cdf.canonical()
    stream = rans.encode(values, row, tables, lanes)
    assert rans.decode(stream, row, tables, count=len(values)).tolist() == values


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 31, 32, 33, 1009, 8192])
def test_awkward_sizes(n: int, lanes: int) -> None:
    symbols, rows, tables = gaussian_message(n, seed=n)
    stream = rans.encode(symbols, rows, tables, lanes)
    np.testing.assert_array_equal(rans.decode(stream, rows, tables), symbols)


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.5), (0.11, 4.0), (0.5, 64.0)])
@pytest.mark.parametrize("n", [512, 8192, 400_000])
def test_size_is_near_the_cross_entropy(n: int, low: float, high: float) -> None:
    symbols, rows, tables = gaussian_message(n, 1, low, high)
    stream = rans.encode(symbols, rows, tables)
    entropy_bytes = tables.cost_bits(symbols, rows) / 8
    lanes = rans.Decoder(stream).lanes
    if entropy_bytes >= 98_304:
        assert lanes == 0
        overhead = SEGMENT_BYTES * (1 + round(entropy_bytes / 65_536))
    else:
        assert lanes == max([k for k in LANES if 512 * k <= entropy_bytes], default=1)
        escape_head = 5  # length and last partial byte of the escape section
        overhead = LANE_BYTES * lanes + HEAD_BYTES + escape_head
    assert entropy_bytes - 2 <= len(stream) <= 1.01 * entropy_bytes + overhead


@pytest.mark.parametrize("n_bytes", [1000, 1023, 1025, 1500, 2000, 2047, 2060, 4000])
def test_small_payloads_stay_within_one_percent(n_bytes: int) -> None:
    """Of the ideal, with all that the stream adds; without escapes, whose numbers cost as coded."""
    symbols, rows, tables = gaussian_message(20_000, n_bytes, 0.5, 8.0)
    symbols = np.clip(symbols, -1, 1)
    bits = np.cumsum([tables.cost_bits([s], int(r)) for s, r in zip(symbols, rows, strict=True)])
    n = int(np.searchsorted(bits, 8 * n_bytes))
    stream = rans.encode(symbols[:n], rows[:n], tables)
    assert len(stream) <= 1.01 * bits[n - 1] / 8


def test_cost_is_the_sum_of_logarithms() -> None:
    symbols, rows, tables = gaussian_message(5000, 2)
    reference = reference_rows(tables)
    bits = 0.0
    for symbol, row in zip(symbols.tolist(), rows.tolist(), strict=True):
        info = reference[row]
        v = symbol - info.offset
        inside = 0 <= v < info.n_direct
        bits += info.bits - np.log2(info.freqs[v if inside else info.n_direct])
        if not inside:
            raw = 2 * (v - info.n_direct) if v >= 0 else -2 * v - 1
            bits += 2 * int(np.log2(raw + 1)) + 1
    assert tables.cost_bits(symbols, rows) == pytest.approx(bits, abs=5000 * 2**-16)
    assert tables.cost_bits([], 0) == 0


def test_rows_and_symbols_of_any_integer_kind() -> None:
    symbols, rows, tables = gaussian_message(100, 3)
    stream = rans.encode(symbols, rows, tables)
    for dtype in (np.uint8, np.uint16, np.int32, np.int64, np.uint32):
        assert rans.encode(symbols.astype(np.int64), rows.astype(dtype), tables) == stream
        np.testing.assert_array_equal(rans.decode(stream, rows.astype(dtype), tables), symbols)
    assert rans.encode(symbols.tolist(), rows.tolist(), tables) == stream
    assert rans.encode(np.stack([symbols] * 2)[:, ::2][0], rows[::2], tables) == rans.encode(
        symbols[::2].copy(), rows[::2].copy(), tables
    )
    shaped = rans.decode(stream, rows.reshape(4, 25), tables)
    assert shaped.shape == (4, 25)
    out = np.empty(100, np.int32)
    assert rans.decode(bytearray(stream), rows, tables, out) is out
    np.testing.assert_array_equal(out, symbols)
    for row in (np.uint8(7), np.array(7), 7, True):
        stream = rans.encode([1, 2], row, tables)
        assert rans.decode(stream, row, tables, count=2).tolist() == [1, 2]


def test_arrays_at_odd_addresses() -> None:
    symbols, rows, tables = gaussian_message(100, 13)

    def odd(array: np.ndarray) -> np.ndarray:  # as behind a header of one byte
        return np.frombuffer(b"0" + array.tobytes(), array.dtype, offset=1)

    stream = rans.encode(symbols, rows, tables)
    for kind in (np.uint16, np.int32):
        assert rans.encode(odd(symbols), odd(rows.astype(kind)), tables) == stream
    assert tables.cost_bits(odd(symbols), rows) == tables.cost_bits(symbols, rows)
    weights = np.linspace(0.1, 1.0, 9)
    assert np.array_equal(cdf.normalise(odd(weights)), cdf.normalise(weights))
    out = np.empty(401, np.uint8)[1:].view(np.int32)
    with pytest.raises(InvalidArgumentError, match="out: expected a contiguous, aligned"):
        rans.decode(stream, rows, tables, out)


@pytest.mark.parametrize("n_rows", [65536 // 16, 65536 // 16 + 1])
def test_tables_of_as_many_bins_as_16_bits_name_and_more(n_rows: int) -> None:
    tables = rans.TableSet.from_freqs(np.full((n_rows, 16), 16), bits=8)
    rng = np.random.default_rng(0)
    rows = np.append(rng.integers(0, n_rows, 50_000), n_rows - 1).astype(np.uint16)
    symbols = np.append(rng.integers(0, 16, 50_000), 15).astype(np.int32)
    for segment_symbols in (0, 4096):
        stream = rans.encode(symbols, rows, tables, segment_symbols=segment_symbols)
        np.testing.assert_array_equal(rans.decode(stream, rows, tables), symbols)


def test_dlpack_objects() -> None:
    class OnlyDlpack:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **kwargs: object) -> object:
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    symbols, rows, tables = gaussian_message(50, 4)
    stream = rans.encode(OnlyDlpack(symbols), OnlyDlpack(rows), tables)
    assert stream == rans.encode(symbols, rows, tables)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    symbols, rows, tables = gaussian_message(50, 5)
    stream = rans.encode(torch.from_numpy(symbols), torch.from_numpy(rows), tables)
    np.testing.assert_array_equal(rans.decode(stream, torch.from_numpy(rows), tables), symbols)
    one = torch.tensor([7])  # an array of one row, not the number 7
    assert rans.decode(rans.encode([2], one, tables), one, tables).tolist() == [2]


def test_tables_are_of_14_bits_from_symbol_0_on_unless_told() -> None:
    tables = rans.TableSet.from_freqs([3, 5])
    freqs, n_bins, offsets = tables.arrays()
    assert (tables.bits, tables.escape) == (14, False)
    assert (freqs.tolist(), n_bins.tolist(), offsets.tolist()) == ([6144, 10240], [2], [0])
    assert cdf.normalise([3, 5]).tolist() == [6144, 10240]
    assert rans.TableSet.from_gaussian([1.0]).bits == 14


def test_wrong_arguments() -> None:
    symbols, rows, tables = gaussian_message(10, 6)
    stream = rans.encode(symbols, rows, tables)
    strict = rans.TableSet.from_freqs([3, 0, 1])
    bad = InvalidArgumentError
    with pytest.raises(bad, match="expected integers"):
        rans.encode(symbols.astype(float), rows, tables)
    with pytest.raises(bad, match="int32 range"):
        rans.encode([2**31], 0, tables)
    with pytest.raises(bad, match=r"expected 0\.\.67, got 68 for symbol 3"):
        rans.encode([0] * 4, [0, 0, 0, 68], tables)
    with pytest.raises(bad, match="got -1"):
        rans.encode([0], -1, tables)
    with pytest.raises(bad, match="rows, one per symbol"):
        rans.encode(symbols, rows[:-1], tables)
    with pytest.raises(bad, match=r"expected 0\.\.2 in row 0"):
        rans.encode([3], 0, strict)
    with pytest.raises(bad, match="frequency"):
        rans.encode([1], 0, strict)
    with pytest.raises(bad, match="lanes"):
        rans.Encoder(3)
    with pytest.raises(bad, match="out or count"):
        rans.decode(stream, 0, tables)
    with pytest.raises(bad, match="count"):
        rans.decode(stream, 0, tables, count=-1)
    with pytest.raises(bad, match="rows"):
        rans.decode(stream, rows, tables, count=9)
    with pytest.raises(bad, match="rows"):
        rans.decode(stream, rows, tables, np.empty(9, np.int32))
    with pytest.raises(bad, match="out"):
        rans.decode(stream, rows, tables, np.empty(10, np.int64))
    with pytest.raises(bad, match="out"):
        rans.decode(stream, rows, tables, np.empty(20, np.int32)[::2])
    encoder = rans.Encoder()
    encoder.finish()
    with pytest.raises(bad, match="finished"):
        encoder.finish()
    with pytest.raises(bad, match="finished"):
        encoder.push([0], 0, tables)


def test_a_failed_push_changes_nothing() -> None:
    tables, _ = cdf.canonical()
    encoder = rans.Encoder(1)
    encoder.push([1, 2], 30, tables)
    with pytest.raises(InvalidArgumentError):
        encoder.push([1000, 5, 5], [3, 4, 99], tables)
    assert encoder.finish() == rans.encode([1, 2], 30, tables, 1)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("likely", ["zero", "escape", "first and last"])
def test_symbols_that_are_hardly_ever_another(lanes: int, likely: str) -> None:
    """Streams of far less than a bit a symbol, which a decoder guesses its way through."""
    rng = np.random.default_rng(lanes)
    freqs = {
        "zero": [[1, 1000, 1, 1], [3, 500, 2, 1]],
        "escape": [[1, 1, 1, 1000], [1, 1, 500, 3]],
        "first and last": [[1000, 1, 1, 1], [1, 1, 500, 1]],
    }[likely]
    tables = rans.TableSet.from_freqs(freqs, [-1, -2], 10, escape=True)
    rows = rng.integers(0, 2, 20_000).astype(np.uint8)
    symbols = np.array([np.argmax(f[:3]) + o for f, o in zip(freqs, (-1, -2), strict=True)])[rows]
    rare = rng.integers(0, len(rows), 60)
    symbols[rare[:40]] = rng.integers(-2, 3, 40)
    symbols[rare[40:]] = rng.integers(-(2**31), 2**31, 20)
    stream = rans.encode(symbols.astype(np.int32), rows, tables, lanes)
    assert np.array_equal(rans.decode(stream, rows, tables), symbols)
    decoder = rans.Decoder(stream)
    pulled = [decoder.pull(rows[:lanes], tables), decoder.pull(rows[lanes:], tables)]
    assert np.array_equal(np.concatenate(pulled), symbols)


@pytest.mark.parametrize("lanes", LANES)
def test_symbols_of_narrow_bins(lanes: int) -> None:
    """Of more than four bits each, which are looked up in another way; with escapes among them."""
    tables = rans.TableSet.from_gaussian([60.0, 300.0, 1000.0])
    rng = np.random.default_rng(lanes)
    rows = rng.integers(0, 3, 6007)
    symbols = np.rint(rng.normal(0, np.array([60.0, 300.0, 1000.0])[rows])).astype(np.int32)
    symbols[::501] = 100_000
    for kind in (np.uint8, np.uint16, np.int32):
        stream = rans.encode(symbols, rows.astype(kind), tables, lanes, 0)
        assert np.array_equal(rans.decode(stream, rows.astype(kind), tables), symbols)
        with pytest.raises(BitstreamError, match="truncated"):
            rans.decode(stream[:-2], rows.astype(kind), tables)
    stream = rans.encode(symbols, 2, tables, lanes, 0)
    assert np.array_equal(rans.decode(stream, 2, tables, count=symbols.size), symbols)


@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_every_cut_is_an_error_that_names_its_place(lanes: int) -> None:
    symbols, rows, tables = gaussian_message(300, 7, 0.11, 8)
    symbols[::60] = 10_000  # escapes
    stream = rans.encode(symbols, rows, tables, lanes)
    for n in range(len(stream)):
        with pytest.raises(BitstreamError, match=r"\(at byte \d+\)"):
            rans.decode(stream[:n], rows, tables)
    for extra in (b"\0", b"\0\0", stream):
        with pytest.raises(BitstreamError, match="bytes too many"):
            rans.decode(stream + extra, rows, tables)


@pytest.mark.parametrize("lanes", [1, 8])
def test_every_flipped_bit_is_noticed(lanes: int) -> None:
    symbols, rows, tables = gaussian_message(300, 8, 0.3, 8)
    symbols = np.clip(symbols, -1, 1)  # no escapes: those hold free values, which no check covers
    stream = rans.encode(symbols, rows, tables, lanes)
    for bit in range(8 * len(stream)):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            rans.decode(damaged, rows, tables)


@pytest.mark.parametrize("lanes", [1, 8])
def test_pulls_may_be_other_pieces_than_pushes(lanes: int) -> None:
    tables, symbols = rans.TableSet.from_gaussian([3.0]), np.arange(20001) % 13 - 6
    symbols[5::777] = 10**6  # escapes
    encoder = rans.Encoder(lanes, 0)
    for part in np.split(symbols, [64, 9000]):
        encoder.push(part, 0, tables)
    decoder = rans.Decoder(encoder.finish())
    for part in np.split(symbols, [8, 16, 8192, 16400]):
        assert (decoder.pull(0, tables, count=part.size) == part).all()
    decoder.finish()


def test_wrong_rows_are_noticed() -> None:
    symbols, rows, tables = gaussian_message(1000, 9)
    stream = rans.encode(symbols, rows, tables)
    wrong = rows.copy()
    wrong[500] ^= 1
    with pytest.raises(BitstreamError):
        rans.decode(stream, wrong, tables)


def test_a_descriptor_kept_elsewhere() -> None:
    symbols, rows, tables = gaussian_message(100, 10)
    stream = rans.encode(symbols, rows, tables, 4)
    decoder = rans.Decoder(memoryview(stream)[1:], descriptor=stream[0])
    np.testing.assert_array_equal(decoder.pull(rows, tables), symbols)
    decoder.finish()
    with pytest.raises(InvalidArgumentError):
        rans.Decoder(stream[1:], descriptor=256)
    with pytest.raises(BitstreamError, match="reserved"):
        rans.Decoder(stream[1:], descriptor=0x22)


def test_threads_take_turns() -> None:
    symbols, rows, tables = gaussian_message(20_000, 11)
    encoder = rans.Encoder(8)
    threads = [
        threading.Thread(target=encoder.push, args=(symbols, rows, tables)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decoder = rans.Decoder(encoder.finish())
    for _ in threads:
        np.testing.assert_array_equal(decoder.pull(rows, tables), symbols)
    decoder.finish()


def test_importing_the_coder_leaves_torch_out() -> None:
    code = "import glc.rans, glc.cdf, sys; glc.cdf.canonical(); assert 'torch' not in sys.modules"
    root = Path(rans.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(rans).failed == 0
