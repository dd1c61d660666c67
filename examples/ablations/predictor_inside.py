# SPDX-License-Identifier: Apache-2.0
"""Drawing pictures from predicted codes: the code predictor in the decoder, not beside it.

    python predictor_inside.py PICTURES --model MODEL --checkpoint CHECKPOINT --json JSON
        [--tinydarknet WEIGHTS]

MODEL and CHECKPOINT are Stage II's: its averaged weights, and its predictor. Files are those of the
model. What D is given is not l_hat, but at every position the code that the predictor takes for
the likeliest. A predictor is made for so many positions; larger latents it sees in windows.
"""

import argparse
import math
from pathlib import Path

import torch
from measuring import Pixels, command_line, to_pixels
from torch import Tensor

from glc.codec import Codec
from glc.models.glc import GLC
from glc.models.padding import pad_to_multiple
from glc.models.predictor import CodePredictor
from glc.training.checkpoint import as_written, load_module, read_checkpoint


class PredictorInside:
    """A codec with a predictor in its decoder."""

    def __init__(self, model: str | Path, checkpoint: str) -> None:
        """Load a model, and the predictor that was trained with it.

        Raises:
            InvalidArgumentError: no such model, or a checkpoint without a predictor for it.
        """
        self.codec, self.model = Codec(model), GLC.from_pretrained(model)
        layout = self.model.config
        self.settings = layout.levels
        predictor = CodePredictor(layout.predictor, layout.l_channels, layout.codebook_size)
        state = read_checkpoint(checkpoint)
        with as_written():
            load_module(predictor, state["helpers"]["code_predictor"], "code_predictor")
            self.spread: Tensor = state["extras"]["spread"]["value"]  # its unit of l
        self.predictor = predictor.eval()

    def encode(self, x: Pixels, quality: int) -> bytes:
        """The model's own file."""
        return self.codec.encode(x, quality=quality)

    @torch.inference_mode()
    def decode(self, data: bytes) -> Pixels:
        """Draw a file: [h, w, 3] uint8.

        Raises:
            BitstreamError: as `Codec.decode_latent`.
        """
        latent = self.codec.decode_latent(data)
        header = latent.header
        l_hat = self.model.synthesis(torch.from_numpy(latent.y_hat), header.quality)
        x_hat = self.model.reconstruct(self.predicted(l_hat))
        return to_pixels(x_hat, header.height, header.width)

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


def load(args: argparse.Namespace) -> PredictorInside:
    """What the arguments name."""
    return PredictorInside(args.model, args.checkpoint)


def main() -> None:
    """Measure."""
    command_line("predictor inside", __doc__, load, "--checkpoint")


if __name__ == "__main__":
    main()
