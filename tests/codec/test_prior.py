# SPDX-License-Identifier: Apache-2.0
"""The prior of the hyper indices: what is likely costs less, and everything can be coded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glc import _core, cdf
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.models import GLC
from glc.models.config import preset
from glc.payload import PayloadTables
from glc.prior import captured_share, count_indices, set_prior
from glc.rate import LEVELS_PER_QUALITY, MAX_LEVEL

FLOOR = 0.90  # of the gap between uniform and the empirical entropy, on photographs not fitted on


def skewed(k: int, n: int, seed: int) -> np.ndarray:
    """Counts of n draws from a distribution over k indices whose order is scrambled."""
    rng = np.random.default_rng(seed)
    probability = np.exp(-6 * np.random.default_rng(1).permutation(k) / k)
    return rng.multinomial(n, probability / probability.sum()).astype(np.uint64)


def test_weights_from_before_the_prior_are_uniform(tiny_folder: Path) -> None:
    model = GLC.from_pretrained(tiny_folder)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("z_prior.")}
    other = GLC(preset("glc-tiny"))
    other.z_prior.logits.data.fill_(3.0)
    other.load_state_dict(state, strict=True)
    assert not other.z_prior.logits.any()
    index = np.arange(32).reshape(1, 4, 8)
    logits = other.z_prior.logits.detach().numpy()
    assert PayloadTables(logits).index(0).cost_bits(index) == 32 * 5
    torch.testing.assert_close(other.z_prior(torch.from_numpy(index), 1.0), torch.tensor([160.0]))


@pytest.mark.parametrize("k", [1, 2, 127, 128, 129, 300, 16384])
def test_ranks_are_a_permutation_the_likeliest_first(k: int) -> None:
    logits = np.random.default_rng(k).normal(0, 4, k).astype(np.float32)
    logits[:: max(1, k // 5)] = logits[0]  # ties
    rank, tables = cdf.ranked_index_tables(logits)
    order = np.argsort(rank)
    np.testing.assert_array_equal(np.sort(rank), np.arange(k))
    weights = np.empty(k, np.int32)
    _core.cdf_softmax_weights(logits, weights)
    pairs = list(zip(weights[order].tolist(), order.tolist(), strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    assert tables.rows == 1 + -(-k // 128)
    _, n_bins, _ = tables.arrays()
    assert n_bins[0] == tables.rows - 1
    assert n_bins[1:].sum() == k, "a file cannot name an index that does not exist"


def test_tables_cost_what_the_logits_say() -> None:
    logits = np.random.default_rng(3).normal(0, 2, 16384).astype(np.float32)
    rank, tables = cdf.ranked_index_tables(logits)
    probability = np.exp(logits.astype(float) - logits.max())
    probability /= probability.sum()
    drawn = np.random.default_rng(4).choice(16384, 20000, p=probability)
    high, low = rank[drawn] >> 7, rank[drawn] & 127
    real = tables.cost_bits(high, 0) + tables.cost_bits(low, high + 1)
    assert real <= 1.001 * -np.log2(probability[drawn]).sum()


@pytest.mark.parametrize("logits", [[], [0.0, np.inf], [np.nan], [[0.0]], np.zeros(1 << 16 | 1)])
def test_bad_logits(logits: object) -> None:
    with pytest.raises(ValueError, match="logits"):
        cdf.ranked_index_tables(logits)


def test_level_takes_the_nearest_learned_one(tiny_folder: Path) -> None:
    prior = GLC.from_pretrained(tiny_folder).z_prior
    rows = [prior.row(level / LEVELS_PER_QUALITY) for level in range(MAX_LEVEL + 1)]
    assert rows == [(level + 10) // 21 for level in range(MAX_LEVEL + 1)]


def test_fitted_prior_makes_smaller_files(tiny_folder: Path, photo: np.ndarray) -> None:
    plain, fitted = GLC.from_pretrained(tiny_folder), GLC.from_pretrained(tiny_folder)
    codec = Codec(plain)
    y = codec._networks.analysis(codec._networks.features(photo), 2.0)
    index = codec._networks.hyper_index(y)
    set_prior(fitted, np.tile(cdf.histogram(index, 32), (4, 1)))
    assert fitted.fingerprint() != plain.fingerprint()
    small, large = (Codec(model).encode(photo, quality=2.0) for model in (fitted, plain))
    assert len(small) < len(large)
    np.testing.assert_array_equal(Codec(fitted).decode(small), codec.decode(large))


def test_photographs_are_counted_by_folds(tiny_folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for n in range(13):
        pixels = rng.integers(0, 256, (64, 64 * (n + 1), 3), np.uint8)
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(pixels).save(paths[-1])
    model = GLC.from_pretrained(tiny_folder)
    counts = count_indices(model, paths)
    assert not count_indices(model, []).any()
    alone = np.stack([count_indices(model, [path]).sum(axis=0) for path in paths])
    assert counts.shape == (10, 4, 32)
    for fold in range(10):
        np.testing.assert_array_equal(counts[fold], alone[fold::10].sum(axis=0))


def test_captured_share_of_one_source_is_near_one() -> None:
    counts = np.stack([[skewed(200, 4000, seed)] for seed in range(10)])
    (share,) = captured_share(counts)
    assert 0.98 < share <= 1.001


def test_captured_share_of_unlike_photographs_is_low() -> None:
    counts = np.zeros((10, 1, 256), np.uint64)
    for fold in range(10):
        counts[fold, 0, 20 * fold] = 1000  # no photograph says anything of another
    (share,) = captured_share(counts)
    assert share < 0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_captured_share_is_zero_where_nothing_can_be_saved(k: int) -> None:
    assert captured_share(np.full((10, 2, k), 7, np.uint64)) == [0.0, 0.0]


def test_training_learns_what_is_frequent() -> None:
    model = GLC(preset("glc-tiny"))
    index = torch.tensor([[[3, 3, 3, 5]]])
    optimizer = torch.optim.Adam(model.z_prior.parameters(), lr=0.1)
    before = model.z_prior(index, 2.0).item()
    for _ in range(30):
        optimizer.zero_grad()
        model.z_prior(index, 2.0).sum().backward()
        optimizer.step()
    assert model.z_prior(index, 2.0).item() < before / 2
    assert not model.z_prior.logits[0].any(), "other levels stay as they were"
    assert model.z_prior.logits[2].argmax() == 3


@pytest.mark.slow
def test_prior_captures_the_gap_on_photographs_it_was_not_fitted_on(shared_data: Path) -> None:
    train = shared_data / "train"
    paths = [train / name for name in (train / "free.txt").read_text().split()]
    shares = captured_share(count_indices(GLC.from_pretrained(DEFAULT_MODEL), paths))
    assert min(shares) >= FLOOR, shares
