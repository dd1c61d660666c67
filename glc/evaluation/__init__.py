# SPDX-License-Identifier: Apache-2.0
"""Measure a codec: real bytes, fidelity and time."""

from glc.evaluation.evaluate import Evaluation, ImageResult, LevelResult, evaluate, find_images
from glc.evaluation.metrics import feature_distance, ms_ssim, psnr

__all__ = [
    "Evaluation",
    "ImageResult",
    "LevelResult",
    "evaluate",
    "feature_distance",
    "find_images",
    "ms_ssim",
    "psnr",
]
