# SPDX-License-Identifier: Apache-2.0
"""The ops by their CUDA kernels against the CPU's: equal bits, and for rates small differences."""

import math

import pytest
import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.ops import (
    categorical_bits,
    categorical_cdf,
    exact_conv2d,
    exact_conv_heads,
    exact_depth_conv_block,
    exact_depth_conv_heads,
    four_part_merge,
    four_part_pick,
    four_part_put,
    four_part_step,
    four_part_step_,
    gaussian_bits,
    gaussian_rows,
    gaussian_symbols,
    vq_nearest,
    vq_quantize,
)
from glc.ops.gaussian import _gaussian_bits_op, _gaussian_total_bits_op
from tests.cuda_kernels import ON_DEVICE, Kernels, kernels
from tests.ops.test_exact import OPTIONS, PHASES, block, conv_arguments, random
from tests.ops.test_four_part import FORMATS, SHAPES, maps
from tests.ops.test_gaussian import BITS_ATOL, BOUNDS, SIZES, SLOPE_RTOL, inputs

__all__ = ["kernels"]  # the fixture

FORMS = ["dense", "channels_last", "slice", "bfloat16"]
BITS_RTOL = 1e-6  # and BITS_ATOL: each of the two may be so far from the reference
TOTAL_RTOL = 1e-6  # of sums of few elements
SLOPE_ATOL = 2e-4  # of a slope near zero
BF16_RTOL = 2.0**-7  # one unit in the last place of a gradient's dtype


def same_bits(got: Tensor, expected: Tensor) -> bool:
    return torch.equal(got.contiguous().view(torch.int32), expected.contiguous().view(torch.int32))


def latents(form: str) -> list[Tensor]:
    """y, mean and scale [2, 6, 5, 13], laid out in a way."""
    if form == "slice":
        whole = inputs((2, 18, 5, 13), seed=7)
        return [t[:, 6:12] for t in whole]
    made = inputs((2, 6, 5, 13), seed=7)
    if form == "channels_last":
        return [t.contiguous(memory_format=torch.channels_last) for t in made]
    return [t.bfloat16() if form == "bfloat16" else t for t in made]


# ---------------------------------------------------------------- rates


def rate_and_gradients(y, mean, scale, seed, weight, total):
    """Bits, and the gradients of their weighted sum."""
    leaves = [t.detach().requires_grad_() for t in (y, mean, scale)]
    op = _gaussian_total_bits_op if total else _gaussian_bits_op
    bits = op(*leaves, seed, total == "sample") if total else op(*leaves, seed)
    weights = {None: weight, "sample": weight[:, 0, 0, 0], "sum": weight[0, 0, 0, 0]}
    (bits * weights[total]).sum().backward()
    return bits, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [None, -3])
@pytest.mark.parametrize("total", [None, "sample", "sum"])
def test_rates_and_gradients(kernels: Kernels, form, seed, total):
    seed = None if seed is None else torch.tensor([seed])
    y, mean, scale = latents(form)
    weight = torch.linspace(-1, 2, y.numel()).view(y.shape)
    expected, expected_grads = rate_and_gradients(y, mean, scale, seed, weight, total)
    bits, grads = kernels(rate_and_gradients, y, mean, scale, seed, weight, total)
    assert bits.dtype == torch.float32
    tolerance = (
        {"rtol": TOTAL_RTOL * 100, "atol": 0} if total else {"rtol": 1e-6, "atol": BITS_ATOL}
    )
    torch.testing.assert_close(bits, expected, **tolerance)
    rtol = BF16_RTOL if form == "bfloat16" else SLOPE_RTOL
    for got, wanted in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got, wanted, rtol=rtol, atol=SLOPE_ATOL)


@pytest.mark.parametrize("shape", [*SIZES, (), (3, 0), (0, 5)])
def test_rates_of_any_shape(kernels: Kernels, shape):
    args = inputs(shape)
    expected = gaussian_bits(*args, rounding="round")
    torch.testing.assert_close(
        kernels(gaussian_bits, *args, rounding="round"), expected, rtol=BITS_RTOL, atol=BITS_ATOL
    )
    for reduction in ("sum", "sample") if len(shape) > 1 else ("sum",):
        totals = kernels(gaussian_bits, *args, rounding="ste", reduction=reduction)
        expected = gaussian_bits(*args, rounding="ste", reduction=reduction)
        # the sum of a single element is as near as an element
        alone = totals.numel() in (1, args[0].numel())
        torch.testing.assert_close(
            totals, expected, rtol=TOTAL_RTOL, atol=BITS_ATOL if alone else 0
        )


@pytest.mark.parametrize("rounding", ["round", "noise"])
def test_the_last_block_adds_up_every_time(kernels: Kernels, rounding):
    def twice(*args):
        totals = []
        for _ in range(2):
            torch.manual_seed(3)
            totals.append(gaussian_bits(*args, rounding=rounding, reduction="sum"))
        return torch.stack(totals)

    args = inputs((3, 7001))
    first, second = kernels(twice, *args)
    assert first == second
    if rounding == "round":  # devices draw other noise
        torch.testing.assert_close(first, twice(*args)[0], rtol=TOTAL_RTOL, atol=0)


def test_slices_are_read_in_place(kernels: Kernels):
    def upper_half(y, mean, scale):
        return gaussian_bits(*(t.chunk(2, dim=1)[1] for t in (y, mean, scale)), rounding="round")

    args = inputs((2, 8, 5, 7))
    torch.testing.assert_close(
        kernels(upper_half, *args), upper_half(*args), rtol=BITS_RTOL, atol=BITS_ATOL
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "n", "k"), [(1, 500, 33), (1, 3, 1), (65, 65, 130), (7, 7, 1024)])
def test_categorical_rates_and_gradients(kernels: Kernels, rows, n, k, dtype):
    def rates(logits, index):
        logits = logits.detach().requires_grad_()
        bits = categorical_bits(logits[0] if rows == 1 else logits, index)
        (bits * torch.linspace(-1, 2, n).to(bits.device)).sum().backward()
        return bits, logits.grad

    logits, index = (4 * random(rows, k)).to(dtype), torch.arange(n) * 7 % k
    expected = rates(logits, index)
    bits, grad = kernels(rates, logits, index)
    torch.testing.assert_close(bits, expected[0], rtol=1e-5, atol=1e-5)
    rtol = BF16_RTOL if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(grad, expected[1], rtol=rtol, atol=1e-5)


# ---------------------------------------------------------------- cdfs, symbols and rows


@pytest.mark.parametrize(
    ("rows", "k", "bits"), [(0, 5, 16), (3, 1, 8), (129, 128, 16), (2, 700, 12)]
)
def test_cdfs(kernels: Kernels, rows, k, bits):
    logits = 9 * random(rows, 2 * k)[:, ::2]
    expected = categorical_cdf(logits, bits)
    assert torch.equal(kernels(categorical_cdf, logits, bits), expected)


@pytest.mark.parametrize("shape", [*SIZES, (), (3, 0)])
def test_symbols_and_rows(kernels: Kernels, shape):
    y, mean, scale = inputs(shape)
    symbols, rows = kernels(gaussian_symbols, y, mean, scale, BOUNDS)
    expected_symbols, expected_rows = gaussian_symbols(y, mean, scale, BOUNDS)
    assert torch.equal(symbols, expected_symbols)
    assert torch.equal(rows, expected_rows)
    assert torch.equal(kernels(gaussian_rows, scale, BOUNDS), expected_rows)


def test_rows_at_bounds_and_odd_scales(kernels: Kernels):
    around = [BOUNDS, torch.nextafter(BOUNDS, 0 * BOUNDS), torch.nextafter(BOUNDS, 9 * BOUNDS)]
    odd = [math.nan, -math.nan, -1.0, -0.0, 0.0, -math.inf, 1e-45, math.inf, 1e38]
    scale = torch.cat([*around, torch.tensor(odd)])
    assert torch.equal(kernels(gaussian_rows, scale, BOUNDS), gaussian_rows(scale, BOUNDS))


def test_what_the_cpu_refuses_is_defined(kernels: Kernels):
    y = torch.tensor([math.nan, math.inf, -math.inf, 3e9, 2.5])
    symbols, _ = kernels(gaussian_symbols, y, torch.zeros(5), torch.ones(5), BOUNDS)
    assert symbols.tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, 2]
    odd = torch.tensor([[0.0, math.nan, 2.0], [math.inf, 0.0, 1.0]])
    assert torch.equal(kernels(categorical_cdf, odd, 8), categorical_cdf(torch.zeros(2, 3), 8))
    assert kernels(categorical_bits, torch.zeros(3), torch.tensor([0, 3, -1]))[1:].isnan().all()


# ---------------------------------------------------------------- four parts


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_four_parts(kernels: Kernels, shape, memory_format):
    y, *params = maps(shape, 9, memory_format)
    scales, means = params[:4], params[4:]
    for got, expected in zip(
        kernels(four_part_merge, y, scales, means), four_part_merge(y, scales, means), strict=True
    ):
        assert same_bits(got, expected)

    def in_place(y, mean, y_hat, part):
        four_part_step_(y, mean, y_hat, part)
        return y_hat

    def put(symbols, mean, y_hat, part):
        four_part_put(symbols, mean, y_hat, part)
        return y_hat

    for part in range(4):
        arguments = (y, means[part], scales[part], part)
        expected = four_part_step(*arguments)
        assert same_bits(kernels(four_part_step, *arguments), expected)
        assert same_bits(kernels(in_place, *arguments), expected)
        first = (y, means[part], None, part)
        assert same_bits(kernels(four_part_step, *first), four_part_step(*first))
        mean = four_part_pick(means[part], part)
        assert same_bits(kernels(four_part_pick, means[part], part), mean)
        symbols = torch.arange(len(mean), dtype=torch.int32) - 3
        expected = put(symbols, mean, y.clone(), part)
        assert same_bits(kernels(put, symbols, mean, y, part), expected)


def test_four_part_gradients(kernels: Kernels):
    def gradients(y, scales, means, weight):
        leaves = [t.detach().requires_grad_() for t in (y, *scales, *means)]
        y, scales, means = leaves[0], leaves[1:5], leaves[5:]
        y_q, y_hat, scale, mean = four_part_merge(y, scales, means)
        seen = four_part_step(y, means[0], means[1], 2)
        ((y_q + 5 * y_hat + 3 * scale - mean + seen) * weight).sum().backward()
        return [leaf.grad for leaf in leaves]

    y, *params, weight = maps((2, 8, 5, 7), 10)
    expected = gradients(y, params[:4], params[4:], weight)
    for got, wanted in zip(
        kernels(gradients, y, params[:4], params[4:], weight), expected, strict=True
    ):
        assert same_bits(got, wanted)


# ---------------------------------------------------------------- exact layers


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_exact_convolutions(kernels: Kernels, kernel, options):
    x, weight, bias = conv_arguments(kernel, 7, 17, (19, 68))
    x = x * torch.logspace(-44, 3, 17)  # denormals too
    for arguments in ((x, weight, bias), (x, weight, None)):
        got = kernels(exact_conv2d, *arguments, **options)
        assert same_bits(got, exact_conv2d(*arguments, **options))


def test_exact_convolutions_with_residual_and_by_channel(kernels: Kernels):
    x, weight, bias = conv_arguments(3, 6, 7)
    residual = random(2, 12, 6, 7)
    options = {"slope": 0.1, "residual": residual}
    got = kernels(exact_conv2d, x, weight, bias, **options)
    assert same_bits(got, exact_conv2d(x, weight, bias, **options))
    arguments = (random(2, 6, 13, 16), random(6, 1, 3, 3), random(6))
    got = kernels(exact_conv2d, *arguments, groups=6)
    assert same_bits(got, exact_conv2d(*arguments, groups=6))


@pytest.mark.parametrize(("a", "b"), [(8, 8), (8, 24), (24, 8)])
def test_exact_blocks_and_heads(kernels: Kernels, a, b):
    x, weights = random(2, a, 5, 7), block(a, b).exact_weights()
    for given in (x, x.to(memory_format=torch.channels_last), x.mT.contiguous().mT):
        got = kernels(exact_depth_conv_block, given, weights)
        assert same_bits(got, exact_depth_conv_block(x, weights))
    conv = (random(b, a, 1, 1), random(b))
    pairs = [
        (
            kernels(exact_depth_conv_heads, x, weights, PHASES),
            exact_depth_conv_heads(x, weights, PHASES),
        ),
        (kernels(exact_conv_heads, x, *conv, PHASES), exact_conv_heads(x, *conv, PHASES)),
    ]
    for heads, expected in pairs:
        assert all(same_bits(*pair) for pair in zip(heads, expected, strict=True))


def test_exact_layers_of_empty_maps(kernels: Kernels):
    x, weights = torch.zeros(2, 8, 5, 0), block(8, 16).exact_weights()
    assert kernels(exact_depth_conv_block, x, weights).shape == (2, 16, 5, 0)
    assert kernels(exact_conv2d, x[:0], random(4, 8, 3, 3), None).shape == (0, 4, 5, 0)


# ---------------------------------------------------------------- nearest codebook rows


@pytest.mark.parametrize(("n", "k", "d"), [(0, 3, 4), (1, 1, 1), (65, 130, 33), (70, 300, 64)])
def test_nearest_rows(kernels: Kernels, n, k, d):
    codebook = random(k, d)
    codebook[k // 2 :] = codebook[: k - k // 2].clone() + 1e-7  # near ties
    for dtype in (torch.float32, torch.bfloat16):
        pair = (random(n, d, seed=1).to(dtype), codebook.to(dtype))
        assert torch.equal(kernels(vq_nearest, *pair), vq_nearest(*pair))


# ---------------------------------------------------------------- mistakes


def test_mistakes_are_refused(kernels: Kernels):
    one, x = torch.ones(3), torch.zeros(1, 5, 4, 4)
    wrong = [
        (gaussian_rows, "scale: expected dtype float32", one.double(), BOUNDS),
        (gaussian_rows, "bounds: expected at most 255", one, torch.arange(1.0, 257.0)),
        (gaussian_symbols, "mean: expected the shape of y", one, one[:2], one, BOUNDS),
        (four_part_pick, "a multiple of 4", x, 0),
        (categorical_cdf, "expected 1..256 columns, got 257", torch.zeros(1, 257), 8),
        (exact_conv2d, "x: expected 4 channels, got 5", x, torch.zeros(10, 4, 1, 1), None),
        (exact_conv2d, "kernel: expected 1 or 3, got 2", x, torch.zeros(8, 5, 2, 2), None),
        (exact_conv2d, "weight: expected a square kernel", x, torch.zeros(8, 5, 1, 3), None),
        (exact_conv2d, "stride: expected 1 or 2, got 3", x, torch.zeros(8, 5, 1, 1), None, 3),
        (exact_depth_conv_block, "x: expected|weight: expected", x, block(8, 8).exact_weights()),
        (exact_depth_conv_heads, "n_heads", x, block(5, 5).exact_weights(), PHASES),
        (vq_nearest, "at least one row", random(3, 4), random(0, 4)),
    ]
    for op, message, *args in wrong:
        with pytest.raises(InvalidArgumentError, match=message):
            kernels(op, *args)


@pytest.mark.parametrize("where", [pytest.param("cuda", marks=ON_DEVICE)])
def test_devices_that_disagree(where):
    y, x = torch.ones(2, 8, 4, 4), torch.ones(1, 8, 4, 4, device=where)
    wrong = [
        lambda: gaussian_bits(x, y[:1], y[:1]),
        lambda: gaussian_rows(x, BOUNDS),
        lambda: categorical_bits(x.view(-1, 8), torch.zeros(16, dtype=torch.int64)),
        lambda: four_part_step(x, x, y[:1], 0),
        lambda: exact_conv2d(x, random(4, 8, 1, 1), None),
        lambda: exact_depth_conv_block(x, block(8, 8).exact_weights()),
        lambda: vq_nearest(x.view(16, 8), random(3, 8)),
    ]
    for call in wrong:
        with pytest.raises(InvalidArgumentError, match="expected the device of"):
            call()


# ---------------------------------------------------------------- graphs


@pytest.mark.parametrize("where", [pytest.param("cuda", marks=ON_DEVICE)])
def test_the_coding_path_in_a_cuda_graph(where):
    """Captured once, replayed on other values: so nothing waits, and no call left the stream."""
    weights = type(w := block(8, 8).exact_weights())(
        *(t if t is None or isinstance(t, float) else t.to(where) for t in w)
    )
    bounds = BOUNDS.to(where)

    def step(x):
        y, mean = exact_depth_conv_block(x, weights).chunk(2, dim=1)
        y_hat = four_part_step.plain(y.contiguous(), mean.contiguous(), torch.zeros_like(y), 1)
        symbols, rows = gaussian_symbols.plain(y, mean, y, bounds)
        bits = gaussian_bits.plain(y, mean, y, rounding="round", reduction="sample")
        return y_hat, symbols, rows, bits, four_part_pick(y_hat, 1)

    x = random(2, 8, 6, 10).to(where)
    step(x)  # packs the weights
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(x)
    x.copy_(random(2, 8, 6, 10, seed=5))
    graph.replay()
    for got, expected in zip(captured, step(x), strict=True):
        assert torch.equal(got, expected)


# ---------------------------------------------------------------- the quantiser


def quantized_and_gradients(latents, codebook):
    leaves = [t.detach().requires_grad_() for t in (latents, codebook)]
    out = vq_quantize(*leaves)
    weights = torch.linspace(-1, 1, out.z_hat.numel()).view_as(out.z_hat).to(latents.device)
    loss = (out.z_hat * weights).sum() + 0.7 * out.commitment_loss + 1.9 * out.codebook_loss
    loss.backward()
    return (out.z_hat, out.index, out.usage, out.codebook_loss), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize(("n", "k", "d"), [(0, 3, 4), (1, 1, 1), (65, 33, 16), (300, 700, 40)])
def test_quantised_rows_and_gradients(kernels: Kernels, n, k, d):
    args = [torch.randn(rows, d, generator=torch.Generator().manual_seed(rows)) for rows in (n, k)]
    expected, expected_grads = quantized_and_gradients(*args)
    values, grads = kernels(quantized_and_gradients, *args)
    assert all(map(torch.equal, values[:3], expected[:3]))
    torch.testing.assert_close(values[3], expected[3])
    for got, wanted in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got, wanted)
