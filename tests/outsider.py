# SPDX-License-Identifier: Apache-2.0
"""The reader that was written from docs/format.md alone, as tests call it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from glc import cdf

__all__ = ["canonical_rows", "load_outsider"]


def load_outsider() -> ModuleType:
    """Import `examples/read_glc.py`."""
    path = Path(__file__).resolve().parents[1] / "examples" / "read_glc.py"
    spec = importlib.util.spec_from_file_location("read_glc", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["read_glc"] = module
    spec.loader.exec_module(module)
    return module


def canonical_rows(outsider: ModuleType) -> list[Any]:
    """The canonical tables as its rows."""
    freqs, n_bins, offsets = cdf.canonical()[0].arrays()
    return [
        outsider.Row(freqs[end - n : end].tolist(), int(offset), 14, escape=True)
        for end, n, offset in zip(np.cumsum(n_bins), n_bins, offsets, strict=True)
    ]
