# SPDX-License-Identifier: Apache-2.0
"""Torch ops of the codec; each keeps its float64 reference beside it."""

from glc.ops import coder
from glc.ops.categorical import categorical_bits, categorical_cdf
from glc.ops.exact import (
    DepthConvWeights,
    exact_conv2d,
    exact_conv_heads,
    exact_depth_conv_block,
    exact_depth_conv_heads,
)
from glc.ops.four_part import (
    four_part_merge,
    four_part_pick,
    four_part_put,
    four_part_step,
    four_part_step_,
)
from glc.ops.gaussian import gaussian_bits
from glc.ops.gaussian_symbols import gaussian_rows, gaussian_symbols
from glc.ops.group_norm import group_norm
from glc.ops.straight_through import lower_bound, round_ste
from glc.ops.vector_quantizer import Quantized, VectorQuantizer
from glc.ops.vq import vq_nearest
from glc.ops.vq_quantize import QuantizedRows, vq_quantize

__all__ = [
    "DepthConvWeights",
    "Quantized",
    "QuantizedRows",
    "VectorQuantizer",
    "categorical_bits",
    "categorical_cdf",
    "coder",
    "exact_conv2d",
    "exact_conv_heads",
    "exact_depth_conv_block",
    "exact_depth_conv_heads",
    "four_part_merge",
    "four_part_pick",
    "four_part_put",
    "four_part_step",
    "four_part_step_",
    "gaussian_bits",
    "gaussian_rows",
    "gaussian_symbols",
    "group_norm",
    "lower_bound",
    "round_ste",
    "vq_nearest",
    "vq_quantize",
]
