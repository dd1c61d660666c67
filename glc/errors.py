# SPDX-License-Identifier: Apache-2.0
"""The exceptions glc raises on purpose; anything else is a bug."""

__all__ = [
    "BitstreamError",
    "CudaError",
    "GlcError",
    "InvalidArgumentError",
    "TrainingError",
    "UnsupportedError",
]


class GlcError(Exception):
    """Base of every error glc raises on purpose.

    Messages read `op: argument: expected X, got Y`, and name the fix when it is known.
    """


class InvalidArgumentError(GlcError, ValueError):
    """The caller's mistake: wrong shape, dtype, range or combination."""


class BitstreamError(GlcError, ValueError):
    """Bytes that are malformed, truncated or fail their checksum; names field and offset."""


class UnsupportedError(GlcError, NotImplementedError):
    """Valid, but not here: a newer format version, or a backend this build lacks."""


class CudaError(GlcError, RuntimeError):
    """A CUDA driver call or kernel launch reported an error."""


class TrainingError(GlcError, RuntimeError):
    """A training run that cannot go on: gradients that are not finite, a disk that is full."""
