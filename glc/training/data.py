# SPDX-License-Identifier: Apache-2.0
"""Photos from folders, lists and tar shards, and crops that depend on seed and number only.

Crop n of a run is a function of (seed, n): which photo, where, how large, whether mirrored. So the
order is the same with any number of workers and processes, and a resumed run goes on in the middle
of an epoch without replaying it. That is why shards are read by offset, not streamed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from glc._quiet import quiet
from glc.errors import GlcError, InvalidArgumentError
from glc.training.config import DataConfig, DegradationConfig
from glc.training.degradation import degrade
from glc.training.shards import SUFFIXES, UNREADABLE, Source, find_sources
from glc.training.stop import ignore_signals

MOST_WORKERS = 8  # that are taken unasked
MAX_TRIES = 64  # photos in a row that may be unusable before the data is called broken

Sample = tuple[Tensor, list[int], list[int]]  # crop, numbers of unreadable and of too small photos
_Batch = Sample | GlcError


@dataclass
class Rejected:
    """Photos met so far that could not be used, by their number in the sorted list.

    Attributes:
        unreadable: not pictures, or cut short.
        too_small: a side is shorter than the crop.
    """

    unreadable: set[int] = field(default_factory=set)
    too_small: set[int] = field(default_factory=set)

    def add(self, other: Rejected) -> None:
        """Take those that another process has met, too."""
        self.unreadable |= other.unreadable
        self.too_small |= other.too_small

    def counts(self) -> dict[str, int]:
        """How many, for the log."""
        return {"unreadable": len(self.unreadable), "too_small": len(self.too_small)}

    def __str__(self) -> str:
        return f"{len(self.unreadable)} unreadable, {len(self.too_small)} smaller than the crop"


class Photos(Dataset[Sample]):
    """Training crops by number, and validation crops.

    Args:
        config: where the photos are and how they are cut.
        seed: of order and crops.
        degradation: what is done to a second copy of every crop, whose channels then follow
            those of the first: [6, h, w] in place of [3, h, w]. None makes no copies.

    Raises:
        InvalidArgumentError: no folder, an unreadable list or shard, too few photos, or no usable
            photo among those held out.
    """

    def __init__(
        self, config: DataConfig, seed: int, degradation: DegradationConfig | None = None
    ) -> None:
        self.config = config
        self.seed = seed
        self.degradation = degradation
        self.rejected = Rejected()
        self.sources = find_sources(config.root, config.list)
        if len(self.sources) <= config.holdout:
            raise InvalidArgumentError(
                f"photos: {config.root}: expected more than holdout={config.holdout} photos "
                f"({', '.join(sorted(SUFFIXES))}, or tars of them), got {len(self.sources)}"
            )
        places = np.linspace(0, len(self.sources) - 1, config.holdout).round().astype(int)
        held_out = set(places.tolist())
        self.training = [n for n in range(len(self.sources)) if n not in held_out]
        self.validation = sorted(held_out)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))
        self._cache: dict[int, np.ndarray] = {}
        self._cache_bytes = int(config.cache_gb * 2**30)

    def batches(
        self, start: int, size: int, *, rank: int = 0, world: int = 1, on_gpu: bool = False
    ) -> Generator[Tensor]:
        """Crops of step `start`, `start + 1`, ..., without end.

        Args:
            start: first step.
            size: crops per step, all processes together; a multiple of `world`.
            rank: number of this process, which gets an even share of every step.
            world: number of processes.
            on_gpu: whether they go to a GPU, which copies them by itself from pinned memory.

        Yields:
            [size / world, 3 or 6, crop, crop] float32 in [-1, 1].

        Raises:
            InvalidArgumentError: `MAX_TRIES` photos in a row are unusable.
        """
        share = size // world
        numbers = _Numbers(start * size + rank * share, share, size)
        workers = self.config.workers
        if workers is None:
            workers = min(MOST_WORKERS, available_cores() // world) if on_gpu else 0
        self._cache_bytes //= max(1, workers)
        loader: DataLoader[_Batch] = DataLoader(
            _Careful(self),
            batch_sampler=numbers,  # endless, so without a length
            num_workers=workers,
            pin_memory=on_gpu,
            collate_fn=_collate_carefully,
            persistent_workers=False,
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),  # leave the run's own random state alone
        )
        for batch in loader:
            if isinstance(batch, GlcError):
                raise batch
            crops, unreadable, too_small = batch
            self.rejected.unreadable.update(unreadable)
            self.rejected.too_small.update(too_small)
            yield crops

    def __getitem__(self, n: int) -> Sample:
        """Crop number n of the run; see the module."""
        epoch, place = divmod(n, len(self.training))
        order = self._epoch_order(epoch)
        seen = Rejected()
        for attempt in range(min(MAX_TRIES, len(order))):
            number = int(order[(place + attempt) % len(order)])
            photo = self._photo(number, self.config.crop, seen, keep=True)
            if photo is not None:
                rng = np.random.default_rng((self.seed, n))
                crop = self._with_copy(self._crop(photo, rng), rng)
                return crop, list(seen.unreadable), list(seen.too_small)
        raise InvalidArgumentError(
            f"photos: {self.config.root}: expected photos with both sides >= {self.config.crop}, "
            f"got {min(MAX_TRIES, len(order))} in a row that were not: {seen}"
        )

    def first_crops(self, count: int) -> Tensor:
        """Crops 0 .. count - 1 of the run: [count, 3 or 6, crop, crop] float32 in [-1, 1]."""
        return _collate([self[n] for n in range(count)])[0]

    def validation_batch(self) -> Tensor:
        """Centred validation crops: [usable held-out photos, 3 or 6, side, side] in [-1, 1].

        Raises:
            InvalidArgumentError: none of the held-out photos can be used.
        """
        side = self.config.validation_crop
        crops = []
        for number in self.validation:
            photo = self.photo(number)
            if photo is not None:
                photo = _at_least(photo, side)
                top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
                crop = to_tensor(photo[top : top + side, left : left + side])
                crops.append(self._with_copy(crop, np.random.default_rng((self.seed, number, 2))))
        if self.validation and not crops:
            raise InvalidArgumentError(
                f"photos: {self.config.root}: expected readable photos, got {self.rejected} among "
                f"the {len(self.validation)} held out"
            )
        return torch.stack(crops) if crops else torch.empty(0, 3, side, side)

    def photo(self, number: int) -> np.ndarray | None:
        """A whole photo by its place in the sorted list, [h, w, 3] uint8; None if unreadable."""
        return self._photo(number, 1, self.rejected, keep=False)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run compares, and goes on counting."""
        rejected = self.rejected
        return {
            "photos": len(self.sources),
            "unreadable": sorted(rejected.unreadable),
            "too_small": sorted(rejected.too_small),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; warn if there were more or fewer photos then."""
        if state["photos"] == len(self.sources):
            self.rejected.add(Rejected(set(state["unreadable"]), set(state["too_small"])))
            return
        warnings.warn(
            f"photos: {self.config.root}: expected {state['photos']}, as when the checkpoint was "
            f"written, got {len(self.sources)}: the run goes on with other crops, and holds out "
            "others, some of which it may have been trained on",
            stacklevel=2,
        )

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch, 1))
            self._order = (epoch, rng.permutation(np.asarray(self.training)))
        return self._order[1]

    def _photo(
        self, number: int, least: int, rejected: Rejected, *, keep: bool
    ) -> np.ndarray | None:
        """The decoded photo, kept if there is room, or None and a note in `rejected`."""
        photo = self._cache.get(number)
        if photo is None:
            photo = _decode(self.sources[number])
            if photo is None:
                rejected.unreadable.add(number)
                return None
            if keep and photo.nbytes <= self._cache_bytes:
                self._cache_bytes -= photo.nbytes
                self._cache[number] = photo
        if min(photo.shape[:2]) < least:
            rejected.too_small.add(number)
            return None
        return photo

    def _crop(self, photo: np.ndarray, rng: np.random.Generator) -> Tensor:
        side = out = self.config.crop
        if rng.random() < self.config.resized_share:
            low, high = self.config.resized_range
            side = min(round(out * float(rng.uniform(low, high))), *photo.shape[:2])
        top = int(rng.integers(photo.shape[0] - side + 1))
        left = int(rng.integers(photo.shape[1] - side + 1))
        crop = to_tensor(photo[top : top + side, left : left + side])
        if side != out:
            crop = F.interpolate(
                crop[None], size=(out, out), mode="bilinear", antialias=side > out
            )[0].clamp_(-1, 1)
        return crop.flip(-1) if rng.random() < 0.5 else crop

    def _with_copy(self, crop: Tensor, rng: np.random.Generator) -> Tensor:
        if self.degradation is None:
            return crop
        picture = ((crop + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        return torch.cat((crop, to_tensor(degrade(picture, self.degradation, rng))))


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Numbers:
    """Endless batches of crop numbers: `share` in a row, then on by `stride`."""

    def __init__(self, first: int, share: int, stride: int) -> None:
        self.first, self.share, self.stride = first, share, stride

    def __iter__(self) -> Iterator[list[int]]:
        first = self.first
        while True:
            yield list(range(first, first + self.share))
            first += self.stride


class _Careful(Dataset[_Batch]):
    """Photos whose errors are values: torch turns what a worker raises into text, trace and all."""

    def __init__(self, photos: Photos) -> None:
        self.photos = photos

    def __getitem__(self, n: int) -> _Batch:
        try:
            return self.photos[n]
        except GlcError as error:
            return error


def _collate_carefully(samples: list[_Batch]) -> _Batch:
    crops = []
    for sample in samples:
        if isinstance(sample, GlcError):
            return sample
        crops.append(sample)
    return _collate(crops)


def _collate(samples: list[Sample]) -> Sample:
    crops, unreadable, too_small = zip(*samples, strict=True)
    return torch.stack(crops), [*chain(*unreadable)], [*chain(*too_small)]


def _decode(source: Source) -> np.ndarray | None:
    try:
        with quiet():  # about EXIF and profiles that are ignored, again in every epoch
            return source.decode()
    except UNREADABLE:
        return None


def _at_least(photo: np.ndarray, side: int) -> np.ndarray:
    short = min(photo.shape[:2])
    if short >= side:
        return photo
    size = [max(side, round(n * side / short)) for n in photo.shape[:2]]
    return np.asarray(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def to_tensor(photo: np.ndarray) -> Tensor:
    """A uint8 picture [h, w, 3] -> [3, h, w] float32 in [-1, 1]."""
    return torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 127.5 - 1
