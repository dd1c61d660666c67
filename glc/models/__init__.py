# SPDX-License-Identifier: Apache-2.0
"""The GLC model family: configurations, networks, and loaders.

Configurations need no torch; the rest arrives with the first name that does.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from glc.models.config import GLCConfig, preset

if TYPE_CHECKING:
    from glc.models.codeformer import load_codeformer
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

# public name -> the module that defines it, imported on first use
_LAZY = MappingProxyType(
    {
        "GLC": "glc.models.glc",
        "load_codeformer": "glc.models.codeformer",
        "load_official": "glc.models.official",
        "load_official_predictors": "glc.models.official",
    }
)

if not TYPE_CHECKING:  # to a checker every name would exist

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            return getattr(importlib.import_module(_LAZY[name]), name)
        raise AttributeError(f"module 'glc.models' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
