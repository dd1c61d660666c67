# SPDX-License-Identifier: Apache-2.0
"""Exact layers: the reference, the order of sums bit for bit, and what must not change a bit."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import glc
from glc.errors import InvalidArgumentError
from glc.models.blocks import DepthConvBlock, ResidualBlockUpsample
from glc.ops import (
    exact,
    exact_conv2d,
    exact_conv_heads,
    exact_depth_conv_block,
    exact_depth_conv_heads,
)

RTOL = 1e-5  # float32 chains of up to 600 terms against float64
PHASES = [(0, 0), (0, 1), (1, 0), (1, 1)]
OPTIONS = [
    {},
    {"stride": 2},
    {"slope": 0.1},
    {"shuffle": 2},
    {"slope": 0.01, "shuffle": 2},
]


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator)


def conv_arguments(kernel, h, w, channels=(5, 12)):
    a, b = channels
    return random(2, a, h, w), random(b, a, kernel, kernel) / (a * kernel**2) ** 0.5, random(b)


def block(a, b, seed=0):
    torch.manual_seed(seed)
    return DepthConvBlock(a, b).requires_grad_(False)


def fused(x, y, total):
    """fma(x, y, total) in float32: the product is exact in float64, the sum is rounded to odd
    there, and so rounds once to float32."""
    product = x.astype(np.float64) * y.astype(np.float64)
    wide = total.astype(np.float64)
    rounded = product + wide
    back = rounded - product
    error = (product - (rounded - back)) + (wide - back)
    bits = rounded.view(np.int64)
    inexact = (error != 0) & (bits & 1 == 0)
    toward = np.where((error > 0) == (rounded > 0), 1, -1)
    return np.where(inexact, bits + toward, bits).view(np.float64).astype(np.float32)


def chain(x, weight, bias):
    """One image's convolution in the normative order, [b, h, w]."""
    x, weight, bias = (t.numpy() for t in (x, weight, bias))
    a, h, w = x.shape
    kernel = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    total = np.broadcast_to(bias[:, None, None], (weight.shape[0], h, w)).copy()
    for i in range(kernel):
        for j in range(kernel):
            for c in range(a):
                shifted = np.broadcast_to(padded[c, i : i + h, j : j + w], total.shape)
                taps = np.broadcast_to(weight[:, c, i, j, None, None], total.shape)
                total = fused(shifted, taps, total)
    return total


def test_fused_rounds_once():
    one = np.float32(1)
    ulp = np.float32(2**-23)
    x, y = one - ulp, (one + ulp) * np.float32(2**-24)  # together just below a tie
    assert fused(np.array([x]), np.array([y]), np.array([one + ulp]))[0] == one + ulp
    assert np.float32(np.float64(x) * y + np.float64(one + ulp)) != one + ulp


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (3, 5), (7, 17), (9, 49)])
@pytest.mark.parametrize("options", OPTIONS)
def test_conv_is_near_the_reference(kernel, h, w, options):
    arguments = conv_arguments(kernel, h, w)
    got = exact_conv2d(*arguments, **options)
    expected = exact_conv2d.reference(*arguments, **options)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=RTOL, atol=RTOL)


def test_empty_maps():
    assert exact_conv2d(torch.zeros(1, 3, 0, 4), random(8, 3, 3, 3), None).shape == (1, 8, 0, 4)
    assert exact_conv2d(torch.zeros(0, 3, 5, 4), random(8, 3, 1, 1), None).shape == (0, 8, 5, 4)
    x = torch.zeros(2, 3, 5, 0)
    assert exact_conv2d(x, random(3, 1, 3, 3), None, groups=3).shape == x.shape
    assert block(3, 4).exact(x).shape == (2, 4, 5, 0)


def test_conv_adds_a_residual_last():
    x, weight, bias = conv_arguments(3, 6, 7)
    residual = random(2, 12, 6, 7)
    got = exact_conv2d(x, weight, bias, slope=0.1, residual=residual)
    assert torch.equal(got, exact_conv2d(x, weight, bias, slope=0.1) + residual)


def test_no_bias_is_a_zero_bias():
    x, weight, bias = conv_arguments(1, 4, 4)
    assert torch.equal(exact_conv2d(x, weight, None), exact_conv2d(x, weight, bias * 0))


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 33), (13, 16)])
def test_depthwise_is_near_the_reference(h, w):
    x, weight, bias = random(2, 6, h, w), random(6, 1, 3, 3), random(6)
    got = exact_conv2d(x, weight, bias, groups=6)
    expected = exact_conv2d.reference(x, weight, bias, groups=6)
    torch.testing.assert_close(got.double(), expected, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize(("kernel", "channels"), [(1, (300, 9)), (3, (70, 5)), (3, (1, 1))])
@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e30])
def test_conv_is_the_chain_bit_for_bit(kernel, channels, scale):
    x, weight, bias = conv_arguments(kernel, 5, 19, channels)
    got = exact_conv2d(x * scale, weight, bias * scale)[0]
    np.testing.assert_array_equal(got.numpy(), chain(x[0] * scale, weight, bias * scale))


def test_depthwise_is_the_chain_bit_for_bit():
    x, weight, bias = random(1, 3, 6, 21), random(3, 1, 3, 3), random(3)
    got = exact_conv2d(x, weight, bias, groups=3)[0]
    for c in range(3):
        expected = chain(x[0, c : c + 1], weight[c : c + 1], bias[c : c + 1])[0]
        np.testing.assert_array_equal(got[c].numpy(), expected)


@pytest.mark.parametrize(("a", "b"), [(8, 8), (8, 24), (24, 8), (3, 5)])
def test_block_is_near_the_reference_and_the_layers(a, b):
    x, layers = random(2, a, 6, 10), block(a, b)
    got = exact_depth_conv_block(x, layers.exact_weights())
    expected = exact_depth_conv_block.reference(x, layers.exact_weights())
    torch.testing.assert_close(got.double(), expected, rtol=RTOL, atol=RTOL)
    torch.testing.assert_close(got, layers(x), rtol=RTOL, atol=RTOL)


def test_block_is_its_layers_bit_for_bit():
    x, w = random(1, 6, 7, 11), block(6, 10).exact_weights()
    expanded = exact_conv2d(x, w.expand, w.expand_bias, slope=w.depth_slope)
    spatial = exact_conv2d(expanded, w.depthwise, w.depthwise_bias, groups=6)
    skip = exact_conv2d(x, w.adaptor, w.adaptor_bias)
    spatial = exact_conv2d(spatial, w.project, w.project_bias, residual=skip)
    u, v = exact_conv2d(spatial, w.gate, w.gate_bias).chunk(2, dim=1)
    gated = u * torch.where(v > 0, v, v * w.gate_slope)
    expected = exact_conv2d(gated, w.contract, w.contract_bias, residual=spatial)
    assert torch.equal(exact_depth_conv_block(x, w), expected)


def test_upsampling_block_is_near_its_layers():
    torch.manual_seed(0)
    layers = ResidualBlockUpsample(6, 8).requires_grad_(False)
    x = random(1, 6, 3, 5)
    torch.testing.assert_close(layers.exact(x), layers(x), rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize(("h", "w"), [(8, 12), (5, 7), (1, 1)])
def test_heads_are_cut_from_the_whole(h, w):
    x, layers, conv = random(2, 8, h, w), block(8, 16), nn.Conv2d(8, 16, 1).requires_grad_(False)
    whole = {
        "block": exact_depth_conv_block(x, layers.exact_weights()),
        "conv": exact_conv2d(x, conv.weight, conv.bias),
    }
    heads = {
        "block": exact_depth_conv_heads(x, layers.exact_weights(), PHASES),
        "conv": exact_conv_heads(x, conv.weight, conv.bias, PHASES),
    }
    for name, full in whole.items():
        for g, (row, col) in enumerate(PHASES):
            channels = [2 * g, 2 * g + 1, 8 + 2 * g, 9 + 2 * g]
            assert torch.equal(heads[name][g], full[:, channels, row::2, col::2])


def calls():
    """One call of every layer, with denormals in and out."""
    x = random(1, 16, 9, 25) * torch.logspace(-44, 3, 25)
    weight, depthwise = random(24, 16, 3, 3), random(16, 1, 3, 3)
    weights = block(16, 16).exact_weights()
    return [
        lambda: exact_conv2d(x, weight, None, slope=0.01),
        lambda: exact_conv2d(x, depthwise, None, groups=16),
        lambda: exact_depth_conv_block(x, weights),
    ]


def results():
    return [call() for call in calls()]


def test_threads_flags_and_formats_change_no_bit():
    layers = calls()
    expected = [layer() for layer in layers]
    assert all(bool(((t != 0) & (t.abs() < 2**-126)).any()) for t in expected[:2])
    before = torch.get_num_threads(), glc.get_num_threads()
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            glc.set_num_threads(n_threads)
            torch.set_flush_denormal(True)
            got = [layer() for layer in layers]
            torch.set_flush_denormal(False)
            # compared as integers: whether a flush is in force must not matter here either
            assert all(
                torch.equal(a.view(torch.int32), b.view(torch.int32))
                for a, b in zip(got, expected, strict=True)
            )
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before[0])
        glc.set_num_threads(before[1])
    x, weight, bias = conv_arguments(3, 6, 7)
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(exact_conv2d(last, weight, bias), exact_conv2d(x, weight, bias))


def test_every_instruction_set_of_this_cpu_gives_the_same_bits():
    script = (
        "import hashlib, torch\n"
        "from tests.ops.test_exact import results\n"
        "for t in results(): print(hashlib.sha256(t.numpy().tobytes()).hexdigest())"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    outputs = {}
    features = set(glc.build_info()["cpu_features"])
    for simd in ("scalar", *sorted(features & {"neon", "avx2", "avx512"})):
        environment = os.environ | {"GLC_SIMD": simd, "PYTHONPATH": root}
        run = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        )
        outputs[simd] = run.stdout
    assert len(outputs["scalar"].split()) == 3
    assert set(outputs.values()) == {outputs["scalar"]}


@pytest.mark.skipif(sys.platform != "linux", reason="sets the rounding of glibc's threads")
def test_a_thread_that_rounds_upwards_gets_the_scalar_kernels():
    script = (
        "import ctypes, platform\n"
        "from tests.ops.test_exact import results\n"
        "upwards = 0x800 if platform.machine() == 'x86_64' else 0x400000\n"
        "assert ctypes.CDLL('libm.so.6').fesetround(upwards) == 0\n"
        "results()"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    environment = os.environ | {"GLC_SIMD": "scalar", "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, cwd=root)


def test_changed_weights_are_seen():
    x, weight, bias = conv_arguments(1, 4, 4)
    first = exact_conv2d(x, weight, bias)
    weight.mul_(2)
    bias.mul_(2)
    assert torch.equal(exact_conv2d(x, weight, bias), 2 * first)
    layers = block(4, 4)
    before = layers.exact(x[:, :4])
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.zero_()
    assert torch.equal(layers.exact(x[:, :4]), x[:, :4])
    assert not torch.equal(before, x[:, :4])


def test_weights_changed_behind_autograds_back_are_seen():
    x, weight, bias = conv_arguments(1, 4, 4)
    for changed in (weight, bias):
        for at in (0, changed.numel() - 1):
            before = exact_conv2d(x, weight, bias)
            changed.numpy().flat[at] += 1
            assert torch.equal(exact_conv2d(x, weight, bias), exact_conv2d(x, weight + 0, bias))
            assert not torch.equal(exact_conv2d(x, weight, bias), before)
    layers, other = block(4, 4), block(4, 4)
    layers.exact(x[:, :4])
    for parameter, source in zip(layers.parameters(), other.parameters(), strict=True):
        parameter.data.copy_(source + 0.5)
        source.data.add_(0.5)
    assert torch.equal(layers.exact(x[:, :4]), other.exact(x[:, :4]))


def test_packed_weights_go_with_their_tensors():
    x, weight, bias = conv_arguments(1, 4, 4)
    exact_conv2d(x, weight, bias)
    assert weight in exact._packed
    gc.collect()
    n = len(exact._packed)
    del weight
    gc.collect()
    assert len(exact._packed) == n - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 3}, "stride: expected 1 or 2, got 3"),
        ({"shuffle": 3}, "shuffle: expected 1 or 2, got 3"),
        ({"groups": 2}, "groups: expected 1"),
        ({"x": torch.zeros(1, 4, 3, 3)}, "x: expected 5 channels, got 4"),
        ({"x": torch.zeros(5, 3, 3)}, "expected 4 dimensions"),
        ({"x": torch.zeros(1, 5, 3, 3, dtype=torch.float64)}, "x: expected dtype float32"),
        ({"weight": torch.zeros(12, 5, 2, 2)}, "kernel: expected 1 or 3, got 2"),
        ({"weight": torch.zeros(12, 5, 1, 3)}, "weight: expected a square kernel"),
        ({"bias": torch.zeros(11)}, "bias: expected 12 elements, got 11"),
        ({"residual": torch.zeros(2, 12, 4, 5)}, "residual: expected"),
        ({"residual": torch.zeros(2, 3, 8, 8), "shuffle": 2}, "residual: expected none"),
        ({"weight": torch.zeros(12, 5, 1, 1, requires_grad=True)}, "gradients: expected none"),
    ],
)
def test_conv_refuses(change, message):
    x, weight, bias = conv_arguments(1, 4, 4)
    with pytest.raises(InvalidArgumentError, match=message):
        exact_conv2d(**({"x": x, "weight": weight, "bias": bias} | change))


@pytest.mark.parametrize("option", [{"stride": 2}, {"slope": 0.1}, {"shuffle": 2}, {"residual": 0}])
def test_every_option_is_of_one_group(option):
    x, weight, bias = torch.zeros(1, 4, 3, 3), torch.zeros(4, 1, 3, 3), torch.zeros(4)
    if "residual" in option:
        option = {"residual": x}
    with pytest.raises(InvalidArgumentError, match="groups: expected 1 with any option"):
        exact_conv2d(x, weight, bias, groups=4, **option)


def test_blocks_refuse():
    x, weights = random(1, 8, 4, 4), block(8, 16).exact_weights()
    with pytest.raises(InvalidArgumentError, match="x: expected 8 channels, got 7"):
        exact_depth_conv_block(x[:, :7], weights)
    with pytest.raises(InvalidArgumentError, match="adaptor: expected 128 elements, got 0"):
        exact_depth_conv_block(x, weights._replace(adaptor=None, adaptor_bias=None))
    with pytest.raises(InvalidArgumentError, match="n_heads: expected"):
        exact_depth_conv_heads(x, weights, [(0, 0)] * 3)
    with pytest.raises(InvalidArgumentError, match="phases: expected two or more, got 1"):
        exact_depth_conv_heads(x, weights, [(0, 0)])
    with pytest.raises(InvalidArgumentError, match="phases: expected two or more, got 0"):
        exact_conv_heads(x, random(16, 8, 1, 1), random(16), [])
    with pytest.raises(InvalidArgumentError, match="exact_conv_heads: gradients: expected none"):
        exact_conv_heads(x, random(16, 8, 1, 1).requires_grad_(), random(16), PHASES)
    with pytest.raises(InvalidArgumentError, match="exact_depth_conv_heads: gradients"):
        exact_depth_conv_heads(x.clone().requires_grad_(), weights, PHASES)
    with pytest.raises(InvalidArgumentError, match="multiple of 8 output channels, got 12"):
        exact_conv_heads(x, random(12, 8, 1, 1), random(12), PHASES)
    with pytest.raises(InvalidArgumentError, match="no product block"):
        DepthConvBlock(8, 8, product=True).exact(x)
