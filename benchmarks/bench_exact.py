# SPDX-License-Identifier: Apache-2.0
"""The exact layers beside torch's (oneDNN, MKL), on the shapes of the entropy path's layers.

The notes say how much of the CPU's fused multiply-adds are reached: `% of FMA` is measured against
a loop over registers, with one thread, just before the race.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import glc
from benchmarks.harness import FAST, Race
from glc import _core
from glc.entropy_path import walk_parts
from glc.model_in_use import coding_networks
from glc.models.blocks import DepthConvBlock
from glc.models.config import preset
from glc.models.glc import GLC
from glc.ops import exact_conv2d, exact_depth_conv_block

RTOL = 1e-4  # float32 sums of up to 2304 terms near 1 against float64
KODAK, FULL_HD = (32, 48), (68, 120)  # latent positions of 768x512 and 1080p


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads(), glc.get_num_threads()
    torch.set_num_threads(request.param)
    glc.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before[0])
    glc.set_num_threads(before[1])


def conv_cases() -> list[object]:
    layers = [
        # official model: h_s at half and whole resolution, fusion, reduction, spatial prior
        ("h_s.subpel", 256, 1024, 1, (16, 24)),
        ("h_s.conv", 256, 256, 3, KODAK),
        ("fusion.gate", 768, 3072, 1, KODAK),
        ("reduction", 768, 256, 1, KODAK),
        ("prior.project", 512, 512, 1, KODAK),
        ("prior.gate", 512, 2048, 1, KODAK),
        ("prior.contract", 1024, 512, 1, KODAK),
        ("prior.project", 512, 512, 1, FULL_HD),
        # the small model
        ("small h_s.conv", 96, 96, 3, KODAK),
        ("small gate", 96, 384, 1, KODAK),
        ("small adaptor", 192, 128, 1, KODAK),
        ("small prior.gate", 128, 512, 1, FULL_HD),
    ]
    return [
        pytest.param(a, b, k, size, id=f"{name} {a}-{b} {k}x{k} {size[0]}x{size[1]}")
        for name, a, b, k, size in layers
    ]


def check_near(expected: torch.Tensor) -> Callable[..., None]:
    def check(ours: torch.Tensor, peers: dict[str, torch.Tensor]) -> None:
        for out in (ours, *peers.values()):
            torch.testing.assert_close(out.double(), expected, rtol=RTOL, atol=RTOL)

    return check


def fma_ceiling() -> float:
    """Operations a second of one thread, the best of several runs of 10 ms."""
    n, rates = 100_000, []
    for _ in range(3 if FAST else 20):
        begin = time.process_time()
        n_operations = _core.exact_spin(n)
        rates.append(n_operations / max(time.process_time() - begin, 1e-9))
    return max(rates)


def run(race: Race, n_threads: int, ours, theirs, expected, n_operations: int) -> None:
    with torch.inference_mode():
        ceiling = fma_ceiling()
        result = race(
            ours,
            {"torch": theirs},
            check=check_near(expected),
            work=n_operations,
            unit="FLOP",
            threads=n_threads > 1,
            notes={"one thread's FMA ceiling, GFLOP/s": ceiling / 1e9},
        )
    share = n_operations / result.ours.median_s / (n_threads * ceiling)
    print(f"{result.name}: {100 * share:.0f} % of the FMA ceiling")


@pytest.mark.parametrize(("a", "b", "kernel", "size"), conv_cases())
def bench_conv(race: Race, n_threads: int, a: int, b: int, kernel: int, size) -> None:
    generator = torch.Generator().manual_seed(0)
    k = a * kernel**2
    x = torch.randn(1, a, *size, generator=generator)
    weight = torch.randn(b, a, kernel, kernel, generator=generator) / k**0.5
    bias = torch.randn(b, generator=generator)
    run(
        race,
        n_threads,
        lambda: exact_conv2d.plain(x, weight, bias),
        lambda: F.conv2d(x, weight, bias, padding=kernel // 2),
        exact_conv2d.reference(x, weight, bias),
        2 * k * b * size[0] * size[1],
    )


@pytest.mark.parametrize(("a", "b", "size"), [
    pytest.param(512, 512, KODAK, id="prior 512"),
    pytest.param(256, 512, KODAK, id="fusion 256-512"),
    pytest.param(128, 128, KODAK, id="small prior 128"),
    pytest.param(96, 96, FULL_HD, id="small h_s 96, 1080p"),
])  # fmt: skip
def bench_block(race: Race, n_threads: int, a: int, b: int, size) -> None:
    torch.manual_seed(0)
    block = DepthConvBlock(a, b).requires_grad_(False)
    x = torch.randn(1, a, *size)
    weights = block.exact_weights()
    adaptor = 0 if a == b else a * b
    run(
        race,
        n_threads,
        lambda: exact_depth_conv_block.plain(x, weights),
        lambda: block(x),
        exact_depth_conv_block.reference(x, weights),
        2 * (a * a + 9 * a + a * b + adaptor + 6 * b * b) * size[0] * size[1],
    )


@pytest.mark.parametrize("channels", [512, 96])
def bench_depthwise(race: Race, n_threads: int, channels: int) -> None:
    x, bias = torch.randn(1, channels, *KODAK), torch.randn(channels)
    weight = torch.randn(channels, 1, 3, 3) / 3
    run(
        race,
        n_threads,
        lambda: exact_conv2d.plain(x, weight, bias, groups=channels),
        lambda: F.conv2d(x, weight, bias, padding=1, groups=channels),
        exact_conv2d.reference(x, weight, bias, groups=channels),
        2 * 9 * channels * KODAK[0] * KODAK[1],
    )


class NoSymbols:
    """A stream in which every symbol is zero; what decoding costs does not depend on them."""

    def symbols(self, kit, part, rows, mean, step):
        return kit.xp.zeros_like(rows, dtype=kit.xp.int32), 0

    def require_finite(self, name, value):
        assert np.isfinite(value).all()


@pytest.mark.parametrize(("preset_name", "side"), [("glc-image", 256), ("glc-image-small", 512)])
def bench_share_of_decoding(race: Race, n_threads: int, preset_name: str, side: int) -> None:
    """The whole entropy path against what else decodes a picture: the ratio is rest / path."""
    torch.manual_seed(0)
    model = GLC(preset(preset_name)).eval()
    h = side // model.pad_multiple
    z_index = np.random.default_rng(0).integers(model.config.hyper_codebook_size, size=(1, h, h))
    networks = coding_networks(model)

    def path() -> torch.Tensor:
        return torch.from_numpy(walk_parts(networks, z_index, NoSymbols()).latent)

    def check(y_hat: torch.Tensor, peers: dict[str, torch.Tensor]) -> None:
        assert tuple(peers["g_s and D"].shape) == (1, 3, side, side)
        assert bool(torch.isfinite(y_hat).all())

    with torch.inference_mode():
        y_hat = path()
        result = race(
            path,
            {"g_s and D": lambda: model.reconstruct(model.synthesis(y_hat, 2.0))},
            check=check,
            work=side**2,
            unit="px",
            threads=n_threads > 1,
        )
    print(f"{result.name}: {100 / (1 + result.ratios['g_s and D']):.1f} % of decoding")
