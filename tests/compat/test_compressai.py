# SPDX-License-Identifier: Apache-2.0
"""Beside an installed CompressAI: its bytes, its models, and what install leaves behind."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.compressai_import import import_compressai
from glc import rans
from glc.compat import compressai as ours
from glc.errors import BitstreamError
from tests.compat.coder_bindings import coder_bindings

if import_compressai() is None:
    pytest.skip("compressai is not installed", allow_module_level=True)

import torch

ans = importlib.import_module("compressai.ans")
models = importlib.import_module("compressai.models")
entropy_models = importlib.import_module("compressai.entropy_models.entropy_models")
zoo = importlib.import_module("compressai.zoo")

FORMATS = ("glc", "compressai")
REACH = 1 << 27
THEIRS = types.SimpleNamespace(
    encoder=ans.RansEncoder, buffered=ans.BufferedRansEncoder, decoder=ans.RansDecoder
)

ZOO = sorted(zoo.image_models)
NEWER = {
    "cheng2020-anchor-checkerboard": lambda: models.Cheng2020AnchorCheckerboard(N=32),
    "elic2022-official": lambda: models.Elic2022Official(N=32, M=48, groups=[4, 4, 8, 8, 24]),
    "elic2022-chandelier": lambda: models.Elic2022Chandelier(N=32, M=48, groups=[4, 4, 8, 8, 24]),
    "raster-scan-codec": lambda: raster_scan_model(),
}


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    yield
    ours.uninstall()
    assert ans.RansEncoder is THEIRS.encoder


def raster_scan_model() -> torch.nn.Module:
    """The autoregressive latent codec, in the smallest model around it."""
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.latent_codecs import (
        HyperLatentCodec,
        HyperpriorLatentCodec,
        RasterScanLatentCodec,
    )
    from compressai.layers import MaskedConv2d
    from compressai.models.base import SimpleVAECompressionModel
    from compressai.models.utils import conv, deconv

    model = SimpleVAECompressionModel()
    model.g_a = torch.nn.Sequential(*(conv(c, 16) for c in (3, 16, 16, 16)))
    model.g_s = torch.nn.Sequential(*(deconv(16, c) for c in (16, 16, 16, 3)))
    model.latent_codec = HyperpriorLatentCodec(
        latent_codec={
            "y": RasterScanLatentCodec(
                gaussian_conditional=GaussianConditional(None),
                entropy_parameters=torch.nn.Conv2d(64, 32, 1),
                context_prediction=MaskedConv2d(16, 32, kernel_size=5, padding=2),
            ),
            "hyper": HyperLatentCodec(
                entropy_bottleneck=EntropyBottleneck(16),
                h_a=conv(16, 16),
                h_s=deconv(16, 32),
            ),
        }
    )
    return model


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """Scale latents and their parameters up, so that random weights give symbols and escapes."""

    def times(factor: float) -> Callable[..., torch.Tensor]:
        return lambda module, inputs, output: output * factor

    model.g_a.register_forward_hook(times(300.0))
    for name, module in model.named_modules():
        if name.split(".")[-1] in ("h_s", "entropy_parameters"):
            module.register_forward_hook(times(20.0))
    return model


@pytest.fixture(scope="module", params=[*ZOO, *NEWER])
def coded(request: pytest.FixtureRequest) -> types.SimpleNamespace:
    """A model, and what CompressAI makes of a picture with it."""
    torch.manual_seed(1)
    name = request.param
    model = NEWER[name]() if name in NEWER else zoo.image_models[name](1, pretrained=False)
    model = lively(model.eval())
    model.update(force=True)
    batch = 1 if name == "raster-scan-codec" else 2  # all that CompressAI's takes
    x = torch.rand(batch, 3, 64, 64)
    with torch.no_grad():
        out = model.compress(x)
        x_hat = model.decompress(out["strings"], out["shape"])["x_hat"]
    return types.SimpleNamespace(model=model, x=x, out=out, x_hat=x_hat)


def compress(model: Any, x: torch.Tensor) -> tuple[Any, torch.Tensor]:
    with torch.no_grad():
        out = model.compress(x)
        return out, model.decompress(out["strings"], out["shape"])["x_hat"]


def total_bytes(strings: Any) -> int:
    return len(strings) if isinstance(strings, bytes) else sum(map(total_bytes, strings))


def test_models_write_and_read_the_same_bytes(coded):
    with ours.installed("compressai"):
        out, x_hat = compress(coded.model, coded.x)
        with torch.no_grad():
            read = coded.model.decompress(coded.out["strings"], coded.out["shape"])["x_hat"]
    assert out["strings"] == coded.out["strings"]
    assert torch.equal(read, coded.x_hat)
    assert torch.equal(x_hat, coded.x_hat)
    again, x_hat = compress(coded.model, coded.x)  # CompressAI itself, after uninstall
    assert again["strings"] == coded.out["strings"]
    assert torch.equal(x_hat, coded.x_hat)


def test_models_round_trip_in_our_format(coded):
    with ours.installed():
        out, x_hat = compress(coded.model, coded.x)
    assert torch.equal(x_hat, coded.x_hat)
    assert out["strings"] != coded.out["strings"]
    theirs = total_bytes(coded.out["strings"])
    assert theirs > 500  # lively indeed
    assert total_bytes(out["strings"]) < 1.05 * theirs  # many escapes, which random models have


@pytest.mark.parametrize("format", FORMATS)
def test_video_round_trips(format):
    torch.manual_seed(1)
    model = zoo.video_models["ssf2020"](1, pretrained=False).eval()
    model.update(force=True)
    frames = [torch.rand(1, 3, 128, 128) for _ in range(2)]
    with torch.no_grad():
        theirs = model.compress(frames)
        with ours.installed(format):
            coded = model.compress(frames)
            decoded = model.decompress(*coded)
        assert all(map(torch.equal, decoded, model.decompress(*theirs)))
    assert (coded == theirs) == (format == "compressai")


def test_a_models_tensors_are_tables(small):
    model = small.gaussian_conditional
    tables = rans.TableSet.from_cdfs(model._quantized_cdf, model._cdf_length, model._offset)
    rows = torch.arange(tables.rows, dtype=torch.int32).repeat_interleave(50)
    symbols = (torch.randn(rows.shape) * model.scale_table[rows.long()]).round().int()
    with ours.installed("glc"):
        (stream,) = model.compress(symbols[None].float(), rows[None])
    assert np.array_equal(rans.decode(stream, rows, tables), symbols)


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[int], ...]:
    """At least three symbols: with fewer, compressai.ans writes outside of its memory."""
    cdfs = []
    for _ in range(draw(st.integers(1, 4))):
        inner = draw(st.sets(st.integers(1, 65535), min_size=1, max_size=300))
        cdfs.append([0, *sorted(inner), 65536])
    offsets = draw(st.lists(st.integers(-99, 99), min_size=len(cdfs), max_size=len(cdfs)))
    rows = draw(st.lists(st.integers(0, len(cdfs) - 1), min_size=3, max_size=80))
    near, far = st.integers(-150, 150), st.integers(-REACH + 99, REACH - 99)
    power = st.integers(0, 26).flatmap(lambda n: st.integers(-(2**n), 2**n))
    symbols = draw(st.lists(near | far | power, min_size=len(rows), max_size=len(rows)))
    return symbols, rows, cdfs, [len(cdf) for cdf in cdfs], offsets


@settings(max_examples=300, deadline=None)
@given(message=messages())
def test_bytes_are_compressais(message):
    symbols, *rest = message
    stream = THEIRS.encoder().encode_with_indexes(symbols, *rest)
    assert ours.RansEncoder("compressai").encode_with_indexes(symbols, *rest) == stream
    assert ours.RansDecoder("compressai").decode_with_indexes(stream, *rest) == symbols
    assert THEIRS.decoder().decode_with_indexes(stream, *rest) == symbols


@settings(max_examples=50, deadline=None)
@given(message=messages(), cut=st.integers(0, 80))
def test_buffered_bytes_are_compressais(message, cut):
    symbols, rows, *tables = message
    streams = []
    for encoder in (THEIRS.buffered(), ours.BufferedRansEncoder("compressai")):
        encoder.encode_with_indexes(symbols[:cut], rows[:cut], *tables)
        encoder.encode_with_indexes(symbols[cut:], rows[cut:], *tables)
        streams.append(encoder.flush())
    assert streams[0] == streams[1]
    for decoder in (THEIRS.decoder(), ours.RansDecoder("compressai")):
        decoder.set_stream(streams[0])
        got = [decoder.decode_stream([row], *tables)[0] for row in rows]
        assert got == symbols


def test_escapes_up_to_the_last_that_compressai_codes():
    tables = [[0, 30000, 65536]], [3], [0]
    n_direct = 1
    for number in sorted(
        {0, *(2**k + d for k in range(28) for d in (-1, 0)), 2**28 - 2, 2**28 - 1}
    ):
        symbol = -(number + 1) // 2 if number % 2 else number // 2 + n_direct
        symbols, rows = [0, 0, symbol, 0], [0] * 4
        stream = THEIRS.encoder().encode_with_indexes(symbols, rows, *tables)
        assert ours.RansEncoder("compressai").encode_with_indexes(symbols, rows, *tables) == stream
        decoder = ours.RansDecoder("compressai")
        assert decoder.decode_with_indexes(stream, rows, *tables) == symbols


def test_compressai_reads_what_it_cannot_write():
    """No symbols, one symbol, and a row of a single bin crash its encoder; ours codes them."""
    cases = [
        ([], [], [[0, 30000, 65536]], [3], [0]),
        ([1], [0], [[0, 1, 65536]], [3], [1]),
        ([4, -4, 0], [0, 0, 0], [[0, 65536]], [2], [0]),
    ]
    for symbols, *rest in cases:
        stream = ours.RansEncoder("compressai").encode_with_indexes(symbols, *rest)
        assert THEIRS.decoder().decode_with_indexes(stream, *rest) == symbols


@pytest.fixture(scope="module")
def small() -> Any:
    torch.manual_seed(2)
    model = lively(models.JointAutoregressiveHierarchicalPriors(N=8, M=12).eval())
    model.update(force=True)
    return model


def test_uninstall_restores_exactly(small):
    before = coder_bindings()
    ours.install("glc")
    assert coder_bindings() != before
    ours.install("compressai")
    ours.uninstall()
    assert coder_bindings() == before
    ours.uninstall()  # once more is harmless
    assert coder_bindings() == before


def test_importing_has_no_effect():
    """Nor has a finished install: glc.compat is imported here, as are its traces if it left any."""
    assert {cls.__module__ for cls in vars(THEIRS).values()} == {"compressai.ans"}
    for owner in (entropy_models._EntropyCoder, entropy_models.EntropyModel):
        functions = [f for f in vars(owner).values() if isinstance(f, types.FunctionType)]
        assert not [f for f in functions if hasattr(f, "__wrapped__")]


def test_models_from_before_and_during_and_their_copies(small):
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    theirs, x_hat = compress(small, x)
    ours.install("glc")
    during = models.JointAutoregressiveHierarchicalPriors(N=8, M=12).eval()
    during.load_state_dict(small.state_dict())
    lively(during)
    expected, got = compress(small, x)
    assert torch.equal(got, x_hat)
    assert expected["strings"] != theirs["strings"]
    bottleneck = pickle.loads(pickle.dumps(small.entropy_bottleneck))
    assert type(vars(bottleneck.entropy_coder)["_encoder"]) is THEIRS.encoder
    family = [during, copy.deepcopy(small), copy.deepcopy(during)]
    for model in family:
        assert compress(model, x)[0]["strings"] == expected["strings"]
    ours.uninstall()
    for model in [small, *family, copy.deepcopy(during)]:
        assert compress(model, x)[0]["strings"] == theirs["strings"]


def test_formats_and_with_blocks_nest(small):
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    theirs = compress(small, x)[0]["strings"]
    with ours.installed("glc"):
        fast = compress(small, x)[0]["strings"]
        with ours.installed("compressai"):
            assert compress(small, x)[0]["strings"] == theirs
        assert compress(small, x)[0]["strings"] == fast
        with pytest.raises(KeyError), ours.installed("compressai"):
            raise KeyError
        assert compress(small, x)[0]["strings"] == fast
    assert fast != theirs
    assert ans.RansEncoder is THEIRS.encoder


def test_modules_imported_in_between(monkeypatch):
    """A model of the user's own binds the coder by name, before, during or without install."""
    before = types.ModuleType("user_model_before")
    exec("from compressai.ans import BufferedRansEncoder as Encoder, RansDecoder", vars(before))
    monkeypatch.setitem(sys.modules, before.__name__, before)
    tables = [[0, 30000, 60000, 65536]], [4], [0]
    rows = [0] * 6

    def stream(module: Any) -> bytes:
        encoder = module.Encoder()
        encoder.encode_with_indexes([0, 1, 2, 3, 4, 5], rows, *tables)
        return encoder.flush()

    theirs = stream(before)
    ours.install("glc")
    during = types.ModuleType("user_model_during")
    exec("from compressai.ans import BufferedRansEncoder as Encoder, RansDecoder", vars(during))
    monkeypatch.setitem(sys.modules, during.__name__, during)
    assert stream(before) == stream(during) != theirs
    ours.uninstall()
    assert stream(before) == stream(during) == theirs
    assert during.Encoder is THEIRS.buffered
    assert during.RansDecoder is THEIRS.decoder


@pytest.mark.parametrize("place", ["entropy_coder", "_encoder", "_decoder"])
def test_a_coder_put_there_by_others_stays(small, place):
    """And so does the other half of a pair: it is for the same streams."""

    class Recorder:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def encode_with_indexes(self, *arguments: Any) -> bytes:
            self.calls.append("encode")
            return bytes(THEIRS.encoder().encode_with_indexes(*arguments))

        def decode_with_indexes(self, *arguments: Any) -> list[int]:
            self.calls.append("decode")
            return list(THEIRS.decoder().decode_with_indexes(*arguments))

    bottleneck = copy.deepcopy(small.entropy_bottleneck)
    recorder = Recorder()
    setattr(bottleneck if place == "entropy_coder" else bottleneck.entropy_coder, place, recorder)
    x = torch.randn(2, 8, 4, 4) * 9
    expected = bottleneck.compress(x)
    recorder.calls.clear()
    with ours.installed("glc"):
        assert bottleneck.compress(x) == expected
        bottleneck.decompress(expected, (4, 4))
    coded = ["encode"] * 2 * (place != "_decoder") + ["decode"] * 2 * (place != "_encoder")
    assert recorder.calls == coded


@pytest.mark.parametrize("format", FORMATS)
def test_models_that_ask_for_the_coder_itself(format):
    """A mixture makes tables for one message, and passes the proxy before the coder by."""
    torch.manual_seed(5)
    model = entropy_models.GaussianMixtureConditional(K=3)
    y = torch.randn(1, 4, 6, 6) * 3
    weights = torch.rand(1, 3, 4, 6, 6).softmax(1).flatten(1, 2)
    params = torch.rand(1, 12, 6, 6) + 0.5, torch.randn(1, 12, 6, 6)

    def compress() -> Any:  # it writes to what it is given
        return model.compress(y, *(p.clone() for p in params), weights)

    (theirs, *_), y_q = compress()
    with ours.installed(format):
        (stream, *rest), _ = compress()
        back = model.decompress(stream, *rest, *(p.clone() for p in params), weights)
    assert torch.equal(back, y_q)
    assert (stream == theirs) == (format == "compressai")


def test_coders_of_different_models_decode_pieces_side_by_side(small):
    tables = [[0, 30000, 60000, 65536]], [4], [0]
    messages = [[0, 1, 1, 5], [1, 0, 0, -3]]
    coders = [copy.deepcopy(small.entropy_bottleneck).entropy_coder for _ in messages]
    with ours.installed("glc"):
        for coder, message in zip(coders, messages, strict=True):
            stream = coder.encode_with_indexes(message, [0] * 4, *tables)
            coder._decoder.set_stream(stream)
        got = [[c._decoder.decode_stream([0], *tables)[0] for c in coders] for _ in range(4)]
    assert [list(piece) for piece in zip(*got, strict=True)] == messages


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_indexes_of_any_dtype(small, format, dtype):
    y = torch.randn(2, 12, 4, 4) * 9
    indexes = torch.ones(y.shape, dtype=dtype)
    gaussian = small.gaussian_conditional
    expected = gaussian.compress(y, indexes.int())
    assert gaussian.compress(y, indexes) == expected
    with ours.installed(format):
        strings = gaussian.compress(y, indexes)
        assert torch.equal(gaussian.decompress(strings, indexes), y.round())
    assert format == "glc" or strings == expected


def test_damage_is_a_bitstream_error(small):
    symbols = torch.randint(-30, 30, (1, 8, 16, 16)).float()
    with ours.installed("glc"):
        (stream,) = small.entropy_bottleneck.compress(symbols)
        for broken in (b"", stream[:-1], stream + b"\0", b"\xff" + stream[1:]):
            with pytest.raises(BitstreamError):
                small.entropy_bottleneck.decompress([broken], (16, 16))


def test_compressais_own_errors_stay(small):
    gaussian = small.gaussian_conditional
    indexes = torch.zeros(1, 12, 4, 4, dtype=torch.int32)
    bad: list[Callable[[], Any]] = [
        lambda: gaussian.compress(torch.zeros(4), indexes[0, 0, 0]),
        lambda: gaussian.compress(torch.zeros(1, 12, 4, 5), indexes),
        lambda: gaussian.decompress("x", indexes),
        lambda: gaussian.decompress([b"", b""], indexes),
        lambda: gaussian.decompress([b""], indexes, means=torch.zeros(1, 13, 1, 1)),
        lambda: gaussian.decompress([b""], indexes, means=torch.zeros(1, 12, 2, 2)),
        lambda: entropy_models.EntropyBottleneck(4).compress(torch.zeros(1, 4, 2, 2)),
    ]
    for call in bad:
        with pytest.raises(ValueError, match=r".") as theirs:
            call()
        with ours.installed("glc"), pytest.raises(ValueError, match=r".") as got:
            call()
        assert str(got.value) == str(theirs.value)
        assert type(got.value) is type(theirs.value)
    with ours.installed("glc"):
        strings = gaussian.compress(torch.zeros(1, 12, 4, 4), indexes)
        with pytest.raises(TypeError, match="mean"):
            gaussian.decompress(strings, indexes, mean=torch.zeros(1, 12, 4, 4))


@pytest.mark.parametrize("format", FORMATS)
def test_means_and_dtype_are_honoured(small, format):
    gaussian = small.gaussian_conditional
    y = torch.randn(2, 12, 4, 4) * 9
    means = torch.randn(2, 12, 1, 1)
    indexes = torch.randint(0, 64, y.shape, dtype=torch.int32)
    expected = gaussian.quantize(y, "dequantize", means)
    with ours.installed(format):
        strings = gaussian.compress(y, indexes, means)
        assert torch.equal(gaussian.decompress(strings, indexes, means=means), expected)
        half = gaussian.decompress(gaussian.compress(y, indexes), indexes, torch.float64)
    assert half.dtype == torch.float64
    assert np.array_equal(half.numpy(), np.rint(y.numpy()))
