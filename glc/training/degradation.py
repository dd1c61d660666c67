# SPDX-License-Identifier: Apache-2.0
"""Pictures made worse: what a restoring encoder is trained on, and measured on."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from glc.errors import InvalidArgumentError
from glc.training.config import DegradationConfig

NO_JPEG = 100.0  # quality at which none is made
_JPEG_SIDE = 65500  # pixels; libjpeg codes no longer one


def degrade(picture: np.ndarray, config: DegradationConfig, rng: np.random.Generator) -> np.ndarray:
    """Blur, shrink, add noise and compress, each as far as `config` has it.

    Args:
        picture: uint8 [h, w, 3].
        config: the ranges.
        rng: what is drawn from; the same state gives the same picture.

    Returns:
        uint8 [h, w, 3].

    Raises:
        InvalidArgumentError: a side is too long for JPEG.
    """
    ranges = (config.blur, config.downscale, config.noise, config.jpeg)
    blur, downscale, noise, jpeg = (float(rng.uniform(*span)) for span in ranges)
    image = Image.fromarray(picture)
    size = image.size
    if blur > 0:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    if downscale > 1:
        width, height = (max(1, round(side / downscale)) for side in size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        image = image.resize(size, Image.Resampling.BICUBIC)
    if noise > 0:
        values = np.asarray(image) + noise * rng.standard_normal(picture.shape, np.float32)
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if jpeg < NO_JPEG:
        if max(size) > _JPEG_SIDE:
            raise InvalidArgumentError(
                f"degrade: jpeg: expected sides of at most {_JPEG_SIDE} pixels, got "
                f"{size[0]}x{size[1]}"
            )
        file = io.BytesIO()
        image.save(file, "JPEG", quality=round(jpeg))
        image = Image.open(file)
    return np.asarray(image)
