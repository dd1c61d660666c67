# SPDX-License-Identifier: Apache-2.0
"""Categorical entropy parameters: differentiable rates, and the integer cdfs that are coded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._op import (
    Op,
    borrow,
    borrow_rows,
    is_registered_for,
    is_traced,
    is_transformed,
    require_same_device,
)

_LN2 = math.log(2.0)
_MAX_BITS = 16


# ---------------------------------------------------------------- categorical_bits

_DTYPES = (torch.float32, torch.bfloat16)


def _matrix(logits: Tensor) -> Tensor:
    return logits if logits.shape[1] < 2 or logits.stride(1) == 1 else logits.contiguous()


def _bits_plain(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    if not _cuda.has_kernels(logits):
        return _bits_by_torch(logits, index)
    bits = torch.empty(index.shape[0], dtype=torch.float32, device=logits.device)
    norms = torch.empty(logits.shape[0], 2, dtype=torch.float32, device=logits.device)
    lent = borrow_rows(_matrix(logits)), borrow(index), borrow(bits), borrow(norms)
    _core.categorical_bits(*lent, *_cuda.stream_for(logits))
    return bits, norms


def _bits_by_torch(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.float()
    largest = logits.amax(1)
    total = (logits - largest[:, None]).exp_().sum(1)
    above = largest - (
        logits[0, index] if len(logits) == 1 else logits.gather(1, index[:, None])[:, 0]
    )
    return (total.log2() + above / _LN2).clamp_min_(0.0), torch.stack([largest, total], 1)


def _bits_by_formula(logits: Tensor, index: Tensor) -> Tensor:
    """Compute the same so that transforms of `torch.func` see through."""
    bits = torch.log_softmax(logits.float(), 1) * (-1 / _LN2)
    return bits.expand(index.shape[0], -1).gather(1, index[:, None])[:, 0]


@torch.library.custom_op("glc::categorical_bits", mutates_args=())
def _categorical_bits_op(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Bits [n]; and for each row of logits [n or 1, k] its maximum and sum of exponentials."""
    return _bits_plain(logits, index)


@_categorical_bits_op.register_fake
def _(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    bits = logits.new_empty(index.shape[0], dtype=torch.float32)
    return bits, logits.new_empty((logits.shape[0], 2), dtype=torch.float32)


def _backward_plain(grad: Tensor, logits: Tensor, index: Tensor, norms: Tensor) -> Tensor:
    out = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if not _cuda.has_kernels(logits):
        return out.copy_(_backward_by_torch(grad, logits, index, norms))
    lent = borrow(grad), borrow_rows(_matrix(logits)), borrow(index), borrow(norms), borrow(out)
    _core.categorical_bits_backward(*lent, *_cuda.stream_for(logits))
    return out


_categorical_bits_backward_op = torch.library.custom_op(
    "glc::categorical_bits_backward", _backward_plain, mutates_args=()
)


def _backward_by_torch(grad: Tensor, logits: Tensor, index: Tensor, norms: Tensor) -> Tensor:
    shares = (logits.float() - norms[:, :1]).exp_() / norms[:, 1:]
    if len(logits) == 1:
        return (shares * grad.sum()).index_put_((index * 0, index), -grad, accumulate=True) / _LN2
    return (shares * grad[:, None]).scatter_add_(1, index[:, None], -grad[:, None]) / _LN2


@_categorical_bits_backward_op.register_fake
def _(grad: Tensor, logits: Tensor, index: Tensor, norms: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, output[1])


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
    return _categorical_bits_backward_op(grad, *ctx.saved_tensors), None


_categorical_bits_op.register_autograd(_differentiate, setup_context=_save_for_backward)


class _Bits(torch.autograd.Function):
    """The registered op without torch's registry: see `is_traced`."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor) -> Tensor:
        bits, norms = _bits_plain(logits, index)
        ctx.save_for_backward(logits, index, norms)
        return bits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        backward = _categorical_bits_backward_op if is_registered_for(grad) else _backward_plain
        return backward(grad, *ctx.saved_tensors), None


def _prepared(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Check the arguments, and make a matrix and a vector of them that the kernels read."""
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise InvalidArgumentError(
            f"categorical_bits: index: expected an integer dtype, got {index.dtype}"
        )
    if not logits.is_floating_point():
        raise InvalidArgumentError(
            f"categorical_bits: logits: expected a floating-point dtype, got {logits.dtype}"
        )
    require_same_device("categorical_bits", logits=logits, index=index)
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise InvalidArgumentError(
            f"categorical_bits: logits: expected [..., k >= 1], got {tuple(logits.shape)}"
        )
    if logits.dim() > 1 and logits.shape[:-1] != index.shape:
        raise InvalidArgumentError(
            "categorical_bits: logits: expected [k], or the shape of index "
            f"{tuple(index.shape)} and k, got {tuple(logits.shape)}"
        )
    rows = logits if logits.dtype in _DTYPES else logits.float()
    return rows.reshape(-1, logits.shape[-1]), index.reshape(-1).long()


def _categorical_bits(logits: Tensor, index: Tensor) -> Tensor:
    """Estimate the bits each index costs under a categorical distribution.

    bits = -log2 softmax(logits)[index]

    Nothing of the size of the logits is kept for the backward pass. Second derivatives are not
    defined.

    Args:
        logits: [k] for one distribution shared by all, or [..., k] with the shape of index in
            front, any strides; floating point, computed in float32, also under autocast. float32
            and bfloat16 with adjacent columns are read in place.
        index: [...] any integer dtype, in [0, k).

    Returns:
        [...] float32, bits, >= 0; differentiable in logits. Infinite where the index has a logit of
        -infinity; NaN where a logit of its distribution is NaN or +infinity, or all are -infinity.
        Does not depend on the number of threads. Not bit-exact between machines.

    Raises:
        InvalidArgumentError: shapes or devices that disagree, no columns, another dtype, or, on the
            CPU, an index out of range (our CUDA kernels give NaN for it).
    """
    matrix, choices = _prepared(logits, index)
    bits: Tensor
    if is_transformed():
        bits = _bits_by_formula(matrix, choices)
    elif is_traced(logits, index):
        bits = _categorical_bits_op(matrix, choices)[0]
    else:
        bits = _Bits.apply(matrix, choices)  # type: ignore[no-untyped-call]
    return bits.view(index.shape)


@torch.no_grad()
def _categorical_bits_plain(logits: Tensor, index: Tensor) -> Tensor:
    return _bits_plain(*_prepared(logits, index))[0].view(index.shape)


def _categorical_bits_reference(logits: Tensor, index: Tensor) -> Tensor:
    if logits.dim() == 1:
        logits = logits.expand(*index.shape, -1)
    log_probability = torch.log_softmax(logits.double(), -1) / _LN2
    return -log_probability.gather(-1, index.long().unsqueeze(-1)).squeeze(-1)


categorical_bits = Op(
    _categorical_bits, reference=_categorical_bits_reference, plain=_categorical_bits_plain
)


# ---------------------------------------------------------------- categorical_cdf


def _categorical_cdf_plain(logits: Tensor, bits: int = _MAX_BITS) -> Tensor:
    rows = logits.detach() if _cuda.takes(logits) else logits.detach().cpu()
    if rows.dim() != 2:
        raise InvalidArgumentError(
            f"categorical_cdf: logits: expected [rows, k], got {tuple(logits.shape)}"
        )
    cdf = rows.new_empty((rows.shape[0], rows.shape[1] + 1), dtype=torch.int32)
    lent = borrow_rows(_matrix(rows)), bits, borrow(cdf)
    _core.categorical_cdf(*lent, *_cuda.stream_for(rows))
    return cdf.to(logits.device)


@torch.library.custom_op("glc::categorical_cdf", mutates_args=())
def _categorical_cdf_op(logits: Tensor, bits: int) -> Tensor:
    return _categorical_cdf_plain(logits, bits)


@_categorical_cdf_op.register_fake
def _(logits: Tensor, bits: int) -> Tensor:
    return logits.new_empty((logits.shape[0], logits.shape[1] + 1), dtype=torch.int32)


def _categorical_cdf(logits: Tensor, bits: int = _MAX_BITS) -> Tensor:
    """Turn logits into the integer cdfs a coder uses.

    e_j = exp(logits_j - max);  cdf_j = j + floor((2^bits - k) * sum_{i<j} e_i / sum_i e_i)

    e is a fixed polynomial in fused multiply-adds, rounded down to a multiple of 2^-30; from there
    on everything is integer. So every machine gets the same cdf, and every symbol has a frequency
    of at least one, however improbable.

    Args:
        logits: [rows, k] float32, finite, 1 <= k <= 2^bits.
        bits: precision, 1..16.

    Returns:
        [rows, k + 1] int32 on the device of logits; starts at 0, ends at 2^bits, strictly
        increasing. Identical on every backend.

    Raises:
        InvalidArgumentError: bits or k out of range, another dtype; and, but for our CUDA kernels,
            which take equal logits for such a row, a logit that is not finite.
    """
    cdf: Tensor = _categorical_cdf_op(logits.detach(), bits)
    return cdf


def _categorical_cdf_reference(logits: Tensor, bits: int = _MAX_BITS) -> Tensor:
    """Compute the same without the fixed rounding: may differ by one unit per entry."""
    k = logits.shape[-1]
    weights = torch.softmax(logits.double(), -1)
    below = torch.nn.functional.pad(weights.cumsum(-1), (1, 0)).clamp_max(1.0)
    below[..., -1] = 1.0
    spare = (1 << bits) - k
    steps = torch.arange(k + 1, device=logits.device)
    return (steps + (spare * below).floor().long()).to(torch.int32)


categorical_cdf = Op(
    _categorical_cdf, reference=_categorical_cdf_reference, plain=_categorical_cdf_plain
)
