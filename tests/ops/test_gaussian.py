# SPDX-License-Identifier: Apache-2.0
import math
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

import glc
from glc.errors import InvalidArgumentError
from glc.ops import gaussian_bits, gaussian_symbols
from glc.ops.gaussian import (
    _gaussian_bits_backward_op,
    _gaussian_bits_op,
    _gaussian_total_bits_op,
)
from glc.ops.philox import philox_noise

SIZES = [(0,), (1,), (7,), (8,), (9,), (17,), (1009,), (2, 3, 5, 7), (606, 1)]
BOUNDS = torch.logspace(math.log10(0.04), math.log10(60.0), 67)
BITS_ATOL = 5e-5  # 1 - (two tails) is good to 1e-7; a bin of scale 64 holds 0.006
SLOPE_RTOL = 2e-4  # the slope divides by the same probability
TOTAL_RTOL = 1e-7  # roundings cancel in a long sum
MAX_BITS = math.log2(1e5)
ROUNDINGS = ["noise", "ste", "round"]


def inputs(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Make y, mean and scale, with a few scales at or below zero."""
    generator = torch.Generator().manual_seed(seed)
    y = 3 * torch.randn(shape, generator=generator)
    mean = torch.randn(shape, generator=generator)
    scale = torch.exp(2 * torch.randn(shape, generator=generator) - 0.5).clamp_max(64)
    scale.view(-1)[::11] *= -1
    scale.view(-1)[5::13] = 0
    return y, mean, scale


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_bits_match_the_reference(shape, rounding):
    args = inputs(shape)
    torch.manual_seed(1)
    bits = gaussian_bits(*args, rounding=rounding)
    torch.manual_seed(1)
    expected = gaussian_bits.reference(*args, rounding=rounding)
    torch.manual_seed(1)
    plain = gaussian_bits.plain(*args, rounding=rounding)
    assert bits.dtype == torch.float32
    assert bits.shape == torch.Size(shape)
    torch.testing.assert_close(bits.double(), expected, rtol=1e-6, atol=BITS_ATOL)
    torch.testing.assert_close(plain, bits, rtol=0, atol=BITS_ATOL)


def test_total_bits_are_accurate():
    args = inputs((400_000,), seed=3)
    bits = gaussian_bits(*args, rounding="round").double().sum()
    expected = gaussian_bits.reference(*args, rounding="round").sum()
    assert abs(bits / expected - 1) < TOTAL_RTOL


@pytest.mark.parametrize("rounding", ["noise", "ste"])
def test_gradients_match_the_reference(rounding):
    def grads(op):
        leaves = [t.clone().requires_grad_() for t in inputs((5, 203), seed=2)]
        torch.manual_seed(4)
        bits = op(*leaves, rounding=rounding)
        weight = torch.linspace(-1, 2, bits.numel(), dtype=bits.dtype).view_as(bits)
        # at a cost of zero the gradient jumps, and rounding decides on which side one is
        weight = weight.clamp_max(0).where(bits < 1e-5, weight)
        (bits * weight).sum().backward()
        return [leaf.grad for leaf in leaves]

    for got, expected in zip(grads(gaussian_bits), grads(gaussian_bits.reference), strict=True):
        torch.testing.assert_close(got, expected, rtol=SLOPE_RTOL, atol=2e-4)


def test_reference_gradcheck():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    mean = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(3, 4, generator=generator, dtype=torch.float64) + 0.2
    scale.requires_grad_()

    def with_fixed_noise(*args):
        torch.manual_seed(7)
        return gaussian_bits.reference(*args, rounding="noise")

    assert torch.autograd.gradcheck(with_fixed_noise, (y, mean, scale), atol=1e-5)


def test_bits_of_known_symbols():
    # scale 1: P(0) = 0.382924922548, P(+-1) = 0.241730337457
    y = torch.tensor([0.0, 1.0, -1.0])
    bits = gaussian_bits(y, torch.zeros(3), torch.ones(3), rounding="round")
    expected = [-math.log2(p + 1e-5) for p in (0.382924922548, 0.241730337457, 0.241730337457)]
    torch.testing.assert_close(bits, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_bits_stay_in_range():
    y = torch.tensor([0.0, 0.0, 5.0, 1e30, -1e30, 3.0])
    scale = torch.tensor([-1.0, 1e-20, 1e-3, 1.0, 0.0, 1e30])
    bits = gaussian_bits(y, torch.zeros(6), scale, rounding="round")
    assert (bits >= 0).all()
    assert (bits <= MAX_BITS + 1e-5).all()
    torch.testing.assert_close(bits[:2], torch.zeros(2))
    torch.testing.assert_close(bits[2:], torch.full((4,), MAX_BITS))


def test_scale_outside_the_clamp_gets_no_gradient():
    scale = torch.tensor([-1.0, 0.0, 1e11], requires_grad=True)
    gaussian_bits(torch.zeros(3), torch.zeros(3), scale, rounding="ste").sum().backward()
    assert (scale.grad == 0).all()


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_nan_shows(argument):
    args = [t.clone() for t in inputs((20,))]
    args[argument][6] = math.nan
    args = [t.requires_grad_() for t in args]
    bits = gaussian_bits(*args, rounding="ste")
    bits.sum().backward()
    assert torch.isnan(bits[6])
    assert torch.isfinite(bits[torch.arange(20) != 6]).all()
    assert torch.isnan(args[2].grad[6])


def test_noise_is_uniform_and_reproducible():
    zeros, scale = torch.zeros(50_000), torch.full((50_000,), 4.0)
    torch.manual_seed(5)
    first = gaussian_bits(zeros, zeros, scale)
    torch.manual_seed(5)
    assert torch.equal(first, gaussian_bits(zeros, zeros, scale))
    assert first.unique().numel() > 1000


def test_strided_half_and_autocast_inputs():
    y, mean, scale = inputs((8, 16))
    expected = gaussian_bits(y.t(), mean.t(), scale.t(), rounding="round")
    torch.testing.assert_close(gaussian_bits(y, mean, scale, rounding="round").t(), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gaussian_bits(y.bfloat16(), mean.bfloat16(), scale).dtype == torch.float32


def test_bits_refuse_bad_arguments():
    y, mean, scale = inputs((4,))
    with pytest.raises(InvalidArgumentError, match="rounding: expected 'noise'"):
        gaussian_bits(y, mean, scale, rounding="floor")
    with pytest.raises(InvalidArgumentError, match="reduction: expected 'none', 'sample' or 'sum'"):
        gaussian_bits(y, mean, scale, reduction="mean")
    with pytest.raises(InvalidArgumentError, match=r"y: expected \[b, ...\] to reduce"):
        gaussian_bits(y, mean, scale, reduction="sample")
    with pytest.raises(InvalidArgumentError, match="mean: expected the device of y, cpu, got meta"):
        gaussian_bits(y, mean.to("meta"), scale)
    with pytest.raises(InvalidArgumentError, match="scale: expected a floating-point dtype"):
        gaussian_bits(y, mean, scale.long())
    with pytest.raises(InvalidArgumentError, match=r"scale: expected the shape of y, \(4,\)"):
        gaussian_bits(y, mean, scale[:3])


def test_bits_opcheck():
    leaves = tuple(t.clone().requires_grad_() for t in inputs((3, 5)))
    seed = torch.tensor([7])
    for op, rest in (
        (_gaussian_bits_op, ()),
        (_gaussian_total_bits_op, (True,)),
        (_gaussian_total_bits_op, (False,)),
    ):
        torch.library.opcheck(op, (*leaves, None, *rest))
        torch.library.opcheck(op, (*leaves, seed, *rest))
    tensors = [t.detach() for t in leaves]
    for grad in (torch.randn(3, 5), torch.randn(3), torch.randn(())):
        for wanted in ([True] * 3, [False, True, False]):
            args = (grad, *tensors, seed, wanted)
            torch.library.opcheck(_gaussian_bits_backward_op, args)


class Rate(torch.nn.Module):
    def forward(self, y, mean, scale):
        return gaussian_bits(y, mean, scale, rounding="ste", reduction="sample")


def test_bits_compile_and_export_in_one_graph():
    args = inputs((2, 8, 3, 5))
    expected = Rate()(*args)
    assert torch.equal(torch.export.export(Rate(), args).module()(*args), expected)
    leaves = [t.clone().requires_grad_() for t in args]
    compiled = torch.compile(Rate(), fullgraph=True, backend="aot_eager")
    total = compiled(*leaves)
    assert torch.equal(total, expected)
    grads = torch.autograd.grad(total.sum(), leaves)
    eager = torch.autograd.grad(Rate()(*leaves).sum(), leaves)
    for got, want in zip(grads, eager, strict=True):
        assert torch.equal(got, want)
    noisy = torch.compile(lambda *t: gaussian_bits(*t), fullgraph=True, backend="aot_eager")
    assert torch.isfinite(noisy(*leaves)).all()


def test_noise_is_philox():
    # Random123's known answer for a zero counter and a zero key, in lanes 0, 16, 32, 48
    words = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    noise = philox_noise(torch.tensor([0]), 1, 64)[0, ::16]
    assert noise.tolist() == [(word >> 8) / 2**24 - 0.5 for word in words]


@pytest.mark.parametrize("layout", ["channels_last", "slices", "slices of channels_last", "mixed"])
@pytest.mark.parametrize("rounding", ["noise", "ste"])
def test_any_layout_is_read_and_written_in_place(layout, rounding):
    generator = torch.Generator().manual_seed(3)
    both = 2 * torch.randn(3, 24, 5, 7, generator=generator) + 0.5
    if layout == "channels_last":
        tensors = [t.contiguous(memory_format=torch.channels_last) for t in both.chunk(3, 1)]
    elif layout == "slices":
        tensors = list(both.chunk(3, 1))
    elif layout == "slices of channels_last":
        tensors = list(both.contiguous(memory_format=torch.channels_last).chunk(3, 1))
    else:
        y, mean, scale = both.chunk(3, 1)
        tensors = [y.contiguous(memory_format=torch.channels_last), mean, scale.transpose(2, 3)]
        tensors[2] = tensors[2].contiguous().transpose(2, 3)
    outcomes = []
    for op in (gaussian_bits, gaussian_bits.reference):
        for reduction in ("none", "sample", "sum"):
            leaves = [t.detach().requires_grad_() for t in tensors]
            torch.manual_seed(11)
            bits = op(*leaves, rounding=rounding, reduction=reduction)
            grads = torch.autograd.grad((bits * bits.detach()).sum(), leaves)
            outcomes.append((bits, *grads))
    for got, expected in zip(outcomes[:3], outcomes[3:], strict=True):
        torch.testing.assert_close(got[0].double(), expected[0], rtol=1e-6, atol=BITS_ATOL)
        for mine, theirs in zip(got[1:], expected[1:], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=SLOPE_RTOL, atol=0.02)


def test_bfloat16_is_read_and_gradients_are_written_in_it():
    tensors = [t.bfloat16() for t in inputs((2, 4, 3, 37))]
    leaves = [t.clone().requires_grad_() for t in tensors]
    wide = [t.float().requires_grad_() for t in tensors]
    bits = gaussian_bits(*leaves, rounding="ste")
    expected = gaussian_bits(*wide, rounding="ste")
    assert bits.dtype == torch.float32
    assert torch.equal(bits, expected)
    grads = torch.autograd.grad(bits.sum(), leaves)
    for got, want in zip(grads, torch.autograd.grad(expected.sum(), wide), strict=True):
        assert got.dtype == torch.bfloat16
        assert torch.equal(got, want.bfloat16())


def test_sums_do_not_depend_on_threads():
    args = inputs((2, 64, 40, 40), seed=6)
    before = glc.get_num_threads()
    totals = []
    for n in (1, 2, 3):
        glc.set_num_threads(n)
        totals.append(gaussian_bits(*args, rounding="round", reduction="sample"))
    glc.set_num_threads(before)
    assert torch.equal(totals[0], totals[1])
    assert torch.equal(totals[0], totals[2])
    expected = gaussian_bits.reference(*args, rounding="round", reduction="sample")
    assert ((totals[0].double() / expected - 1).abs() < TOTAL_RTOL).all()


def test_compressai_likelihoods_and_the_authors_formula_are_reproduced():
    y, mean, scale = inputs((4, 50))
    scale = scale.clamp(0.11, 64)
    bits = gaussian_bits(y, mean, scale, rounding="round")
    values = (y - mean).round().abs().double()
    # CompressAI: upper minus lower, both by erfc; the authors add 1e-5 and bound at 0
    half = 2**-0.5
    upper = 0.5 * torch.erfc(-half * (0.5 - values) / scale)
    lower = 0.5 * torch.erfc(-half * (-0.5 - values) / scale)
    likelihood = torch.exp2(-bits.double()) - 1e-5
    torch.testing.assert_close(likelihood, upper - lower, rtol=0, atol=1e-5)
    authors = (-torch.log(upper - lower + 1e-5) / math.log(2.0)).clamp_min(0)
    torch.testing.assert_close(bits.double(), authors, rtol=1e-6, atol=BITS_ATOL)


def outcome() -> list[torch.Tensor]:
    args = inputs((3, 1009), seed=8)
    leaves = [t.clone().requires_grad_() for t in args]
    torch.manual_seed(2)
    total = gaussian_bits(*leaves, reduction="sample")
    grads = torch.autograd.grad(total.sum(), leaves)
    return [total.detach(), *grads, *gaussian_symbols(*args, BOUNDS)]


@pytest.mark.parametrize("simd", ["scalar", "neon", "avx2", "avx512"])
def test_every_instruction_set_agrees(simd, tmp_path):
    code = "import sys, torch\nfrom tests.ops.test_gaussian import outcome\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "torch.save(outcome(), sys.argv[1])", tmp_path / "out.pt"],
        env={**os.environ, "GLC_SIMD": simd},
        capture_output=True,
        text=True,
        check=False,
    )
    if "this CPU has no" in done.stderr:
        pytest.skip(f"no {simd} here")
    assert done.returncode == 0, done.stderr
    for got, expected in zip(torch.load(tmp_path / "out.pt"), outcome(), strict=True):
        if got.is_floating_point():
            torch.testing.assert_close(got, expected, rtol=SLOPE_RTOL, atol=2e-4)
        else:
            assert torch.equal(got, expected)


def weights(kind: str, bits: Tensor) -> Tensor:
    """Make gradients of bits: some that kept slopes serve, and some that need the latents again."""
    weight = torch.linspace(2, 0, bits.numel()).view_as(bits)
    odd = {"negative": -1.0, "infinite": math.inf, "nan": math.nan}
    if kind in odd:
        weight.view(-1)[bits.numel() // 2] = odd[kind]
    return torch.ones(()).expand_as(bits) if kind == "expanded" else weight


@pytest.mark.parametrize("kind", ["positive", "expanded", "negative", "infinite", "nan"])
@pytest.mark.parametrize("reduction", ["none", "sample", "sum"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_backward_pass_gives_the_same_bits(kind, reduction, rounding):
    # the first takes the slopes that the forward pass kept, the second has none left
    leaves = [t.clone().requires_grad_() for t in inputs((3, 1009), seed=9)]
    torch.manual_seed(3)
    bits = gaussian_bits(*leaves, rounding=rounding, reduction=reduction)
    weight = weights(kind, bits)
    asked = leaves[2:] if rounding == "round" else leaves
    first = torch.autograd.grad(bits, asked, weight, retain_graph=True)
    kept = [g.clone() for g in first]
    second = torch.autograd.grad(bits, asked, weight, retain_graph=True)
    for a, b, was in zip(first, second, kept, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(a, was, rtol=0, atol=0, equal_nan=True)  # still the caller's
        assert a.any()
        assert torch.isfinite(a).all() or kind in ("infinite", "nan")


@pytest.mark.parametrize("wanted", range(1, 8))
def test_any_of_the_gradients_may_be_wanted(wanted):
    args = inputs((5, 67), seed=10)
    everything = [t.clone().requires_grad_() for t in args]
    expected = torch.autograd.grad(gaussian_bits(*everything, rounding="ste").sum(), everything)
    some = [t.clone().requires_grad_(bool(wanted >> i & 1)) for i, t in enumerate(args)]
    gaussian_bits(*some, rounding="ste").sum().backward()
    for i, t in enumerate(some):
        assert t.grad is None if not t.requires_grad else torch.equal(t.grad, expected[i])


def test_only_a_lifting_gradient_passes_the_bound():
    # scale 0.12 puts more than 1 - 1e-5 on zero, so the bits before the bound are negative
    def slope(weight):
        scale = torch.tensor([0.112], requires_grad=True)
        y = torch.zeros(1, requires_grad=True)
        bits = gaussian_bits(y, torch.zeros(1), scale, rounding="ste")
        assert bits.item() == 0.0
        (weight * bits).sum().backward()
        return scale.grad.item()

    assert slope(1.0) == 0.0
    assert slope(-1.0) < 0.0


def test_round_passes_no_gradient_to_the_latent():
    leaves = [t.requires_grad_() for t in inputs((50,))]
    gaussian_bits(*leaves, rounding="round").sum().backward()
    assert leaves[0].grad is None
    assert leaves[1].grad is None
    assert leaves[2].grad.abs().sum() > 0


def test_broadcast_gradient_of_a_sum_arrives():
    leaves = [t.requires_grad_() for t in inputs((4, 6))]
    (total,) = torch.autograd.grad(gaussian_bits(*leaves, rounding="ste").sum(), leaves[2])
    leaf = leaves[2].detach().requires_grad_()
    bits = gaussian_bits(leaves[0].detach(), leaves[1].detach(), leaf, rounding="ste")
    bits.backward(torch.ones(4, 6))
    torch.testing.assert_close(total, leaf.grad)
