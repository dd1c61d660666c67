# SPDX-License-Identifier: Apache-2.0
"""Nearest-codebook search and its training op, beside the usual ways.

Like for like: a codebook that does not change is prepared once by whoever can; every side then
gets the same latents. In training the codebook changes with every step, and preparing it is timed.
On a device ours prepares the codebook in every call, and torch has its half norms for nothing.
Every side's rows are compared by their distance in float64 before anything is timed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

import glc
from benchmarks import vq_training
from benchmarks.harness import FAST, Race
from benchmarks.on_device import ON_DEVICE, replayed
from benchmarks.vq_peers import (
    N_THREADS,
    addmm_on_device,
    ceiling,
    make,
    one_hot,
    scores64,
    searches,
    threads,
)
from glc.ops import vq_nearest

# Peers round their sums in another order: a row may be farther by this share of the largest
# distance, which near-ties make up.
TOLERANCE = 1e-5


def cases():
    sizes = [
        (96, 16384, 256),  # hyper indices of a photograph, published codebook
        (1536, 16384, 256),  # image latents of a photograph
        (1536, 8192, 8),
        (1536, 8192, 32),
        (1536, 1024, 256),
        (96, 512, 32),  # the bundled small model
    ]
    return [pytest.param("isotropic", *size, id="n{}-k{}-d{}".format(*size)) for size in sizes] + [
        pytest.param(kind, 1536, 16384, 256, id=f"n1536-k16384-d256-{kind}")
        for kind in ("clustered", "lowrank")
    ]


def check_rows(
    latents: Tensor, codebook: Tensor, ours: Tensor, peers: Mapping[str, Tensor]
) -> None:
    def distances(index: Tensor) -> Tensor:
        return (latents.double() - codebook[index.long()].double()).square().sum(1)

    least = distances(ours)
    for name, index in peers.items():
        excess = (distances(index) - least).abs().max() / least.max()
        assert excess < TOLERANCE, f"{name} disagrees"


def race_search(race: Race, kind: str, n: int, k: int, d: int, n_threads: int) -> None:
    if FAST:
        n, k = min(n, 64), min(k, 512)
    latents, codebook = make(kind, n, k, d)
    with threads(n_threads):
        peers = searches(latents, codebook)

        def ours() -> Tensor:
            return vq_nearest.plain(latents, codebook)

        for _ in range(1 + 256 // n):
            ours()  # so often that the codebook is packed, if ever
        if n_threads > 1:

            def alone() -> Tensor:
                glc.set_num_threads(1)
                index = vq_nearest.plain(latents, codebook)
                glc.set_num_threads(n_threads)
                return index

            peers["ours, one thread"] = alone
        most = ceiling()
        result = race(
            ours,
            peers,
            check=lambda mine, others: check_rows(latents, codebook, mine, others),
            work=n * k * d,
            unit="FMA",
            threads=n_threads > 1,
            notes=None if most is None else {"fp32 ceiling GFMA/s": n_threads * most / 1e9},
        )
    assert result.ratios


@pytest.mark.parametrize(("kind", "n", "k", "d"), cases())
def bench_search(race: Race, kind: str, n: int, k: int, d: int) -> None:
    race_search(race, kind, n, k, d, 1)


@pytest.mark.parametrize(("kind", "n", "k", "d"), cases()[:3] if N_THREADS > 1 else [])
def bench_search_threads(race: Race, kind: str, n: int, k: int, d: int) -> None:
    race_search(race, kind, n, k, d, N_THREADS)


def bench_search_and_lookup(race: Race) -> None:
    latents, codebook = make("isotropic", 96, 512 if FAST else 16384, 256)

    def ours() -> tuple[Tensor, Tensor]:
        index = vq_nearest.plain(latents, codebook)
        return index, torch.nn.functional.embedding(index, codebook)

    def check(mine: tuple[Tensor, Tensor], peers: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        check_rows(latents, codebook, mine[0], {"one-hot": peers["one-hot formula"][0]})
        assert torch.equal(mine[1], codebook[mine[0].long()])

    with threads(1):
        for _ in range(3):
            ours()
        peers = {"one-hot formula": lambda: one_hot(latents, codebook)}
        race(ours, peers, check=check, work=96, unit="latents")


def peak_mib(side: str) -> float:
    command = [sys.executable, "-m", "benchmarks.vq_training", side]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**20


def bench_training_step(race: Race) -> None:
    """Forward and backward; memory is beyond the gradients and what is prepared."""
    steps = {"ours": vq_training.ours(), "one-hot formula": vq_training.one_hot_formula()}
    try:
        steps["vector-quantize-pytorch"] = vq_training.peer()
    except ImportError:
        pass

    def check(mine: tuple[Tensor, Tensor], peers: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        latents, codebook = make("isotropic", vq_training.N, vq_training.K, vq_training.D)
        check_rows(latents, codebook, mine[0], {name: out[0] for name, out in peers.items()})
        for _, gradient in peers.values():
            torch.testing.assert_close(mine[1], gradient, rtol=1e-3, atol=1e-5)

    notes = {}
    if Path("/proc/self/clear_refs").exists():
        notes = {name: {"memory MiB": peak_mib(name)} for name in steps}
    with threads(1):
        mine = steps.pop("ours")
        race(mine, steps, check=check, work=vq_training.N, unit="latents", side_notes=notes)


# ---------------------------------------------------------------- on a device

DEVICE = "cuda"
CPU_ROWS = 256  # compared with our CPU search
# What float64 may see between two codes whose float32 chains fall the other way, as a share of the
# largest score: some twenty times what their roundings come to.
NEAR_TIE = 1e-5


def check_exact(latents: Tensor, codebook: Tensor, index: Tensor) -> int:
    """Demand our CPU's rows of some latents, and of all no worse score than float64's best.

    Returns:
        How many rows are not float64's: near-ties that float32 decides otherwise.
    """
    some = latents[:CPU_ROWS].cpu()
    assert torch.equal(index[:CPU_ROWS].cpu(), vq_nearest.plain(some, codebook.cpu()))
    n_ties = 0
    for part, chosen in zip(latents.split(1024), index.long().split(1024), strict=True):
        scores = scores64(part, codebook)
        most, best = scores.max(1)
        short = most - scores.gather(1, chosen[:, None])[:, 0]
        assert (short <= NEAR_TIE * scores.abs().max()).all()
        n_ties += int((best != chosen).sum())
    return n_ties


def on_device_cases():
    sizes = [
        (8160, 16384, 256),  # image latents of a 1080p frame
        (1536, 16384, 256),
        (96, 16384, 256),
        (1536, 8192, 32),
        (1536, 8192, 8),
    ]
    return [
        pytest.param(kind, *size, marks=ON_DEVICE, id="n{}-k{}-d{}-{}".format(*size, kind))
        for kind, size in [("isotropic", size) for size in sizes] + [("clustered", sizes[0])]
    ]


@pytest.mark.parametrize(("kind", "n", "k", "d"), on_device_cases())
def bench_search_on_device(race: Race, kind: str, n: int, k: int, d: int) -> None:
    """The kernels alone. TF32 is not exact: its figure is beside the point, and how wrong it is."""
    latents, codebook = (x.to(DEVICE) for x in make(kind, n, k, d))
    peers = {
        "addmm+argmax": addmm_on_device(latents, codebook, tf32=False),
        "TF32, not exact": addmm_on_device(latents, codebook, tf32=True),
    }
    differ: dict[str, dict[str, float]] = {name: {} for name in ("ours", *peers)}

    def check(mine: Tensor, others: Mapping[str, Tensor]) -> None:
        differ["ours"]["rows not of float64"] = check_exact(latents, codebook, mine)
        for name, index in others.items():
            differ[name]["rows not ours"] = int((index != mine).sum())

    race(
        replayed(lambda: vq_nearest.plain(latents, codebook)),
        {name: replayed(call) for name, call in peers.items()},
        check=check,
        work=n * k * d,
        unit="FMA",
        side_notes=differ,
    )
