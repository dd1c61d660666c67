# SPDX-License-Identifier: Apache-2.0
"""Import CompressAI and torchvision for tests and benchmarks, also beside a CPU build of torch."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

_kept_alive: list[Any] = []


def import_compressai() -> Any:
    """Import compressai, or return None where it is not installed."""
    if importlib.util.find_spec("compressai") is None:
        return None
    import_torchvision()
    return importlib.import_module("compressai")


def import_torchvision() -> Any:
    """Import torchvision.

    PyPI's is built for CUDA. Its library does not load under a CPU build of torch, and its import
    then ends at two operators that nobody declared.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_alive.append(library)
        return importlib.import_module("torchvision")
