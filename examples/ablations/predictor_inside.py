# SPDX-License-Identifier: Apache-2.0
"""Drawing pictures from predicted codes: the code predictor in the decoder, not beside it.

    python predictor_inside.py PICTURES --model STAGE2_MODEL --checkpoint STAGE2_CHECKPOINT
        --json JSON [--tinydarknet WEIGHTS]

Files are those of the model. What D is given is not l_hat, but for every position the code that
Stage II's predictor takes for the likeliest. A predictor is made for so many positions, so that
larger latents are seen in windows.
"""

import argparse
import math

import torch
from measuring import Code, Pixels, measure_from_command_line
from torch import Tensor

from glc.codec import Codec
from glc.models.glc import GLC
from glc.models.padding import pad_to_multiple
from glc.models.predictor import CodePredictor
from glc.training.checkpoint import as_written, load_module, read_checkpoint


class PredictorInside:
    """A decoder with a predictor in it."""

    def __init__(self, model: GLC, predictor: CodePredictor, spread: Tensor) -> None:
        """Take the predictor that was trained with the model, and its unit of l."""
        self.model, self.predictor, self.spread = model, predictor.eval(), spread

    def predicted(self, l_hat: Tensor) -> Tensor:
        """l_hat [1, d, h, w] with every vector replaced by the code predicted there."""
        _, d, height, width = l_hat.shape
        side = math.isqrt(self.model.config.predictor.positions)
        padded = pad_to_multiple(l_hat, side)
        windows = padded[0].unfold(1, side, side).unfold(2, side, side)
        down, across = windows.shape[1:3]
        seen = windows.permute(1, 2, 0, 3, 4).flatten(0, 1)
        index = torch.cat([self.predictor(w / self.spread).argmax(-1) for w in seen.split(8)])
        codes = self.model.image_vq.codebook[index].view(down, across, side, side, d)
        return codes.permute(4, 0, 2, 1, 3).reshape(1, d, *padded.shape[2:])[..., :height, :width]

    @torch.inference_mode()
    def draw(self, y_hat: Tensor, quality: float) -> Tensor:
        """y_hat, multiplied by the step, [1, N, h, w] -> uint8 [H, W, 3]."""
        x_hat = self.model.reconstruct(self.predicted(self.model.synthesis(y_hat, quality)))
        return ((x_hat[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().byte()


def load(model: str, checkpoint: str) -> PredictorInside:
    """Of a model's folder, and of the checkpoint beside it.

    Raises:
        InvalidArgumentError: no such model, or a checkpoint without a predictor for it.
    """
    glc = GLC.from_pretrained(model)
    layout = glc.config
    predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
    state = read_checkpoint(checkpoint)
    with as_written():
        load_module(predictor, state["helpers"]["code_predictor"], "code_predictor")
        return PredictorInside(glc, predictor, state["extras"]["spread"]["value"])


def prepare(args: argparse.Namespace) -> tuple[range, Code]:
    """A setting for each level."""
    codec, decoder = Codec(args.model), load(args.model, args.checkpoint)

    def code(x: Pixels, quality: int) -> tuple[bytes, Pixels]:
        data = codec.encode(x, quality=quality)
        latent = codec.decode_latent(data)
        drawn = decoder.draw(torch.from_numpy(latent.y_hat), latent.header.quality)
        return data, drawn[: x.shape[0], : x.shape[1]].numpy()

    return range(decoder.model.config.levels), code


if __name__ == "__main__":
    measure_from_command_line("predictor inside", __doc__, prepare)
