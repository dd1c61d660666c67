# SPDX-License-Identifier: Apache-2.0
"""Gaussian rates, symbols and rows, and the four-part step, beside CompressAI and torch.

One thread each, except where a case says so. `at stream speed` is what the bytes that must move
would take at the speed of a plain copy of tensors of this size.
"""

import itertools
import math

import pytest
import torch

import glc
from benchmarks.compressai_import import import_compressai
from benchmarks.stream import streaming
from glc import cdf
from glc.ops import (
    four_part_merge,
    four_part_step,
    four_part_step_,
    gaussian_bits,
    gaussian_rows,
    gaussian_symbols,
    round_ste,
)
from glc.ops.parts import PARTS, PHASES

PROBABILITY_FLOOR = 1e-5
THREADS = [pytest.param(1, id="1-thread"), pytest.param(0, id="all-threads")]
LAYOUTS = [
    pytest.param(torch.contiguous_format, id="nchw"),
    pytest.param(torch.channels_last, id="channels_last"),
]


def cases():
    shapes = [(1, 256, 32, 48), (1, 256, 68, 120)]  # y of a 768x512 and of a 1920x1088 picture
    return [pytest.param(shape, id="x".join(map(str, shape))) for shape in shapes]


def inputs(shape):
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp(torch.randn(shape, generator=generator) - 1.0)
    mean = torch.randn(shape, generator=generator)
    y = mean + scale * torch.randn(shape, generator=generator)
    return y, mean, scale


@pytest.fixture
def threads(request, one_thread):
    if request.param == 0:
        torch.set_num_threads(torch.get_num_interop_threads())
        glc.set_num_threads(torch.get_num_interop_threads())
    return request.param


def rounded(residual):
    return residual + (residual.round() - residual).detach()


def bits_by_normal(symbol, scale):
    normal = torch.distributions.normal.Normal(torch.zeros_like(scale), scale.clamp(1e-5, 1e10))
    probability = normal.cdf(symbol + 0.5) - normal.cdf(symbol - 0.5)
    bits = -1.0 * torch.log(probability + PROBABILITY_FLOOR) / math.log(2.0)
    return torch.clamp(bits, 0, None)


def authors_bits(y, mean, scale):
    """The formula of the release, the gradient left to autograd."""
    return bits_by_normal(rounded(y - mean), scale)


def bits_by_erf(symbol, scale):
    inverse = 1.0 / (scale.clamp(1e-5, 1e10) * math.sqrt(2.0))
    probability = 0.5 * (torch.erf((symbol + 0.5) * inverse) - torch.erf((symbol - 0.5) * inverse))
    return (-torch.log(probability + PROBABILITY_FLOOR) / math.log(2.0)).clamp_min(0.0)


def eager_bits(y, mean, scale):
    return bits_by_erf(rounded(y - mean), scale)


def compressai_bits():
    """Likelihoods with noise, as CompressAI trains; None where it is not installed."""
    if import_compressai() is None:
        return None
    from compressai.entropy_models import GaussianConditional

    model = GaussianConditional(None).train()
    return lambda y, mean, scale: -torch.log2(model(y, scale, mean)[1])


def with_gradients(bits, leaves, weight=None):
    total = bits(*leaves).sum()
    return total.detach(), torch.autograd.grad(total, leaves, weight)


def bits_peers(leaves, weight=lambda: None):
    compiled = torch.compile(eager_bits, fullgraph=True)
    sides = {"eager torch": eager_bits, "torch.compile": compiled, "the authors": authors_bits}
    theirs = compressai_bits()
    if theirs is not None:
        sides["CompressAI"] = theirs
    return {
        name: lambda bits=bits: with_gradients(bits, leaves, weight())
        for name, bits in sides.items()
    }


def check_gradients(tensors, reduction="sample"):
    """Compare with the reference: the total, and gradients of a weight of 1."""

    def check(ours, peers):
        reference = gaussian_bits.reference(*tensors, rounding="ste").sum()
        # the sum of a map is torch's, in float32
        assert abs(ours[0].double() / reference - 1) < (1e-7 if reduction == "sample" else 1e-6)
        for name, (total, gradients) in peers.items():
            if name == "CompressAI":  # noise: other symbols
                assert abs(total / reference - 1) < 0.2
                continue
            assert abs(total / reference - 1) < 1e-4
            for mine, theirs in zip(ours[1], gradients, strict=True):
                assert (mine - theirs).abs().mean() < 1e-3

    return check


def check_noise(tensors):
    """Compare with the reference at the same noise; the peers' symbols are others."""

    def check(ours, peers):
        for total, _ in peers.values():
            assert abs(ours[0] / total - 1) < 0.2
        leaves = [t.clone().requires_grad_() for t in tensors]
        again = []
        for op in (gaussian_bits, gaussian_bits.reference):
            torch.manual_seed(0)
            again.append(with_gradients(lambda *t, op=op: op(*t, rounding="noise"), leaves))
        assert abs(again[0][0] / again[1][0] - 1) < 1e-5
        for mine, theirs, timed in zip(again[0][1], again[1][1], ours[1], strict=True):
            assert (mine - theirs).abs().mean() < 1e-3
            assert 0.9 < timed.abs().mean() / theirs.abs().mean() < 1.1

    return check


@pytest.mark.parametrize("reduction", ["none", "sample"])
@pytest.mark.parametrize("rounding", ["ste", "noise"])
@pytest.mark.parametrize("threads", THREADS, indirect=True)
@pytest.mark.parametrize("shape", cases())
def bench_bits_forward_backward(race, shape, threads, rounding, reduction):
    """A loss whose weights stay: its gradient is computed ahead from the third pass on."""
    tensors = inputs(shape)
    leaves = [t.clone().requires_grad_() for t in tensors]

    race(
        lambda: with_gradients(
            lambda *t: gaussian_bits(*t, rounding=rounding, reduction=reduction), leaves
        ),
        bits_peers(leaves),
        check=check_noise(tensors) if rounding == "noise" else check_gradients(tensors, reduction),
        work=tensors[0].numel(),
        unit="sym",
        threads=threads != 1,
        **streaming(6 if reduction == "sample" else 8, tensors[0]),
    )


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("shape", cases())
def bench_bits_forward_backward_new_weight(race, shape):
    """A loss with another weight in each pass, which nobody foresees."""
    tensors = inputs(shape)
    leaves = [t.clone().requires_grad_() for t in tensors]
    passes = itertools.count()

    def weight():
        return torch.tensor(1.0 + 1e-4 * (next(passes) % 10))

    race(
        lambda: with_gradients(
            lambda *t: gaussian_bits(*t, rounding="ste", reduction="sample"), leaves, weight()
        ),
        bits_peers(leaves, weight),
        check=check_gradients(tensors),
        work=tensors[0].numel(),
        unit="sym",
        **streaming(10, tensors[0]),
    )


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("shape", cases())
def bench_bits_forward(race, shape):
    tensors = inputs(shape)

    def eager():
        with torch.no_grad():
            return eager_bits(*tensors)

    def check(ours, peers):
        assert (ours - peers["eager torch"]).abs().mean() < 1e-3

    race(
        lambda: gaussian_bits.plain(*tensors, rounding="round"),
        {"eager torch": eager},
        check=check,
        work=tensors[0].numel(),
        unit="sym",
        **streaming(4, tensors[0]),
    )


def row_peers(y, mean, scale, bounds):
    def by_bucketize():
        return (y - mean).round().to(torch.int32), torch.bucketize(scale, bounds)

    def by_comparisons():
        """As codecs do that loop over their scale table."""
        rows = torch.zeros(scale.shape, dtype=torch.int32)
        for bound in bounds:
            rows += bound < scale
        return (y - mean).round().to(torch.int32), rows

    peers = {"bucketize": by_bucketize, "a comparison a row": by_comparisons}
    if import_compressai() is not None:
        from compressai.entropy_models import GaussianConditional

        table = [*bounds.tolist(), 64.0]
        model = GaussianConditional(table, scale_bound=1e-9).eval()

        @torch.no_grad()
        def compressai():
            return model.quantize(y, "symbols", mean), model.build_indexes(scale)

        peers["CompressAI"] = compressai
    return peers


@pytest.mark.parametrize("threads", THREADS, indirect=True)
@pytest.mark.parametrize("shape", cases())
def bench_symbols_and_rows(race, shape, threads):
    y, mean, scale = inputs(shape)
    bounds = torch.from_numpy(cdf.canonical()[1].copy())

    def check(ours, peers):
        for symbols, rows in peers.values():
            assert torch.equal(ours[0], symbols.to(torch.int32))
            assert torch.equal(ours[1].long(), rows.long())

    race(
        lambda: gaussian_symbols.plain(y, mean, scale, bounds),
        row_peers(y, mean, scale, bounds),
        check=check,
        work=y.numel(),
        unit="sym",
        threads=threads != 1,
        **streaming(4.25, y),
    )


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("shape", cases())
def bench_rows(race, shape):
    _, _, scale = inputs(shape)
    bounds = torch.from_numpy(cdf.canonical()[1].copy())

    def check(ours, peers):
        assert torch.equal(ours.long(), peers["bucketize"])

    race(
        lambda: gaussian_rows.plain(scale, bounds),
        {"bucketize": lambda: torch.bucketize(scale, bounds)},
        check=check,
        work=scale.numel(),
        unit="row",
        **streaming(1.25, scale),
    )


def authors_masks(shape, device="cpu"):
    """Cells of 2 x 2 tiled over the map, as the release makes them."""
    b, c, h, w = shape
    masks = []
    for part in range(PARTS):
        groups = []
        for phase in PHASES[part]:
            cell = torch.zeros(2, 2, device=device)
            cell[phase // 2, phase % 2].fill_(1)  # an assignment would copy from the CPU
            tiled = cell.repeat((h + 1) // 2, (w + 1) // 2)[:h, :w]
            groups.append(tiled[None, None].expand(b, c // PARTS, h, w))
        masks.append(torch.cat(groups, 1))
    return masks


def written_out(residual):
    """Rounding as the release has it, also where nothing is differentiated (facts D6)."""
    return residual + (residual.round() - residual)


def authors_pass(y, scales, means, masks, rounding=round_ste):
    sums = None
    for mask, part_scale, part_mean in zip(masks, scales, means, strict=True):
        scale, mean = part_scale * mask, part_mean * mask
        y_q = rounding((y - mean) * mask)
        part = (y_q, y_q + mean, scale, mean)
        sums = part if sums is None else tuple(a + b for a, b in zip(sums, part, strict=True))
    return sums


def our_pass(y, scales, means):
    """The four steps of our ops, the last within the merge, and the maps they leave."""
    seen = four_part_step.plain(y, means[0], None, 0)
    for part in range(1, PARTS - 1):
        four_part_step_(y, means[part], seen, part)
    return four_part_merge.plain(y, scales, means)


def check_equal_maps(mine, peers):
    for theirs in peers.values():
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", THREADS, indirect=True)
@pytest.mark.parametrize("shape", cases())
def bench_four_part(race, shape, threads, layout):
    """A whole pass of four steps, the maps of the parts being given."""

    def laid_out(maps):
        return [one.contiguous(memory_format=layout) for one in maps]

    maps = laid_out(inputs(shape)[0] * (1 + 0.1 * i) for i in range(9))
    y, scales, means = maps[0], maps[1:5], maps[5:]
    kept_masks = laid_out(authors_masks(shape))

    @torch.no_grad()
    def plain_torch():
        return authors_pass(y, scales, means, laid_out(authors_masks(shape)))

    @torch.no_grad()
    def with_kept_masks():
        return authors_pass(y, scales, means, kept_masks)

    @torch.no_grad()
    def as_released():
        return authors_pass(y, scales, means, kept_masks, written_out)

    race(
        lambda: our_pass(y, scales, means),
        {
            "plain torch": plain_torch,
            "plain torch, masks kept": with_kept_masks,
            "the authors": as_released,
        },
        check=check_equal_maps,
        work=y.numel(),
        unit="sym",
        threads=threads != 1,
        **streaming(15, y),
    )


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("shape", cases())
def bench_four_part_forward_backward(race, shape):
    maps = [inputs(shape)[0] * (1 + 0.1 * i) for i in range(9)]
    leaves = [t.clone().requires_grad_() for t in maps]
    y, scales, means = leaves[0], leaves[1:5], leaves[5:]

    def graded(run):
        outputs = run()
        total = sum((i + 1) * x.sum() for i, x in enumerate(outputs))
        return torch.autograd.grad(total, leaves)

    def ours():
        seen = None
        for part in range(PARTS - 1):
            seen = four_part_step(y, means[part], seen, part)
        return four_part_merge(y, scales, means)

    def check(mine, peers):
        for a, b in zip(mine, peers["plain torch"], strict=True):
            torch.testing.assert_close(a, b)

    race(
        lambda: graded(ours),
        {
            "plain torch": lambda: graded(
                lambda: authors_pass(y, scales, means, authors_masks(shape))
            )
        },
        check=check,
        work=y.numel(),
        unit="sym",
    )
