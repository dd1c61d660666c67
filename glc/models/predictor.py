# SPDX-License-Identifier: Apache-2.0
"""The code predictor: a supervision network, used in training only (facts G)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.errors import InvalidArgumentError
from glc.models.config import PredictorConfig


class PredictorLayer(nn.Module):
    """Pre-norm transformer layer; positions are added to queries and keys only."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.linear1 = nn.Linear(config.width, config.ffn_width)
        self.linear2 = nn.Linear(config.ffn_width, config.width)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """[b, positions, width] float32 -> the same shape."""
        normed = self.norm1(tokens)
        query = normed + position
        tokens = tokens + self.self_attn(query, query, normed, need_weights=False)[0]
        return cast(Tensor, tokens + self.linear2(F.gelu(self.linear1(self.norm2(tokens)))))


class CodePredictor(nn.Module):
    """Predicts, per latent position, which image-codebook entry the clean latent has.

    A transformer after CodeFormer's (facts G), used in training only.

    Args:
        config: its shape; fixes the number of latent positions.
        l_channels: channels of the latent.
        codebook_size: entries of the image codebook.
    """

    def __init__(self, config: PredictorConfig, l_channels: int, codebook_size: int) -> None:
        super().__init__()
        self.position_emb = nn.Parameter(torch.zeros(config.positions, config.width))
        self.feat_emb = nn.Linear(l_channels, config.width)
        self.ft_layers = nn.ModuleList(PredictorLayer(config) for _ in range(config.layers))
        self.idx_pred_layer = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, codebook_size, bias=False)
        )

    def forward(self, l_hat: Tensor) -> Tensor:
        """Predict the codes of a decoded latent.

        Args:
            l_hat: [b, l_channels, h, w] float32 with h * w equal to the configured positions.

        Returns:
            [b, h * w, codebook_size] float32 logits, raster order.

        Raises:
            InvalidArgumentError: another number of positions.
        """
        tokens = l_hat.flatten(2).transpose(1, 2)
        if tokens.shape[1] != self.position_emb.shape[0]:
            raise InvalidArgumentError(
                f"CodePredictor: l_hat: expected {self.position_emb.shape[0]} positions, "
                f"got {tokens.shape[1]}; train on crops of the matching size"
            )
        tokens = self.feat_emb(tokens)
        for layer in self.ft_layers:
            tokens = layer(tokens, self.position_emb)
        return cast(Tensor, self.idx_pred_layer(tokens))
