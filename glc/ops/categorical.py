# SPDX-License-Identifier: Apache-2.0
"""Categorical entropy parameters: differentiable rates, and the integer cdfs that are coded."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops._op import Op, borrow

_LN2 = math.log(2.0)
_MAX_BITS = 16


# ---------------------------------------------------------------- categorical_bits


def _check_bits_arguments(logits: Tensor, index: Tensor) -> None:
    if index.is_floating_point() or index.dtype == torch.bool:
        raise InvalidArgumentError(
            f"categorical_bits: index: expected an integer dtype, got {index.dtype}"
        )
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise InvalidArgumentError(
            f"categorical_bits: logits: expected [..., k >= 1], got {tuple(logits.shape)}"
        )
    if logits.dim() > 1 and logits.shape[:-1] != index.shape:
        raise InvalidArgumentError(
            "categorical_bits: logits: expected [k], or the shape of index "
            f"{tuple(index.shape)} and k, got {tuple(logits.shape)}"
        )
    # on a device the gather itself refuses; asking here would wait for it
    if index.device.type == "cpu" and not bool(((index >= 0) & (index < logits.shape[-1])).all()):
        raise InvalidArgumentError(
            f"categorical_bits: index: expected values in [0, {logits.shape[-1]}), got others"
        )


def _bits(logits: Tensor, index: Tensor) -> Tensor:
    index = index.long()
    log_total = torch.logsumexp(logits, -1)
    if logits.dim() == 1:  # one distribution for all: nothing of size n x k
        chosen = logits[index]
    else:
        chosen = logits.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    return (log_total - chosen) / _LN2


def _categorical_bits(logits: Tensor, index: Tensor) -> Tensor:
    """Estimate the bits each index costs under a categorical distribution.

    bits = -log2 softmax(logits)[index]

    Args:
        logits: [k] for one distribution shared by all, or [..., k] with the shape of index in
            front; floating point, computed in float32, also under autocast.
        index: [...] any integer dtype, in [0, k).

    Returns:
        [...] float32, bits, >= 0; differentiable in logits. Not bit-exact between machines.

    Raises:
        InvalidArgumentError: shapes that disagree, an index out of range or not of integer dtype.
    """
    _check_bits_arguments(logits, index)
    with torch.autocast(device_type=logits.device.type, enabled=False):
        return _bits(logits.float(), index)


@torch.no_grad()
def _categorical_bits_plain(logits: Tensor, index: Tensor) -> Tensor:
    _check_bits_arguments(logits, index)
    return _bits(logits.float(), index)


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
    rows = logits.detach().cpu()
    if rows.dim() != 2:
        raise InvalidArgumentError(
            f"categorical_cdf: logits: expected [rows, k], got {tuple(logits.shape)}"
        )
    cdf = torch.empty(rows.shape[0], rows.shape[1] + 1, dtype=torch.int32)
    _core.categorical_cdf(borrow(rows), bits, borrow(cdf))
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
        increasing. Identical on every backend (computed on the CPU).

    Raises:
        InvalidArgumentError: a logit that is not finite, bits or k out of range, another dtype.
    """
    cdf: Tensor = _categorical_cdf_op(logits, bits)
    return cdf


def _categorical_cdf_reference(logits: Tensor, bits: int = _MAX_BITS) -> Tensor:
    """Compute the same without the fixed rounding: may differ by one unit per entry."""
    k = logits.shape[-1]
    weights = torch.softmax(logits.double(), -1)
    below = torch.nn.functional.pad(weights.cumsum(-1), (1, 0)).clamp_max(1.0)
    below[..., -1] = 1.0
    spare = (1 << bits) - k
    return (torch.arange(k + 1) + (spare * below).floor().long()).to(torch.int32)


categorical_cdf = Op(
    _categorical_cdf, reference=_categorical_cdf_reference, plain=_categorical_cdf_plain
)
