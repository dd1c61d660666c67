# SPDX-License-Identifier: Apache-2.0
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

import glc
from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import vq_nearest
from glc.ops.vq import _nearest_by_matmul, _prepared, _vq_nearest_op, nearest_rows
from tests.cuda_kernels import ON_DEVICE

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


FEATURES = set(glc.build_info()["cpu_features"])
SETS = ["scalar", *sorted(FEATURES & {"neon", "avx2", "avx512"})]
WAYS = [_core.VqSearch.EXACT, _core.VqSearch.SCREEN]
SEARCH = """
import sys, torch, glc
from glc import _core
from tests.cuda_kernels import ON_DEVICE
from glc.ops.vq import nearest_rows
found = []
for latents, codebook in torch.load(sys.argv[1]):
    for way in (_core.VqSearch.EXACT, _core.VqSearch.SCREEN):
        for threads in (1, 3):
            glc.set_num_threads(threads)
            found.append(nearest_rows(latents, codebook, way))
torch.save(found, sys.argv[2])
"""


def test_every_instruction_set_way_and_number_of_threads_agrees(tmp_path):
    latents, codebook = pair(70, 300, 40, seed=3)
    near = codebook.clone()
    near[150:] = near[:150] + 1e-7 * torch.randn(150, 40)
    scaled = codebook * torch.exp(4 * torch.randn(300, 1))
    cases = [(latents, near), (latents, scaled + 5), (latents[:3], codebook), (latents, latents)]
    torch.save(cases, tmp_path / "in.pt")
    found = {}
    for name in SETS:
        out = tmp_path / f"{name}.pt"
        env = {**os.environ, "GLC_SIMD": name}
        subprocess.run([sys.executable, "-c", SEARCH, tmp_path / "in.pt", out], env=env, check=True)
        found[name] = torch.load(out)
    expected = [vq_nearest(*case) for case in cases for _ in range(4)]
    for name, indices in found.items():
        assert all(map(torch.equal, indices, expected)), name


# ---------------------------------------------------------------- odd values


@pytest.mark.parametrize("way", WAYS, ids=["exact", "screen"])
def test_nan_and_infinity_have_a_defined_result(way):
    nan, inf = math.nan, math.inf
    latents, codebook = pair(40, 300, 24, seed=5)
    latents[3, 5] = nan
    latents[17] = nan
    index = nearest_rows(latents, codebook, way)
    assert index[3] == index[17] == 0
    rest = [i for i in range(40) if i not in (3, 17)]
    assert torch.equal(index[rest], vq_nearest.reference(latents[rest], codebook))

    latents, codebook = pair(40, 300, 24, seed=6)
    expected = vq_nearest.reference(latents, codebook)
    codebook[7, 2] = nan  # never wins
    codebook[9, 3] = inf  # scores -inf + inf, which is NaN, or -inf
    fine = (expected != 7) & (expected != 9)
    assert torch.equal(nearest_rows(latents, codebook, way)[fine], expected[fine])
    assert (nearest_rows(latents, torch.full((5, 24), nan), way) == 0).all()

    latents = torch.zeros(2, 24)
    latents[:, 0] = torch.tensor([inf, -inf])
    codebook = torch.ones(300, 24)
    codebook[5:, 0] = -1
    assert nearest_rows(latents, codebook, way).tolist() == [0, 5]  # lowest row of score +inf


@pytest.mark.parametrize("way", WAYS, ids=["exact", "screen"])
def test_extreme_scales(way):
    for scale in (1e-42, 1e-25, 1e-12, 1e12, 1e18):
        latents, codebook = pair(33, 290, 16, seed=7)
        latents, codebook = latents * scale, codebook * scale
        found = nearest_rows(latents, codebook, way)
        assert torch.equal(found, nearest_rows(latents, codebook, _core.VqSearch.EXACT)), scale
        if 1e-12 <= scale <= 1e12:
            assert torch.equal(found, vq_nearest.reference(latents, codebook))


def test_no_latents_no_dimensions_one_code():
    for n, k, d in [(0, 5, 3), (4, 5, 0), (4, 1, 3), (0, 1, 0)]:
        latents, codebook = pair(n, k, d)
        for way in WAYS:
            index = nearest_rows(latents, codebook, way)
            assert index.shape == (n,)
            assert (index == 0).all()


@pytest.mark.slow
def test_more_than_two_to_the_31_pairs():
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randn(1 << 16, 1, generator=generator)
    latents = torch.randn(40_000, 1, generator=generator)  # 2.6e9 pairs
    index = vq_nearest(latents, codebook).long()
    # in one dimension the nearest is one of the neighbours in order
    order = codebook[:, 0].argsort()
    place = torch.searchsorted(codebook[order, 0], latents[:, 0])
    beside = torch.stack([(place + s).clamp(0, len(order) - 1) for s in (-1, 0)])
    least = (codebook[order[beside], 0].double() - latents[:, 0].double()).abs().min(0).values
    ours = (codebook[index, 0].double() - latents[:, 0].double()).abs()
    # the scores themselves are rounded to 24 bits
    assert (ours.square() - least.square() <= 2e-7 * (1 + latents[:, 0].square())).all()


# ---------------------------------------------------------------- dtypes and views


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype):
    latents, codebook = (x.to(dtype) for x in pair(65, 130, 20))
    expected = vq_nearest(latents.float(), codebook.float())
    assert torch.equal(vq_nearest(latents, codebook), expected)
    assert torch.equal(vq_nearest(latents.float(), codebook), expected)
    assert torch.equal(_nearest_by_matmul(latents, codebook), expected)


def test_strided_inputs_and_matmul_fallback():
    latents, codebook = pair(64, 96, 12)
    expected = vq_nearest(latents, codebook)
    assert torch.equal(vq_nearest(latents.t().contiguous().t(), codebook), expected)
    assert torch.equal(vq_nearest(latents, codebook.t().contiguous().t()), expected)
    wide = torch.zeros(128, 20)
    wide[::2, 3:15] = latents
    assert torch.equal(vq_nearest(wide[::2, 3:15], codebook), expected)
    assert torch.equal(vq_nearest(latents[:1].expand(9, -1), codebook), expected[:1].expand(9))
    assert torch.equal(_nearest_by_matmul(latents, codebook), expected)


def test_a_nan_never_wins():
    latents, codebook = pair(40, 16, 5)
    codebook[3, 2] = latents[7, 1] = torch.nan
    expected = vq_nearest(latents, codebook)
    assert expected[7] == 0
    assert (expected != 3).all()
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
    with pytest.raises(InvalidArgumentError, match="codebook: expected the device of latents"):
        vq_nearest(latents, codebook.to("meta"))


def test_opcheck():
    torch.library.opcheck(_vq_nearest_op, pair(5, 7, 3))


class Search(torch.nn.Module):
    def __init__(self, codebook: Tensor) -> None:
        super().__init__()
        self.register_buffer("codebook", codebook)

    def forward(self, latents: Tensor) -> Tensor:
        return self.codebook[vq_nearest(latents, self.codebook).long()]


def test_compiles_and_exports_in_one_piece():
    latents, codebook = pair(9, 33, 4)
    module = Search(codebook)
    expected = module(latents)
    assert torch.equal(
        torch.compile(module, fullgraph=True, backend="aot_eager")(latents), expected
    )
    exported = torch.export.export(module, (latents,))
    assert torch.equal(exported.module()(latents), expected)


@pytest.mark.parametrize("where", [pytest.param("cuda", marks=ON_DEVICE)])
@pytest.mark.parametrize(("n", "k", "d"), [*SIZES, (1536, 16384, 256), (300, 5000, 700)])
def test_cuda_gives_the_same_index(where, n, k, d):
    latents, codebook = pair(n, k, d)
    if k > 1:
        codebook[k // 2 :] = codebook[: k - k // 2].clone() + 1e-7
    found = vq_nearest(latents.to(where), codebook.to(where))
    assert torch.equal(found.cpu(), vq_nearest(latents, codebook))


# ---------------------------------------------------------------- prepared codebooks


def native_of(codebook: Tensor) -> _core.VqCodebook:
    return _prepared.get(codebook, codebook.detach().float().contiguous())


packs = pytest.mark.skipif(
    glc.build_info()["simd"] == "neon" and "neon_dotprod" not in FEATURES,
    reason="this ARM CPU has no dot product of bytes, so codebooks are not packed unasked",
)


@packs
def test_a_codebook_is_prepared_once_and_packed_when_it_pays():
    latents, codebook = pair(150, 400, 32)
    vq_nearest(latents, codebook)
    native = native_of(codebook)
    assert not native.packed
    vq_nearest.plain(latents, codebook)
    assert native_of(codebook.detach()) is native  # another tensor object, the same memory
    assert native.packed
    assert native.nbytes >= 400 * 32
    few, narrow = pair(500, 400, 4)
    vq_nearest(few, narrow)
    assert not native_of(narrow).packed  # too narrow to gain by it


@packs
def test_a_changed_codebook_is_prepared_again():
    latents, codebook = pair(300, 400, 32)
    codebook = torch.nn.Parameter(codebook)
    optimiser = torch.optim.SGD([codebook], lr=1.0)

    def write_by_optimiser():
        codebook.grad = torch.randn_like(codebook)
        optimiser.step()

    def write_unseen():  # no version counter rises
        codebook.data.copy_(torch.randn_like(codebook))

    def write_by_numpy():
        codebook.detach().numpy()[5:90] = 0.5

    def write_in_place():
        with torch.no_grad():
            codebook[3] = 1.0

    writes = (write_by_optimiser, write_unseen, write_by_numpy, write_in_place)
    for write in writes:
        before = vq_nearest(latents, codebook)
        assert native_of(codebook).packed
        write()
        after = vq_nearest(latents, codebook)
        assert torch.equal(after, vq_nearest.reference(latents, codebook))
        assert write is write_in_place or not torch.equal(before, after)


def test_freed_memory_is_not_mistaken_for_the_same_codebook():
    latents, _ = pair(200, 1, 32)
    for seed in range(20):  # the allocator gives the same addresses again
        codebook = pair(1, 300, 32, seed)[1]
        assert torch.equal(vq_nearest(latents, codebook), vq_nearest.reference(latents, codebook))
    assert len(_prepared._entries) <= _prepared._MOST


def test_inference_tensors_are_searched_without_being_kept():
    latents, codebook = pair(20, 30, 8)
    expected = vq_nearest(latents, codebook)
    with torch.inference_mode():
        clone = codebook.clone()
        assert torch.equal(vq_nearest(latents, clone), expected)
        clone.mul_(-1)
        assert torch.equal(vq_nearest(-latents, clone), expected)


def test_threads_may_share_a_codebook():
    from concurrent.futures import ThreadPoolExecutor

    latents, codebook = pair(400, 500, 32)
    expected = vq_nearest(latents, codebook.clone())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: vq_nearest.plain(latents, codebook), range(16)))
    assert all(torch.equal(index, expected) for index in found)
