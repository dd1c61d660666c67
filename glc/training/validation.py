# SPDX-License-Identifier: Apache-2.0
"""Validation on held-out crops: estimated rates and distances, on the averaged weights."""

from __future__ import annotations

import torch
from torch import Tensor

from glc.losses.perceptual import FeatureDistance
from glc.losses.style import StyleLoss
from glc.models.glc import GLC
from glc.models.outputs import Inspection

CHUNK = 8  # crops per forward pass


@torch.no_grad()
def validate_autoencoder(
    model: GLC, x: Tensor, features: FeatureDistance | None
) -> tuple[dict[str, float], Tensor]:
    """Quality of D(E(x)) and of D(quantised E(x)), and how well the codebook is used.

    Args:
        model: in evaluation mode.
        x: [n, 3, h, w] float32 in [-1, 1].
        features: the perceptual distance, or None.

    Returns:
        The figures by name, and the reconstruction [n, 3, h, w] of the quantised latent.
    """
    l = torch.cat([model.latents(chunk) for chunk in x.split(CHUNK)])
    index = model.image_vq.nearest(l)
    result = codebook_health(index, model.image_vq.codebook.shape[0])
    for name, latent in (("", l), ("_quantized", model.image_vq.lookup(index))):
        x_hat = torch.cat([model.reconstruct(chunk) for chunk in latent.split(CHUNK)])
        result["psnr" + name] = _psnr(x, x_hat)
        if features is not None:
            result["features" + name] = _distance(features, x, x_hat)
    return result, x_hat


@torch.no_grad()
def validate_codec(
    model: GLC, x: Tensor, features: FeatureDistance | None, reference: Tensor | None = None
) -> tuple[dict[str, float], Tensor]:
    """Estimated bits per pixel, PSNR and distance of every rate level.

    Hyper indices count log2 K bits each, whatever their prior says.

    Args:
        model: in evaluation mode.
        x: [n, 3, h, w] float32 in [-1, 1].
        features: the perceptual distance, or None.
        reference: like x, what the reconstruction shall be like; None takes x.

    Returns:
        The figures by name, and the reconstruction [n, 3, h, w] at the highest level.
    """
    reference = x if reference is None else reference
    result: dict[str, float] = {}
    for level in range(model.config.levels):
        runs, x_hat = _coded(model, x, level)
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        result[f"bpp{level}"] = sum(run.bits_y + run.bits_z for run in runs) / pixels
        result[f"psnr{level}"] = _psnr(reference, x_hat)
        if features is not None:
            result[f"features{level}"] = _distance(features, reference, x_hat)
        index = torch.cat([run.z_index for run in runs])
        result |= codebook_health(index, model.config.hyper_codebook_size, suffix=str(level))
    return result, x_hat


@torch.no_grad()
def validate_style(model: GLC, x: Tensor, losses: StyleLoss) -> tuple[dict[str, float], Tensor]:
    """Distances in content and in style at every rate level.

    Args:
        model: in evaluation mode.
        x: [n, 3, h, w] float32 in [-1, 1].
        losses: what measures them.

    Returns:
        The figures by name, and the pictures [n, 3, h, w] at the highest level.
    """
    result: dict[str, float] = {}
    for level in range(model.config.levels):
        _, x_hat = _coded(model, x, level)
        chunks = zip(x.split(CHUNK), x_hat.split(CHUNK), strict=True)
        content, style = zip(*(losses(a, b) for a, b in chunks), strict=True)
        result[f"content{level}"] = float(torch.cat(content).mean())
        result[f"style{level}"] = float(torch.cat(style).mean())
    return result, x_hat


def codebook_health(index: Tensor, size: int, suffix: str = "") -> dict[str, float]:
    """How well a codebook of `size` rows is used by the vectors of fixed pictures.

    Args:
        index: [...] int64, the selected rows.
        size: rows of the codebook.
        suffix: of the names.

    Returns:
        "usage", the share of rows selected at all, and "perplexity", 2 to the entropy in bits of
        the selection: the number of rows that, used evenly, would say as much.
    """
    share = torch.bincount(index.flatten(), minlength=size).double() / index.numel()
    entropy = -torch.special.xlogy(share, share).sum()
    return {
        f"usage{suffix}": float((share > 0).double().mean()),
        f"perplexity{suffix}": float(entropy.exp()),
    }


def _coded(model: GLC, x: Tensor, level: int) -> tuple[list[Inspection], Tensor]:
    """What is known of chunks at a level, and their reconstruction, like x."""
    runs = [model.inspect(chunk / 2 + 0.5, quality=level) for chunk in x.split(CHUNK)]
    return runs, torch.cat([run.x_hat for run in runs]) * 2 - 1


def _psnr(x: Tensor, x_hat: Tensor) -> float:
    square = ((x - x_hat.clamp(-1, 1)) / 2).square().mean((1, 2, 3))
    return float((-10 * square.log10()).mean())


def _distance(features: FeatureDistance, x: Tensor, x_hat: Tensor) -> float:
    chunks = zip(x.split(CHUNK), x_hat.split(CHUNK), strict=True)
    return float(torch.cat([features(a, b) for a, b in chunks]).mean())
