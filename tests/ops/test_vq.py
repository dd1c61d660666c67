# SPDX-License-Identifier: Apache-2.0
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.ops import VectorQuantizer, vq_nearest
from glc.ops.vq import _nearest_by_matmul, _vq_nearest_op

# around the panel of 16 latents, the group of 6 codes and the block of a few hundred codes
SIZES = [
    (0, 4, 3),
    (1, 1, 1),
    (1, 7, 5),
    (15, 6, 8),
    (16, 5, 32),
    (17, 13, 3),
    (33, 1025, 8),
    (101, 127, 31),
    (48, 300, 256),
]


def pair(n: int, k: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)


@pytest.mark.parametrize(("n", "k", "d"), SIZES)
def test_nearest_matches_the_reference(n, k, d):
    latents, codebook = pair(n, k, d)
    index = vq_nearest(latents, codebook)
    assert index.dtype == torch.int32
    assert torch.equal(index, vq_nearest.reference(latents, codebook))
    assert torch.equal(index, vq_nearest.plain(latents, codebook))


def normative_scores(latents: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Follow the contract of vq.h; extended precision stands in for the fused operation."""

    def fma(a, b, c):
        wide = a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)
        return wide.astype(np.float32)

    half = np.zeros(len(codebook), np.float32)
    for t in range(codebook.shape[1]):
        half = fma(codebook[:, t], codebook[:, t], half)
    score = np.broadcast_to(np.float32(-0.5) * half, (len(latents), len(codebook)))
    for t in range(codebook.shape[1]):
        score = fma(latents[:, t, None], codebook[None, :, t], score)
    return score


def test_nearest_follows_the_normative_rounding():
    # Rows so close together that rounding, not distance, decides between many of them.
    generator = torch.Generator().manual_seed(1)
    centre = torch.randn(1, 24, generator=generator)
    codebook = centre + 1e-6 * torch.randn(300, 24, generator=generator)
    latents = centre + 1e-6 * torch.randn(67, 24, generator=generator)
    scores = normative_scores(latents.numpy(), codebook.numpy())
    expected = scores.argmax(1)
    exact = vq_nearest.reference(latents, codebook).numpy()
    assert (expected != exact).mean() > 0.5, "the case no longer tells the rules apart"
    assert np.array_equal(vq_nearest(latents, codebook).numpy(), expected)


def test_lowest_row_wins_a_tie():
    latents, codebook = pair(40, 50, 6)
    doubled = torch.cat([codebook, codebook, codebook])
    assert torch.equal(vq_nearest(latents, doubled), vq_nearest(latents, codebook))
    same = torch.ones(130, 6)
    assert (vq_nearest(latents, same) == 0).all()


def test_odd_values_give_a_valid_row():
    latents = torch.tensor([[math.nan, 0.0], [math.inf, 1.0], [-3e38, 3e38], [0.0, 0.0]])
    codebook = torch.tensor([[math.nan, 1.0], [3e38, 3e38], [1.0, 2.0], [0.0, 0.5]])
    index = vq_nearest(latents, codebook)
    assert ((index >= 0) & (index < 4)).all()
    assert index[0] == 0
    assert index[3] == 3


def test_every_instruction_set_agrees(tmp_path):
    code = (
        "import sys, torch; from glc.ops import vq_nearest;"
        "a = torch.load(sys.argv[1]); torch.save(vq_nearest(*a), sys.argv[2])"
    )
    latents, codebook = pair(70, 200, 40, seed=3)
    codebook[100:] = codebook[:100] + 1e-7 * torch.randn(100, 40)
    torch.save((latents, codebook), tmp_path / "in.pt")
    env = {**os.environ, "GLC_SIMD": "scalar"}
    out = tmp_path / "out.pt"
    subprocess.run([sys.executable, "-c", code, tmp_path / "in.pt", out], env=env, check=True)
    assert torch.equal(torch.load(out), vq_nearest(latents, codebook))


def test_strided_inputs_and_matmul_fallback():
    latents, codebook = pair(64, 96, 12)
    expected = vq_nearest(latents, codebook)
    assert torch.equal(vq_nearest(latents.t().contiguous().t(), codebook), expected)
    assert torch.equal(_nearest_by_matmul(latents, codebook), expected)


def test_bad_arguments_are_refused():
    latents, codebook = pair(4, 5, 6)
    for bad in [(latents, codebook[:, :5]), (latents[0], codebook), (latents, codebook[0])]:
        with pytest.raises(InvalidArgumentError, match=r"expected \[n, d\] and \[k, d\]"):
            vq_nearest(*bad)
    with pytest.raises(InvalidArgumentError, match="at least one row"):
        vq_nearest(latents, codebook[:0])
    with pytest.raises(
        InvalidArgumentError,
        match=r"latents: expected float32, bfloat16 or float16, got torch.float64",
    ):
        vq_nearest(latents.double(), codebook.double())


def test_opcheck():
    torch.library.opcheck(_vq_nearest_op, pair(5, 7, 3))


# ---------------------------------------------------------------- VectorQuantizer


def test_losses_are_the_authors():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(32, 4, beta=0.25)
    z = torch.randn(2, 4, 3, 5, requires_grad=True)
    out = quantizer(z)
    rows = quantizer.codebook[out.index].permute(0, 3, 1, 2)
    error = (rows - z).square().mean()
    torch.testing.assert_close(out.codebook_loss, error)
    torch.testing.assert_close(out.commitment_loss, error)
    torch.testing.assert_close(out.loss, 1.25 * error)
    torch.testing.assert_close(out.z_hat, rows)
    assert out.usage.sum() == 2 * 3 * 5
    assert torch.equal(out.usage, torch.bincount(out.index.flatten(), minlength=32))


def test_each_loss_moves_its_own_side():
    quantizer = VectorQuantizer(16, 4)
    z = torch.randn(1, 4, 4, 4, requires_grad=True)
    out = quantizer(z)
    by_z, by_rows = torch.autograd.grad(
        out.commitment_loss, (z, quantizer.codebook), allow_unused=True
    )
    assert by_z.abs().sum() > 0
    assert by_rows is None
    out = quantizer(z)
    by_z, by_rows = torch.autograd.grad(
        out.codebook_loss, (z, quantizer.codebook), allow_unused=True
    )
    assert by_z is None
    assert by_rows.abs().sum() > 0


def test_gradient_passes_straight_through():
    quantizer = VectorQuantizer(16, 4)
    z = torch.randn(1, 4, 2, 2, requires_grad=True)
    weight = torch.randn(1, 4, 2, 2)
    (quantizer(z).z_hat * weight).sum().backward()
    assert torch.equal(z.grad, weight)
    assert quantizer.codebook.grad is None or (quantizer.codebook.grad == 0).all()


def test_lookup_inverts_nearest():
    quantizer = VectorQuantizer(64, 8)
    index = torch.randint(64, (2, 3, 4))
    z = quantizer.lookup(index)
    assert z.is_contiguous()
    assert torch.equal(quantizer.nearest(z), index)


def test_ema_is_the_decayed_mean():
    torch.manual_seed(0)
    decay = 0.9
    quantizer = VectorQuantizer(4, 2, ema_decay=decay)
    weight, sums = torch.ones(4), quantizer.codebook.clone()
    for _ in range(5):
        z = torch.randn(3, 2, 4, 4)
        index = quantizer.nearest(z)
        vectors = z.permute(0, 2, 3, 1).reshape(-1, 2)
        for row in range(4):
            chosen = vectors[index.flatten() == row]
            weight[row] = decay * weight[row] + (1 - decay) * len(chosen)
            sums[row] = decay * sums[row] + (1 - decay) * chosen.sum(0)
        out = quantizer(z)
        assert out.codebook_loss == 0
        torch.testing.assert_close(quantizer.codebook, sums / weight[:, None])
    frozen = quantizer.eval().codebook.clone()
    quantizer(torch.randn(3, 2, 4, 4))
    assert torch.equal(quantizer.codebook, frozen)


def test_gradient_training_fits_clusters():
    torch.manual_seed(0)
    centres = 3 * torch.randn(4, 2)
    quantizer = VectorQuantizer(4, 2)
    with torch.no_grad():
        quantizer.codebook.copy_(centres + 0.5 * torch.randn(4, 2))
    optimiser = torch.optim.SGD(quantizer.parameters(), lr=2.0)
    for _ in range(100):
        z = centres[torch.randint(4, (64,))].t().reshape(1, 2, 8, 8)
        optimiser.zero_grad()
        quantizer(z).codebook_loss.backward()
        optimiser.step()
    assert torch.cdist(centres, quantizer.codebook.detach()).min(1).values.max() < 0.05


def test_reseed_moves_dead_rows_only():
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.arange(16.0).view(8, 2) * 100)
    z = quantizer.codebook[:3].t().reshape(1, 2, 1, 3)
    quantizer(z)
    before = quantizer.codebook.clone()
    reservoir = torch.randn(20, 2)
    generator = torch.Generator().manual_seed(0)
    assert quantizer.reseed(0.05, reservoir, generator=generator) == 5
    assert torch.equal(quantizer.codebook[:3], before[:3])
    moved = quantizer.codebook[3:]
    assert all((reservoir == row).all(1).any() for row in moved)
    assert len(moved.unique(dim=0)) == 5
    assert quantizer.row_usage.sum() == 0


def test_reseed_with_a_small_reservoir():
    quantizer = VectorQuantizer(8, 2)
    quantizer(torch.zeros(1, 2, 1, 1))
    assert quantizer.reseed(0.5, torch.ones(1, 2)) == 7
    with pytest.raises(InvalidArgumentError, match="reservoir"):
        quantizer.reseed(0.5, torch.ones(0, 2))


def test_state_dict_is_the_codebook_and_training_state_resumes():
    def train(quantizer, steps):
        for _ in range(steps):
            quantizer(torch.randn(2, 2, 4, 4))

    quantizer = VectorQuantizer(8, 2, ema_decay=0.9)
    assert list(quantizer.state_dict()) == ["codebook"]
    train(quantizer, 3)
    twin = VectorQuantizer(8, 2, ema_decay=0.9)
    twin.load_state_dict(quantizer.state_dict())
    twin.load_training_state(quantizer.training_state())
    torch.manual_seed(1)
    train(quantizer, 3)
    torch.manual_seed(1)
    train(twin, 3)
    assert torch.equal(twin.codebook, quantizer.codebook)
    assert torch.equal(twin.row_usage, quantizer.row_usage)


def test_autocast_keeps_the_search_in_float32():
    quantizer = VectorQuantizer(16, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quantizer(torch.randn(1, 4, 2, 2).bfloat16())
    assert out.z_hat.dtype == torch.float32
    assert out.loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("args", "kwargs"), [((0, 4), {}), ((4, 0), {}), ((4, 4), {"ema_decay": 1.0})]
)
def test_bad_configurations_are_refused(args, kwargs):
    with pytest.raises(InvalidArgumentError):
        VectorQuantizer(*args, **kwargs)


def test_bad_feature_maps_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"z: expected \[b, 4, h, w\]"):
        VectorQuantizer(8, 4)(torch.zeros(1, 3, 2, 2))
