# SPDX-License-Identifier: Apache-2.0
"""A decoder the authors' way, in plain torch: the peer of ours on a device (facts D, F).

Their release has no bitstream: its forward pass makes the symbols from y. This is that pass from
the hyper indices on, its networks those of our model, in float32, eager, in NCHW: the code vectors
by a product with one-hot rows, four passes over whole maps under masks. The estimate of bits, which
a decoder has no use for, is left out. Torch may use TF32 in convolutions, as is its default.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from glc.models.glc import GLC
from glc.ops.parts import PARTS, part_mask


class AuthorsDecode:
    """From hyper indices and y to the picture.

    Attributes:
        y_hat: [1, N, h, w] float32 of the last call, not multiplied by the step.
        half: whether the picture's networks run in float16 and channels_last, as ours do on a
            device; theirs are float32.
    """

    def __init__(self, model: GLC, z_index: Tensor, y: Tensor, quality: float) -> None:
        """Take what their encoder would hand over, on the model's device.

        Args:
            model: in evaluation mode.
            z_index: [1, h/4, w/4] int64.
            y: [1, N, h, w] float32, not yet divided by the step.
            quality: rate level.
        """
        self._model, self._z_index, self._y, self._quality = model, z_index, y, quality
        self.half = False
        masks = [part_mask(y.shape, part, y.device) for part in range(PARTS)]
        self._masks = [mask.to(y.dtype)[None] for mask in masks]  # theirs are cached too

    @torch.inference_mode()
    def __call__(self, height: int, width: int) -> NDArray[np.uint8]:
        """Draw: [height, width, 3] uint8, on the host."""
        model = self._model
        codebook = model.hyper_vq.codebook
        one_hot = F.one_hot(self._z_index.flatten(), len(codebook)).to(codebook.dtype)
        z_hat = (one_hot @ codebook).reshape(*self._z_index.shape, -1).permute(0, 3, 1, 2)
        params = model.context.params(model.h_s(z_hat.contiguous()))
        step, context = model.split_params(params)
        y = self._y * (1.0 / step)
        y_hat = torch.zeros_like(y)
        for part, mask in enumerate(self._masks):
            _, mean = model.part_params(part, params, context, y_hat)
            residual = (y - mean) * mask
            y_hat = y_hat + (torch.round(residual) + mean) * mask
        self.y_hat = y_hat
        l_hat = model.synthesis(y_hat * step, self._quality)
        if self.half:
            l_hat = l_hat.contiguous(memory_format=torch.channels_last)
        with torch.autocast(l_hat.device.type, torch.float16, enabled=self.half):
            x_hat = model.reconstruct(l_hat).float()
        x_hat = x_hat.clamp(-1.0, 1.0)[0, :, :height, :width]
        pixels = torch.round((x_hat / 2 + 0.5) * 255.0).to(torch.uint8)
        return pixels.permute(1, 2, 0).cpu().numpy()
