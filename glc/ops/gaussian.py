# SPDX-License-Identifier: Apache-2.0
"""Gaussian entropy parameters in training: differentiable rates."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._expected import Expected
from glc.ops._gaussian_ahead import (
    Ahead,
    AheadOnDevice,
    Gradients,
    column_of,
    lend_ahead,
    lend_grad,
    lend_outputs,
    new_ahead,
    new_ahead_on_device,
    taken,
)
from glc.ops._gaussian_formulas import (
    backward_by_torch,
    bits_by_formula,
    bits_by_torch,
    noise_like,
    unbounded_bits,
)
from glc.ops._layout import is_channels_last, lend_rows, new_like
from glc.ops._op import Op, borrow, is_registered_for, is_traced, is_transformed, require_alike
from glc.ops.straight_through import lower_bound, round_ste

Rounding = Literal["noise", "ste", "round"]
Reduction = Literal["none", "sample", "sum"]
_expected = Expected()


def _lend_latents(
    y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None
) -> tuple[list[object], object | None]:
    return lend_rows(y, mean, scale), None if seed is None else borrow(seed)


def _bits_plain(
    y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None, ahead: Ahead | None = None
) -> Tensor:
    if not _cuda.has_kernels(y):
        return bits_by_torch(y, mean, scale, seed)
    bits = new_like(y, torch.float32)
    (out,) = lend_rows(bits)
    more = _cuda.stream_for(y) or (lend_ahead(ahead),)
    _core.gaussian_bits(*_lend_latents(y, mean, scale, seed), out, *more)
    return bits


@functools.lru_cache(maxsize=64)
def _workspace_bytes(shape: torch.Size, channels_last: bool, groups: int) -> int:
    whole = math.prod(shape)
    cols = shape[1] if channels_last else whole // max(1, shape[0]) if len(shape) > 1 else whole
    return _core.gaussian_total_bits_workspace_bytes(whole // max(1, cols), cols, groups)


def _totals_plain(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    seed: Tensor | None,
    per_sample: bool,
    ahead: Ahead | AheadOnDevice | None = None,
) -> Tensor:
    if not _cuda.has_kernels(y):
        bits = bits_by_torch(y, mean, scale, seed)
        return _reduced(bits, "sample" if per_sample else "sum")
    totals = _empty_totals(y, per_sample)
    if y.numel() == 0:
        return totals.zero_()
    latents, noise = _lend_latents(y, mean, scale, seed)
    if not _cuda.takes(y):
        _core.gaussian_total_bits(latents, noise, borrow(totals), lend_ahead(ahead))
        return totals
    n_bytes = _workspace_bytes(y.shape, is_channels_last(y), totals.numel())
    scratch, stream = borrow(_cuda.new_bytes(n_bytes, y)), _cuda.stream_of(y)
    ticket = _cuda.ticket_for(y, stream) if totals.numel() == 1 else None
    left = lend_ahead(ahead)
    _core.gaussian_total_bits(latents, noise, borrow(totals), scratch, ticket, left, stream)
    return totals


def _reduced(bits: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return bits
    wide = bits.double()
    return (wide.sum() if reduction == "sum" else wide.flatten(1).sum(1)).to(bits.dtype)


def _empty_totals(y: Tensor, per_sample: bool) -> Tensor:
    return y.new_empty(y.shape[:1] if per_sample else (), dtype=torch.float32)


@torch.library.custom_op("glc::gaussian_bits", mutates_args=())
def _gaussian_bits_op(y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None) -> Tensor:
    return _bits_plain(y, mean, scale, seed)


@_gaussian_bits_op.register_fake
def _(y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None) -> Tensor:
    return new_like(y, torch.float32)


@torch.library.custom_op("glc::gaussian_total_bits", mutates_args=())
def _gaussian_total_bits_op(
    y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None, per_sample: bool
) -> Tensor:
    return _totals_plain(y, mean, scale, seed, per_sample)


@_gaussian_total_bits_op.register_fake
def _(y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None, per_sample: bool) -> Tensor:
    return _empty_totals(y, per_sample)


def _empty_gradients(
    y: Tensor, mean: Tensor, scale: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    by_y, by_mean, by_scale = (
        new_like(y, t.dtype) if want else t.new_empty(0)
        for t, want in zip((y, mean, scale), wanted, strict=True)
    )
    return by_y, by_mean, by_scale


def _backward_plain(
    grad: Tensor,
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    seed: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients, for a grad as of `lend_grad`. An unwanted one is left empty."""
    out = _empty_gradients(y, mean, scale, wanted)
    if not _cuda.has_kernels(y):
        grad = grad if grad.shape == y.shape else grad.view(-1, *(1,) * (y.dim() - 1))
        slopes = backward_by_torch(grad, y, mean, scale, seed)
        for to, slope, want in zip(out, slopes, wanted, strict=True):
            if want:
                to.copy_(slope)
        return out
    _core.gaussian_bits_backward(
        lend_grad(grad, y),
        *_lend_latents(y, mean, scale, seed),
        lend_outputs(*(o if w else None for o, w in zip(out, wanted, strict=True))),
        *_cuda.stream_for(y),
    )
    return out


def _backward_unless_foreseen(
    grad: Tensor, saved: tuple[Tensor, Tensor, Tensor, Tensor | None], ahead: AheadOnDevice
) -> Gradients:
    """Gradients of totals where the forward pass made room for them, if it did not leave them."""
    y, mean, scale, seed = saved
    _core.gaussian_bits_backward(
        lend_grad(grad, y),
        *_lend_latents(y, mean, scale, seed),
        lend_outputs(*ahead.out),
        ahead.foresight.lend(),
        _cuda.stream_of(y),
    )
    return ahead.out


_gaussian_bits_backward_op = torch.library.custom_op(
    "glc::gaussian_bits_backward", _backward_plain, mutates_args=()
)


@_gaussian_bits_backward_op.register_fake
def _(
    grad: Tensor, y: Tensor, mean: Tensor, scale: Tensor, seed: Tensor | None, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_gradients(y, mean, scale, wanted)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.n_rest = len(inputs) - 3


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:3])
    by_each = _gaussian_bits_backward_op(grad, *ctx.saved_tensors, wanted)
    by_latents = (g if w else None for g, w in zip(by_each, wanted, strict=True))
    return (*by_latents, *(None,) * ctx.n_rest)


_gaussian_bits_op.register_autograd(_differentiate, setup_context=_save_inputs)
_gaussian_total_bits_op.register_autograd(_differentiate, setup_context=_save_inputs)


def _compute(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    seed: Tensor | None,
    reduction: Reduction,
    ahead: Ahead | AheadOnDevice | None = None,
) -> Tensor:
    if reduction == "none":
        assert not isinstance(ahead, AheadOnDevice)
        return _bits_plain(y, mean, scale, seed, ahead)
    return _totals_plain(y, mean, scale, seed, reduction == "sample", ahead)


class _Bits(torch.autograd.Function):
    """The registered ops without torch's registry (see `is_traced`), and gradients ahead."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        mean: Tensor,
        scale: Tensor,
        seed: Tensor | None,
        reduction: Reduction,
        differentiated: bool,
    ) -> Tensor:
        _save_inputs(ctx, (y, mean, scale, seed, reduction, differentiated), y)
        ctx.kind = (y.shape, reduction)
        ctx.ahead = None
        wanted = ctx.needs_input_grad[:3]
        if differentiated and not _cuda.takes(y):
            ctx.ahead = new_ahead(y, wanted, _expected.of(ctx.kind))
        elif differentiated and reduction != "none":
            ctx.ahead = new_ahead_on_device(y, wanted, ctx.kind, reduction == "sample")
        return _compute(y, mean, scale, seed, reduction, ctx.ahead)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        if is_registered_for(grad):
            return _differentiate(ctx, grad)
        wanted = list(ctx.needs_input_grad[:3])
        by_each: tuple[Tensor | None, ...] | None = None
        ahead, ctx.ahead = ctx.ahead, None  # used up: a second pass computes them anew
        if isinstance(ahead, AheadOnDevice):
            by_each = _backward_unless_foreseen(grad, ctx.saved_tensors, ahead)
        elif ahead is not None:
            shape, _ = ctx.kind
            values = _expected.came(ctx.kind, column_of(grad, shape))
            by_each = taken(ahead, grad, values, wanted)
        if by_each is None:
            y, mean, scale, seed = ctx.saved_tensors
            computed = _backward_plain(grad, y, mean, scale, seed, wanted)
            by_each = tuple(g if w else None for g, w in zip(computed, wanted, strict=True))
        return (*by_each, *(None,) * ctx.n_rest)


def _draw_seed(y: Tensor, rounding: Rounding) -> Tensor | None:
    """Draw a seed for "noise" from torch's generator of the device of y."""
    if rounding == "noise":
        return torch.randint(2**63 - 1, (1,), device=y.device)
    if rounding in ("ste", "round"):
        return None
    raise InvalidArgumentError(
        f"gaussian_bits: rounding: expected 'noise', 'ste' or 'round', got {rounding!r}"
    )


_DTYPES = (torch.float32, torch.bfloat16)


def _prepared(
    y: Tensor, mean: Tensor, scale: Tensor, rounding: Rounding, reduction: Reduction
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Check the arguments, bring them to one dtype that the kernels read, and draw the seed."""
    alike = (
        y.shape == mean.shape == scale.shape
        and y.device == mean.device == scale.device
        and y.dtype == mean.dtype == scale.dtype
        and y.dtype in _DTYPES
    )
    if not alike:
        require_alike("gaussian_bits", y=y, mean=mean, scale=scale)
    if reduction not in ("none", "sample", "sum"):
        raise InvalidArgumentError(
            f"gaussian_bits: reduction: expected 'none', 'sample' or 'sum', got {reduction!r}"
        )
    if reduction == "sample" and y.dim() < 2:
        raise InvalidArgumentError(
            f"gaussian_bits: y: expected [b, ...] to reduce, got {tuple(y.shape)}"
        )
    seed = _draw_seed(y, rounding)
    if not alike:
        y, mean, scale = y.float(), mean.float(), scale.float()
    return y, mean, scale, seed


def _gaussian_bits(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    *,
    rounding: Rounding = "noise",
    reduction: Reduction = "none",
) -> Tensor:
    """Estimate the bits each quantised latent costs under its Gaussian.

    s = symbol(y - mean);  P = Phi((s + .5) / scale) - Phi((s - .5) / scale)
    bits = max(0, -log2(P + 1e-5)), scale clamped to [1e-5, 1e10]     (Jia et al. 2024)

    The bound at 0 lets gradients through as `lower_bound` does. Second derivatives are not
    defined. A reduction writes no map of bits, and is the quicker for it.

    Where bits of this shape got the same gradient twice in a row, as from a loss whose weights
    stay, the forward pass computes the gradients for the next such one ahead: up to three maps more
    are held until the backward pass. Otherwise float32 inputs on the CPU leave two, slopes by y and
    by scale. None of this changes a bit of a gradient.

    Args:
        y: [...] floating point, latent units; computed in float32, also under autocast. float32 and
            bfloat16, contiguous or channels_last or a slice of channels, are read in place.
        mean: [...] like y.
        scale: [...] like y; may be zero or negative, then it counts as 1e-5.
        rounding: how the symbol is made. "noise" adds U(-.5, .5), for training; "ste" rounds half
            to even and passes the gradient straight through; "round" rounds and passes none.
        reduction: "sample" adds up the bits of each y[b], which must have two dimensions or more;
            "sum" all bits.

    Returns:
        [...] float32, bits per symbol, in [0, 16.61], or [b] or [] float32, their sums;
        differentiable in y, mean and scale. NaN where an input is NaN. The sums do not depend
        on the number of threads. Not bit-exact between machines.

    Raises:
        InvalidArgumentError: unknown rounding or reduction, not floating point, or shapes or
            devices that disagree.
    """
    y, mean, scale, seed = _prepared(y, mean, scale, rounding, reduction)
    if rounding == "round":
        y, mean = y.detach(), mean.detach()
    if is_transformed():
        return _reduced(bits_by_formula(y, mean, scale, seed), reduction)
    if not is_traced(y, mean, scale):
        return _Bits.apply(  # type: ignore[no-any-return, no-untyped-call]
            y, mean, scale, seed, reduction, torch.is_grad_enabled()
        )
    bits: Tensor = (
        _gaussian_bits_op(y, mean, scale, seed)
        if reduction == "none"
        else _gaussian_total_bits_op(y, mean, scale, seed, reduction == "sample")
    )
    return bits


@torch.no_grad()
def _gaussian_bits_plain(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    *,
    rounding: Rounding = "noise",
    reduction: Reduction = "none",
) -> Tensor:
    return _compute(*_prepared(y, mean, scale, rounding, reduction), reduction)


def _gaussian_bits_reference(
    y: Tensor,
    mean: Tensor,
    scale: Tensor,
    *,
    rounding: Rounding = "noise",
    reduction: Reduction = "none",
) -> Tensor:
    seed = _draw_seed(y, rounding)
    residual = y - mean  # in the inputs' own precision: rounding it decides the symbol
    if seed is not None:
        symbol = residual + noise_like(y, seed).to(residual.dtype)
    else:
        symbol = round_ste(residual) if rounding == "ste" else residual.round()
    bits = lower_bound(unbounded_bits(symbol.double(), scale.double()), 0.0)
    return _reduced(bits, reduction)


gaussian_bits = Op(_gaussian_bits, reference=_gaussian_bits_reference, plain=_gaussian_bits_plain)
