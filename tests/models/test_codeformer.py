# SPDX-License-Identifier: Apache-2.0
"""CodeFormer's autoencoder under its own names, with generated values: its weights are not here."""

import math

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.models import GLC, load_codeformer
from glc.models.codeformer import codeformer_layout
from tests.faces import SMALL_FACE

ENCODER = (  # block by block (facts K); r: a residual block, a: attention, d: halving, u: doubling
    "3>64 r64>64 r64>64 d64 r64>128 r128>128 d128 r128>128 r128>128 d128 r128>256 r256>256 d256 "
    "r256>256 r256>256 d256 r256>512 a512 r512>512 a512 r512>512 a512 r512>512 n512 512>256"
)
GENERATOR = (
    "256>512 r512>512 a512 r512>512 r512>512 a512 r512>512 a512 u512 r512>256 r256>256 u256 "
    "r256>256 r256>256 u256 r256>128 r128>128 u128 r128>128 r128>128 u128 r128>64 r64>64 n64 64>3"
)


def layout() -> dict[str, tuple[int, ...]]:
    """Every tensor of `vqgan_code1024` with its shape."""
    found: dict[str, tuple[int, ...]] = {"quantize.embedding.weight": (1024, 256)}

    def add(name: str, *shape: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]

    for network, blocks in (("encoder", ENCODER), ("generator", GENERATOR)):
        for number, block in enumerate(blocks.split()):
            name, kind = f"{network}.blocks.{number}", block[0] if block[0].isalpha() else ""
            widths = [int(width) for width in block.removeprefix(kind).split(">")]
            a, b = widths[0], widths[-1]
            if kind == "r":
                add(f"{name}.norm1", a)
                add(f"{name}.conv1", b, a, 3, 3)
                add(f"{name}.norm2", b)
                add(f"{name}.conv2", b, b, 3, 3)
                if a != b:
                    add(f"{name}.conv_out", b, a, 1, 1)
            elif kind == "a":
                add(f"{name}.norm", a)
                for one in ("q", "k", "v", "proj_out"):
                    add(f"{name}.{one}", a, a, 1, 1)
            elif kind == "n":
                add(name, a)
            else:
                add(f"{name}.conv" if kind else name, b, a, 3, 3)
    return found


def test_names_and_shapes_are_codeformers():
    assert codeformer_layout() == layout()
    assert sum(math.prod(shape) for shape in layout().values()) == 63_740_099


@pytest.fixture
def state(monkeypatch):
    """Of an autoencoder of the same layout, smaller."""
    monkeypatch.setattr("glc.models.codeformer.GLC_FACE", SMALL_FACE)
    rng = torch.Generator().manual_seed(0)
    return {k: torch.randn(shape, generator=rng) for k, shape in codeformer_layout().items()}


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
def test_the_autoencoder_is_theirs_and_the_rest_new(state, tmp_path, wrapper):
    path = tmp_path / "vqgan_code1024.pth"
    torch.save(state if wrapper is None else {wrapper: state}, path)
    model = load_codeformer(path)
    assert not model.training
    assert model.config == SMALL_FACE
    for theirs, ours in (
        ("quantize.embedding.weight", model.image_vq.codebook),
        ("encoder.blocks.0.weight", model.latent_encoder.blocks[0].weight),
        ("generator.blocks.2.proj_out.bias", model.latent_decoder.blocks[2].proj_out.bias),
    ):
        assert torch.equal(state[theirs], ours)
    assert model.g_a.q.eq(1.0).all()
    model.save_pretrained(tmp_path / "begun")  # what `init` of Stage II takes
    assert GLC.from_pretrained(tmp_path / "begun").fingerprint() == model.fingerprint()


def test_averaged_weights_come_first(state):
    wrapped = {"params": {k: torch.zeros_like(t) for k, t in state.items()}, "params_ema": state}
    codebook = load_codeformer(wrapped).image_vq.codebook
    assert torch.equal(codebook, state["quantize.embedding.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.blocks.0.weight": None}, "1 missing: encoder.blocks.0.weight"),
        ({"main.0.weight": torch.zeros(1)}, "1 unknown: main.0.weight"),
        ({"encoder.blocks.0.bias": torch.zeros(1)}, r"of another shape: .*\(1,\) instead of \(32"),
        ({"params_d": {}}, "expected a mapping from names to tensors, .* under params_ema, params"),
    ],
)
def test_the_loader_is_strict(state, change, message):
    broken = {k: t for k, t in (state | change).items() if t is not None}
    with pytest.raises(InvalidArgumentError, match=f"^load_codeformer: .*{message}"):
        load_codeformer(broken)
