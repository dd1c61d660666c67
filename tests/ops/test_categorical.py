# SPDX-License-Identifier: Apache-2.0
import hashlib
import math
import os
import struct
from fractions import Fraction

import pytest
import torch

import glc
from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import categorical_bits, categorical_cdf
from glc.ops.categorical import (
    _backward_by_torch,
    _bits_by_torch,
    _categorical_bits_backward_op,
    _categorical_bits_op,
    _categorical_cdf_op,
)

SIZES = [(), (0,), (1,), (7,), (3, 5)]


def logits_of(*shape: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("k", [1, 2, 129, 1031])
@pytest.mark.parametrize("shared", [True, False])
def test_bits_match_the_reference(shape, k, shared):
    logits = logits_of(k) if shared else logits_of(*shape, k)
    index = torch.randint(k, shape)
    bits = categorical_bits(logits, index)
    assert bits.dtype == torch.float32
    assert bits.shape == index.shape
    expected = categorical_bits.reference(logits, index)
    # log-sum-exp cancels against the logit: float32 leaves 1e-6 of either
    torch.testing.assert_close(bits.double(), expected, rtol=1e-6, atol=5e-6)
    assert torch.equal(bits, categorical_bits.plain(logits, index))


def of_layout(layout: str, x: torch.Tensor) -> torch.Tensor:
    if layout == "shared":
        return x[0, 0]
    if layout == "transposed":
        return x.transpose(0, 2).contiguous().transpose(0, 2)
    if layout == "slices":
        return torch.nn.functional.pad(x, (3, 2))[..., 3:-2].detach()
    return x[:1, :1].expand(x.shape) if layout == "expanded" else x


LAYOUTS = ["dense", "shared", "transposed", "slices", "expanded"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [1, 11, 16, 515, 1031])
def test_gradients_match_the_reference(layout, k):
    index = torch.randint(k, (4, 9), generator=torch.Generator().manual_seed(1))
    logits = of_layout(layout, logits_of(4, 9, k)).requires_grad_()
    each = logits_of(4, 9, seed=2)  # of the gradients, which differ
    bits = categorical_bits(logits, index)
    expected = categorical_bits.reference(logits, index)
    torch.testing.assert_close(bits.double(), expected, rtol=1e-6, atol=5e-6)
    (got,) = torch.autograd.grad(bits, logits, each)
    (wanted,) = torch.autograd.grad(expected, logits, each.double())
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=2e-5)


def test_an_expanded_gradient_arrives():
    logits = logits_of(3, 7).requires_grad_()
    index = torch.tensor([0, 6, 3])
    (by_sum,) = torch.autograd.grad(categorical_bits(logits, index).sum(), logits)
    (by_ones,) = torch.autograd.grad(categorical_bits(logits, index), logits, torch.ones(3))
    assert torch.equal(by_sum, by_ones)
    torch.testing.assert_close(by_sum.sum(1), torch.zeros(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_read_and_gradients_are_written_in_it(layout):
    index = torch.randint(515, (4, 9), generator=torch.Generator().manual_seed(1))
    logits = of_layout(layout, logits_of(4, 9, 515).bfloat16()).requires_grad_()
    wide = logits.detach().float().requires_grad_()
    bits, expected = categorical_bits(logits, index), categorical_bits(wide, index)
    assert torch.equal(bits, expected)
    (got,) = torch.autograd.grad(bits.sum(), logits)
    (wanted,) = torch.autograd.grad(expected.sum(), wide)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, wanted.bfloat16())


def test_other_dtypes_and_autocast_are_computed_in_float32():
    logits, index = logits_of(4, 33), torch.arange(4)
    expected = categorical_bits(logits, index)
    assert torch.equal(categorical_bits(logits.double(), index), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(categorical_bits(logits, index.to(torch.uint8)), expected)


@pytest.mark.parametrize("k", [3, 16, 700])
@pytest.mark.parametrize("by_torch", [False, True])
def test_logits_that_are_not_finite(k, by_torch):
    rows = {name: torch.zeros(k) for name in ("nan", "inf", "-inf elsewhere", "-inf", "all -inf")}
    rows["nan"][k - 1], rows["inf"][k - 1] = math.nan, math.inf
    rows["-inf elsewhere"][: k - 1], rows["-inf"][0] = -math.inf, -math.inf
    rows["all -inf"][:] = -math.inf
    logits = torch.stack(list(rows.values()))
    index = torch.tensor([0, k - 1, k - 1, 0, 0])
    op = _bits_by_torch if by_torch else categorical_bits
    bits = op(logits, index)[0] if by_torch else op(logits, index)
    expected = torch.tensor([math.nan, math.nan, 0.0, math.inf, math.nan])
    torch.testing.assert_close(bits, expected, equal_nan=True)
    torch.testing.assert_close(
        categorical_bits.reference(logits, index), expected.double(), equal_nan=True
    )


def test_logits_of_any_size_cost_what_their_differences_say():
    for offset in (0.0, 1e4, -1e4, 3e38, -3e38):
        bits = categorical_bits(torch.full((5, 700), offset), torch.arange(5))
        torch.testing.assert_close(bits, torch.full((5,), math.log2(700)))
    far = torch.zeros(1, 600)
    far[0, 555] = 2e38
    assert categorical_bits(far, torch.tensor([555])).item() == 0.0
    assert categorical_bits(-far, torch.tensor([555])).item() == pytest.approx(2e38 / math.log(2))


def test_the_formula_for_devices_is_the_kernels():
    for rows, n in ((6, 6), (1, 6)):
        logits = logits_of(rows, 41)
        index, grad = torch.randint(41, (n,)), torch.randn(n)
        bits, norms = _categorical_bits_op(logits, index)
        for got, expected in zip(_bits_by_torch(logits, index), (bits, norms), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-6, atol=5e-6)
        slopes = _categorical_bits_backward_op(grad, logits, index, norms)
        torch.testing.assert_close(_backward_by_torch(grad, logits, index, norms), slopes)


def test_rates_do_not_depend_on_threads():
    logits, index = logits_of(97, 1009), torch.randint(1009, (97,))
    before, outcomes = glc.get_num_threads(), []
    for n in (1, 2, 3):
        glc.set_num_threads(n)
        for of in (logits, logits[0]):
            leaf = of.clone().requires_grad_()
            bits = categorical_bits(leaf, index)
            outcomes.append(torch.cat([bits, torch.autograd.grad(bits.sum(), leaf)[0].flatten()]))
        outcomes.append(categorical_cdf(logits))
    glc.set_num_threads(before)
    for i, outcome in enumerate(outcomes):
        assert torch.equal(outcome, outcomes[i % 3])


@pytest.mark.parametrize("simd", ["scalar", "neon", "avx2", "avx512"])
def test_every_instruction_set_agrees(simd):
    logits = logits_of(5, 515).requires_grad_()
    index = torch.arange(5) * 100

    def outcome():  # these ops ask at every call
        bits = categorical_bits(logits, index)
        return bits, torch.autograd.grad(bits.sum(), logits)[0], categorical_cdf(logits)

    expected = outcome()
    _core.force_simd(simd)
    try:
        got = outcome()
    except glc.errors.UnsupportedError:
        pytest.skip(f"this CPU has no {simd}")
    finally:
        _core.force_simd(os.environ.get("GLC_SIMD", ""))
    torch.testing.assert_close(got[0], expected[0], rtol=1e-6, atol=5e-6)
    torch.testing.assert_close(got[1], expected[1], rtol=1e-5, atol=1e-6)
    assert torch.equal(got[2], expected[2])


class Rate(torch.nn.Module):
    def forward(self, logits, index):
        return categorical_bits(logits, index).sum()


@pytest.mark.parametrize("shared", [True, False])
def test_bits_compile_and_export_in_one_graph(shared):
    index = torch.randint(40, (3, 5), generator=torch.Generator().manual_seed(1))
    logits = (logits_of(40) if shared else logits_of(3, 5, 40)).requires_grad_()
    expected = Rate()(logits, index)
    exported = torch.export.export(Rate(), (logits, index)).module()
    assert torch.equal(exported(logits, index), expected)
    total = torch.compile(Rate(), fullgraph=True, backend="aot_eager")(logits, index)
    assert torch.equal(total, expected)
    (got,) = torch.autograd.grad(total, logits)
    assert torch.equal(got, torch.autograd.grad(expected, logits)[0])


def test_bits_opcheck():
    for rows, n in ((4, 4), (1, 3)):
        for dtype in (torch.float32, torch.bfloat16):
            logits = logits_of(rows, 6).to(dtype)
            index = torch.arange(n)
            leaf = logits.clone().requires_grad_()
            torch.library.opcheck(_categorical_bits_op, (leaf, index))
            norms = _categorical_bits_op(logits, index)[1]
            args = (torch.randn(n), logits, index, norms)
            torch.library.opcheck(_categorical_bits_backward_op, args)


def test_reference_gradcheck():
    index = torch.randint(5, (3,))
    logits = logits_of(3, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: categorical_bits.reference(x, index), (logits,))


def test_uniform_costs_the_logarithm():
    bits = categorical_bits(torch.zeros(512), torch.arange(512, dtype=torch.int16))
    torch.testing.assert_close(bits, torch.full((512,), 9.0))


def test_bad_bits_arguments_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"values in \[0, 4\)"):
        categorical_bits(torch.zeros(4), torch.tensor([4]))
    with pytest.raises(InvalidArgumentError, match=r"values in \[0, 4\)"):
        categorical_bits(torch.zeros(4), torch.tensor([-1]))
    with pytest.raises(InvalidArgumentError, match="integer dtype"):
        categorical_bits(torch.zeros(4), torch.tensor([1.0]))
    with pytest.raises(InvalidArgumentError, match="logits: expected"):
        categorical_bits(torch.zeros(3, 4), torch.tensor([1, 2]))
    with pytest.raises(InvalidArgumentError, match=r"logits: expected \[..., k >= 1\]"):
        categorical_bits(torch.zeros(2, 0), torch.tensor([0, 0]))
    with pytest.raises(InvalidArgumentError, match="logits: expected a floating-point dtype"):
        categorical_bits(torch.zeros(4, dtype=torch.int32), torch.tensor([1]))
    with pytest.raises(InvalidArgumentError, match="index: expected the device of logits"):
        categorical_bits(torch.zeros(4, device="meta"), torch.tensor([1]))


# ---------------------------------------------------------------- cdf


def float32(x: Fraction) -> Fraction:
    """Round an exact value to float32, half to even, normal range."""
    if x == 0:
        return x
    exponent = math.floor(math.log2(abs(x)))
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (exponent - 23)
    return round(x / unit) * unit  # round() of a Fraction is half to even


def constant(text: str) -> Fraction:
    value = float.fromhex(text)
    assert struct.unpack("f", struct.pack("f", value))[0] == value
    return Fraction(value)


def exact_weight(t: Fraction) -> int:
    """Follow docs/format.md with exact rationals, rounding once per operation."""
    if t < -21:
        return 0
    rounder = Fraction(12582912)
    n = float32(float32(t * constant("0x1.715476p+0") + rounder) - rounder)
    r = float32(t - n * constant("0x1.62e4p-1"))
    r = float32(r - n * constant("0x1.7f7d1cp-20"))
    p = constant("0x1.6a244cp-10")
    for c in ("0x1.1239d4p-7", "0x1.5558f2p-5", "0x1.555492p-3", "0x1.fffffcp-2"):
        p = float32(p * r + constant(c))
    fraction = float32(float32(float32(r * r) * p + r) + 1)
    return math.floor(fraction * Fraction(2) ** (30 + int(n)))


def exact_cdf(logits: list[float], bits: int) -> list[int]:
    largest = Fraction(max(logits))
    weights = [exact_weight(float32(Fraction(x) - largest)) for x in logits]
    spare = (1 << bits) - len(logits)
    below = [sum(weights[:j]) for j in range(len(logits) + 1)]
    return [j + spare * below[j] // below[-1] for j in range(len(logits) + 1)]


@pytest.mark.parametrize("bits", [8, 14, 16])
@pytest.mark.parametrize("spread", [0.0, 0.1, 3.0, 30.0])
def test_cdf_follows_the_specified_arithmetic(bits, spread):
    logits = logits_of(5, 37, spread=spread)
    expected = [exact_cdf(row, bits) for row in logits.tolist()]
    assert categorical_cdf(logits, bits).tolist() == expected


@pytest.mark.parametrize(("rows", "k"), [(0, 3), (1, 1), (3, 2), (2, 1009), (2, 16384), (1, 65536)])
def test_cdf_is_valid_and_near_the_reference(rows, k):
    logits = logits_of(rows, k)
    cdf = categorical_cdf(logits)
    assert cdf.dtype == torch.int32
    assert cdf.shape == (rows, k + 1)
    assert (cdf[:, 0] == 0).all()
    assert (cdf[:, -1] == 65536).all()
    assert (cdf.diff(dim=1) >= 1).all()
    assert (cdf - categorical_cdf.reference(logits)).abs().max() <= 1 if rows else True
    assert torch.equal(cdf, categorical_cdf.plain(logits))


def test_cdf_costs_little_over_the_entropy():
    logits = logits_of(4, 128)
    probability = torch.softmax(logits.double(), -1)
    frequency = categorical_cdf(logits).diff(dim=1).double() / 65536
    entropy = -(probability * probability.log2()).sum(1)
    cost = -(probability * frequency.log2()).sum(1)
    assert ((cost - entropy) < 0.004).all()  # 128 of 65536 units are given away


def test_cdf_of_extremes():
    wide = torch.tensor([[3e38, -3e38, 0.0, 3e38]])
    assert categorical_cdf(wide, 8).tolist() == [[0, 127, 128, 129, 256]]
    full = categorical_cdf(logits_of(1, 256), 8)
    assert full.tolist() == [list(range(257))]


def test_cdf_is_pinned():
    logits = (torch.arange(4 * 128).remainder(97).float() / 13 - 3).view(4, 128)
    digest = hashlib.sha256(categorical_cdf(logits).numpy().astype("<i4").tobytes()).hexdigest()
    assert digest == "9ddd78ac9934193e79a2f4673aee57d50b94ccd95491d37f05b4a540aff22b04"


def test_bad_cdf_arguments_are_refused():
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidArgumentError, match=r"finite values, got .* at column 2"):
            categorical_cdf(torch.tensor([[0.0, 1.0, bad]]))
    with pytest.raises(InvalidArgumentError, match=r"bits: expected 1\.\.16, got 17"):
        categorical_cdf(torch.zeros(1, 3), 17)
    with pytest.raises(InvalidArgumentError, match=r"1\.\.256 columns, got 257"):
        categorical_cdf(torch.zeros(1, 257), 8)
    with pytest.raises(InvalidArgumentError, match=r"expected \[rows, k\]"):
        categorical_cdf(torch.zeros(3))
    with pytest.raises(InvalidArgumentError, match="columns, got 0"):
        categorical_cdf(torch.zeros(1, 0))
    with pytest.raises(InvalidArgumentError, match="dtype float32"):
        categorical_cdf(torch.zeros(1, 3).double())


def test_opcheck():
    torch.library.opcheck(_categorical_cdf_op, (logits_of(2, 5), 12))
