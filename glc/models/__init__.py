# SPDX-License-Identifier: Apache-2.0
"""The GLC model family: configurations, networks, and loaders."""

from glc.models.codeformer import load_codeformer
from glc.models.config import GLCConfig, preset
from glc.models.glc import GLC
from glc.models.official import load_official, load_official_predictors

__all__ = [
    "GLC",
    "GLCConfig",
    "load_codeformer",
    "load_official",
    "load_official_predictors",
    "preset",
]
