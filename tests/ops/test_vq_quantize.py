# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

import glc
from glc.errors import InvalidArgumentError
from glc.ops import vq_quantize
from glc.ops.vq_quantize import (
    QuantizedRows,
    _all_reduced_op,
    _codebook_gradient_op,
    _ema_update_op,
    _error_op,
    _vq_quantize_op,
    code_sums,
    ema_update,
    segment_sums,
)
from tests.cuda_kernels import as_on_a_device

SIZES = [(1, 1, 1), (7, 5, 3), (65, 33, 16), (300, 17, 40), (5, 600, 8)]
# float32 sums of some hundred terms against float64
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def leaves(n: int, k: int, d: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(rows, d, generator=generator).to(dtype).requires_grad_() for rows in (n, k)]


def weighted(out) -> torch.Tensor:
    weights = torch.linspace(-1, 1, out.z_hat.numel()).view_as(out.z_hat)
    return (out.z_hat * weights).sum() + 0.7 * out.commitment_loss + 1.9 * out.codebook_loss


@pytest.mark.parametrize(("n", "k", "d"), SIZES)
def test_values_and_gradients_are_the_reference_ones(n, k, d):
    ours, theirs = leaves(n, k, d), leaves(n, k, d)
    out, reference = vq_quantize(*ours), vq_quantize.reference(*theirs)
    assert torch.equal(out.index, reference.index)
    assert torch.equal(out.usage, reference.usage)
    assert torch.equal(out.z_hat, ours[1][out.index.long()])
    torch.testing.assert_close(out.commitment_loss.double(), reference.commitment_loss, **TOLERANCE)
    torch.testing.assert_close(out.codebook_loss, out.commitment_loss)
    weighted(out).backward()
    weighted(reference).backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, **TOLERANCE)


def test_the_reference_passes_gradcheck():
    latents, codebook = leaves(12, 5, 3, torch.float64)

    def commitment(z):
        return vq_quantize.reference(z, codebook.detach()).commitment_loss

    def codebook_loss(rows):
        return vq_quantize.reference(latents.detach(), rows).codebook_loss

    assert torch.autograd.gradcheck(commitment, latents)
    assert torch.autograd.gradcheck(codebook_loss, codebook)


def test_a_loss_that_is_not_used_costs_no_gradient():
    latents, codebook = leaves(9, 6, 4)
    out = vq_quantize(latents, codebook)
    (out.z_hat.sum() + out.commitment_loss).backward()
    assert codebook.grad is None
    latents.grad = None
    vq_quantize(latents, codebook).codebook_loss.backward()
    assert latents.grad is None


@pytest.mark.parametrize("name", ["codebook_loss", "commitment_loss"])
@pytest.mark.parametrize("traced", [False, True])
def test_second_derivatives_of_the_losses_are_refused(name, traced):
    latents, codebook = leaves(7, 5, 3)
    out = QuantizedRows(*_vq_quantize_op(latents, codebook)) if traced else None
    loss = getattr(out or vq_quantize(latents, codebook), name)
    wanted = codebook if name == "codebook_loss" else latents
    (grad,) = torch.autograd.grad(loss, wanted, create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        torch.autograd.grad(grad.square().sum(), wanted)


def test_the_second_derivative_of_the_straight_way_is_right():
    latents, codebook = leaves(7, 5, 3)
    z_hat = vq_quantize(latents, codebook).z_hat
    (grad,) = torch.autograd.grad(z_hat.square().sum(), latents, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), latents)
    assert torch.equal(second, torch.full_like(latents, 2.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    latents, codebook = leaves(40, 30, 16, dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = vq_quantize(latents, codebook)
        (out.z_hat.sum() + out.commitment_loss + out.codebook_loss).backward()
    wide = vq_quantize.plain(latents.float(), codebook.float())
    assert out.z_hat.dtype == out.commitment_loss.dtype == torch.float32
    assert torch.equal(out.z_hat, wide.z_hat)
    assert torch.equal(out.commitment_loss, wide.commitment_loss)
    assert latents.grad.dtype == codebook.grad.dtype == dtype


def test_no_bit_depends_on_the_number_of_threads():
    results = []
    before = glc.get_num_threads()
    try:
        for threads in (1, 2, 7):
            glc.set_num_threads(threads)
            latents, codebook = leaves(2000, 300, 24)
            out = vq_quantize(latents, codebook)
            (out.commitment_loss + out.codebook_loss).backward()
            results.append([out.z_hat, out.commitment_loss, latents.grad, codebook.grad])
    finally:
        glc.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize(("n", "k", "d"), [*SIZES, (0, 3, 4)])
def test_the_way_of_a_device_gives_the_same(n, k, d):
    def quantized():
        tensors = leaves(n, k, d)
        out = vq_quantize(*tensors)
        weighted(out).backward()
        return out, [t.grad for t in tensors]

    ours, ours_grads = quantized()
    with as_on_a_device():
        other, other_grads = quantized()
    assert torch.equal(ours.index, other.index)
    assert torch.equal(ours.usage, other.usage)
    assert torch.equal(ours.z_hat, other.z_hat)
    torch.testing.assert_close(other.codebook_loss, ours.codebook_loss)
    for mine, theirs in zip(ours_grads, other_grads, strict=True):
        torch.testing.assert_close(theirs, mine, **TOLERANCE)


def test_averages_move_alike_on_a_device():
    def moved():
        latents, codebook = (x.detach() for x in leaves(50, 90, 4))
        weight = torch.ones(90)
        out = vq_quantize.plain(latents, codebook)
        ema_update(codebook, weight, latents, out.index, out.usage, out.usage, 0.9)
        return codebook, weight

    ours = moved()
    with as_on_a_device():
        others = moved()
    for mine, theirs in zip(ours, others, strict=True):
        torch.testing.assert_close(theirs, mine, **TOLERANCE)


def test_sums_are_taken_in_ascending_order():
    rows = torch.tensor([[1e8], [1.0], [-1e8], [1.0], [5.0]])
    index = torch.tensor([2, 2, 2, 2, 0], dtype=torch.int32)
    usage = torch.tensor([1, 0, 4])
    present, sums = segment_sums(rows, index, usage)
    assert present.tolist() == [0, 2]
    assert sums.tolist() == [[5.0], [1.0]]  # 1e8 + 1 - 1e8 + 1 in float32
    assert code_sums(rows, index, usage).tolist() == [[5.0], [0.0], [1.0]]
    with as_on_a_device():
        assert code_sums(rows, index, usage).tolist() == [[5.0], [0.0], [1.0]]


def test_nothing_to_quantise():
    latents, codebook = leaves(0, 3, 4)
    out = vq_quantize(latents, codebook)
    assert out.z_hat.shape == (0, 4)
    assert out.commitment_loss == out.codebook_loss == 0
    assert out.usage.tolist() == [0, 0, 0]
    (out.commitment_loss + out.codebook_loss).backward()
    assert codebook.grad.eq(0).all()


def test_bad_arguments_are_refused():
    latents, codebook = leaves(4, 5, 6)
    with pytest.raises(InvalidArgumentError, match=r"vq_quantize: latents and codebook: expected"):
        vq_quantize(latents, codebook[:, :5])
    with pytest.raises(InvalidArgumentError, match="vq_quantize: codebook: expected at least one"):
        vq_quantize(latents, codebook[:0])
    with pytest.raises(InvalidArgumentError, match="vq_quantize: latents: expected float32"):
        vq_quantize(latents.double(), codebook)


def test_ema_moves_rows_that_were_selected():
    latents, codebook = (x.detach() for x in leaves(50, 90, 4))
    weight = torch.ones(90)
    before = codebook.clone()
    out = vq_quantize.plain(latents, codebook)
    ema_update(codebook, weight, latents, out.index, out.usage, out.usage, 0.9)
    idle = out.usage == 0
    assert idle.any()
    assert torch.equal(codebook[idle], before[idle])
    assert (codebook[~idle] != before[~idle]).any(1).all()
    assert torch.equal(
        vq_quantize.plain(latents, codebook).index, vq_quantize.reference(latents, codebook).index
    )  # the search has seen the change


def test_opcheck():
    latents, codebook = leaves(9, 5, 4)
    torch.library.opcheck(_vq_quantize_op, (latents, codebook))
    out = vq_quantize.plain(latents, codebook)
    error = torch.randn(9, 4)
    torch.library.opcheck(_codebook_gradient_op, (error, out.index, out.usage))
    torch.library.opcheck(_error_op, (out.z_hat.detach(), latents.detach()))
    torch.library.opcheck(_all_reduced_op, (out.usage,))
    arguments = (codebook.detach(), torch.ones(5), error, out.index, out.usage, out.usage, 0.9)
    torch.library.opcheck(_ema_update_op, arguments)


class Quantise(torch.nn.Module):
    def forward(self, latents, codebook):
        out = vq_quantize(latents, codebook)
        return out.z_hat, out.index, out.usage, out.commitment_loss + out.codebook_loss


def test_compiles_and_exports_in_one_piece():
    latents, codebook = leaves(9, 33, 4)
    expected = Quantise()(latents, codebook)
    compiled = torch.compile(Quantise(), fullgraph=True, backend="aot_eager")(latents, codebook)
    assert all(map(torch.equal, compiled, expected))
    ours = torch.autograd.grad(expected[-1], (latents, codebook))
    theirs = torch.autograd.grad(compiled[-1], (latents, codebook))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    inputs = latents.detach(), codebook.detach()
    exported = torch.export.export(Quantise(), inputs)
    assert all(map(torch.equal, exported.module()(*inputs), expected))
