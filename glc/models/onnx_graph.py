# SPDX-License-Identifier: Apache-2.0
"""A model's picture networks as ONNX graphs, for runtimes that know nothing of glc.

What trips people first: no graph reads or writes a file. What lies between y and the bytes of a
file has to be the same to the last bit on both sides, which no runtime promises; so the graphs end
and begin at y and y_hat, and `Codec.encode_latent` and `Codec.decode_latent` do the rest.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
from collections.abc import Iterator
from typing import Any, cast

import onnx
import onnxscript  # noqa: F401  (torch's exporter imports it, too late for a plain message)
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from glc._quiet import quiet
from glc.errors import UnsupportedError
from glc.models.glc import GLC
from glc.models.vqvae import Attention

__all__ = ["onnx_graph"]

_EXPORTING = threading.Lock()
_TRACED = (2, 2, 3)  # samples, and sides in positions of z: none is 1, which torch takes for fixed


def onnx_graph(model: GLC, *, encoder: bool = False) -> bytes:
    """Make a graph of standard operators: from y_hat to x_hat, or for the encoder from x to y.

    Args:
        model: in evaluation mode.
        encoder: what encoding takes, not what decoding does.

    Returns:
        An ONNX file, which docs/onnx.md describes. Batch, height and width are open.

    Raises:
        UnsupportedError: torch finds no graph of what the model's networks do.
    """
    copied = copy.deepcopy(model).cpu()
    for module in copied.modules():
        if type(module) is Attention:
            module.__class__ = _AllWindows  # which keeps its weights, hooks and all
    network = (_Encoder if encoder else _Decoder)(copied).eval()
    batch, *z_sides = _TRACED
    channels, per_z = (3, model.pad_multiple) if encoder else (model.config.latent_channels, 4)
    given = torch.zeros(batch, channels, *(per_z * side for side in z_sides))
    file = _exported(network, given, torch.zeros(batch))
    _describe(file, network)
    data: bytes = file.SerializeToString(deterministic=True)
    return data


class _Network(nn.Module):
    """What becomes a graph, and the names of the map that it takes and the one that it gives."""

    names: tuple[str, str]

    def __init__(self, model: GLC) -> None:
        super().__init__()
        self.model = model


class _Encoder(_Network):
    names = ("x", "y")

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        return self.model.analysis(self.model.latents((x - 0.5) * 2), quality)


class _Decoder(_Network):
    names = ("y_hat", "x_hat")

    def forward(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        x_hat = self.model.reconstruct(self.model.synthesis(y_hat, quality))
        return (x_hat / 2 + 0.5).clamp(0, 1)


class _AllWindows(Attention):
    """`Attention` in evaluation mode, all windows at once: a graph leaves open how many there are.

    Those at the edges are filled up with positions that nobody attends to.
    """

    def forward(self, x: Tensor) -> Tensor:
        side = self.window
        n, c, h, w = x.shape
        below, right = -h % side, -w % side
        rows, cols = (h + below) // side, (w + right) // side  # of windows

        def windows(maps: Tensor, channels: int) -> Tensor:
            """[n, channels, h, w] -> [n rows cols, positions, channels]."""
            padded = F.pad(maps, (0, right, 0, below))
            split = padded.reshape(n, channels, rows, side, cols, side)
            return split.permute(0, 2, 4, 3, 5, 1).reshape(n * rows * cols, side * side, channels)

        normed = self.norm(x)
        q, k, v = (windows(conv(normed), c) for conv in (self.q, self.k, self.v))
        outside = windows(torch.ones_like(x[:, :1]), 1).log()  # -inf, and 0 inside
        scores = q @ k.transpose(1, 2) * c**-0.5 + outside.transpose(1, 2)
        out = (scores.softmax(2) @ v).reshape(n, rows, cols, side, side, c)
        out = out.permute(0, 5, 1, 3, 2, 4).reshape(n, c, rows * side, cols * side)
        return cast(Tensor, x + self.proj_out(out[..., :h, :w]))


def _exported(network: _Network, given: Tensor, quality: Tensor) -> Any:
    """Let torch export a network, the sides of its map and the number of samples left open."""
    taken, made = network.names
    open_sides = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    try:
        with quiet(), _unlogged(), torch.no_grad():
            program = torch.onnx.export(
                network,
                (given, quality),
                input_names=(taken, "quality"),
                output_names=(made,),
                dynamo=True,
                dynamic_shapes=(open_sides, {0: Dim.DYNAMIC}),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise UnsupportedError(
            f"export: model: expected networks that torch can make a graph of, got: {reason}"
        ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep back what torch's exporter logs of packages whose ops no network here has."""
    logger = logging.getLogger("torch.onnx")
    with _EXPORTING:  # the level is the whole process's
        before = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)


def _describe(file: Any, network: _Network) -> None:
    """Say what goes in and out, in place of how and from which lines torch made the graph."""
    config, graph = network.model.config, file.graph
    for noted in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        noted.ClearField("metadata_props")
    graph.ClearField("value_info")  # by torch's names of sides; a runtime finds it again
    graph.name = "_to_".join(network.names)
    stride, sides = config.autoencoder.stride, ("height", "width")
    known = {
        "x": (sides, f"RGB in [0, 1], sides multiples of {config.pad_multiple}"),
        "y": ([f"{side}/{stride}" for side in sides], "for Codec.encode_latent"),
        "y_hat": (sides, "of Codec.decode_latent"),
        "x_hat": ([f"{stride}*{side}" for side in sides], "RGB in [0, 1], padded as x is"),
        "quality": ((), f"of each sample, 0 to {config.levels - 1}"),
    }
    for value in (*graph.input, *graph.output):
        names, value.doc_string = known[value.name]
        batch, *rest = value.type.tensor_type.shape.dim
        batch.dim_param = "batch"
        for side, name in zip(rest[1:], names, strict=True):
            side.dim_param = name
    notes = {
        "fingerprint": network.model.fingerprint().hex(),
        "pad_multiple": str(config.pad_multiple),
        "levels": str(config.levels),
    }
    onnx.helper.set_model_props(file, notes)
