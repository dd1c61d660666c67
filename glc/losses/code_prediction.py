# SPDX-License-Identifier: Apache-2.0
"""Code prediction: supervision that keeps decoded latents recognisable to the codebook."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def code_distortion(
    l: Tensor, l_hat: Tensor, index: Tensor, logits: Tensor | None, alpha: float = 0.5
) -> Tensor:
    """Distance of a decoded latent to the clean one, in codes and in values.

    D_code = alpha CE(index, logits) + |l - l_hat|^2,  alpha = 0.5     (GLC, facts G)

    Args:
        l: [b, c, h, w] float32, the teacher's continuous latent; no gradient flows to it.
        l_hat: [b, c, h, w] float32.
        index: [b, h, w] int64, the teacher's nearest image-codebook entries.
        logits: [b, h * w, k] float32, predictions from l_hat; None leaves the cross entropy out.
        alpha: its weight; the default is the authors'.

    Returns:
        [b] float32: means over positions (cross entropy, nats) and over elements (square).
    """
    square = (l.detach() - l_hat).square().mean(dim=(1, 2, 3))
    if logits is None:
        return square
    entropy = F.cross_entropy(logits.transpose(1, 2), index.flatten(1), reduction="none")
    return alpha * entropy.mean(dim=1) + square
