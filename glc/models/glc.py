# SPDX-License-Identifier: Apache-2.0
"""The whole model, assembled: l = E(x), y = g_a(l), z = h_a(y), and back (facts A)."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.models.config import STEP_MIN, GLCConfig
from glc.models.context import ContextModel
from glc.models.hyper import HyperAnalysis, HyperPrior, HyperSynthesis
from glc.models.latent_range import LatentRange
from glc.models.outputs import FourPart, Inspection, LatentOutput, Output
from glc.models.saved import Saved
from glc.models.transforms import RateTransform
from glc.models.vqvae import build_autoencoder
from glc.ops.four_part import four_part_merge, four_part_step
from glc.ops.gaussian import Rounding, gaussian_bits
from glc.ops.parts import PARTS
from glc.ops.residual import residual_bits
from glc.ops.straight_through import lower_bound
from glc.ops.vector_quantizer import VectorQuantizer
from glc.portable.weights import CODED_MODULES, fingerprint

TRAINING_SCALE_MIN = 0.03  # what the lowest row of the coding tables stands for


class GLC(Saved):
    """Generative latent codec (GLC, CVPR 2024), any preset.

    Tensors inside are float32, NCHW, images in [-1, 1] with sides that are multiples of
    `pad_multiple`: 4 f, where f is the autoencoder's stride. `quality` is a rate level in
    [0, levels - 1], 0 the lowest rate; a number, or a [b] tensor with one level per sample.

    Args:
        config: the layout; see `glc.models.config`.
    """

    def __init__(self, config: GLCConfig) -> None:
        super().__init__()
        if not isinstance(config, GLCConfig):
            raise InvalidArgumentError(
                f"GLC: config: expected a GLCConfig, got {type(config).__name__}; "
                "glc.models.preset gives one by name, GLC.from_pretrained a trained model"
            )
        self.config = config
        ema = config.codebook_ema
        self.latent_encoder, self.latent_decoder = build_autoencoder(
            config.autoencoder, config.l_channels, config.residual_gain
        )
        self.image_vq = VectorQuantizer(config.codebook_size, config.l_channels, ema_decay=ema)
        self.g_a = RateTransform(config, analysis=True)
        self.latent_range = LatentRange(config)
        self.h_a = HyperAnalysis(config)
        self.hyper_vq = VectorQuantizer(
            config.hyper_codebook_size, config.hyper_channels, ema_decay=ema
        )
        self.z_prior = HyperPrior(config)
        self.h_s = HyperSynthesis(config)
        self.context = ContextModel(config)
        self.g_s = RateTransform(config, analysis=False)

    @property
    def pad_multiple(self) -> int:
        """Image sides must be multiples of this (facts B6)."""
        return self.config.pad_multiple

    def latents(self, x: Tensor) -> Tensor:
        """E: [b, 3, h, w] float32 in [-1, 1] -> l [b, l_channels, h/f, w/f] within its bounds."""
        return self.latent_range.limit_l(self.latent_encoder(x))

    def analysis(self, l: Tensor, quality: float | Tensor) -> Tensor:
        """g_a: l -> y [b, N, h, w]. Raises InvalidArgumentError on a quality out of range."""
        return self.g_a.finish(self.features(l), quality)

    def features(self, l: Tensor) -> Tensor:
        """First half of g_a, the same at every level: l -> [b, N, h, w] within its bounds."""
        return self.latent_range.limit_features(self.g_a.features(l))

    def hyper_index(self, y: Tensor) -> Tensor:
        """Nearest hyper code of h_a(y): [b, N, h, w] -> int64 [b, h/4, w/4]."""
        return self.hyper_vq.nearest(self.h_a(y))

    def entropy_params(self, z_index: Tensor) -> Tensor:
        """Prior parameters of y: int64 [b, h/4, w/4] -> (step, scale, mean) [b, 3N, h, w]."""
        return self.context.params(self.h_s(self.hyper_vq.lookup(z_index)))

    def split_params(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Quantisation step (clamped to >= 0.5) and context, each [b, N, h, w].

        The clamp passes gradients that pull the step back up (facts D).
        """
        step, context = self.context.split_params(params)
        return lower_bound(step, STEP_MIN), context

    def part_params(
        self, part: int, params: Tensor, context: Tensor, y_hat: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(scale, mean) for one part; see `ContextModel.part_params`."""
        return self.context.part_params(part, params, context, y_hat)

    def exact_params(self, z_hat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What coding knows of y before its symbols, the same bits on every machine.

        Args:
            z_hat: [1, d, h/4, w/4] float32: the hyper codes that the file names.

        Returns:
            params [1, 3N, h, w], step (clamped to >= 0.5) and context [1, N, h, w].
        """
        features = self.h_s.exact(z_hat)
        params, context = self.context.exact_params(features)
        return params, params.chunk(3, dim=1)[0].clamp(min=STEP_MIN).contiguous(), context

    def synthesis(self, y_hat: Tensor, quality: float | Tensor) -> Tensor:
        """g_s: y_hat (multiplied by the step) -> l_hat [b, l_channels, h, w]."""
        return cast(Tensor, self.g_s(y_hat, quality))

    def reconstruct(self, l_hat: Tensor) -> Tensor:
        """D: l_hat, held within its bounds -> x_hat [b, 3, f h, f w], about [-1, 1]."""
        return cast(Tensor, self.latent_decoder(self.latent_range.limit_l_hat(l_hat)))

    def four_part(self, y: Tensor, params: Tensor) -> FourPart:
        """Quantise y part by part; rounding passes gradients straight through (facts D).

        Args:
            y: [b, N, h, w] float32.
            params: [b, 3N, h, w] float32, from `entropy_params`.
        """
        step, context = self.split_params(params)
        y_scaled = y * (1 / step)
        seen = None
        scales: list[Tensor] = []
        means: list[Tensor] = []
        for part in range(PARTS):
            if part > 0:
                seen = four_part_step(y_scaled, means[-1], seen, part - 1)
            scale, mean = self.part_params(part, params, context, seen)
            scales.append(scale)
            means.append(mean)
        y_q, y_hat, scale, mean = four_part_merge(y_scaled, scales, means)
        return FourPart(y_q, y_hat * step, scale, mean, y_scaled)

    def code_latent(
        self,
        l: Tensor,
        quality: float | Tensor,
        *,
        rounding: Rounding | Literal["residual"] = "residual",
        quantize_z: bool = True,
    ) -> LatentOutput:
        """Transform-code l with gradients (Stage II's forward pass).

        Of rounded symbols, bits are those of `inspect` but for two things: a scale counts as 0.03
        at least, and hyper indices cost what their prior says.

        Args:
            l: [b, l_channels, h, w] float32, h and w multiples of 4.
            quality: rate level, one number or [b].
            rounding: how the symbols of the rate term are made: as `residual_bits` does, or one
                of the ways of `gaussian_bits`.
            quantize_z: False lets z pass unquantised, while its encoder is still finding
                a scale.

        Returns:
            See `LatentOutput`.

        Raises:
            InvalidArgumentError: a quality out of range, or another rounding.
        """
        y = self.analysis(l, quality)
        z = self.h_a(y)
        hyper = self.hyper_vq(z)
        params = self.context.params(self.h_s(hyper.z_hat if quantize_z else z))
        four = self.four_part(y, params)
        scale = lower_bound(four.scale, TRAINING_SCALE_MIN)
        if rounding == "residual":
            bits_y = residual_bits(four.y_scaled, four.mean, scale).sum((1, 2, 3))
        else:
            bits_y = gaussian_bits(
                four.y_scaled, four.mean, scale, rounding=rounding, reduction="sample"
            )
        bits_z = self.z_prior(hyper.index, quality)
        l_hat = self.synthesis(four.y_hat, quality)
        return LatentOutput(l_hat, y, z, hyper, four, bits_y, bits_z)

    def forward(
        self,
        x: Tensor,
        quality: float | Tensor,
        *,
        rounding: Rounding | Literal["residual"] = "residual",
    ) -> Output:
        """Code an image and reconstruct it, differentiably.

        Args:
            x: [b, 3, h, w] float32 in [-1, 1], sides multiples of `pad_multiple`.
            quality: rate level, one number or [b].
            rounding: as in `code_latent`.

        Returns:
            See `Output`.

        Raises:
            InvalidArgumentError: another shape, weights in another dtype, a quality out of range.
        """
        self._check_input("forward", x)
        l = self.latents(x)
        latent = self.code_latent(l, quality, rounding=rounding)
        return Output(self.reconstruct(latent.l_hat), l, latent)

    @torch.no_grad()
    def inspect(self, x: Tensor, quality: float = 0.0) -> Inspection:
        """Run one evaluation pass and return every intermediate (bits are estimates).

        bits = sum max(0, -log2(P + 1e-5)) with scale clamped to [1e-5, 1e10]   (facts D8)

        Args:
            x: [b, 3, h, w] float32 in [0, 1], sides multiples of `pad_multiple`.
            quality: rate level.

        Returns:
            See `Inspection`. Evaluation-mode attention is used whatever the module's mode.

        Raises:
            InvalidArgumentError: another shape, weights in another dtype, a quality out of range.
        """
        self._check_input("inspect", x)
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            l = self.latents((x - 0.5) * 2)
            y = self.analysis(l, quality)
            z = self.h_a(y)
            z_index = self.hyper_vq.nearest(z)
            params = self.entropy_params(z_index)
            four = self.four_part(y, params)
            bits_y = gaussian_bits(four.y_scaled, four.mean, four.scale, rounding="round")
            l_hat = self.synthesis(four.y_hat, quality)
            x_hat = self.reconstruct(l_hat)
        finally:
            for module, training in modes:
                module.training = training
        return Inspection(
            l=l,
            y=y,
            z=z,
            z_index=z_index,
            params=params,
            y_q=four.y_q.to(torch.int32),
            scale=four.scale,
            y_hat=four.y_hat,
            l_hat=l_hat,
            x_hat=x_hat / 2 + 0.5,
            bits_y=float(bits_y.double().sum()),
            bits_z=math.log2(self.config.hyper_codebook_size) * z_index.numel(),
        )

    def _check_input(self, op: str, x: Tensor) -> None:
        if self.g_a.q.dtype != torch.float32:  # codebooks are searched and symbols made in it
            raise InvalidArgumentError(
                f"{op}: weights: expected torch.float32, got {self.g_a.q.dtype}; torch.autocast "
                "computes in less"
            )
        multiple = self.pad_multiple
        if x.dim() != 4 or x.shape[1] != 3 or x.shape[2] % multiple or x.shape[3] % multiple:
            raise InvalidArgumentError(
                f"{op}: x: expected [b, 3, h, w] with h and w multiples of {multiple}, got "
                f"{tuple(x.shape)}; pad with glc.models.padding"
            )

    def fingerprint(self) -> bytes:
        """SHA-256 over everything a file's symbols and y_hat depend on: 32 bytes.

        Covered: the layout of the coded path, the hyper codebook and the prior of its indices,
        h_s, the context model, g_s, the canonical coding tables and the arithmetic profile. Not
        covered: E, g_a, h_a and D, so other encoders and decoders of the same latents stay
        compatible.
        """
        state = {
            name: tensor.detach().to("cpu", torch.float32).numpy()
            for name, tensor in self.state_dict().items()
            if name.startswith(CODED_MODULES)
        }
        return fingerprint(self.config, state)

    def inference_parameters(self) -> int:
        """Number of floats that coding needs: everything but the image codebook."""
        state = self.state_dict()
        return sum(t.numel() for name, t in state.items() if not name.startswith("image_vq."))
