# SPDX-License-Identifier: Apache-2.0
"""Gaussian parameters at coding time: the integer symbols and the table rows, exact everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda
from glc.ops._layout import lend_rows, new_like
from glc.ops._op import Op, borrow, require_alike, require_same_device

# ---------------------------------------------------------------- gaussian_rows


def _rows_by_torch(scale: Tensor, bounds: Tensor) -> Tensor:
    rows = torch.bucketize(scale, bounds)  # number of bounds strictly below
    return torch.where(scale > 0, rows, 0).to(torch.uint8)


def _gaussian_rows_plain(scale: Tensor, bounds: Tensor) -> Tensor:
    require_same_device("gaussian_rows", scale=scale, bounds=bounds)
    if not _cuda.has_kernels(scale):
        return _rows_by_torch(scale, bounds)
    rows = new_like(scale, torch.uint8)
    matrix, out = lend_rows(scale, rows)
    _core.gaussian_rows(matrix, borrow(bounds), out, *_cuda.stream_for(scale))
    return rows


@torch.library.custom_op("glc::gaussian_rows", mutates_args=())
def _gaussian_rows_op(scale: Tensor, bounds: Tensor) -> Tensor:
    return _gaussian_rows_plain(scale, bounds)


@_gaussian_rows_op.register_fake
def _(scale: Tensor, bounds: Tensor) -> Tensor:
    return new_like(scale, torch.uint8)


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
        InvalidArgumentError: bounds not as above (on CUDA they are taken as they are), on another
            device, or another dtype.
    """
    rows: Tensor = _gaussian_rows_op(scale.detach(), bounds.detach())
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
    require_alike("gaussian_symbols", y=y, mean=mean, scale=scale)
    require_same_device("gaussian_symbols", y=y, bounds=bounds)
    if not _cuda.has_kernels(y):
        return _symbols_by_torch(y, mean, scale, bounds)
    symbols, rows = new_like(y, torch.int32), new_like(y, torch.uint8)
    lent = lend_rows(y, mean, scale, symbols, rows)
    _core.gaussian_symbols(lent[:3], borrow(bounds), *lent[3:], *_cuda.stream_for(y))
    return symbols, rows


@torch.library.custom_op("glc::gaussian_symbols", mutates_args=())
def _gaussian_symbols_op(
    y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    return _gaussian_symbols_plain(y, mean, scale, bounds)


@_gaussian_symbols_op.register_fake
def _(y: Tensor, mean: Tensor, scale: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    return new_like(y, torch.int32), new_like(y, torch.uint8)


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
        InvalidArgumentError: shapes or devices that disagree, another dtype; and, but for CUDA, a
            value that is not finite, a symbol that does not fit 32 bits, bounds that are not
            increasing. Our CUDA kernels do not wait to see: there a residual that is NaN gives 0,
            one out of range the nearest int32.
    """
    constants = (t.detach() for t in (y, mean, scale, bounds))
    symbols, rows = _gaussian_symbols_op(*constants)
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
