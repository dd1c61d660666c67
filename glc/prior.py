# SPDX-License-Identifier: Apache-2.0
"""A prior of the hyper indices from photographs, for a model that was trained without one."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from glc import cdf
from glc.image import load_image
from glc.model_in_use import coding_networks, picture_networks
from glc.models.glc import GLC

__all__ = ["captured_share", "count_indices", "set_prior"]

_UNSEEN = 0.5  # added to every count: an index that never occurred is rare, not impossible
_FOLDS = 10

Counts = NDArray[np.uint64]


def count_indices(
    model: GLC,
    paths: Sequence[str | os.PathLike[str]],
    progress: Callable[[str, float], None] | None = None,
) -> Counts:
    """Count how often every hyper index occurs in photographs.

    Args:
        model: in evaluation mode.
        paths: the photographs.
        progress: called with (file name, fraction done).

    Returns:
        [10, levels, k]; photograph i is counted in fold i mod 10, and k is the size of the hyper
        codebook. Counts of each photograph apart could be half a megabyte each.

    Raises:
        InvalidArgumentError: a photograph that cannot be read.
    """
    networks = picture_networks(model, coding_networks(model))
    levels, k = model.z_prior.logits.shape
    counts = np.zeros((_FOLDS, levels, k), np.uint64)
    for n, path in enumerate(paths):
        if progress:
            progress(os.path.basename(path), n / len(paths))
        with networks.computing():
            features = networks.features(load_image(path))
            for level in range(levels):
                index = networks.hyper_index(networks.analysis(features, level))
                counts[n % _FOLDS, level] += cdf.histogram(index, k)
    return counts


def set_prior(model: GLC, counts: Counts) -> None:
    """Make a model's prior the one that counts [levels, k] suggest."""
    logits = np.log(counts + _UNSEEN)
    logits -= logits.max(axis=1, keepdims=True)
    with torch.no_grad():
        model.z_prior.logits.copy_(torch.from_numpy(logits))


def captured_share(counts: Counts) -> list[float]:
    """Say how much of what a static prior can save is saved on photographs it has not seen.

    share = (log2 k - cross entropy) / (log2 k - entropy), each photograph being coded with the
    tables fitted on the other folds, and the entropy being that of all photographs together.

    Args:
        counts: [folds, levels, k], as `count_indices` gives them.

    Returns:
        The share per level; integer tables, as coded, not the real-valued ideal. 0 where nothing
        can be saved, as of a single code.
    """
    _, levels, k = counts.shape
    shares = []
    for level in range(levels):
        whole = counts[:, level].sum(axis=0)
        probability = whole[whole > 0] / whole.sum()
        entropy = -float((probability * np.log2(probability)).sum())
        bits = 0.0
        for unseen in counts[:, level]:
            seen = whole - unseen
            rank, tables = cdf.ranked_index_tables(np.log(seen + _UNSEEN).astype(np.float32))
            ranks = np.repeat(rank, unseen.astype(np.int64))
            high = ranks >> cdf.LOW_BITS
            bits += tables.cost_bits(high, 0)
            bits += tables.cost_bits(ranks & ((1 << cdf.LOW_BITS) - 1), high + 1)
        most = np.log2(k) - entropy
        shares.append((np.log2(k) - bits / whole.sum()) / most if most > 1e-9 else 0.0)
    return shares
