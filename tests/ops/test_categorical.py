# SPDX-License-Identifier: Apache-2.0
import hashlib
import math
import struct
from fractions import Fraction

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.ops import categorical_bits, categorical_cdf
from glc.ops.categorical import _categorical_cdf_op

SIZES = [(), (0,), (1,), (7,), (3, 5)]


def logits_of(*shape: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("k", [1, 2, 129])
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


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_match_the_reference(shared):
    index = torch.randint(11, (4, 9))
    logits = (logits_of(11) if shared else logits_of(4, 9, 11)).requires_grad_()
    (got,) = torch.autograd.grad(categorical_bits(logits, index).sum(), logits)
    (expected,) = torch.autograd.grad(categorical_bits.reference(logits, index).sum(), logits)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


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
