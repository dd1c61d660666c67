# SPDX-License-Identifier: Apache-2.0
"""`glc.encode`, `glc.decode` and `glc.verify`: a codec found, kept and asked, in one call."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glc.bitstream import parse
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.image import MAX_PIXELS, Metadata
from glc.loading import Data, checked_bytes
from glc.models.pretrained import bundled_models
from glc.report import Report

if TYPE_CHECKING:
    import torch

    from glc.models.glc import GLC

__all__ = ["codec_for", "decode", "encode", "verify"]


def encode(
    image: Any,
    model: "str | os.PathLike[str] | GLC" = DEFAULT_MODEL,
    quality: float | None = None,
    target_bytes: int | None = None,
    *,
    metadata: Metadata | None = None,
    refine: int = 0,
) -> bytes:
    """Compress a picture; see `Codec.encode`.

    Args:
        image: a path, a PIL image, a uint8 array [h, w, 3], or a float tensor [3, h, w] in [0, 1].
        model: a bundled model's name (kept loaded), a folder, or a model.
        quality: 0 (smallest file) to 3; 2 unless told.
        target_bytes: instead of a quality, the size not to exceed.
        metadata: to keep beside the picture.
        refine: steps by which the latent is refined for this very picture.

    Returns:
        The whole `.glc` file.

    Raises:
        InvalidArgumentError: as `Codec.encode`.
    """
    codec = _codec(model)
    return codec.encode(
        image, quality=quality, target_bytes=target_bytes, metadata=metadata, refine=refine
    )


def decode(
    data: Data,
    model: "str | os.PathLike[str] | GLC | None" = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Restore the picture of a file; see `Codec.decode`.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        [h, w, 3] uint8, sRGB.

    Raises:
        BitstreamError: damaged, truncated, made by another model, or too many pixels.
        UnsupportedError: written by another version.
        InvalidArgumentError: no such model, data is not bytes, or max_pixels below 1.
    """
    return codec_for(data, model, max_pixels=max_pixels).decode(data, max_pixels=max_pixels)


def verify(
    data: Data,
    model: "str | os.PathLike[str] | GLC | None" = None,
    max_pixels: int = MAX_PIXELS,
) -> Report:
    """Check a file without drawing its picture; see `Codec.verify`.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        What the file holds.

    Raises:
        BitstreamError: damaged, truncated, made by another model, or too many pixels.
        UnsupportedError: written by another version.
        InvalidArgumentError: no such model, data is not bytes, or max_pixels below 1.
    """
    return codec_for(data, model, max_pixels=max_pixels).verify(data, max_pixels=max_pixels)


def codec_for(
    data: Data,
    model: "str | os.PathLike[str] | GLC | None" = None,
    *,
    device: "str | torch.device" = "cpu",
    max_pixels: int = MAX_PIXELS,
) -> Codec:
    """Find the codec that reads a file; a file that is none is refused before a model is loaded.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        device: where the networks run.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        The codec; when no bundled model fits, one whose `decode` names both model ids.

    Raises:
        BitstreamError: not a `.glc` file.
        UnsupportedError: written by another version.
        InvalidArgumentError: no such model.
    """
    header, _ = parse(checked_bytes(data), max_pixels=max_pixels, cut=True)
    if model is not None:
        return _codec(model, device)
    names = bundled_models() or [DEFAULT_MODEL]
    codecs = (_codec(name, device) for name in names)  # each loaded only if none before it fits
    fitting = (codec for codec in codecs if codec.fingerprint[:2] == header.model_id)
    found = next(fitting, None)
    return _codec(names[0], device) if found is None else found


def _codec(model: "str | os.PathLike[str] | GLC", device: "str | torch.device" = "cpu") -> Codec:
    if isinstance(model, str) and model in bundled_models():
        return _bundled(model, device)
    return Codec(model, device)


@lru_cache(maxsize=2)
def _bundled(name: str, device: "str | torch.device") -> Codec:
    return Codec(name, device)
