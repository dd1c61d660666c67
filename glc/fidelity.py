# SPDX-License-Identifier: Apache-2.0
"""The distance between an image and its reconstruction that needs numpy alone."""

import math

import numpy as np
from numpy.typing import NDArray

from glc.errors import InvalidArgumentError

__all__ = ["psnr", "require_alike"]


def psnr(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio.

    10 log10(255^2 / mean squared error), the mean taken over pixels and channels.

    Args:
        x: [h, w, 3] uint8.
        x_hat: [h, w, 3] uint8.

    Returns:
        Decibels; infinity for equal images.

    Raises:
        InvalidArgumentError: the shapes differ.
    """
    require_alike("psnr", x, x_hat)
    total = 0
    for row, row_hat in zip(x, x_hat, strict=True):
        error = np.subtract(row, row_hat, dtype=np.int64)
        total += int(np.vdot(error, error))
    return 10.0 * math.log10(255.0**2 / (total / x.size)) if total else math.inf


def require_alike(name: str, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> None:
    """Raise InvalidArgumentError, in an operation's name, unless two pictures have one shape."""
    if x.shape != x_hat.shape:
        raise InvalidArgumentError(
            f"{name}: x_hat: expected the shape of x {list(x.shape)}, got {list(x_hat.shape)}"
        )
