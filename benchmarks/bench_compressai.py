# SPDX-License-Identifier: Apache-2.0
"""CompressAI coding through glc, beside itself: coder calls, entropy models, whole models.

calls: the symbols of one picture of 768x512 (192x32x48 latents, about 2 bits each) through
RansEncoder and RansDecoder, with lists as CompressAI passes them or with arrays. entropy_model:
GaussianConditional's compress and decompress of such latents. model: whole models with random
weights on a photograph of that size; autoregressive ones on a cut of it.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.compressai_import import import_compressai
from benchmarks.harness import FAST, Race
from glc import rans
from glc.compat import compressai as ours

LATENTS = (192, 8, 12) if FAST else (192, 32, 48)
FORMATS = ("glc", "compressai")
MODELS = {
    "bmshj2018-hyperprior": (64, 64) if FAST else (512, 768),
    "mbt2018-mean": (64, 64) if FAST else (512, 768),
    "mbt2018": (64, 64) if FAST else (128, 128),
}

needs_compressai = pytest.mark.skipif(import_compressai() is None, reason="needs compressai")


@cache
def message() -> tuple[np.ndarray, np.ndarray, tuple[list[list[int]], list[int], list[int]]]:
    """Symbols, indexes and tables: 64 Gaussian rows."""
    rng = np.random.default_rng(0)
    scales = np.exp(np.linspace(np.log(0.11), np.log(64), 64))
    indexes = rng.integers(8, 40, int(np.prod(LATENTS))).astype(np.int32)
    symbols = np.rint(rng.normal(size=indexes.size) * scales[indexes]).astype(np.int32)
    freqs, n_bins, offsets = rans.TableSet.from_gaussian(scales, bits=16).arrays()
    rows = np.split(freqs, np.cumsum(n_bins)[:-1])
    cdfs = [[0, *np.cumsum(row).tolist()] for row in rows]
    return symbols, indexes, (cdfs, (n_bins + 1).tolist(), offsets.tolist())


def arguments(kind: str) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    symbols, indexes, (cdfs, sizes, offsets) = message()
    if kind == "lists":
        return symbols.tolist(), indexes.tolist(), (cdfs, sizes, offsets)
    table = np.zeros((len(cdfs), max(sizes)), np.int32)
    for row, cdf in zip(table, cdfs, strict=True):
        row[: len(cdf)] = cdf
    return symbols, indexes, (table, np.array(sizes, np.int32), np.array(offsets, np.int32))


def ans() -> Any:
    return importlib.import_module("compressai.ans")


def notes(stream: bytes, n: int) -> dict[str, Any]:
    absent = {} if import_compressai() else {"skipped, not installed": "compressai.ans"}
    return {"bits/sym": 8 * len(stream) / n, **absent}


@pytest.mark.parametrize("kind", ["lists", "arrays"])
@pytest.mark.parametrize("format", FORMATS)
def bench_encode_call(race: Race, format: ours.Format, kind: str) -> None:
    symbols, indexes, tables = arguments(kind)
    lists = arguments("lists")
    encoder = ours.RansEncoder(format)
    peers: dict[str, Callable[[], Any]] = {}
    if import_compressai():
        theirs = ans().RansEncoder()
        peers["compressai"] = lambda: theirs.encode_with_indexes(lists[0], lists[1], *lists[2])

    def check(stream: bytes, results: Mapping[str, Any]) -> None:
        decoder = ours.RansDecoder(format)
        assert decoder.decode_with_indexes(stream, lists[1], *lists[2]) == lists[0]
        if format == "compressai":
            assert all(result == stream for result in results.values())

    race(
        lambda: encoder.encode_with_indexes(symbols, indexes, *tables),
        peers,
        check=check,
        work=len(symbols),
        unit="sym",
        notes=notes(encoder.encode_with_indexes(symbols, indexes, *tables), len(symbols)),
    )


@pytest.mark.parametrize("kind", ["lists", "arrays"])
@pytest.mark.parametrize("format", FORMATS)
def bench_decode_call(race: Race, format: ours.Format, kind: str) -> None:
    symbols, indexes, tables = arguments(kind)
    lists = arguments("lists")
    stream = ours.RansEncoder(format).encode_with_indexes(symbols, indexes, *tables)
    decoder = ours.RansDecoder(format)
    peers: dict[str, Callable[[], Any]] = {}
    if import_compressai():
        theirs, coded = ans().RansDecoder(), ans().RansEncoder()
        data = coded.encode_with_indexes(lists[0], lists[1], *lists[2])
        peers["compressai"] = lambda: theirs.decode_with_indexes(data, lists[1], *lists[2])

    def check(got: Any, results: Mapping[str, Any]) -> None:
        assert all(list(result) == lists[0] for result in (got, *results.values()))

    race(
        lambda: decoder.decode_with_indexes(stream, indexes, *tables),
        peers,
        check=check,
        work=len(symbols),
        unit="sym",
        notes=notes(stream, len(symbols)),
    )


def untouched(model: Any) -> Any:
    """Copy a model so that install leaves the copy's entropy models to CompressAI."""

    class Encoder(ans().RansEncoder):  # type: ignore[misc]
        """CompressAI's own under another name, which install takes for somebody else's."""

    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "entropy_coder"):
            module.entropy_coder._encoder = Encoder()
    return model


@contextmanager
def own_names() -> Iterator[None]:
    """Give the autoregressive models CompressAI's own coder classes, while install is in force."""
    google = importlib.import_module("compressai.models.google")
    names = ("BufferedRansEncoder", "RansDecoder")
    installed = [getattr(google, name) for name in names]
    try:
        for name in names:
            setattr(google, name, ORIGINALS[name])
        yield
    finally:
        for name, cls in zip(names, installed, strict=True):
            setattr(google, name, cls)


ORIGINALS = (
    {name: getattr(ans(), name) for name in ("BufferedRansEncoder", "RansDecoder")}
    if import_compressai()
    else {}
)


@needs_compressai
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("direction", ["compress", "decompress"])
def bench_entropy_model(race: Race, direction: str, format: ours.Format) -> None:
    import torch

    entropy_models = importlib.import_module("compressai.entropy_models")
    scales = np.exp(np.linspace(np.log(0.11), np.log(256), 64)).tolist()
    mine = entropy_models.GaussianConditional(scales)
    mine.update()
    theirs = untouched(mine)
    generator = torch.Generator().manual_seed(0)
    indexes = torch.randint(8, 32, (1, *LATENTS), generator=generator, dtype=torch.int32)
    spread = torch.tensor(scales)[indexes.long()]
    means = torch.randn((1, *LATENTS), generator=generator)
    y = torch.randn((1, *LATENTS), generator=generator) * spread + means
    with ours.installed(format):
        coded = {model: model.compress(y, indexes, means) for model in (mine, theirs)}
        if direction == "compress":

            def run(model: Any) -> Any:
                return model.compress(y, indexes, means)

        else:

            def run(model: Any) -> Any:
                return model.decompress(coded[model], indexes, means=means)

        def check(got: Any, results: Mapping[str, Any]) -> None:
            if direction == "decompress":
                assert torch.equal(got, results["compressai"])
            elif format == "compressai":
                assert got == results["compressai"]

        race(
            lambda: run(mine),
            {"compressai": lambda: run(theirs)},
            check=check,
            work=y.numel(),
            unit="sym",
            notes=notes(coded[mine][0], y.numel()),
        )


@needs_compressai
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("direction", ["compress", "decompress"])
@pytest.mark.parametrize("name", MODELS)
def bench_model(race: Race, name: str, direction: str, format: ours.Format) -> None:
    import torch

    from glc.image import load_image

    zoo = importlib.import_module("compressai.zoo")
    torch.manual_seed(0)
    mine = zoo.image_models[name](1, pretrained=False).eval()
    mine.g_a.register_forward_hook(lambda module, inputs, output: output * 4.0)
    mine.h_s.register_forward_hook(lambda module, inputs, output: output * 5.0)
    mine.update(force=True)
    theirs = untouched(mine)
    height, width = MODELS[name]
    photo = load_image("examples/images/kodim23.png")[:height, :width]
    x = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None].float() / 255

    def code(model: Any) -> Any:
        with torch.no_grad():
            return model.compress(x)

    def restore(model: Any, out: Any) -> Any:
        with torch.no_grad():
            return model.decompress(out["strings"], out["shape"])["x_hat"]

    def own(run: Callable[[], Any]) -> Any:
        with own_names():
            return run()

    with ours.installed(format):
        mine_out, their_out = code(mine), own(lambda: code(theirs))

        def check(got: Any, results: Mapping[str, Any]) -> None:
            assert torch.equal(restore(mine, mine_out), own(lambda: restore(theirs, their_out)))
            if format == "compressai":
                assert mine_out["strings"] == their_out["strings"]

        if direction == "compress":
            sides = (lambda: code(mine), lambda: own(lambda: code(theirs)))
        else:
            sides = (
                lambda: restore(mine, mine_out),
                lambda: own(lambda: restore(theirs, their_out)),
            )
        race(
            sides[0],
            {"compressai": sides[1]},
            check=check,
            work=height * width,
            unit="px",
            notes={"bytes": sum(len(s[0]) for s in mine_out["strings"])},
        )
