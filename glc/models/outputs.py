# SPDX-License-Identifier: Apache-2.0
"""What the model's passes give; see `glc.models.glc`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from glc.ops.vector_quantizer import Quantized


@dataclass(frozen=True)
class FourPart:
    """One pass of the context model over y (facts D), all [b, N, h, w] float32.

    Attributes:
        y_q: integer residual symbols of the scaled y.
        y_hat: dequantised y, multiplied by the step.
        scale: raw scale of every symbol; may be <= 0.
        mean: mean of every symbol in the scaled domain.
        y_scaled: y divided by the step.
    """

    y_q: Tensor
    y_hat: Tensor
    scale: Tensor
    mean: Tensor
    y_scaled: Tensor


@dataclass(frozen=True)
class LatentOutput:
    """What transform coding of l gives, differentiable (Stage II's view of the model).

    Attributes:
        l_hat: [b, l_channels, h, w] float32.
        y: [b, N, h, w] float32.
        z: [b, d, h/4, w/4] float32.
        hyper: quantised z, with its index, losses and usage.
        four_part: the context model's pass.
        bits_y: [b] float32, estimated bits of y per sample.
        bits_z: [b] float32, bits of z per sample under the prior.
    """

    l_hat: Tensor
    y: Tensor
    z: Tensor
    hyper: Quantized
    four_part: FourPart
    bits_y: Tensor
    bits_z: Tensor


@dataclass(frozen=True)
class Output:
    """What `GLC.forward` gives: the reconstruction and everything the losses read.

    f is the stride of the autoencoder.

    Attributes:
        x_hat: [b, 3, h, w] float32, about [-1, 1], not clamped.
        l: [b, l_channels, h/f, w/f] float32.
        latent: transform coding of l.
    """

    x_hat: Tensor
    l: Tensor
    latent: LatentOutput


@dataclass(frozen=True)
class Inspection:
    """One evaluation pass laid open; see `GLC.inspect`. f is the stride of the autoencoder.

    Attributes:
        l: [b, l_channels, h/f, w/f] float32.
        y: [b, N, h/f, w/f] float32.
        z: [b, d, h/4f, w/4f] float32.
        z_index: [b, h/4f, w/4f] int64.
        params: [b, 3N, h/f, w/f] float32, (step, scale, mean) before any clamp.
        y_q: [b, N, h/f, w/f] int32 symbols.
        scale: [b, N, h/f, w/f] float32, before clamping.
        y_hat: [b, N, h/f, w/f] float32, multiplied by the step.
        l_hat: [b, l_channels, h/f, w/f] float32.
        x_hat: [b, 3, h, w] float32 on the [0, 1] scale, not clamped.
        bits_y: estimated bits of y, summed over the batch.
        bits_z: bits of z at uniform cost, summed over the batch.
    """

    l: Tensor
    y: Tensor
    z: Tensor
    z_index: Tensor
    params: Tensor
    y_q: Tensor
    scale: Tensor
    y_hat: Tensor
    l_hat: Tensor
    x_hat: Tensor
    bits_y: float
    bits_z: float
