# SPDX-License-Identifier: Apache-2.0
"""CodeFormer's published VQGAN (`vqgan_code1024`) as the autoencoder of GLC-face (facts K)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from glc.models.config import GLC_FACE
from glc.models.glc import GLC
from glc.models.official import check_layout, read_state, renamed

WRAPPERS = ("params_ema", "params")  # averaged weights where there are any

# CodeFormer's prefix -> ours.
PREFIXES = {
    "encoder.": "latent_encoder.",
    "generator.": "latent_decoder.",
    "quantize.embedding.weight": "image_vq.codebook",
}


def load_codeformer(source: str | os.PathLike[str] | Mapping[str, Any]) -> GLC:
    """Build a GLC-face model whose autoencoder and image codebook are CodeFormer's.

    They stand for Stage I; everything else is as a new model has it, for Stage II to train.

    Args:
        source: path of `vqgan_code1024.pth`, read with `weights_only=True`, or its state dict,
            bare or wrapped under "params_ema" or "params".

    Returns:
        The model in evaluation mode, float32, on the CPU.

    Raises:
        InvalidArgumentError: not a checkpoint, or a key missing, unknown, of another shape or
            without values.
    """
    state = read_state("load_codeformer", source, WRAPPERS)
    check_layout("load_codeformer", state, codeformer_layout())
    with torch.device("cpu"):  # whatever torch's default is
        model = GLC(GLC_FACE).float()
    ours = {renamed(key, PREFIXES): tensor for key, tensor in state.items()}
    model.load_state_dict(model.state_dict() | ours)
    return model.eval()


def codeformer_layout() -> dict[str, tuple[int, ...]]:
    """Every key of CodeFormer's state dict with its shape (329 tensors)."""
    with torch.device("meta"):
        model = GLC(GLC_FACE)
    return {
        renamed(name, _TO_CODEFORMER): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.startswith(tuple(_TO_CODEFORMER))
    }


_TO_CODEFORMER = {ours: theirs for theirs, ours in PREFIXES.items()}
