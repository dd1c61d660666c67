# SPDX-License-Identifier: Apache-2.0
"""The exact layers on a CUDA device beside torch's in float32, on the official model at 1080p.

Both sides are replayed from a CUDA graph. Our bits are compared with the CPU's before anything is
timed. Two ceilings are printed: what the device's fused multiply-adds could do at its highest
clock, which heat keeps it from holding, and what torch's product of two large matrices reaches.
"""

import ctypes
import functools
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench_exact import FULL_HD, check_near
from benchmarks.harness import FAST, Race
from benchmarks.on_device import ON_DEVICE, replayed, waited
from glc.models.blocks import DepthConvBlock
from glc.models.config import preset
from glc.models.context import ContextModel
from glc.ops import exact_conv2d, exact_depth_conv_block, four_part_pick

pytestmark = ON_DEVICE

HALF = (34, 60)
REPEATS = 8  # of a layer in a graph
CHECKED_ROWS = 8  # of the output, against the CPU's bits
PART_TOLERANCE = 1e-3  # of a dozen float32 layers in a row, against torch's


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device on which torch's layers compute in float32, by the fastest algorithm it finds."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    return torch.device("cuda")


@functools.cache
def peak() -> float:
    """Operations a second of all fused multiply-adds at the highest clock."""
    clock_rate = 13  # CU_DEVICE_ATTRIBUTE_CLOCK_RATE, in kHz
    value = ctypes.c_int()
    driver = ctypes.CDLL("libcuda.so.1")
    if driver.cuDeviceGetAttribute(ctypes.byref(value), clock_rate, 0) != 0:
        raise RuntimeError("the driver does not tell the clock")
    lanes = 64 if torch.cuda.get_device_capability() == (8, 0) else 128  # of a multiprocessor
    n_processors = torch.cuda.get_device_properties(0).multi_processor_count
    return n_processors * lanes * 2 * value.value * 1e3


@functools.cache
def torch_product() -> float:
    """Operations a second of torch's float32 product of two large squares, the best of a few."""
    side, rates = 1024 if FAST else 8192, []
    a, b = torch.randn(2, side, side, device="cuda")
    product = waited(lambda: a @ b)
    for _ in range(6):
        begin = time.perf_counter()
        product()
        rates.append(2 * side**3 / (time.perf_counter() - begin))
    return max(rates)


def run(
    race: Race,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    check: Callable[..., None],
    n_operations: int,
    repeats: int = REPEATS,
) -> None:
    with torch.inference_mode():
        ceilings = {"peak": peak(), "torch's product": torch_product()}
        result = race(
            replayed(ours, repeats),
            {"torch": replayed(theirs, repeats)},
            check=check,
            work=n_operations * repeats,
            unit="FLOP",
            notes={f"{name}, TFLOP/s": rate / 1e12 for name, rate in ceilings.items()},
        )
    rate = result.work / result.ours.median_s
    shares = ", ".join(f"{rate / ceiling:.1%} of {name}" for name, ceiling in ceilings.items())
    print(f"{result.name}: {rate / 1e12:.1f} TFLOP/s, {shares}")


def layers() -> list[object]:
    cases = [
        ("h_s.subpel", 256, 1024, 1, HALF),
        ("h_s.conv", 256, 256, 3, HALF),
        ("h_s.conv", 256, 256, 3, FULL_HD),
        ("fusion.gate", 768, 3072, 1, FULL_HD),
        ("reduction", 768, 256, 1, FULL_HD),
        ("prior.project", 512, 512, 1, FULL_HD),
        ("prior.gate", 512, 2048, 1, FULL_HD),
        ("prior.contract", 1024, 512, 1, FULL_HD),
    ]
    return [
        pytest.param(a, b, k, size, id=f"{name} {a}-{b} {k}x{k} {size[0]}x{size[1]}")
        for name, a, b, k, size in cases
    ]


@pytest.mark.parametrize(("a", "b", "kernel", "size"), layers())
def bench_conv(
    race: Race, device: torch.device, a: int, b: int, kernel: int, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    k = a * kernel**2
    x = torch.randn(1, a, *size, generator=generator)
    weight = torch.randn(b, a, kernel, kernel, generator=generator) / k**0.5
    bias = torch.randn(b, generator=generator)
    above = x[:, :, : CHECKED_ROWS + kernel // 2].contiguous()
    same = exact_conv2d.plain(above, weight, bias)[:, :, :CHECKED_ROWS]
    x, weight, bias = x.to(device), weight.to(device), bias.to(device)
    near = check_near(exact_conv2d.reference(x, weight, bias))

    def check(ours: Tensor, peers: dict[str, Tensor]) -> None:
        near(ours, peers)
        assert torch.equal(ours[:, :, :CHECKED_ROWS].cpu(), same)

    run(
        race,
        lambda: exact_conv2d.plain(x, weight, bias),
        lambda: F.conv2d(x, weight, bias, padding=kernel // 2),
        check,
        2 * k * b * size[0] * size[1],
    )


@pytest.mark.parametrize(("a", "b", "size"), [
    pytest.param(512, 512, FULL_HD, id="prior 512"),
    pytest.param(256, 512, FULL_HD, id="fusion 256-512"),
    pytest.param(256, 256, FULL_HD, id="h_s 256"),
])  # fmt: skip
def bench_block(race: Race, device: torch.device, a: int, b: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = DepthConvBlock(a, b).requires_grad_(False)
    x = torch.randn(1, a, *size)
    above = x[:, :, : CHECKED_ROWS + 1].contiguous()
    same = exact_depth_conv_block.plain(above, block.exact_weights())[:, :, :CHECKED_ROWS]
    block, x = block.to(device), x.to(device)
    weights = block.exact_weights()
    near = check_near(exact_depth_conv_block.reference(x, weights))

    def check(ours: Tensor, peers: dict[str, Tensor]) -> None:
        near(ours, peers)
        assert torch.equal(ours[:, :, :CHECKED_ROWS].cpu(), same)

    adaptor = 0 if a == b else a * b
    run(
        race,
        lambda: exact_depth_conv_block.plain(x, weights),
        lambda: block(x),
        check,
        2 * (a * a + 9 * a + a * b + adaptor + 6 * b * b) * size[0] * size[1],
    )


def bench_depthwise(race: Race, device: torch.device) -> None:
    channels = 512
    x, bias = torch.randn(1, channels, *FULL_HD), torch.randn(channels)
    weight = torch.randn(channels, 1, 3, 3) / 3
    same = exact_conv2d.plain(x, weight, bias, groups=channels)
    x, weight, bias = x.to(device), weight.to(device), bias.to(device)

    def check(ours: Tensor, peers: dict[str, Tensor]) -> None:
        check_near(exact_conv2d.reference(x, weight, bias, groups=channels))(ours, peers)
        assert torch.equal(ours.cpu(), same)

    run(
        race,
        lambda: exact_conv2d.plain(x, weight, bias, groups=channels),
        lambda: F.conv2d(x, weight, bias, padding=1, groups=channels),
        check,
        2 * 9 * channels * FULL_HD[0] * FULL_HD[1],
    )


def bench_part(race: Race, device: torch.device) -> None:
    """All layers of one part: ours compute the last one only where the part's positions are."""
    torch.manual_seed(0)
    context = ContextModel(preset("glc-image")).requires_grad_(False).to(device).eval()
    n = preset("glc-image").latent_channels
    seen = torch.randn(1, 2 * n, *FULL_HD, device=device)
    params = seen.new_empty(1, 3 * n, *FULL_HD)  # which parts after the first do not read
    y_hat, known = (half.contiguous() for half in seen.chunk(2, dim=1))
    with FlopCounterMode(display=False) as counter:
        context.part_params(1, params, known, y_hat)
    # by ours, which has the last convolution at a fourth of its outputs
    last = context.prior[-1]
    assert isinstance(last, DepthConvBlock)
    n_weights = last.exact_weights().contract.numel()
    not_computed = 2 * n_weights * FULL_HD[0] * FULL_HD[1] * 3 // 4

    def check(ours: tuple[Tensor, Tensor], peers: dict[str, tuple[Tensor, Tensor]]) -> None:
        for exact, whole in zip(ours, peers["torch"], strict=True):
            there = four_part_pick(whole.contiguous(), 1)
            torch.testing.assert_close(exact, there, rtol=PART_TOLERANCE, atol=PART_TOLERANCE)

    run(
        race,
        lambda: context.exact_part_params(1, seen),
        lambda: context.part_params(1, params, known, y_hat),
        check,
        counter.get_total_flops() - not_computed,
        repeats=1,
    )
