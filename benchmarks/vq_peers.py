# SPDX-License-Identifier: Apache-2.0
"""What the nearest-codebook search is measured on, and the peers it is measured beside.

Each peer gets what it can prepare from a codebook once (an index, its own module) outside the
clock, as ours does. `GLC_BENCH_THREADS` says how many threads the cases for several use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import glc
from benchmarks.harness import FAST

N_THREADS = int(os.environ.get("GLC_BENCH_THREADS") or os.cpu_count() or 1)

Search = Callable[[], Tensor]


def make(kind: str, n: int, k: int, d: int) -> tuple[Tensor, Tensor]:
    """Draw latents and a codebook: isotropic, clustered or low-rank.

    Args:
        kind: "isotropic"; "clustered" around 256 centres; "lowrank", 16 directions and 1 % noise.
        n: latents.
        k: codebook rows.
        d: dimensions.

    Returns:
        [n, d] and [k, d] float32.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator)

    if kind == "isotropic":
        return normal(n, d), normal(k, d)
    if kind == "lowrank":
        directions = normal(16, d)
        latents, codebook = (normal(m, 16) @ directions + 0.01 * normal(m, d) for m in (n, k))
        return latents, codebook
    centres = normal(256, d)
    latents, codebook = (
        centres[torch.randint(256, (m,), generator=generator)] + 0.3 * normal(m, d) for m in (n, k)
    )
    return latents, codebook


def addmm_on_device(latents: Tensor, codebook: Tensor, *, tf32: bool) -> Search:
    """Torch at its best: half norms in advance, one product that adds them, the largest score."""
    half_norms = -0.5 * codebook.square().sum(1)
    transposed = codebook.t()

    def search() -> Tensor:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            return torch.addmm(half_norms, latents, transposed).argmax(1)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return search


def scores64(latents: Tensor, codebook: Tensor) -> Tensor:
    """Scores in float64, [n, k]: the largest is the nearest code's."""
    codes = codebook.double()
    return torch.addmm(-0.5 * codes.square().sum(1), latents.double(), codes.t())


def addmm_argmax(half_norms: Tensor, latents: Tensor, transposed: Tensor) -> Tensor:
    """All scores by one matrix product, then the largest."""
    return torch.addmm(half_norms, latents, transposed).argmax(1)


def one_hot(latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the authors' formula: all distances, then a one-hot matrix for the lookup."""
    distance = (
        latents.square().sum(1, keepdim=True)
        + codebook.square().sum(1)
        - 2 * latents @ codebook.t()
    )
    index = distance.argmin(1)
    encoded = torch.zeros_like(distance).scatter_(1, index[:, None], 1)
    return index, encoded @ codebook


def searches(latents: Tensor, codebook: Tensor) -> dict[str, Search]:
    """Prepare every peer that is installed; each call returns [n] indices."""
    operands = -0.5 * codebook.square().sum(1), latents, codebook.t().contiguous()
    peers: dict[str, Search] = {"addmm+argmin": lambda: addmm_argmax(*operands)}
    if not FAST and (shutil.which("c++") or shutil.which("g++")):  # compiling takes seconds
        compiled = torch.compile(addmm_argmax, dynamic=False)
        peers["torch.compile"] = lambda: compiled(*operands)
    peers["one-hot formula"] = lambda: one_hot(latents, codebook)[0]
    try:
        import faiss
    except ImportError:
        pass
    else:
        flat = faiss.IndexFlatL2(codebook.shape[1])
        flat.add(codebook.numpy())
        array = latents.numpy()
        peers["faiss"] = lambda: torch.from_numpy(flat.search(array, 1)[1][:, 0])
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ImportError:
        pass
    else:
        module = VectorQuantize(dim=codebook.shape[1], codebook_size=codebook.shape[0]).eval()
        module._codebook.embed.data.copy_(codebook[None])
        peers["vector-quantize-pytorch"] = lambda: module(latents[None])[1][0]
    try:
        from sklearn.metrics import pairwise_distances_argmin
    except ImportError:
        pass
    else:
        x, y = latents.numpy(), codebook.numpy()
        peers["scikit-learn"] = lambda: torch.from_numpy(pairwise_distances_argmin(x, y))
    return {name: torch.no_grad()(peer) for name, peer in peers.items()}


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Hold us, torch, and through threadpoolctl every other library, to n threads."""
    before = glc.get_num_threads(), torch.get_num_threads()
    glc.set_num_threads(n)
    torch.set_num_threads(n)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
    else:
        with threadpool_limits(n):
            yield
    glc.set_num_threads(before[0])
    torch.set_num_threads(before[1])


@cache
def ceiling() -> float | None:
    """Measure the most multiply-adds per second of one core, or None without a C++ compiler."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        return None
    source = Path(__file__).parent / "cpp" / "fma_ceiling.cpp"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/ceiling"
        command = [compiler, "-O2", "-std=c++20", "-march=native", "-ffp-contract=fast"]
        built = subprocess.run([*command, source, "-o", program], capture_output=True, check=False)
        if built.returncode != 0:
            return None
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    return float(done.stdout)
