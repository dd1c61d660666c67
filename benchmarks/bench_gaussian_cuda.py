# SPDX-License-Identifier: Apache-2.0
"""Gaussian rates, symbols and rows, and the four-part step on a CUDA device, beside torch.

`replayed` compares kernels, several calls of a small size at a time, `waited` what a caller sees.
Rates are trained through: forward and backward of their sum, which torch.compile fuses. It takes
seconds a case, so it takes part in a few.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.bench_gaussian import (
    authors_masks,
    authors_pass,
    bits_by_erf,
    bits_by_normal,
    check_equal_maps,
    inputs,
    our_pass,
    rounded,
)
from benchmarks.harness import Race
from benchmarks.on_device import ON_DEVICE, replayed, waited
from glc import cdf
from glc.ops import (
    gaussian_bits,
    gaussian_symbols,
)

DEVICE = "cuda"
# y of a 1920x1088 picture, of 16 training crops of 256x256, and of eight pictures
SIZES = {"1080p": (1, 256, 68, 120), "crops": (16, 256, 16, 16), "large": (8, 256, 68, 120)}
COMPILED = {
    ("1080p", "ste"),
    ("1080p", "noise"),
    ("crops", "noise"),
    ("large", "ste"),
    ("large", "noise"),
}
# of a graph, whose launch takes as long as a call of a small size
CALLS = {"1080p": 8, "crops": 8, "large": 1}
TIMED = ("replayed", "waited")
MEAN_BITS_RTOL = 1e-2  # of a million symbols under other noise
SUM_RTOL = 1e-6

pytestmark = [
    *ON_DEVICE,
    pytest.mark.parametrize("timed", TIMED),
    pytest.mark.parametrize("size", SIZES),
]


@functools.cache
def on_device(size: str) -> list[Tensor]:
    return [t.to(DEVICE) for t in inputs(SIZES[size])]


def finished(timed: str, size: str, call: Callable[[], Any]) -> Callable[[], Any]:
    return waited(call) if timed == "waited" else replayed(call, CALLS[size])


def work(timed: str, size: str, item_bytes: int, **notes: object) -> dict[str, Any]:
    """Tell a race of its work; a symbol moves item_bytes."""
    calls = 1 if timed == "waited" else CALLS[size]
    symbols = calls * math.prod(SIZES[size])
    notes |= {"calls": calls} if calls > 1 else {}
    return {"work": symbols, "unit": "sym", "moved_bytes": symbols * item_bytes, "notes": notes}


def symbol(residual: Tensor, rounding: str) -> Tensor:
    if rounding == "noise":
        return residual + (torch.rand_like(residual) - 0.5)
    return rounded(residual)


def sum_by_erf(rounding: str, y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return bits_by_erf(symbol(y - mean, rounding), scale).sum()


def sum_by_normal(rounding: str, y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return bits_by_normal(symbol(y - mean, rounding), scale).sum()


def our_sum(rounding: Any, y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return gaussian_bits(y, mean, scale, rounding=rounding, reduction="sum")


@functools.cache
def compiled(rounding: str) -> Callable[..., Tensor]:
    return torch.compile(functools.partial(sum_by_erf, rounding), fullgraph=True, dynamic=False)


@pytest.mark.parametrize(
    ("rounding", "weight"), [("ste", "same"), ("noise", "same"), ("ste", "new")]
)
def bench_bits_forward_backward(
    race: Race, size: str, timed: str, rounding: str, weight: str
) -> None:
    """A loss whose weight stays the same, which is foreseen, or is new in each pass."""
    tensors = on_device(size)
    leaves = [t.clone().requires_grad_() for t in tensors]
    weights = torch.ones((), device=DEVICE)

    def graded(total: Callable[..., Tensor]) -> Callable[[], Any]:
        def run() -> tuple[Tensor, tuple[Tensor, ...]]:
            bits = total(*leaves)
            if weight == "new":
                weights.add_(2.0**-20)
            return bits.detach(), torch.autograd.grad(bits, leaves, weights)

        return run

    sides = {"torch eager": graded(functools.partial(sum_by_erf, rounding))}
    if timed == "waited":  # torch.distributions looks at its arguments, and waits for that
        sides["the authors"] = graded(functools.partial(sum_by_normal, rounding))
    notes = {}
    if (size, rounding) in COMPILED:
        try:
            graded(compiled(rounding))()
            sides["torch.compile"] = graded(compiled(rounding))
        except Exception as error:  # a compiler that does not work here is no reason to stop
            notes["torch.compile"] = f"does not work here: {type(error).__name__}"

    def check(ours: Any, peers: dict[str, Any]) -> None:
        if rounding == "noise":
            for theirs in peers.values():
                assert abs(ours[0] / theirs[0] - 1) < MEAN_BITS_RTOL
            return
        reference = gaussian_bits.reference(*tensors, rounding="ste").sum()
        assert abs(ours[0].double() / reference - 1) < SUM_RTOL
        for mine, theirs in zip(ours[1], peers["torch eager"][1], strict=True):
            assert (mine - theirs).abs().mean() < 1e-3

    race(
        finished(timed, size, graded(functools.partial(our_sum, rounding))),
        {name: finished(timed, size, side) for name, side in sides.items()},
        check=check,
        # three read, twice if the gradient is new, and three written
        **work(timed, size, (9 if weight == "new" else 6) * 4, **notes),
    )


def bench_symbols_and_rows(race: Race, size: str, timed: str) -> None:
    y, mean, scale = on_device(size)
    bounds = torch.from_numpy(cdf.canonical()[1].copy()).to(DEVICE)

    def by_torch() -> tuple[Tensor, Tensor]:
        return (y - mean).round().to(torch.int32), torch.bucketize(scale, bounds).to(torch.uint8)

    def check(ours: Any, peers: dict[str, Any]) -> None:
        for mine, theirs in zip(ours, peers["bucketize"], strict=True):
            assert torch.equal(mine, theirs)

    race(
        finished(timed, size, lambda: gaussian_symbols.plain(y, mean, scale, bounds)),
        {"bucketize": finished(timed, size, by_torch)},
        check=check,
        **work(timed, size, 17),
    )


def bench_four_part(race: Race, size: str, timed: str) -> None:
    """A whole pass of four steps, the maps of the parts being given."""
    y = on_device(size)[0]
    means, scales = (
        [y * (1 + 0.1 * i) for i in numbers] for numbers in ((5, 6, 7, 8), range(1, 5))
    )
    kept_masks = authors_masks(SIZES[size], DEVICE)

    @torch.no_grad()
    def plain_torch() -> Any:
        return authors_pass(y, scales, means, authors_masks(SIZES[size], DEVICE))

    @torch.no_grad()
    def with_kept_masks() -> Any:
        return authors_pass(y, scales, means, kept_masks)

    race(
        finished(timed, size, lambda: our_pass(y, scales, means)),
        {
            "plain torch": finished(timed, size, plain_torch),
            "plain torch, masks kept": finished(timed, size, with_kept_masks),
        },
        check=check_equal_maps,
        **work(timed, size, 17 * 4),
    )
