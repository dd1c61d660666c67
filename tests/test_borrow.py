# SPDX-License-Identifier: Apache-2.0
"""How memory crosses into the native module: borrowed for the call, checked, given back."""

import gc
import sys

import numpy as np
import pytest
import torch

from glc import _core
from glc.errors import InvalidArgumentError


def arguments(n=5, k=3, d=4):
    latents = torch.arange(n * d, dtype=torch.float32).reshape(n, d)
    return latents, latents[:k].clone(), torch.empty(n, dtype=torch.int32)


def test_a_tensor_is_borrowed_and_written_in_place():
    latents, codebook, indices = arguments()
    _core.vq_nearest(latents, codebook, indices)
    assert indices.tolist() == [0, 1, 2, 2, 2]


def test_a_view_starts_at_its_own_first_element():
    latents, codebook, indices = arguments()
    _core.vq_nearest(latents[1:3], codebook, indices[3:5])
    assert indices[3:5].tolist() == [1, 2]


def test_numpy_arrays_and_capsules_are_tensors_too():
    latents, codebook, _ = arguments()
    out = np.empty(5, np.int32)
    _core.vq_nearest(latents.numpy(), codebook.__dlpack__(), out)
    assert out.tolist() == [0, 1, 2, 2, 2]


def test_nothing_is_kept_after_the_call():
    latents, codebook, indices = arguments()
    array = latents.numpy().copy()
    before = sys.getrefcount(array)
    for _ in range(10):
        _core.vq_nearest(array, codebook, indices)
        with pytest.raises(InvalidArgumentError):
            _core.vq_nearest(array, codebook[:, :2].contiguous(), indices)
    gc.collect()
    assert sys.getrefcount(array) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.double(), "vq_nearest: latents: expected dtype float32, got float64"),
        (lambda t: t.int(), "vq_nearest: latents: expected dtype float32, got int32"),
        (lambda t: t.t(), "vq_nearest: latents: expected a contiguous tensor, got strides"),
        (lambda t: t[0], "vq_nearest: latents: expected 2 dimensions, got 1"),
        (lambda t: t.bfloat16(), "vq_nearest: latents: expected dtype float32, got bfloat16"),
    ],
)
def test_a_wrong_tensor_is_refused_by_name(change, message):
    latents, codebook, indices = arguments(n=4)
    with pytest.raises(InvalidArgumentError, match=message):
        _core.vq_nearest(change(latents), codebook, indices)


def at_an_odd_address(tensor):
    """The same values, one byte behind an aligned address."""
    memory = np.empty(tensor.nbytes + 1, np.uint8)[1:]
    memory[:] = tensor.numpy().view(np.uint8).ravel()
    return memory.view(tensor.numpy().dtype).reshape(tensor.shape)


@pytest.mark.parametrize("number", range(3))
def test_memory_at_an_odd_address_is_refused(number):
    given = list(arguments())
    given[number] = at_an_odd_address(given[number])
    with pytest.raises(InvalidArgumentError, match="expected memory aligned to its dtype"):
        _core.vq_nearest(*given)
    given[number] = torch.from_numpy(given[number])
    with pytest.raises(InvalidArgumentError, match="expected memory aligned to its dtype"):
        _core.vq_nearest(*given)


def test_a_tensor_without_memory_is_refused():
    latents, codebook, indices = arguments()
    latents.untyped_storage().resize_(0)  # as sharded training frees parameters
    with pytest.raises(InvalidArgumentError, match="latents: expected a tensor with memory"):
        _core.vq_nearest(latents, codebook, indices)


def test_a_consumed_capsule_is_refused():
    latents, codebook, indices = arguments()
    capsule = latents.__dlpack__()
    torch.from_dlpack(capsule)  # takes the tensor out of it
    with pytest.raises(InvalidArgumentError, match="expected a tensor or a fresh DLPack capsule"):
        _core.vq_nearest(capsule, codebook, indices)


def test_a_stranger_is_a_type_or_attribute_error():
    _, codebook, indices = arguments()
    with pytest.raises((TypeError, AttributeError)):
        _core.vq_nearest("latents", codebook, indices)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "u1")])
def test_bytes_of_any_kind_are_borrowed(wrap):
    assert _core.crc32c(wrap(b"123456789")) == 0xE3069283


@pytest.mark.parametrize(
    "data",
    [memoryview(b"123456789")[::2], np.zeros((4, 4), np.uint8)[:, :2], np.zeros(4, np.float32)],
    ids=["strided memoryview", "strided array", "floats"],
)
def test_a_wrong_buffer_is_refused(data):
    with pytest.raises(InvalidArgumentError, match="crc32c: data: expected"):
        _core.crc32c(data)
