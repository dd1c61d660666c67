# SPDX-License-Identifier: Apache-2.0
"""Photos in memory, and crops that depend on the seed and the step only."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from glc.errors import InvalidArgumentError
from glc.training.config import DataConfig

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class Photos:
    """Training and validation photos, decoded once and held as uint8.

    Crops for step t are drawn from a generator seeded with (seed, t): a resumed run sees the
    crops that an uninterrupted one would have seen.

    Args:
        config: where the photos are.
        seed: of the crops.

    Raises:
        InvalidArgumentError: no folder, an unreadable list, no readable photo, or a validation
            share that leaves none to train on.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        paths = _paths(config)
        if len(paths) <= config.holdout:
            raise InvalidArgumentError(
                f"photos: {config.root}: expected more than holdout={config.holdout} photos, "
                f"got {len(paths)}"
            )
        with ThreadPoolExecutor(max_workers=max(os.cpu_count() or 1, 1)) as pool:
            decoded = list(
                track(pool.map(_decode, paths), description="decode photos", total=len(paths))
            )
        readable = [photo for photo in decoded if photo is not None]
        self.unreadable = len(decoded) - len(readable)
        chosen = (
            set(np.linspace(0, len(readable) - 1, config.holdout).round().astype(int).tolist())
            if config.holdout
            else set()
        )
        self.validation = [p for i, p in enumerate(readable) if i in chosen]
        self.training = [p for i, p in enumerate(readable) if i not in chosen]
        if not self.training:
            raise InvalidArgumentError(
                f"photos: {config.root}: expected readable photos, got {self.unreadable} "
                f"unreadable files"
            )

    def batch(self, step: int, size: int) -> Tensor:
        """Random crops of a step: [size, 3, crop, crop] float32 in [-1, 1]."""
        rng = np.random.default_rng((self.seed, step))
        return torch.stack([self._crop(rng) for _ in range(size)])

    def validation_batch(self) -> Tensor:
        """Centred validation crops: [holdout, 3, side, side] float32 in [-1, 1]."""
        side = self.config.validation_crop
        crops = []
        for photo in self.validation:
            photo = _at_least(photo, side)
            top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
            crops.append(_to_tensor(photo[top : top + side, left : left + side]))
        return torch.stack(crops)

    def _crop(self, rng: np.random.Generator) -> Tensor:
        side = out = self.config.crop
        photo = self.training[int(rng.integers(len(self.training)))]
        if rng.random() < self.config.resized_share:
            low, high = self.config.resized_range
            side = round(out * float(rng.uniform(low, high)))
        photo = _at_least(photo, side)
        top = int(rng.integers(photo.shape[0] - side + 1))
        left = int(rng.integers(photo.shape[1] - side + 1))
        crop = _to_tensor(photo[top : top + side, left : left + side])
        if side != out:
            crop = F.interpolate(
                crop[None], size=(out, out), mode="bilinear", antialias=side > out
            )[0]
        return crop.flip(-1) if rng.random() < 0.5 else crop


def _paths(config: DataConfig) -> list[Path]:
    root = Path(config.root)
    if not root.is_dir():
        raise InvalidArgumentError(f"photos: root: expected a folder, got {root}")
    if config.list is None:
        return sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    try:
        lines = Path(config.list).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"photos: list: expected a text file, got {error}") from error
    return sorted(root / line.strip() for line in lines if line.strip())


def _decode(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _at_least(photo: np.ndarray, side: int) -> np.ndarray:
    short = min(photo.shape[:2])
    if short >= side:
        return photo
    size = [max(side, round(n * side / short)) for n in photo.shape[:2]]
    return np.asarray(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _to_tensor(photo: np.ndarray) -> Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 127.5 - 1
