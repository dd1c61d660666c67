# SPDX-License-Identifier: Apache-2.0
"""Arguments and bytes that somebody got wrong, or made to hurt: one typed error each.

Damage in streams of every kind is in tests/cpp/test_rans_hostile.cpp, on every back end; here is
what can only go wrong in Python.
"""

import ctypes

import numpy as np
import pytest

import glc
from glc import cdf, rans
from glc.errors import BitstreamError, GlcError, InvalidArgumentError

TABLES = rans.TableSet.from_gaussian([0.5, 2.0, 8.0])
STREAM = rans.encode([0, 1, 2], 0, TABLES)
CODED = rans.encode_bytes(b"abcabcabc" * 20)
READ_ONLY = np.zeros(3, np.int32)
READ_ONLY.flags.writeable = False


class OnAGpu:
    """What DLPack of another device does when numpy asks."""

    def __dlpack__(self, **kwargs: object) -> object:
        raise BufferError("on another device")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


class OnlyDlpack:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **kwargs: object) -> object:
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


def decode(rows=0, out=None, data=STREAM, tables=TABLES, count=None):
    return rans.decode(data, rows, tables, out, count=count)


WRONG = {
    "out: a list": lambda: decode(out=[0, 0, 0]),
    "out: read-only": lambda: decode(out=READ_ONLY),
    "out: int64": lambda: decode(out=np.zeros(3, np.int64)),
    "out: strided": lambda: decode(out=np.zeros(6, np.int32)[::2]),
    "out: another count": lambda: decode(out=np.zeros(3, np.int32), count=2),
    "count: negative": lambda: decode(count=-1),
    "count: 2^31": lambda: decode(count=2**31),
    "count: larger than memory": lambda: decode(count=2**44),
    "count: larger than a word": lambda: decode(count=2**70),
    "count: not the rows'": lambda: decode([0, 0], count=3),
    "rows: float": lambda: decode(0.0, count=3),
    "rows: none": lambda: decode(None, count=3),
    "rows: text": lambda: decode("abc", count=3),
    "rows: 2^31": lambda: decode(2**31, count=3),
    "rows: -2^31 - 1": lambda: decode(-(2**31) - 1, count=3),
    "rows: int64 beyond int32": lambda: decode(np.full(3, 2**40)),
    "rows: uint64 beyond int64": lambda: decode(np.full(3, 2**63, np.uint64)),
    "rows: negative": lambda: decode(np.full(3, -1)),
    "rows: one too high": lambda: decode(np.full(3, 3, np.uint8)),
    "rows: of a GPU": lambda: decode(OnAGpu()),
    "data: text": lambda: decode(data="abc", count=3),
    "data: none": lambda: decode(data=None, count=3),
    "data: int32": lambda: decode(data=np.zeros(8, np.int32), count=3),
    "data: strided": lambda: decode(data=np.zeros(16, np.uint8)[::2], count=3),
    "data: DLPack of int32": lambda: decode(data=OnlyDlpack(np.zeros(8, np.int32)), count=3),
    "data: of a GPU": lambda: decode(data=OnAGpu(), count=3),
    "tables: none": lambda: decode(tables=None, count=3),
    "symbols: float": lambda: rans.encode([0.5], 0, TABLES),
    "symbols: bool": lambda: rans.encode(np.array([True]), 0, TABLES),
    "symbols: ragged": lambda: rans.encode([[1], [2, 3]], 0, TABLES),
    "symbols: 2^31": lambda: rans.encode([2**31], 0, TABLES),
    "symbols: 2^80": lambda: rans.encode([2**80], 0, TABLES),
    "symbols: of a GPU": lambda: rans.encode(OnAGpu(), 0, TABLES),
    "symbols: DLPack of float": lambda: rans.encode(OnlyDlpack(np.zeros(3)), 0, TABLES),
    "lanes: 0": lambda: rans.Encoder(0),
    "lanes: 24": lambda: rans.Encoder(24),
    "lanes: 2^40": lambda: rans.Encoder(2**40),
    "lanes: text": lambda: rans.Encoder("4"),
    "lanes: float": lambda: rans.encode_bytes(b"abc", None, 2.0),
    "segment_symbols: float": lambda: rans.Encoder(1, 64.0),
    "segment_bytes: text": lambda: rans.encode_bytes(b"abc", "64"),
    "segment_symbols: -32": lambda: rans.Encoder(1, -32),
    "segment_symbols: 33": lambda: rans.Encoder(1, 33),
    "segment_symbols: 2^31": lambda: rans.Encoder(1, 2**31),
    "segment_bytes: -32": lambda: rans.encode_bytes(b"abc", -32),
    "segment_bytes: 2^70": lambda: rans.encode_bytes(b"abc", 2**70),
    "bytes: text": lambda: rans.encode_bytes("abc"),
    "bytes: int32": lambda: rans.encode_bytes(np.zeros(3, np.int32)),
    "bytes: strided": lambda: rans.encode_bytes(np.zeros(6, np.uint8)[::2]),
    "bytes: none to decode": lambda: rans.decode_bytes(None),
    "max_size: negative": lambda: rans.decode_bytes(CODED, -1),
    "max_size: float": lambda: rans.decode_bytes(CODED, 1e9),
    "max_size: 2^70": lambda: rans.decode_bytes(CODED, 2**70),
    "descriptor: -1": lambda: rans.Decoder(STREAM, descriptor=-1),
    "freqs: negative": lambda: rans.TableSet.from_freqs([-1, 2]),
    "freqs: negative with escape": lambda: rans.TableSet.from_freqs([[5, -3, 2]], escape=True),
    "freqs: all zero": lambda: rans.TableSet.from_freqs([0, 0]),
    "freqs: none": lambda: rans.TableSet.from_freqs([]),
    "freqs: an empty row": lambda: rans.TableSet.from_freqs([[]]),
    "freqs: float": lambda: rans.TableSet.from_freqs([0.5, 0.5]),
    "freqs: three dimensions": lambda: rans.TableSet.from_freqs(np.ones((2, 2, 2), int)),
    "freqs: a sum over 2^46": lambda: rans.TableSet.from_freqs([2**45, 2**45, 1]),
    "freqs: a sum over 2^64": lambda: rans.TableSet.from_freqs([2**63 - 1, 2**63 - 1]),
    "freqs: more than slots": lambda: rans.TableSet.from_freqs(np.ones(257, int), bits=8),
    "bits: 7": lambda: rans.TableSet.from_freqs([1], bits=7),
    "bits: 17": lambda: rans.TableSet.from_gaussian([1.0], bits=17),
    "bits: float": lambda: rans.TableSet.from_gaussian([1.0], bits=12.0),
    "bits: of normalise": lambda: cdf.normalise([1, 2], bits=2**40),
    "bits: 2^40": lambda: rans.TableSet.from_cdfs([[0, 256]], [2], [0], 2**40),
    "offsets: too many": lambda: rans.TableSet.from_freqs([[1, 1]], [0, 1]),
    "offsets: 2^31": lambda: rans.TableSet.from_freqs([1], 2**31),
    "offsets: past int32": lambda: rans.TableSet.from_freqs([1, 1], 2**31 - 1),
    "freqs: exact, negative": lambda: rans.TableSet.from_exact_freqs([-1, 257], [2], [0], 8, False),
    "freqs: exact, 2^32": lambda: rans.TableSet.from_exact_freqs([2**32 + 256], [1], [0], 8, False),
    "n_bins: negative": lambda: rans.TableSet.from_exact_freqs([256], [-1], [0], 8, False),
    "n_bins: 2^31 - 1": lambda: rans.TableSet.from_exact_freqs([256], [2**31 - 1], [0], 8, False),
    "sizes: negative": lambda: rans.TableSet.from_cdfs([[0, 256]], [-1], [0], 8),
    "sizes: over the width": lambda: rans.TableSet.from_cdfs([[0, 256]], [3], [0], 8),
    "cdfs: one dimension": lambda: rans.TableSet.from_cdfs([0, 256], [2], [0], 8),
    "cdfs: no rows": lambda: rans.TableSet.from_cdfs(np.zeros((0, 4), int), [], [], 8),
    "cdfs: no width": lambda: rans.TableSet.from_cdfs(np.zeros((1, 0), int), [2], [0], 8),
    "scales: 0": lambda: rans.TableSet.from_gaussian([0.0]),
    "scales: nan": lambda: rans.TableSet.from_gaussian([float("nan")]),
    "scales: infinite": lambda: rans.TableSet.from_gaussian([float("inf")]),
    "scales: text": lambda: rans.TableSet.from_gaussian(["wide"]),
    "scales: too many": lambda: rans.TableSet.from_gaussian(np.ones(65537)),
    "threads: 0": lambda: glc.set_num_threads(0),
    "threads: 2^40": lambda: glc.set_num_threads(2**40),
    "threads: text": lambda: glc.set_num_threads("2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_one_typed_error(case: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r": expected .+"):
        WRONG[case]()


def test_wrong_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for wrong in (
        torch.zeros(3),
        torch.zeros(3, requires_grad=True),
        torch.zeros(3, dtype=torch.int32, device="meta"),
        torch.zeros(3, dtype=torch.int32).to_sparse(),
        torch.zeros(3, dtype=torch.bfloat16),
    ):
        with pytest.raises(InvalidArgumentError, match="rans: symbols: expected"):
            rans.encode(wrong, 0, TABLES)
        with pytest.raises(InvalidArgumentError, match="rans: rows: expected"):
            rans.encode([0, 0, 0], wrong, TABLES)
        with pytest.raises(InvalidArgumentError, match="data: expected"):
            rans.decode(wrong, 0, TABLES, count=3)


def test_bytes_from_anything_that_holds_them() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    holders = (bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8))
    tensor = torch.tensor(list(STREAM), dtype=torch.uint8)
    odd = (
        (ctypes.c_ubyte * len(STREAM)).from_buffer_copy(STREAM),
        memoryview(STREAM).cast("c"),
        memoryview(STREAM).cast("b"),
        np.frombuffer(STREAM, np.int8),
    )
    plain = [hold(STREAM) for hold in holders]
    for data in (*plain, *odd, tensor, OnlyDlpack(tensor.numpy())):
        assert decode(data=data, count=3).tolist() == [0, 1, 2]
    tensor = torch.tensor(list(b"some bytes, some bytes"), dtype=torch.uint8)
    assert rans.decode_bytes(torch.tensor(list(rans.encode_bytes(tensor)), dtype=torch.uint8)) == (
        b"some bytes, some bytes"
    )


@pytest.mark.parametrize("segment_symbols", [32, 96])
def test_cut_or_flipped_segments(segment_symbols: int) -> None:
    rows = np.arange(150, dtype=np.int32) % 3
    symbols = rows - 1
    stream = rans.encode(symbols, rows, TABLES, 8, segment_symbols)
    for n in range(len(stream)):
        with pytest.raises(BitstreamError, match=r"\(at byte \d+\)"):
            rans.decode(stream[:n], rows, TABLES)
    for bit in range(8 * len(stream)):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            got = rans.decode(damaged, rows, TABLES)
        except BitstreamError:
            continue
        assert (got == symbols).all()
        assert bit // 8 in {4, 8, 9, 10, 11}  # escapes that do not come, the size of one segment


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, 6, "record descriptor: more than 32 lanes"),
        (4, 0x80000003, "record descriptor: .* reserved bits are set"),
        (8, 0, r"segment symbols: expected a multiple of 32 in 32\.\.2\^30, got 0"),
        (8, 33, "segment symbols: .* got 33"),
        (8, 2**30 + 32, "segment symbols: .* got 1073741856"),
        (12, 2, "segments: expected 3 for 96 symbols, got 2"),
        (12, 4, "segments: expected 3 for 96 symbols, got 4"),
        (16, 0, "segment ends: expected ascending ends inside the data"),
        (20, 1, "segment ends: expected ascending"),
        (24, 2**32 - 1, "segment ends: expected ascending"),
    ],
)
def test_fields_of_a_record(at: int, value: int, message: str) -> None:
    stream = bytearray(rans.encode(np.zeros(96, np.int32), 0, TABLES, 8, 32))
    stream[at : at + 4] = value.to_bytes(4, "little")
    with pytest.raises(BitstreamError, match=rf"{message}.*\(at byte {at}\)"):
        rans.decode(stream, 0, TABLES, count=96)


def test_the_first_segment_that_is_wrong_is_named() -> None:
    stream = bytearray(rans.encode(np.zeros(9600, np.int32), 0, TABLES, 8, 32))
    assert int.from_bytes(stream[12:16], "little") == 300
    stream[-1] ^= 1
    stream[16 + 300 * 4] ^= 1
    with pytest.raises(BitstreamError, match="segment 0: words: "):
        rans.decode(stream, 0, TABLES, count=9600)
    stream[16] = 7  # units of 4 bytes, of which 8 states take 8
    with pytest.raises(BitstreamError, match="segment 0: states: truncated"):
        rans.decode(stream, 0, TABLES, count=9600)


def test_a_segment_holds_no_more_than_its_padding() -> None:
    stream = bytearray(rans.encode(np.zeros(96, np.int32), 0, TABLES, 8, 32)) + bytes(4)
    stream[24] += 1  # where the last segment ends, in units of 4 bytes
    with pytest.raises(BitstreamError, match="segment 2: words: bytes are left over"):
        rans.decode(stream, 0, TABLES, count=96)


@pytest.mark.parametrize("lanes", [1, 32])
@pytest.mark.parametrize("n_bins", [5, 16, 100, 256])
def test_flipped_words_of_equal_frequencies(n_bins: int, lanes: int) -> None:
    tables = rans.TableSet.from_freqs(np.ones((1, n_bins), int), bits=8)
    random = np.random.default_rng(n_bins)
    stream = rans.encode(random.integers(0, n_bins, 400), 0, tables, lanes, 0)
    for _ in range(4000):
        damaged = np.frombuffer(stream, np.uint8).copy()
        at = 1 + 2 * random.integers(len(stream) // 2)
        damaged[at : at + 2] ^= np.frombuffer(random.integers(1, 2**16).tobytes()[:2], np.uint8)
        with pytest.raises(BitstreamError):
            rans.decode(damaged, 0, tables, count=400)


def test_used_up_coders_say_so() -> None:
    decoder = rans.Decoder(STREAM)
    decoder.pull(0, TABLES, count=3)
    decoder.finish()
    decoder.finish()  # asks a question: may be asked again
    with pytest.raises(BitstreamError, match="truncated"):
        decoder.pull(0, TABLES, count=1000)
    for call in (lambda: decoder.pull(0, TABLES, count=1), decoder.finish):
        with pytest.raises(BitstreamError, match=r"an earlier (pull|call) failed"):
            call()


def test_a_decoder_keeps_its_bytes() -> None:
    data = bytearray(STREAM)
    decoder = rans.Decoder(data)
    with pytest.raises(BufferError):
        data.clear()  # borrowed: cannot be taken away
    assert decoder.pull(0, TABLES, count=3).tolist() == [0, 1, 2]
    del decoder
    data.clear()


def test_every_error_is_one_of_ours() -> None:
    for error in (InvalidArgumentError, BitstreamError):
        assert issubclass(error, GlcError)
        assert issubclass(error, ValueError)


def test_a_claim_of_size_takes_no_memory() -> None:
    import tracemalloc

    tracemalloc.start()
    for method in (0, 1, 2):
        claim = bytes([method]) + b"\xff\xff\xff\xff\x03" + bytes(40)  # 2^30 - 1 bytes
        with pytest.raises(BitstreamError):
            rans.decode_bytes(claim, max_size=1 << 20)
    stored = b"\0" + b"\x80" * 8 + b"\x40abc"  # 2^62 bytes, of which there are three
    with pytest.raises(BitstreamError, match="the data is truncated"):
        rans.decode_bytes(stored, max_size=2**63 - 1)
    for method in (1, 2):  # 2^63 - 1 bytes, more than an object can hold
        with pytest.raises(BitstreamError, match="size: expected at most"):
            rans.decode_bytes(bytes([method]) + b"\xff" * 8 + b"\x7f" + bytes(40), 2**63 - 1)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_histograms_are_checked() -> None:
    for wrong in ([5], [-1], [0.5]):
        with pytest.raises(InvalidArgumentError, match="cdf: values: expected"):
            cdf.histogram(wrong, 3)


@pytest.mark.parametrize("n", [7, 5000, 300_000])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_symbols_are_not_decoded_over_rows_or_stream(n: int, dtype: type) -> None:
    """Rows written over after they were checked would lead beyond the tables."""
    symbols = np.resize(np.array([0, 2**31 - 1, -1, 1, -(2**31)], np.int32), n)
    wanted = np.arange(n, dtype=dtype) % 3
    stream = rans.encode(symbols, wanted, TABLES)
    memory = np.zeros(4 * n, np.uint8)
    rows = memory[: n * wanted.itemsize].view(dtype)
    rows[:] = wanted
    decoder = rans.Decoder(stream)
    with pytest.raises(InvalidArgumentError, match="memory apart from the rows'"):
        decoder.pull(rows, TABLES, memory.view(np.int32))
    np.testing.assert_array_equal(decoder.pull(rows, TABLES), symbols)
    decoder.finish()

    memory = np.zeros(4 * n + len(stream), np.uint8)
    place = memory[4 * n - 1 : -1]
    place[:] = np.frombuffer(stream, np.uint8)
    with pytest.raises(InvalidArgumentError, match="memory apart from the stream's"):
        rans.decode(place, wanted, TABLES, memory[: 4 * n].view(np.int32))
