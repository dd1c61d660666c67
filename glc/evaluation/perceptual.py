# SPDX-License-Identifier: Apache-2.0
"""The distances that papers of this field report: LPIPS, DISTS, FID and KID, by torchmetrics.

Their networks are not ours to ship: torch.hub fetches each once, or finds its file where it keeps
such files.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glc._quiet import quiet
from glc.defaults import PATCH_SIDE
from glc.errors import InvalidArgumentError, UnsupportedError
from glc.evaluation.metrics import finite
from glc.files import LOAD_ERRORS, load_complaint

__all__ = [
    "PAIR_METRICS",
    "PERCEPTUAL_METRICS",
    "SET_METRICS",
    "PairDistances",
    "SetDistances",
    "cut_patches",
]

PAIR_METRICS = ("lpips", "dists")
"""Distances of a picture and its reconstruction."""

SET_METRICS = ("fid", "kid")
"""Distances of all patches of pictures and all of their reconstructions."""

PERCEPTUAL_METRICS = (*PAIR_METRICS, *SET_METRICS)

_LPIPS_MIN_SIDE = 31  # AlexNet's second pool leaves nothing of less
_KID_SUBSET = 1000  # patches, of which there have to be as many
_BATCH = 16  # patches through Inception at once


class PairDistances:
    """LPIPS (AlexNet, v0.1; Zhang et al. 2018) and DISTS (Ding et al. 2020) of whole pictures.

    Memory grows with the picture: docs/cli.md says how.

    Args:
        names: some of `PAIR_METRICS`; others are left to others.
        device: where the networks run.

    Raises:
        InvalidArgumentError: a network's weights are not there and cannot be fetched.
        UnsupportedError: torchvision does not load beside this torch.
        ModuleNotFoundError: torchmetrics or torchvision is not installed.
    """

    def __init__(self, names: Sequence[str], device: str = "cpu") -> None:
        self._device = device
        self._lpips = _load("lpips", _lpips).to(device) if "lpips" in names else None
        self._dists = _load("dists", _dists).to(device) if "dists" in names else None

    def measure(self, x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> dict[str, float | None]:
        """Distances of a picture.

        Args:
            x: [h, w, 3] uint8.
            x_hat: [h, w, 3] uint8.

        Returns:
            By name, lower is better; None for what was not asked for, and for LPIPS where a side
            is below 31 pixels, for which AlexNet has no features.
        """
        distances: dict[str, float | None] = dict.fromkeys(PAIR_METRICS)
        if self._lpips is None and self._dists is None:
            return distances
        pair = [
            torch.from_numpy(np.array(p)).to(self._device).permute(2, 0, 1)[None] / 255
            for p in (x, x_hat)
        ]
        with torch.inference_mode():
            if self._lpips is not None and min(x.shape[:2]) >= _LPIPS_MIN_SIDE:
                distances["lpips"] = float(self._lpips(*(2 * p - 1 for p in pair)))
            if self._dists is not None:
                distances["dists"] = float(self._dists(*pair))
        return distances


class SetDistances:
    """FID (Heusel et al. 2017) and KID (Binkowski et al. 2018) of patches, of several sets at once.

    Both compare how features of Inception are distributed over the patches of pictures and over
    those of reconstructions; a set is what one setting made of the pictures. Features are kept,
    8 KiB a patch and set.

    Args:
        names: some of `SET_METRICS`; others are left to others.
        n_sets: how many sets there are.
        patch: side of the patches in pixels; see `cut_patches`.
        device: where the network runs.

    Raises:
        InvalidArgumentError: the network's weights are not there and cannot be fetched.
        UnsupportedError: torchvision does not load beside this torch.
        ModuleNotFoundError: torchmetrics or torch-fidelity is not installed.
    """

    def __init__(
        self, names: Sequence[str], n_sets: int, patch: int = PATCH_SIDE, device: str = "cpu"
    ) -> None:
        self._names = [name for name in SET_METRICS if name in names]
        self._patch, self._device = patch, device
        self._inception = _load(self._names[0], _inception).to(device) if self._names else None
        self._originals: list[Tensor] = []
        self._sets: list[list[Tensor]] = [[] for _ in range(n_sets)]

    @property
    def n_patches(self) -> int:
        """How many patches the pictures had so far."""
        return sum(len(features) for features in self._originals)

    def add_picture(self, x: NDArray[np.uint8]) -> None:
        """Take in a picture, [h, w, 3] uint8."""
        self._originals += self._features(x)

    def add(self, number: int, x_hat: NDArray[np.uint8]) -> None:
        """Take in a reconstruction, [h, w, 3] uint8, of the set of this number."""
        self._sets[number] += self._features(x_hat)

    def _features(self, x: NDArray[np.uint8]) -> list[Tensor]:
        if self._inception is None:
            return []
        patches = torch.from_numpy(cut_patches(x, self._patch)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            batches = (batch.to(self._device) for batch in patches.split(_BATCH))
            return [self._inception(batch).cpu() for batch in batches if len(batch)]

    def compute(self) -> list[dict[str, float | None]]:
        """Distances of each set.

        Returns:
            By name, lower is better; None for what was not asked for, for FID of fewer than two
            patches and for KID of fewer than a thousand.
        """
        results: list[dict[str, float | None]] = [dict.fromkeys(SET_METRICS) for _ in self._sets]
        least = {"fid": 2, "kid": _KID_SUBSET}
        compute = {"fid": _fid, "kid": _kid}
        for name in self._names:
            if self.n_patches >= least[name]:
                originals = torch.cat(self._originals)
                for result, features in zip(results, self._sets, strict=True):
                    result[name] = finite(compute[name](originals, torch.cat(features)))
        return results


def cut_patches(x: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Cut a picture as GLC's authors do for FID and KID (facts H).

    A grid from the top left corner, what is left over at the other sides dropped; of a picture
    whose sides are one and a half patches or more, a second one that begins half a patch inside.

    Args:
        x: [h, w, 3] uint8.
        side: of the square patches, in pixels.

    Returns:
        [n, side, side, 3] uint8; n is 0 where a side of the picture is shorter.
    """
    height, width = x.shape[:2]
    starts = (0, side // 2) if 2 * min(height, width) >= 3 * side else (0,)
    grids = []
    for start in starts:
        rows, columns = (height - start) // side, (width - start) // side
        inside = x[start : start + rows * side, start : start + columns * side]
        grid = inside.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
        grids.append(grid.reshape(rows * columns, side, side, 3))
    return np.concatenate(grids)


class _Known(nn.Identity):
    """What torchmetrics takes for a network: these are features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _fid(originals: Tensor, reconstructions: Tensor) -> float:
    module = _import("torchmetrics.image.fid")
    metric = module.FrechetInceptionDistance(feature=_Known(originals.shape[1]))
    metric.update(originals, real=True)
    metric.update(reconstructions, real=False)
    return float(metric.compute())


def _kid(originals: Tensor, reconstructions: Tensor) -> float:
    """The mean over subsets drawn at random, the same ones each time, as the authors draw them."""
    module = _import("torchmetrics.image.kid")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        known = _Known(originals.shape[1])
        metric = module.KernelInceptionDistance(feature=known, subset_size=_KID_SUBSET)
        metric.update(originals, real=True)
        metric.update(reconstructions, real=False)
        return float(metric.compute()[0])


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (RuntimeError, OSError) as error:  # of torchvision, which torchmetrics imports too
        raise UnsupportedError(
            f"metrics: torchvision: expected one that is built for torch {torch.__version__}, "
            f"got: {error}; install both from one place"
        ) from error


def _lpips() -> tuple[str, Callable[[], nn.Module]]:
    url = _import("torchvision").models.AlexNet_Weights.DEFAULT.url
    lpips = _import("torchmetrics.image.lpip").LearnedPerceptualImagePatchSimilarity
    return url, lambda: lpips(net_type="alex").net


def _dists() -> tuple[str, Callable[[], nn.Module]]:
    url = _import("torchvision").models.VGG16_Weights.DEFAULT.url
    return url, _import("torchmetrics.functional.image.dists").DISTSNetwork


def _inception() -> tuple[str, Callable[[], nn.Module]]:
    url = _import("torch_fidelity.feature_extractor_inceptionv3").URL_INCEPTION_V3
    inception = _import("torchmetrics.image.fid").NoTrainInceptionV3
    return url, lambda: inception("inception-v3-compat", ["2048"])


def _load(name: str, find: Callable[[], tuple[str, Callable[[], nn.Module]]]) -> nn.Module:
    url, network = find()
    try:
        with quiet():
            return network()
    except LOAD_ERRORS as error:
        file = os.path.join(torch.hub.get_dir(), "checkpoints", os.path.basename(url))
        raise InvalidArgumentError(
            f"metrics: {name}: expected its network's weights, to be fetched or found as {file}, "
            f"got: {load_complaint(error)}"
        ) from error
