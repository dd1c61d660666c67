# SPDX-License-Identifier: Apache-2.0
"""Generative latent coding: images to about a kilobyte and back.

Importing this package loads neither torch nor the models; both arrive with the first attribute
that needs them. `glc.rans`, `glc.cdf` and `glc.bitstream` need only numpy.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from glc import errors
from glc.errors import GlcError

try:
    from glc._core import __version__
except ModuleNotFoundError as error:
    if error.name != "glc._core":
        raise
    raise ModuleNotFoundError(
        f"glc: {__path__[0]} has no native module for this Python; `pip install -e .` beside it "
        "builds one there, and a glc that is installed already is found from another folder",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from glc import bitstream, cdf, evaluation, losses, models, ops, rans
    from glc.codec import Codec
    from glc.models import GLC, load_official
    from glc.shortcuts import decode, encode, verify

__all__ = [
    "GLC",
    "Codec",
    "GlcError",
    "__version__",
    "bitstream",
    "build_info",
    "cdf",
    "decode",
    "encode",
    "errors",
    "evaluation",
    "get_num_threads",
    "load_official",
    "losses",
    "models",
    "ops",
    "rans",
    "set_num_threads",
    "verify",
]

# public name -> the module that defines it, imported on first use
_LAZY = MappingProxyType(
    {
        "GLC": "glc.models",
        "load_official": "glc.models",
        "Codec": "glc.codec",
        "decode": "glc.shortcuts",
        "encode": "glc.shortcuts",
        "verify": "glc.shortcuts",
    }
)
# modules that are attributes without an import of their own
_MODULES = frozenset(("bitstream", "cdf", "evaluation", "losses", "models", "ops", "rans"))

if not TYPE_CHECKING:  # to a checker every name would exist

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            return getattr(importlib.import_module(_LAZY[name]), name)
        if name in _MODULES:
            return importlib.import_module(f"glc.{name}")
        raise AttributeError(f"module 'glc' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def build_info() -> dict[str, Any]:
    """Describe the native build: version, compiler, CPU features and backends.

    Returns:
        `version`, `compiler`, `assertions` (debug checks compiled in), `cuda` (kernels compiled
        in), `cpu_features` (what this CPU can run), `simd` (what is in force; one that
        `GLC_SIMD=scalar|neon|avx2|avx512` names, which is read once) and `threads`
        (`get_num_threads`).

    Raises:
        UnsupportedError: `GLC_SIMD` names an instruction set this CPU lacks.
    """
    from glc import _core

    return _core.build_info()


def get_num_threads() -> int:
    """Return how many threads one call of the coder may use, the caller's included.

    At first `GLC_NUM_THREADS`, or the number of CPUs that this process may run on. How many torch's
    own ops use is counted apart (`torch.set_num_threads`), though with `glc.ops` imported the
    threads are the same ones, where torch has OpenMP.

    Raises:
        InvalidArgumentError: `GLC_NUM_THREADS` is not a number in 1..256.
    """
    from glc import _core

    return _core.threads()


def set_num_threads(n: int) -> None:
    """Set how many threads one call of the coder may use.

    Args:
        n: 1..256.

    Raises:
        InvalidArgumentError: outside that range.
    """
    from glc import _core
    from glc._arguments import in_range

    _core.set_threads(in_range("threads", n, 1, 256))
