# SPDX-License-Identifier: Apache-2.0
"""Vector quantisation in training: search, lookup, losses and their gradients as one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from glc import _core
from glc.ops import _cuda
from glc.ops._op import Op, borrow, is_registered_for, is_traced, is_transformed
from glc.ops.straight_through import replace_ste
from glc.ops.vq import require_matrices, vq_nearest

__all__ = [
    "QuantizedRows",
    "all_reduced",
    "code_sums",
    "ema_update",
    "many_processes",
    "segment_sums",
    "vq_quantize",
]


@dataclass(frozen=True)
class QuantizedRows:
    """What `vq_quantize` returns.

    Attributes:
        z_hat: [n, d] float32, the selected rows; the gradient passes straight through to latents.
        index: [n] int32, the selected row numbers.
        codebook_loss: scalar float32, mean((z_hat - sg(latents))^2): its gradient moves the
            codebook alone.
        commitment_loss: scalar float32, the same value; its gradient moves the latents alone.
        usage: [k] int64, how often each row was selected.
    """

    z_hat: Tensor
    index: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    usage: Tensor


def _on_host(x: Tensor) -> bool:
    return x.is_cpu and not _cuda.is_cuda(x)


def _quantize(latents: Tensor, codebook: Tensor) -> QuantizedRows:
    index = vq_nearest.plain(latents, codebook)
    n, d = latents.shape
    k = codebook.shape[0]
    if _on_host(latents):
        rows, z = codebook.detach().float(), latents.detach().float()
        z_hat = torch.empty(n, d, dtype=torch.float32, device="cpu")
        usage = torch.empty(k, dtype=torch.int64, device="cpu")
        error = _core.vq_lookup(borrow(z), borrow(rows), borrow(index), borrow(z_hat))
        _core.vq_usage(borrow(index), borrow(usage))
        loss = torch.tensor(error / max(n * d, 1), dtype=torch.float32, device="cpu")
    else:
        rows_of = index.long()
        z_hat = codebook.detach().index_select(0, rows_of).float()
        # torch.bincount would wait for the device, to find the largest index
        usage = rows_of.new_zeros(k).scatter_add_(0, rows_of, torch.ones_like(rows_of))
        loss = F.mse_loss(z_hat, latents.detach().float(), reduction="sum") / max(n * d, 1)
    return QuantizedRows(z_hat, index, loss, loss.clone(), usage)


def segment_sums(rows: Tensor, index: Tensor, usage: Tensor) -> tuple[Tensor, Tensor]:
    """Add up the rows of each code, in ascending order: the same bits for any number of threads.

    Args:
        rows: [n, d] float32, on the CPU.
        index: [n] int32, the code of each row, in [0, k).
        usage: [k] int64, how often each code occurs.

    Returns:
        The codes that occur, [m] int64 ascending, and their sums, [m, d] float32.
    """
    present = usage.nonzero().flatten()
    sums = rows.new_empty(present.shape[0], rows.shape[1])
    _core.vq_segment_sums(borrow(rows), borrow(index), borrow(usage), borrow(sums))
    return present, sums


def code_sums(rows: Tensor, index: Tensor, usage: Tensor) -> Tensor:
    """Add up the rows of each code, in ascending order, without waiting for a device.

    Args:
        rows: [n, d] float32, on any device.
        index: [n] int32, the code of each row, in [0, k).
        usage: [k] int64, how often each code occurs.

    Returns:
        [k, d] float32, zero for codes that do not occur.
    """
    if _on_host(rows) or rows.shape[0] == 0:
        out = rows.new_zeros(usage.shape[0], rows.shape[1])
        if rows.shape[0]:
            present, sums = segment_sums(rows, index, usage)
            out[present] = sums
        return out
    # lengths that are checked ("unsafe" is not) or stripped of zeros are lengths that are read
    order = index.argsort(stable=True)
    ascending = rows.index_select(0, order)
    return torch.segment_reduce(ascending, "sum", lengths=usage, unsafe=True, initial=0.0)


# ---------------------------------------------------------------- the op and its gradient


@torch.library.custom_op("glc::vq_quantize", mutates_args=())
def _vq_quantize_op(
    latents: Tensor, codebook: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    require_matrices("vq_quantize", latents, codebook)
    out = _quantize(latents, codebook)
    return out.z_hat, out.index, out.codebook_loss, out.commitment_loss, out.usage


@_vq_quantize_op.register_fake
def _(latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    require_matrices("vq_quantize", latents, codebook)
    n, d = latents.shape
    z_hat = latents.new_empty((n, d), dtype=torch.float32)
    index = latents.new_empty(n, dtype=torch.int32)
    losses = [latents.new_empty((), dtype=torch.float32) for _ in range(2)]
    usage = latents.new_empty(codebook.shape[0], dtype=torch.int64)
    return z_hat, index, losses[0], losses[1], usage


@torch.library.custom_op("glc::vq_codebook_gradient", mutates_args=())
def _codebook_gradient_op(error: Tensor, index: Tensor, usage: Tensor) -> Tensor:
    """Sum `error` [n, d] by code: [k, d], zero for codes that do not occur."""
    return code_sums(error, index, usage)


@_codebook_gradient_op.register_fake
def _(error: Tensor, index: Tensor, usage: Tensor) -> Tensor:
    return error.new_empty((usage.shape[0], error.shape[1]))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    latents, codebook = inputs
    z_hat, index, _, _, usage = output
    ctx.mark_non_differentiable(index, usage)
    ctx.set_materialize_grads(False)  # a loss that is not used gives None, not a [k, d] of zeros
    ctx.dtypes = latents.dtype, codebook.dtype
    ctx.save_for_backward(latents, z_hat, index, usage)


def _error(z_hat: Tensor, latents: Tensor) -> Tensor:
    return (z_hat - latents.float()) * (2.0 / max(latents.numel(), 1))


_error_op = torch.library.custom_op("glc::vq_error", _error, mutates_args=())


@_error_op.register_fake
def _(z_hat: Tensor, latents: Tensor) -> Tensor:
    return torch.empty_like(z_hat)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    by_z_hat, _, by_codebook_loss, by_commitment_loss, _ = grads
    latents, z_hat, index, usage = ctx.saved_tensors
    # The registered ops refuse second derivatives. Autograd would get them wrong: it takes z_hat,
    # a constant to either loss, for what passes straight through to the latents.
    differentiated = is_registered_for(by_z_hat, by_codebook_loss, by_commitment_loss)
    by_latents, by_codebook = by_z_hat, None
    if by_codebook_loss is not None or by_commitment_loss is not None:
        error = (_error_op if differentiated else _error)(z_hat, latents)
    if by_commitment_loss is not None:
        pull = error * -by_commitment_loss
        by_latents = pull if by_z_hat is None else by_z_hat + pull
    if by_latents is not None:
        by_latents = by_latents.to(ctx.dtypes[0])
    if by_codebook_loss is not None and ctx.needs_input_grad[1]:
        sums = _codebook_gradient_op if differentiated or is_traced(error) else code_sums
        by_codebook = sums(error * by_codebook_loss, index, usage)
        by_codebook = by_codebook.to(ctx.dtypes[1])
    return by_latents, by_codebook


_vq_quantize_op.register_autograd(_backward, setup_context=_save)


class _Quantize(torch.autograd.Function):
    """The registered op without torch's registry: see `is_traced`."""

    @staticmethod
    def forward(ctx: Any, latents: Tensor, codebook: Tensor) -> tuple[Tensor, ...]:
        require_matrices("vq_quantize", latents, codebook)
        out = _quantize(latents, codebook)
        outputs = out.z_hat, out.index, out.codebook_loss, out.commitment_loss, out.usage
        _save(ctx, (latents, codebook), outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        return _backward(ctx, *grads)


def _quantize_by_formula(latents: Tensor, codebook: Tensor) -> QuantizedRows:
    """Compute the same so that transforms of `torch.func` see through."""
    require_matrices("vq_quantize", latents, codebook)
    index = vq_nearest(latents, codebook)
    choices = index.long()
    latents, rows = latents.float(), codebook.float()[choices]
    size = max(latents.numel(), 1)
    return QuantizedRows(
        z_hat=replace_ste(latents, rows),
        index=index,
        codebook_loss=(rows - latents.detach()).square().sum() / size,
        commitment_loss=(rows.detach() - latents).square().sum() / size,
        usage=choices.new_zeros(codebook.shape[0]).scatter_add(
            0, choices, torch.ones_like(choices)
        ),
    )


def _vq_quantize(latents: Tensor, codebook: Tensor) -> QuantizedRows:
    """Quantise vectors to their nearest codebook rows, with the losses that train both.

    index = vq_nearest(latents, codebook);  z_hat = codebook[index]
    d z_hat / d latents = 1 (straight through)     (van den Oord et al. 2017)

    Everything is computed in float32, also under autocast; no [n, k] matrix and no one-hot matrix.
    Sums run in a fixed order, so results and gradients do not depend on the number of threads.
    Second derivatives of the losses are refused (RuntimeError); z_hat has them, being linear.

    Args:
        latents: [n, d] float32, bfloat16 or float16.
        codebook: [k, d] likewise, k >= 1, same device.

    Returns:
        See `QuantizedRows`. With n = 0 both losses are 0.

    Raises:
        InvalidArgumentError: as `vq_nearest`.
    """
    if is_transformed():
        return _quantize_by_formula(latents, codebook)
    if is_traced(latents, codebook):
        return QuantizedRows(*_vq_quantize_op(latents, codebook))
    return QuantizedRows(*_Quantize.apply(latents, codebook))  # type: ignore[no-untyped-call]


@torch.no_grad()
def _vq_quantize_plain(latents: Tensor, codebook: Tensor) -> QuantizedRows:
    require_matrices("vq_quantize", latents, codebook)
    return _quantize(latents, codebook)


def _vq_quantize_reference(latents: Tensor, codebook: Tensor) -> QuantizedRows:
    latents, codebook = latents.double(), codebook.double()
    index = vq_nearest.reference(latents.detach(), codebook.detach())
    rows = codebook[index.long()]
    return QuantizedRows(
        z_hat=latents + (rows - latents).detach(),
        index=index,
        codebook_loss=(rows - latents.detach()).square().mean(),
        commitment_loss=(rows.detach() - latents).square().mean(),
        usage=torch.bincount(index, minlength=codebook.shape[0]),
    )


vq_quantize = Op(_vq_quantize, reference=_vq_quantize_reference, plain=_vq_quantize_plain)


# ---------------------------------------------------------------- statistics of many processes


def many_processes() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _all_reduced(x: Tensor) -> Tensor:
    out = x.clone()
    if many_processes():
        dist.all_reduce(out)
    return out


_all_reduced_op = torch.library.custom_op("glc::vq_all_reduced", _all_reduced, mutates_args=())


@_all_reduced_op.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def all_reduced(x: Tensor) -> Tensor:
    """Return the sum of x over the processes that train together; a copy where there is one."""
    out: Tensor = (_all_reduced_op if is_traced(x) else _all_reduced)(x)
    return out


def _ema_update(
    codebook: Tensor,
    row_weight: Tensor,
    latents: Tensor,
    index: Tensor,
    usage: Tensor,
    all_usage: Tensor,
    decay: float,
) -> None:
    # Which rows a device selected is not asked for, that would be waited for: it moves them all,
    # those without latents by nothing.
    present: Tensor | slice = slice(None)
    if _on_host(codebook) and not many_processes():
        present, sums = segment_sums(latents.float(), index, usage)
    else:
        sums = code_sums(latents.float(), index, usage)
    if many_processes():
        dist.all_reduce(sums)
        if _on_host(codebook):
            present = all_usage.nonzero().flatten()
            sums = sums[present]
    counts = all_usage.to(row_weight.dtype)
    row_weight.mul_(decay).add_(counts, alpha=1.0 - decay)
    # Same as keeping decayed sums and dividing, but a codebook assigned or loaded from outside
    # needs no second tensor brought into step with it.
    pull = (1.0 - decay) / row_weight[present].clamp_min(1e-12)
    rows = codebook[present].float()
    rows += pull[:, None] * (sums - counts[present, None] * rows)
    codebook[present] = rows.to(codebook.dtype)


_ema_update_op = torch.library.custom_op(
    "glc::vq_ema_update", _ema_update, mutates_args=("codebook", "row_weight")
)


@_ema_update_op.register_fake
def _(
    codebook: Tensor,
    row_weight: Tensor,
    latents: Tensor,
    index: Tensor,
    usage: Tensor,
    all_usage: Tensor,
    decay: float,
) -> None:
    return None


@torch.no_grad()
def ema_update(
    codebook: Tensor,
    row_weight: Tensor,
    latents: Tensor,
    index: Tensor,
    usage: Tensor,
    all_usage: Tensor,
    decay: float,
) -> None:
    """Move each codebook row towards the mean of the latents that selected it, in place.

    weight = decay weight + (1 - decay) count
    row += (1 - decay) / weight * sum over its latents of (latent - row)
    (van den Oord et al. 2017, appendix A.1)

    With several processes, counts and sums are those of all.

    Args:
        codebook: [k, d] float32, written.
        row_weight: [k] float32, written: the decayed counts.
        latents: [n, d] floating point.
        index: [n] int32, the row each latent selected.
        usage: [k] int64, how often each row was selected here.
        all_usage: [k] int64, the same over all processes; see `all_reduced`.
        decay: in (0, 1).
    """
    update = _ema_update_op if is_traced(codebook, latents) else _ema_update
    update(codebook, row_weight, latents, index, usage, all_usage, decay)
