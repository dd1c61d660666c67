# SPDX-License-Identifier: Apache-2.0
"""Torch ops of the codec; each keeps its float64 reference beside it."""

from glc.ops.categorical import categorical_bits, categorical_cdf
from glc.ops.exact import (
    DepthConvWeights,
    exact_conv2d,
    exact_conv_heads,
    exact_depth_conv_block,
    exact_depth_conv_heads,
    exact_place_symbols,
)
from glc.ops.gaussian import (
    gaussian_bits,
    gaussian_rows,
    gaussian_symbols,
    lower_bound,
    round_ste,
)
from glc.ops.vq import Quantized, VectorQuantizer, vq_nearest

__all__ = [
    "DepthConvWeights",
    "Quantized",
    "VectorQuantizer",
    "categorical_bits",
    "categorical_cdf",
    "exact_conv2d",
    "exact_conv_heads",
    "exact_depth_conv_block",
    "exact_depth_conv_heads",
    "exact_place_symbols",
    "gaussian_bits",
    "gaussian_rows",
    "gaussian_symbols",
    "lower_bound",
    "round_ste",
    "vq_nearest",
]
