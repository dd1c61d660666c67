# SPDX-License-Identifier: Apache-2.0
"""The coder for tensors: the same streams as glc.rans, wherever the tensors are."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from glc import rans
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError
from glc.ops import _coder_cuda, _cuda, coder
from tests.cuda_kernels import ON_DEVICE, WHERE

SCALES = [0.05, 0.3, 1.0, 4.0, 20.0]
TABLES = rans.TableSet.from_gaussian(SCALES, 14)


@pytest.fixture(params=["cpu", *WHERE])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "emulated":
        monkeypatch.setattr(_cuda, "is_cuda", lambda tensor: True)
        yield "cpu"
    else:
        yield request.param


def message(n, seed=0, outliers=0.01):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(SCALES), n)
    symbols = np.rint(rng.normal(size=n) * np.array(SCALES)[rows]).astype(np.int32)
    wild = rng.random(n) < outliers
    symbols[wild] = rng.integers(-(2**31), 2**31, int(wild.sum()))
    return symbols, rows


def on(device, array):
    return torch.from_numpy(array).to(device)


@pytest.mark.parametrize("n", [0, 1, 31, 33, 5000])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_equals_the_numpy_coder(device, n, dtype):
    symbols, rows = message(n)
    rows = rows.astype(dtype)
    coded = coder.encode(
        on(device, symbols), on(device, rows), TABLES, lanes=16, segment_symbols=1024
    )
    assert bytes(coded) == rans.encode(symbols, rows, TABLES, 16, 1024)
    assert len(coded) == len(bytes(coded)) == coded.tensor().numel()
    for stream in (coded, coded.tensor()):
        decoded = coder.decode(stream, on(device, rows), TABLES)
        assert decoded.dtype == torch.int32
        assert np.array_equal(decoded.cpu().numpy(), symbols)


def test_several_pushes_of_any_shape(device):
    a, a_rows = message(600, 1)
    b, _ = message(99, 2)
    other = rans.TableSet.from_gaussian([2.0, 3.0], 16)
    encoder = coder.Encoder(segment_symbols=256)
    encoder.push(on(device, a).view(20, 30), on(device, a_rows.astype(np.uint8)), TABLES)
    encoder.push(on(device, b), 1, other)
    coded = encoder.finish()
    with pytest.raises(InvalidArgumentError):
        encoder.finish()

    reference = rans.Encoder(32, 256)
    reference.push(a, a_rows, TABLES)
    reference.push(b, 1, other)
    assert bytes(coded) == reference.finish()

    decoder = coder.Decoder(coded)
    first = decoder.pull(on(device, a_rows.astype(np.uint8)).view(20, 30), TABLES)
    second = decoder.pull(1, other, count=99)
    decoder.finish()
    assert first.shape == (20, 30)
    assert np.array_equal(first.cpu().numpy().ravel(), a)
    assert np.array_equal(second.cpu().numpy(), b)


@pytest.mark.parametrize("n", [0, 1, 5000])
@pytest.mark.parametrize("spread", [0.4, 1000.0])
def test_bytes(device, n, spread):
    values = np.random.default_rng(3).normal(128, spread, n).clip(0, 255).astype(np.uint8)
    coded = coder.encode_bytes(on(device, values), 2048)
    assert bytes(coded) == rans.encode_bytes(values, 2048)
    for data, size in ((coded, None), (coded.tensor(), n)):
        restored = coder.decode_bytes(data, size=size)
        assert restored.dtype == torch.uint8
        assert np.array_equal(restored.cpu().numpy(), values)


def test_damage_is_a_typed_error(device):
    symbols, rows = message(500)
    rows = on(device, rows.astype(np.uint8))
    stream = coder.encode(on(device, symbols), rows, TABLES, segment_symbols=128).tensor()
    for size in range(0, stream.numel(), 7):
        with pytest.raises(BitstreamError):
            coder.decode(stream[:size].clone(), rows, TABLES)
    damaged = stream.clone()
    damaged[stream.numel() // 2] ^= 1
    with pytest.raises(BitstreamError):
        coder.decode(damaged, rows, TABLES)
    coder.decode(stream, rows, TABLES, check=False)
    data = coder.encode_bytes(on(device, np.zeros(5000, np.uint8)), 512).tensor()
    with pytest.raises(BitstreamError):
        coder.decode_bytes(data[:-4].clone())
    with pytest.raises(BitstreamError):
        coder.decode_bytes(data, max_size=4999)
    for size in (4999, 5001):
        with pytest.raises(BitstreamError, match="size"):
            coder.decode_bytes(data, size=size)


def test_a_slice_that_is_not_aligned(device):
    symbols, rows = message(500)
    rows = on(device, rows.astype(np.uint8))
    stream = coder.encode(on(device, symbols), rows, TABLES).tensor()
    shifted = torch.cat([stream.new_zeros(1), stream])[1:]
    assert np.array_equal(coder.decode(shifted, rows, TABLES).cpu().numpy(), symbols)


def test_mistakes(device):
    symbols = on(device, np.zeros(8, np.int32))
    rows = on(device, np.zeros(8, np.uint8))
    for wrong in (
        lambda: coder.encode(symbols.long(), rows, TABLES),
        lambda: coder.encode(symbols, rows.long(), TABLES),
        lambda: coder.encode(symbols, rows[:7], TABLES),
        lambda: coder.encode(symbols, 2**40, TABLES),
        lambda: coder.encode(symbols, rows, TABLES, lanes=3),
        lambda: coder.encode(symbols, rows, TABLES, segment_symbols=33),
        lambda: coder.encode(symbols, rows, TABLES, segment_symbols=0),
        lambda: bytes(coder.encode(symbols, 5, TABLES)),
        lambda: bytes(coder.encode(symbols, -1, TABLES)),
        lambda: coder.Decoder(symbols),
        lambda: coder.encode_bytes(symbols),
        lambda: coder.encode_bytes(rows, 33),
        lambda: coder.encode_bytes(rows, 0),
        lambda: coder.decode(coder.encode(symbols, rows, TABLES), 0, TABLES),
    ):
        with pytest.raises(InvalidArgumentError):
            wrong()


@pytest.mark.parametrize("lanes", [4, 32])
def test_a_row_outside_the_tables_is_noticed_when_decoding(device, lanes):
    symbols, rows = message(3000)
    rows = rows.astype(np.uint8)
    stream = coder.encode(
        on(device, symbols), on(device, rows), TABLES, lanes=lanes, segment_symbols=1024
    )
    for first in (0, 700, 2999):  # in whole steps, and where a segment ends
        wrong = rows.copy()
        wrong[[first, 2999]] = TABLES.rows, 255
        named = f"at symbol {first}$" if _coder_cuda.takes(stream.buffer) else "row"
        with pytest.raises(InvalidArgumentError, match=named):
            coder.decode(stream, on(device, wrong), TABLES)
    with pytest.raises(InvalidArgumentError, match="row"):
        coder.decode(stream, TABLES.rows, TABLES, count=3000)


def test_a_stream_in_one_piece_is_for_the_cpu(device):
    stream = torch.frombuffer(
        bytearray(rans.encode(np.zeros(8, np.int32), 0, TABLES)), dtype=torch.uint8
    )
    if _coder_cuda.takes(stream.to(device)):
        with pytest.raises(UnsupportedError):
            coder.decode(stream.to(device), 0, TABLES, count=8)
    else:
        assert not coder.decode(stream, 0, TABLES, count=8).any()


def test_another_device():
    with pytest.raises(UnsupportedError):
        coder.encode(torch.zeros(8, dtype=torch.int32, device="meta"), 0, TABLES)


@pytest.mark.parametrize("where", [pytest.param("cuda", marks=ON_DEVICE)])
def test_in_a_cuda_graph(where):
    symbols, rows = message(20000)
    on_gpu, gpu_rows = on(where, symbols), on(where, rows.astype(np.uint8))
    coder.encode(on_gpu, gpu_rows, TABLES)  # tables are copied outside of the graph
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        coded = coder.encode(on_gpu, gpu_rows, TABLES)
        decoded = coder.decode(coded, gpu_rows, TABLES, check=False)
    other = np.roll(symbols, 32 * len(SCALES))
    on_gpu.copy_(on(where, other))
    graph.replay()
    assert np.array_equal(decoded.cpu().numpy(), other)
    assert bytes(coded) == rans.encode(other, rows, TABLES, coder.LANES, coder.SEGMENT_SYMBOLS)


def test_the_cpu_gets_the_longest_segments() -> None:
    assert coder.even_segments(10**6, "cpu") == coder.SEGMENT_SYMBOLS


@pytest.mark.parametrize("n", [1, 10**4, 10**6, 10**8])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=ON_DEVICE)])
def test_segments_are_even_on_a_device(device: str, n: int) -> None:
    cut = coder.even_segments(n, device)
    assert 32 <= cut <= coder.SEGMENT_SYMBOLS + 32
    assert cut % 32 == 0
