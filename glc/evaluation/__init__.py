# SPDX-License-Identifier: Apache-2.0
"""Measure a codec: real bytes, fidelity and time."""

from glc.evaluation.curves import METRICS, BdRate, Curve, bd_rate, load_curves
from glc.evaluation.evaluate import evaluate, find_images
from glc.evaluation.measures import Measures
from glc.evaluation.metrics import feature_distance, ms_ssim, psnr
from glc.evaluation.results import Evaluation, ImageResult, LevelResult

__all__ = [
    "METRICS",
    "BdRate",
    "Curve",
    "Evaluation",
    "ImageResult",
    "LevelResult",
    "Measures",
    "bd_rate",
    "evaluate",
    "feature_distance",
    "find_images",
    "load_curves",
    "ms_ssim",
    "psnr",
]
