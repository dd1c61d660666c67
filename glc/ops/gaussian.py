# SPDX-License-Identifier: Apache-2.0
"""Gaussian entropy parameters: differentiable rates, and the symbols and rows that are coded."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops._op import Op, borrow, require_same_shape

Rounding = Literal["noise", "ste", "round"]

SCALE_MIN = 1e-5
SCALE_MAX = 1e10
PROBABILITY_FLOOR = 1e-5  # added to every probability, so no symbol costs more than 16.61 bit


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        blocked = (x < ctx.bound) & (grad >= 0)
        return grad.masked_fill(blocked, 0.0), None


class _RoundSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Clamp from below, but let gradients through that pull the input back up.

    max(x, bound); the gradient passes where x >= bound or where it is negative, so a value stuck
    below the bound can still recover under gradient descent.     (Balle et al. 2018)

    Args:
        x: any shape, floating point.
        bound: the smallest value returned.

    Returns:
        Like x.
    """
    return _LowerBound.apply(x, bound)  # type: ignore[no-any-return, no-untyped-call]


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes straight through.

    Args:
        x: any shape, floating point.

    Returns:
        Like x, integer valued.
    """
    return _RoundSte.apply(x)  # type: ignore[no-any-return, no-untyped-call]


# ---------------------------------------------------------------- gaussian_bits


def _unbounded_bits(symbol: Tensor, scale: Tensor) -> Tensor:
    """Compute -log2(P + 1e-5) from the upper tails, which do not cancel, in the inputs' dtype."""
    inverse = 1.0 / (scale.clamp(SCALE_MIN, SCALE_MAX) * math.sqrt(2.0))
    magnitude = symbol.abs()
    near = torch.erfc((magnitude - 0.5) * inverse)
    far = torch.erfc((magnitude + 0.5) * inverse)
    return -torch.log2(0.5 * (near - far) + PROBABILITY_FLOOR)


def _empty_like(x: Tensor, n: int) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(n))


def _bits_by_torch(
    y: Tensor, mean: Tensor, scale: Tensor, noise: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        residual = y.detach() - mean.detach()
        symbol = residual.round() if noise is None else residual + (noise - 0.5)
        symbol.requires_grad_()
        scale = scale.detach().requires_grad_()
        bits = _unbounded_bits(symbol, scale)
        by_symbol, by_scale = torch.autograd.grad(bits.sum(), (symbol, scale))
    bits = bits.detach()
    return bits.masked_fill(bits < 0, -0.0), by_symbol, by_scale


@torch.library.custom_op("glc::gaussian_bits", mutates_args=())
def _gaussian_bits_op(
    y: Tensor, mean: Tensor, scale: Tensor, noise: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Bits, their slope by the symbol and by the scale; as csrc/include/glc/entropy.h says."""
    if y.device.type != "cpu":
        return _bits_by_torch(y, mean, scale, noise)
    bits, by_symbol, by_scale = _empty_like(y, 3)
    noise = y.new_empty(0) if noise is None else noise
    _core.gaussian_bits(*(borrow(t) for t in (y, mean, scale, noise, bits, by_symbol, by_scale)))
    return bits, by_symbol, by_scale


@_gaussian_bits_op.register_fake
def _(
    y: Tensor, mean: Tensor, scale: Tensor, noise: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    bits, by_symbol, by_scale = _empty_like(y, 3)
    return bits, by_symbol, by_scale


@torch.library.custom_op("glc::gaussian_bits_backward", mutates_args=())
def _gaussian_bits_backward_op(
    grad: Tensor, bits: Tensor, by_symbol: Tensor, by_scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if grad.device.type != "cpu":
        grad = grad.masked_fill((bits == 0) & torch.signbit(bits) & (grad >= 0), 0.0)
        by_y = grad * by_symbol
        return by_y, -by_y, grad * by_scale
    grad_y, grad_mean, grad_scale = _empty_like(grad, 3)
    tensors = (grad, bits, by_symbol, by_scale, grad_y, grad_mean, grad_scale)
    _core.gaussian_bits_backward(*(borrow(t) for t in tensors))
    return grad_y, grad_mean, grad_scale


@_gaussian_bits_backward_op.register_fake
def _(
    grad: Tensor, bits: Tensor, by_symbol: Tensor, by_scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_y, grad_mean, grad_scale = _empty_like(grad, 3)
    return grad_y, grad_mean, grad_scale


def _save_slopes(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*output)


def _apply_slopes(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    by_y, by_mean, by_scale = _gaussian_bits_backward_op(grad, *ctx.saved_tensors)
    return by_y, by_mean, by_scale, None


_gaussian_bits_op.register_autograd(_apply_slopes, setup_context=_save_slopes)


def _draw(y: Tensor, rounding: Rounding) -> Tensor | None:
    """Draw U[0, 1) for "noise", in float32 whatever y is, so that the reference can repeat it."""
    if rounding == "noise":
        return torch.rand(y.shape, dtype=torch.float32, device=y.device)
    if rounding in ("ste", "round"):
        return None
    raise InvalidArgumentError(
        f"gaussian_bits: rounding: expected 'noise', 'ste' or 'round', got {rounding!r}"
    )


def _gaussian_bits(
    y: Tensor, mean: Tensor, scale: Tensor, *, rounding: Rounding = "noise"
) -> Tensor:
    """Estimate the bits each quantised latent costs under its Gaussian.

    s = symbol(y - mean);  P = Phi((s + .5) / scale) - Phi((s - .5) / scale)
    bits = max(0, -log2(P + 1e-5)), scale clamped to [1e-5, 1e10]     (Jia et al. 2024)

    The bound at 0 lets gradients through as `lower_bound` does. Second derivatives are not
    defined.

    Args:
        y: [...] floating point, latent units; computed in float32, also under autocast.
        mean: [...] like y.
        scale: [...] like y; may be zero or negative, then it counts as 1e-5.
        rounding: how the symbol is made. "noise" adds U(-.5, .5), for training; "ste" rounds half
            to even and passes the gradient straight through; "round" rounds and passes none.

    Returns:
        [...] float32, bits per symbol, in [0, 16.61]; differentiable in y, mean and scale. NaN
        where an input is NaN. Not bit-exact between machines.

    Raises:
        InvalidArgumentError: unknown rounding, or shapes that disagree.
    """
    require_same_shape("gaussian_bits", y=y, mean=mean, scale=scale)
    noise = _draw(y, rounding)
    if rounding == "round":
        y, mean = y.detach(), mean.detach()
    bits: Tensor = _gaussian_bits_op(y.float(), mean.float(), scale.float(), noise)[0]
    return bits


@torch.no_grad()
def _gaussian_bits_plain(
    y: Tensor, mean: Tensor, scale: Tensor, *, rounding: Rounding = "noise"
) -> Tensor:
    require_same_shape("gaussian_bits", y=y, mean=mean, scale=scale)
    noise = _draw(y, rounding)
    y, mean, scale = y.float(), mean.float(), scale.float()
    if y.device.type != "cpu":
        symbol = (y - mean).round() if noise is None else y - mean + (noise - 0.5)
        return _unbounded_bits(symbol, scale).clamp_min_(0.0)
    (bits,) = _empty_like(y, 1)
    none = y.new_empty(0)
    noise = none if noise is None else noise
    _core.gaussian_bits(*(borrow(t) for t in (y, mean, scale, noise, bits, none, none)))
    return bits


def _gaussian_bits_reference(
    y: Tensor, mean: Tensor, scale: Tensor, *, rounding: Rounding = "noise"
) -> Tensor:
    noise = _draw(y, rounding)
    residual = y - mean  # in the inputs' own precision: rounding it decides the symbol
    if noise is not None:
        symbol = residual + (noise - 0.5).to(residual.dtype)
    else:
        symbol = round_ste(residual) if rounding == "ste" else residual.round()
    return lower_bound(_unbounded_bits(symbol.double(), scale.double()), 0.0)


gaussian_bits = Op(_gaussian_bits, reference=_gaussian_bits_reference, plain=_gaussian_bits_plain)


# ---------------------------------------------------------------- gaussian_rows


def _rows_by_torch(scale: Tensor, bounds: Tensor) -> Tensor:
    rows = torch.bucketize(scale, bounds)  # number of bounds strictly below
    return torch.where(scale > 0, rows, 0).to(torch.uint8)


def _gaussian_rows_plain(scale: Tensor, bounds: Tensor) -> Tensor:
    if scale.device.type != "cpu":
        return _rows_by_torch(scale, bounds)
    rows = torch.empty(scale.shape, dtype=torch.uint8)
    _core.gaussian_rows(borrow(scale), borrow(bounds), borrow(rows))
    return rows


@torch.library.custom_op("glc::gaussian_rows", mutates_args=())
def _gaussian_rows_op(scale: Tensor, bounds: Tensor) -> Tensor:
    return _gaussian_rows_plain(scale, bounds)


@_gaussian_rows_op.register_fake
def _(scale: Tensor, bounds: Tensor) -> Tensor:
    return scale.new_empty(scale.shape, dtype=torch.uint8)


def _gaussian_rows(scale: Tensor, bounds: Tensor) -> Tensor:
    """Pick the cdf table row for each Gaussian scale.

    row = number of bounds strictly below scale; 0 where scale is NaN or <= 0
    (Balle et al. 2018, scale table)

    Args:
        scale: [...] float32, latent units.
        bounds: [rows - 1] float32, finite, > 0, strictly increasing, same device, at most 255.

    Returns:
        [...] uint8, in [0, rows). Identical on every backend.

    Raises:
        InvalidArgumentError: bounds not as above, or another dtype.
    """
    rows: Tensor = _gaussian_rows_op(scale, bounds)
    return rows


def _gaussian_rows_reference(scale: Tensor, bounds: Tensor) -> Tensor:
    below = bounds.double() < scale.double().unsqueeze(-1)  # [..., rows - 1]; false for NaN
    return below.sum(-1).to(torch.uint8)


gaussian_rows = Op(_gaussian_rows, reference=_gaussian_rows_reference, plain=_gaussian_rows_plain)


# ---------------------------------------------------------------- gaussian_symbols


def _require_finite(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidArgumentError(
                f"gaussian_symbols: {name}: expected finite values, got some that are not"
            )


def _symbols_by_torch(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    _require_finite(y=y, mean=mean, scale=scale)
    residual = (y - mean).round()
    if not bool(((residual >= -(2.0**31)) & (residual < 2.0**31)).all()):
        raise InvalidArgumentError("gaussian_symbols: y: expected residuals that fit 32 bits")
    return residual.to(torch.int32), _rows_by_torch(scale, bounds)


def _gaussian_symbols_plain(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    require_same_shape("gaussian_symbols", y=y, mean=mean, scale=scale)
    if y.device.type != "cpu":
        return _symbols_by_torch(y, mean, scale, bounds)
    symbols = torch.empty(y.shape, dtype=torch.int32)
    rows = torch.empty(y.shape, dtype=torch.uint8)
    _core.gaussian_symbols(*(borrow(t) for t in (y, mean, scale, bounds, symbols, rows)))
    return symbols, rows


@torch.library.custom_op("glc::gaussian_symbols", mutates_args=())
def _gaussian_symbols_op(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    return _gaussian_symbols_plain(y, mean, scale, bounds)


@_gaussian_symbols_op.register_fake
def _(y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    return y.new_empty(y.shape, dtype=torch.int32), y.new_empty(y.shape, dtype=torch.uint8)


def _gaussian_symbols(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn latents into the symbols that are coded and the table row of each.

    symbol = y - mean rounded half to even; rows as in `gaussian_rows`

    Args:
        y: [...] float32, latent units, finite.
        mean: [...] float32, finite.
        scale: [...] float32, finite; may be zero or negative.
        bounds: [rows - 1] float32, as in `gaussian_rows`.

    Returns:
        symbols [...] int32 and rows [...] uint8. Identical on every backend.

    Raises:
        InvalidArgumentError: a value that is not finite, a symbol that does not fit 32 bits, bounds
            that are not increasing, shapes that disagree, or another dtype.
    """
    symbols, rows = _gaussian_symbols_op(y, mean, scale, bounds)
    return symbols, rows


def _gaussian_symbols_reference(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    # The residual is defined in float32: float64 would round other values half to even.
    residual = (y.float() - mean.float()).double()
    return residual.round().to(torch.int32), _gaussian_rows_reference(scale, bounds)


gaussian_symbols = Op(
    _gaussian_symbols, reference=_gaussian_symbols_reference, plain=_gaussian_symbols_plain
)
