# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.ops import (
    four_part_merge,
    four_part_pick,
    four_part_put,
    four_part_step,
    four_part_step_,
    round_ste,
)
from glc.ops.four_part import _in_place_op, _merge_op, _step_op
from glc.ops.parts import PARTS, part_mask, spread, spread_op

SHAPES = [(1, 4, 1, 1), (2, 4, 2, 3), (1, 8, 5, 7), (2, 16, 8, 17), (1, 4, 3, 33), (1, 256, 4, 6)]
SHAPES += [(0, 4, 2, 2), (1, 4, 0, 5), (2, 4, 0, 3)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def maps(shape, n, memory_format=torch.contiguous_format):
    generator = torch.Generator().manual_seed(sum(shape))
    made = [4 * torch.randn(shape, generator=generator) for _ in range(n)]
    return [m.contiguous(memory_format=memory_format) for m in made]


def plain_formula(y, scales, means):
    """The authors' way, with masks."""
    y_q, y_hat, scale, mean = (torch.zeros_like(y) for _ in range(4))
    for part in range(PARTS):
        mask = part_mask(y.shape, part).to(y.dtype)
        symbols = round_ste(y - means[part]) * mask
        y_q = y_q + symbols
        y_hat = y_hat + symbols + means[part] * mask
        scale = scale + scales[part] * mask
        mean = mean + means[part] * mask
    return y_q, y_hat, scale, mean


def bits(x):
    return x.contiguous().view(torch.int32)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_forms_are_bit_equal_to_the_plain_formula(shape, memory_format):
    y, *params = maps(shape, 9, memory_format)
    scales, means = params[:4], params[4:]
    expected = plain_formula(y, scales, means)
    y_hat, functional = torch.full_like(y, math.nan), torch.full_like(y, math.nan)
    for part in range(PARTS):
        four_part_step_(y, means[part], y_hat, part)
        functional = four_part_step(y, means[part], functional, part)
    for mine, theirs in zip(four_part_merge(y, scales, means), expected, strict=True):
        assert torch.equal(bits(mine), bits(theirs))
    assert torch.equal(bits(y_hat), bits(expected[1]))
    assert torch.equal(bits(functional), bits(expected[1]))
    for mine, theirs in zip(
        four_part_merge.plain(y, scales, means),
        four_part_merge.reference(y, scales, means),
        strict=True,
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_slices_of_channels_are_read_in_place(shape):
    b, c, h, w = shape
    for memory_format in FORMATS:
        y, y_hat = maps(shape, 2, memory_format)
        both = maps((b, 2 * c, h, w), 1, memory_format)[0]
        mean = both.chunk(2, dim=1)[1]
        expected = four_part_step.reference(y, mean.contiguous(), y_hat, 2)
        assert torch.equal(four_part_step(y, mean, y_hat, 2), expected)


@pytest.mark.parametrize("shape", SHAPES[:6])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_coder_gets_and_gives_the_same(shape, memory_format):
    y, mean, y_hat = maps(shape, 3, memory_format)
    rebuilt = torch.full_like(y_hat, math.nan)
    for part in range(PARTS):
        mask = part_mask(shape, part).expand(shape)
        picked = four_part_pick(mean, part)
        assert torch.equal(picked, mean[mask])  # indexing goes in [b, c, h, w] order
        symbols = (four_part_pick(y, part) - picked).round().to(torch.int32)
        four_part_put(symbols, picked, rebuilt, part)
        y_hat = four_part_step(y, mean, y_hat, part)
    assert torch.equal(bits(rebuilt), bits(y_hat))


def test_a_negative_zero_is_the_integer_zero():
    y, mean = torch.full((1, 4, 2, 2), -0.25), torch.full((1, 4, 2, 2), -0.0)
    y_hat = torch.ones_like(y)
    for part in range(PARTS):
        four_part_step_(y, mean, y_hat, part)
    y_q, also_y_hat, _, merged = four_part_merge(y, [mean] * 4, [mean] * 4)
    for positive in (y_hat, also_y_hat, y_q):
        assert not torch.signbit(positive).any()
    assert torch.signbit(merged).all()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_before_the_first_part_is_zeros(shape, memory_format):
    y, mean = maps(shape, 2, memory_format)
    for part in range(PARTS):
        expected = four_part_step(y, mean, torch.zeros_like(y), part)
        for step in (four_part_step, four_part_step.plain, four_part_step.reference):
            assert torch.equal(bits(step(y, mean, None, part)), bits(expected))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_spread_takes_each_set_of_parts_apart(shape, memory_format):
    x, minus = maps(shape, 2, memory_format)
    masks = [part_mask(shape, part) for part in range(PARTS)]
    for sets in ([1, 2, 4, 8], [4, 11], [15], [6, 9, 1]):
        for taken, left in ((None, x), (minus, x - minus)):
            for mine, parts in zip(spread(x, taken, sets), sets, strict=True):
                mask = sum(masks[p].int() for p in range(PARTS) if parts >> p & 1)
                assert torch.equal(mine, left * mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_does_the_same_where_there_are_no_kernels(shape, monkeypatch):
    y, before, *params = maps(shape, 10)
    y[..., ::2], params[7][..., ::2] = -0.25, -0.0  # symbols of -0 around means of -0

    def everything():
        in_place = before.clone()
        four_part_step_(y, params[0], in_place, 3)
        steps = [four_part_step.plain(y, params[7], seen, 2) for seen in (None, before)]
        merged = four_part_merge.plain(y, params[:4], params[4:])
        return [in_place, *steps, *merged, *spread(y, before, [4, 11]), *spread(y, None, [15])]

    ours = everything()
    monkeypatch.setattr("glc.ops._cuda.has_kernels", lambda _x: False)
    for theirs, mine in zip(everything(), ours, strict=True):
        assert torch.equal(bits(theirs), bits(mine))


def test_other_positions_are_not_looked_at():
    y, mean, y_hat = maps((1, 8, 6, 6), 3)
    mask = part_mask(y.shape, 1)
    dirty = torch.where(mask, mean, math.inf)
    clean = four_part_step(y, mean, y_hat, 1)
    assert torch.equal(four_part_step(torch.where(mask, y, math.nan), dirty, y_hat, 1), clean)


@pytest.mark.parametrize(
    "used", [("y_hat", "scale", "mean", "y_q"), ("y_hat", "scale", "mean"), ("y_q",), ("y_hat",)]
)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradients_match_the_plain_formula(memory_format, used):
    y, weight, *params = maps((2, 8, 5, 6), 10, memory_format)

    def total(ours):
        leaves = [t.clone().requires_grad_() for t in (y, *params)]
        scales, means = leaves[1:5], leaves[5:]
        if ours:
            seen = None
            for part in range(1, PARTS):
                seen = four_part_step(leaves[0], means[part - 1], seen, part - 1)
                # later parts' means depend on y_hat, as through a network
                means[part] = means[part] + 0.3 * seen.roll(1, 3)
            y_q, y_hat, scale, mean = four_part_merge(leaves[0], scales, means)
        else:
            y_q, y_hat, scale, mean = (torch.zeros_like(y) for _ in range(4))
            for part in range(PARTS):
                mask = part_mask(y.shape, part).to(y.dtype)
                means[part] = means[part] + 0.3 * y_hat.roll(1, 3)
                symbols = round_ste(leaves[0] - means[part]) * mask
                y_q, y_hat = y_q + symbols, y_hat + symbols + means[part] * mask
                scale, mean = scale + scales[part] * mask, mean + means[part] * mask
        terms = {"y_hat": y_hat, "scale": scale.square(), "mean": mean.sin(), "y_q": y_q.square()}
        loss = (weight * sum(terms[name] for name in used)).sum()
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        return [torch.zeros_like(y) if g is None else g for g in gradients]

    for got, expected in zip(total(ours=True), total(ours=False), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_reference_gradcheck():
    generator = torch.Generator().manual_seed(0)
    kinds = [torch.randn(1, 4, 2, 2, generator=generator, dtype=torch.float64) for _ in range(4)]
    leaves = [t.requires_grad_() for t in kinds]
    assert torch.autograd.gradcheck(lambda *m: four_part_merge.reference(m[0], m, m)[2:], leaves)


def test_bad_arguments_are_refused():
    y, mean, y_hat = maps((1, 8, 4, 4), 3)
    with pytest.raises(InvalidArgumentError, match=r"part: expected 0\.\.3, got 4"):
        four_part_step(y, mean, y_hat, 4)
    with pytest.raises(InvalidArgumentError, match="mean: expected the shape of y_hat"):
        four_part_step(y, mean[:, :4], y_hat, 0)
    with pytest.raises(InvalidArgumentError, match="a multiple of 4"):
        four_part_step(*(t[:, :6] for t in (y, mean, y_hat)), 0)
    with pytest.raises(InvalidArgumentError, match="floating-point dtype"):
        four_part_step(y.int(), mean, y_hat, 0)
    with pytest.raises(InvalidArgumentError, match="device of y_hat"):
        four_part_step(y.to("meta"), mean, y_hat, 0)
    with pytest.raises(InvalidArgumentError, match="expected 4 each, got 4, 3"):
        four_part_merge(y, [y] * 4, [mean] * 3)
    with pytest.raises(InvalidArgumentError, match="dense"):
        four_part_put(torch.zeros(32, dtype=torch.int32), torch.zeros(32), y_hat.transpose(2, 3), 0)
    with pytest.raises(InvalidArgumentError, match="dense"):
        four_part_step_(y, mean, y_hat.transpose(2, 3), 0)
    with pytest.raises(InvalidArgumentError, match="symbols: expected 32 elements, got 31"):
        four_part_put(torch.zeros(31, dtype=torch.int32), torch.zeros(32), y_hat, 0)


def test_autograd_notices_what_is_written_in_place():
    y, mean, y_hat = maps((1, 8, 4, 6), 3)
    weight = torch.ones(1, requires_grad=True)
    writes = {
        "step": lambda: four_part_step_(y, mean, y_hat, 1),
        "put": lambda: four_part_put(torch.ones(48, dtype=torch.int32), torch.zeros(48), y_hat, 1),
    }
    for write in writes.values():
        seen = weight * y_hat  # keeps y_hat for the weight's gradient
        write()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            seen.sum().backward()
        y_hat.requires_grad_()
        with pytest.raises(InvalidArgumentError, match="gradients: expected none"):
            write()
        y_hat.requires_grad_(False)
    with torch.inference_mode():
        fresh = torch.zeros_like(y_hat)
        four_part_step_(y, mean, fresh, 0)


def test_opcheck():
    y, mean, y_hat, scale = maps((2, 8, 3, 5), 4)
    leaves = [t.clone().requires_grad_() for t in (y, mean, y_hat)]
    torch.library.opcheck(_step_op, (*leaves, 1))
    torch.library.opcheck(_step_op, (*leaves[:2], None, 1))
    torch.library.opcheck(_merge_op, (leaves[0], [*leaves, scale], [scale, *leaves]))
    torch.library.opcheck(spread_op, (y, None, [1, 2, 4, 8]))
    torch.library.opcheck(spread_op, (y, mean, [4, 11]))
    torch.library.opcheck(_in_place_op, (y, mean, y_hat, 3))


class WholePass(torch.nn.Module):
    def forward(self, y, scales, means):
        seen = None
        for part in range(PARTS):
            seen = four_part_step(y, means[part], seen, part)
        return seen, *four_part_merge(y, scales, means)


def test_compiles_and_exports_in_one_graph():
    y, *params = maps((1, 8, 4, 6), 9)
    expected = WholePass()(y, params[:4], params[4:])
    compiled = torch.compile(WholePass(), fullgraph=True, backend="aot_eager")
    exported = torch.export.export(WholePass(), (y, params[:4], params[4:])).module()
    for run in (compiled, exported):
        for got, want in zip(run(y, params[:4], params[4:]), expected, strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("used", [(0, 1, 2, 3), (1,), (2, 3)])
def test_gradients_of_a_compiled_pass_are_the_eager_ones(used):
    y, *params = maps((1, 8, 4, 6), 9)

    def gradients(run):
        leaves = [t.clone().requires_grad_() for t in (y, *params)]
        seen, *merged = run(leaves[0], leaves[1:5], leaves[5:])
        loss = seen.sum() + sum((i + 1) * merged[i].square().sum() for i in used)
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return [torch.zeros_like(y) if g is None else g for g in found]

    compiled = torch.compile(WholePass(), fullgraph=True, backend="aot_eager")
    for got, want in zip(gradients(compiled), gradients(WholePass()), strict=True):
        assert torch.equal(got, want)
