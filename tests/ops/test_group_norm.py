# SPDX-License-Identifier: Apache-2.0
"""Group normalisation with what is added before it, by torch and by the CUDA kernels."""

from typing import Any

import pytest
import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.ops import group_norm
from tests.cuda_kernels import Kernels, kernels

__all__ = ["kernels"]  # the fixture

EPS = 1e-6
# of values that are near 1; the short dtypes round sum and out
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-6}
# samples, channels, groups, height, width: vectors within a group and groups within a vector, more
# pixels than a block takes at once, threads that are left over, a lone pixel
SHAPES = [
    (1, 64, 32, 5, 7),
    (2, 128, 32, 9, 11),
    (1, 512, 32, 3, 17),
    (2, 96, 4, 40, 33),
    (1, 32, 4, 1, 1),
]


def arguments(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, *, added: str = ""
) -> tuple[list[Any], dict[str, Tensor]]:
    n, c, groups, h, w = shape
    generator = torch.Generator().manual_seed(sum(shape))
    x, residual = (torch.randn(n, c, h, w, generator=generator).to(dtype) for _ in range(2))
    weight, bias, offset = (torch.randn(c, generator=generator) for _ in range(3))
    weight = 1.0 + 0.2 * weight
    options = {"offset": offset, "residual": residual}
    return [x, groups, weight, bias, EPS], {k: v for k, v in options.items() if k in added}


def require_close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.dtype == dtype
    unit = expected.abs().clamp(min=1.0)
    assert bool(((got.double() - expected).abs() <= TOLERANCE[dtype] * unit).all())


@pytest.mark.parametrize("added", ["", "offset", "residual", "offset residual"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_against_the_reference(
    kernels: Kernels, shape: tuple[int, int, int, int, int], dtype: torch.dtype, added: str
) -> None:
    args, options = arguments(shape, dtype, added=added)
    for silu in (True, False):
        expected, expected_sum = group_norm.reference(*args, silu=silu, keep=True, **options)
        out, total = kernels(group_norm, *args, silu=silu, keep=True, **options)
        assert out.is_contiguous(memory_format=torch.channels_last)
        require_close(out, expected, dtype)
        require_close(total, expected_sum, dtype)
        out, total = kernels(group_norm, *args, silu=silu, **options)
        assert total is None
        require_close(out, expected, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("sides", [(1, 1), (3, 17), (20, 33)], ids=str)
def test_a_map_in_phases(kernels: Kernels, sides: tuple[int, int], dtype: torch.dtype) -> None:
    height, width = sides
    args, options = arguments((2, 96, 4, height + 1, width + 1), dtype, added="offset")
    generator = torch.Generator().manual_seed(0)
    args[0] = torch.randn(2, 4 * 96, height + 1, width + 1, generator=generator).to(dtype)
    for keep in (True, False):
        options |= {"keep": keep, "phases": True}
        expected, expected_sum = group_norm.reference(*args, **options)
        assert expected.shape == (2, 96, 2 * height, 2 * width)
        results = [kernels(group_norm, *args, **options)]
        if dtype == torch.float32:  # in which torch's own way is as exact
            results.append(group_norm(*args, **options))
        for out, total in results:
            require_close(out, expected, dtype)
            if keep:
                require_close(total, expected_sum, dtype)
            else:
                assert total is None


def test_phases_of_a_map_without_pixels(kernels: Kernels) -> None:
    args, _ = arguments((2, 32, 4, 1, 3), torch.float32)
    args[0] = torch.ones(2, 4 * 32, 1, 3)
    for way in (group_norm, lambda *a, **o: kernels(group_norm, *a, **o)):
        out, total = way(*args, phases=True, keep=True)
        assert out.shape == total.shape == (2, 32, 0, 4)


@pytest.mark.parametrize("added", ["", "offset", "residual", "offset residual"])
def test_torch_against_the_reference(added: str) -> None:
    args, options = arguments(SHAPES[1], torch.float32, added=added)
    options["keep"] = True
    results = zip(group_norm(*args, **options), group_norm.reference(*args, **options), strict=True)
    for got, expected in results:
        require_close(got, expected, torch.float32)


def test_a_large_mean_does_not_drown_the_variance(kernels: Kernels) -> None:
    args, _ = arguments(SHAPES[3], torch.float32)
    args[0] = args[0] + 1000.0  # squares would have no bit left for a variance of 1
    out, _ = kernels(group_norm, *args)
    expected, _ = group_norm.reference(*args)
    assert bool(((out.double() - expected).abs() < 1e-3).all())


def test_the_same_bits_from_call_to_call(kernels: Kernels) -> None:
    args, options = arguments(SHAPES[3], torch.bfloat16, added="offset residual")
    first, second = (kernels(group_norm, *args, **options)[0] for _ in range(2))
    assert torch.equal(first.view(torch.int16), second.view(torch.int16))


def test_maps_may_begin_anywhere(kernels: Kernels) -> None:
    args, options = arguments(SHAPES[0], torch.float32, added="residual")
    expected, _ = kernels(group_norm, *args, **options)

    def moved(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        place = x.new_empty(1 + x.numel())[1:].view(n, h, w, c).permute(0, 3, 1, 2)
        return place.copy_(x)

    def call(x: Tensor, *vectors: Tensor, residual: Tensor) -> Tensor:
        return group_norm(moved(x), *vectors, residual=moved(residual))[0]

    assert torch.equal(kernels(call, *args, **options), expected)


def test_values_that_are_not_finite_stay_so(kernels: Kernels) -> None:
    args, _ = arguments(SHAPES[0], torch.float32)
    args[0][0, 0, 2, 3] = float("nan")
    out, _ = kernels(group_norm, *args)
    assert bool(torch.isnan(out[:, :2]).all())
    assert bool(torch.isfinite(out[:, 2:]).all())


def test_refusals() -> None:
    args, _ = arguments(SHAPES[0], torch.float32)
    with pytest.raises(InvalidArgumentError, match=r"group_norm: x: expected \[n, c, h, w\]"):
        group_norm(args[0][0], *args[1:])
    with pytest.raises(InvalidArgumentError, match="residual: expected the shape of x"):
        group_norm(*args, residual=args[0][:, :, 1:])
    with pytest.raises(InvalidArgumentError, match="residual: expected none beside phases"):
        group_norm(*args, residual=args[0], phases=True)
    with pytest.raises(InvalidArgumentError, match="groups: expected a divisor of"):
        group_norm(args[0], 7, *args[2:])
    with pytest.raises(InvalidArgumentError, match=r"weight: expected \[64\], got \(63,\)"):
        group_norm(args[0], args[1], args[2][1:], *args[3:])
    for place in (0, 2, 3):
        there = [a.to("meta") if n == place else a for n, a in enumerate(args)]
        with pytest.raises(InvalidArgumentError, match="expected the device of x"):
            group_norm(*there)
    with pytest.raises(InvalidArgumentError, match="gradients"):
        group_norm(args[0].requires_grad_(), *args[1:])
