# SPDX-License-Identifier: Apache-2.0
"""What lies between two convolutions of the authors' D on a device: bias, residual, norm and SiLU.

The peers are torch's own ops on the same map, in channels_last and as they like it best, in NCHW;
each call is replayed from a CUDA graph. Shapes are D's at 1080p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import FAST, Race
from benchmarks.on_device import ON_DEVICE, replayed
from glc.ops import group_norm

pytestmark = [*ON_DEVICE]

DEVICE = "cuda"
GROUPS, EPS = 32, 1e-6
SHAPES = {"finest": (128, 1088, 1920), "coarsest": (512, 68, 120)}
ATOL = 0.05  # float16, after a residual and a norm

Call = Callable[[], tuple[Tensor, Tensor | None]]


@pytest.mark.parametrize("residual", [True, False], ids=["residual", "bias"])
@pytest.mark.parametrize("size", SHAPES)
def test_group_norm(race: Race, size: str, residual: bool) -> None:
    channels, height, width = (side // 8 if FAST else side for side in SHAPES[size])
    x, added = (torch.randn(1, channels, height, width, device=DEVICE).half() for _ in range(2))
    weight, bias, offset = torch.randn(3, channels, device=DEVICE)

    def by_torch(x: Tensor, added: Tensor) -> Call:
        gain, shift = weight.half(), bias.half()
        column = offset.half().view(-1, 1, 1)

        def call() -> tuple[Tensor, Tensor | None]:
            total = x + column
            if residual:
                total = total + added
            return F.silu(F.group_norm(total, GROUPS, gain, shift, EPS)), total

        return replayed(call)

    last, last_added = (t.contiguous(memory_format=torch.channels_last) for t in (x, added))

    def ours() -> tuple[Tensor, Tensor | None]:
        return group_norm.plain(
            last,
            GROUPS,
            weight,
            bias,
            EPS,
            offset=offset,
            residual=last_added if residual else None,
            keep=residual,
        )

    def check(mine: Any, theirs: dict[str, Any]) -> None:
        for out, _ in theirs.values():
            assert bool(((mine[0] - out).abs() <= ATOL * out.abs().clamp(min=1.0)).all())

    maps = 5 if residual else 3  # read for the sums and for the values, written; and sum, residual
    race(
        replayed(ours),
        {"torch channels_last": by_torch(last, last_added), "torch NCHW": by_torch(x, added)},
        check=check,
        work=x.numel(),
        unit="elements",
        moved_bytes=float(maps * x.numel() * x.element_size()),
    )
