# SPDX-License-Identifier: Apache-2.0
"""Torch ops of the codec; each keeps its float64 reference beside it."""

from glc.ops import coder
from glc.ops.categorical import categorical_bits, categorical_cdf
from glc.ops.gaussian import (
    gaussian_bits,
    gaussian_rows,
    gaussian_symbols,
    lower_bound,
    round_ste,
)
from glc.ops.vq import Quantized, VectorQuantizer, vq_nearest

__all__ = [
    "Quantized",
    "VectorQuantizer",
    "categorical_bits",
    "categorical_cdf",
    "coder",
    "gaussian_bits",
    "gaussian_rows",
    "gaussian_symbols",
    "lower_bound",
    "round_ste",
    "vq_nearest",
]
