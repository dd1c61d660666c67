# SPDX-License-Identifier: Apache-2.0
"""Torch ops of the codec; each keeps its float64 reference beside it."""

from glc.ops.categorical import categorical_bits, categorical_cdf
from glc.ops.four_part import (
    four_part_merge,
    four_part_pick,
    four_part_put,
    four_part_step,
    four_part_step_,
)
from glc.ops.gaussian import gaussian_bits, lower_bound, round_ste
from glc.ops.gaussian_symbols import gaussian_rows, gaussian_symbols
from glc.ops.vector_quantizer import Quantized, VectorQuantizer
from glc.ops.vq import vq_nearest
from glc.ops.vq_quantize import QuantizedRows, vq_quantize

__all__ = [
    "Quantized",
    "QuantizedRows",
    "VectorQuantizer",
    "categorical_bits",
    "categorical_cdf",
    "four_part_merge",
    "four_part_pick",
    "four_part_put",
    "four_part_step",
    "four_part_step_",
    "gaussian_bits",
    "gaussian_rows",
    "gaussian_symbols",
    "lower_bound",
    "round_ste",
    "vq_nearest",
    "vq_quantize",
]
