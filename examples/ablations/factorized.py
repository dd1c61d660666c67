# SPDX-License-Identifier: Apache-2.0
"""GLC with a factorised prior of z in place of its categorical hyper module.

    python factorized.py stage2 CONFIG [--set a.b=c] [--resume]      # likewise stage3
    python factorized.py measure PICTURES --model MODEL --json JSON [--tinydarknet WEIGHTS]

z is rounded, not replaced by the nearest of learned vectors, with noise in place of rounding while
it trains, and every channel has a distribution of its own over integers (Balle et al. 2018). Theirs
is a small network; this one is a table for each level and channel, as the coder has it in the end.
"""

import argparse
import dataclasses
import functools
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from measuring import command_line
from numpy.typing import NDArray
from torch import Tensor, nn

from glc import rans
from glc.cdf import normalise
from glc.entropy_path import Quantizer, walk_parts
from glc.errors import BitstreamError, InvalidArgumentError
from glc.models.config import GLCConfig
from glc.models.glc import GLC
from glc.models.hyper import HyperPrior
from glc.models.outputs import Inspection
from glc.ops import Quantized, VectorQuantizer
from glc.payload import IndexTables, PayloadReader, PayloadTables
from glc.rate import LEVELS_PER_QUALITY, prior_row
from glc.torch_networks import Networks
from glc.training import stage2, stage3
from glc.training.cli import launched
from glc.training.config_file import load_config

LARGEST = 32  # of |z|, which is held within
TABLE_BITS = 14
HEADER = struct.Struct("<HHBB")  # height, width, quality, the coder's descriptor


class Rounding(VectorQuantizer):
    """Rounds z where its base class searches a codebook, which stays and is not used."""

    def forward(self, z: Tensor) -> Quantized:
        """[b, d, h, w] -> z_hat, and in place of indices it again, for the prior to charge for."""
        z, zero = z.clamp(-LARGEST, LARGEST), z.new_zeros(())
        z_hat = z + torch.rand_like(z) - 0.5 if self.training else z.round()
        return Quantized(z_hat, z_hat, zero, zero, zero, self.row_usage.long())

    def nearest(self, z: Tensor) -> Tensor:
        """[b, d, h, w] -> integers from 0 on, int64 of the same shape."""
        return z.clamp(-LARGEST, LARGEST).round().long() + LARGEST

    def lookup(self, index: Tensor) -> Tensor:
        """What `nearest` gave -> z rounded."""
        return (index - LARGEST).float()


class FactorizedPrior(HyperPrior):
    """How likely each integer is, per rate level and channel: [levels, d, 2 LARGEST + 1] logits."""

    def __init__(self, config: GLCConfig) -> None:
        super().__init__(config)
        wide = -torch.arange(-LARGEST, LARGEST + 1).float().square() / LARGEST
        shape = (config.levels, config.hyper_channels, 2 * LARGEST + 1)
        self.logits = nn.Parameter(wide.expand(shape).clone())

    def forward(self, z: Tensor, quality: float | Tensor) -> Tensor:
        """Bits of z, interpolated between integers, so that z learns too: [b, d, h, w] -> [b]."""
        levels, channels, n = self.logits.shape
        row = (torch.as_tensor(quality, device=z.device).float() + 0.5).long().clamp(0, levels - 1)
        first = (row.reshape(-1, 1) * channels + torch.arange(channels, device=z.device)) * n
        place = z + LARGEST
        low = place.detach().floor().clamp(0, n - 2)
        index = first[..., None, None] + low.long()
        bits = torch.log_softmax(self.logits, 2).flatten() * (-1 / math.log(2.0))
        return torch.lerp(bits[index], bits[index + 1], place - low).sum((1, 2, 3))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        """Take the weights of Stage I, whose prior is of another kind and untrained."""
        given = state_dict.get(prefix + "logits")
        if given is not None and given.dim() == 2:
            state_dict[prefix + "logits"] = self.logits.detach()
        # its base class's own would take weights without a prior as well
        nn.Module._load_from_state_dict(self, state_dict, prefix, *rest)


class FactorizedGLC(GLC):
    """GLC whose hyper module rounds."""

    def __init__(self, config: GLCConfig) -> None:
        # vectors of one length would leave nothing to round
        super().__init__(dataclasses.replace(config, normalize_z=False))
        self.hyper_vq = Rounding(config.hyper_codebook_size, config.hyper_channels, ema_decay=0.99)
        self.z_prior = FactorizedPrior(config)

    @torch.no_grad()
    def inspect(self, x: Tensor, quality: float = 0.0) -> Inspection:
        """As `GLC.inspect`, z at what its prior charges."""
        found = super().inspect(x, quality)
        bits_z = self.z_prior(self.hyper_vq.lookup(found.z_index), quality)
        return dataclasses.replace(found, bits_z=float(bits_z.sum()))


class FactorizedTables(PayloadTables):
    """Tables that code z channel by channel."""

    def __init__(self, model: FactorizedGLC) -> None:
        logits = model.z_prior.logits.detach()
        super().__init__(logits.numpy())
        self._levels = [
            rans.TableSet.from_freqs(
                [normalise(row, TABLE_BITS) for row in level.double().softmax(1).numpy()],
                bits=TABLE_BITS,
            )
            for level in logits
        ]

    def index(self, level: int) -> "ChannelTables":
        """The tables of z at a level, 0 .. 63."""
        return ChannelTables(self._levels[prior_row(level / LEVELS_PER_QUALITY, len(self._levels))])


class ChannelTables(IndexTables):
    """Codes z by a table for each channel, where its base class codes ranks, which are not used."""

    def __init__(self, tables: rans.TableSet) -> None:
        super().__init__(np.empty(0, np.int32), tables)

    def cost_bits(self, z_index: NDArray[np.int64]) -> float:
        """Of z [1, d, h, w], as `Rounding.nearest` gives it."""
        return self.tables.cost_bits(z_index, self._rows(z_index.size))

    def push(self, encoder: rans.Encoder, z_index: NDArray[np.int64]) -> None:
        """Append z to a stream."""
        encoder.push(z_index, self._rows(z_index.size), self.tables)

    def pull(self, decoder: rans.Decoder, height: int, width: int) -> NDArray[np.int64]:
        """Read it: [1, d, height, width]."""
        rows = self._rows(self.tables.rows * height * width)
        return decoder.pull(rows, self.tables).astype(np.int64).reshape(1, -1, height, width)

    def _rows(self, n: int) -> NDArray[np.int32]:
        return np.repeat(np.arange(self.tables.rows, dtype=np.int32), n // self.tables.rows)


class FactorizedCodec:
    """Codes pictures with such a model.

    Not as `.glc` files, whose format knows no such z; these have no checksum, and what was changed
    in one may decode to another picture.
    """

    def __init__(self, model: FactorizedGLC) -> None:
        self.networks, self.settings = Networks(model), model.config.levels
        self.tables = FactorizedTables(model)

    def encode(self, x: NDArray[np.uint8], quality: int) -> bytes:
        """[h, w, 3] uint8 -> a header and what `glc.payload` makes of the symbols."""
        with self.networks.computing():
            y = self.networks.analysis(self.networks.features(x), quality)
            source = Quantizer(y, self.tables.y.rows, self.tables.n_zero_rows)
            found = walk_parts(self.networks, self.networks.hyper_index(y), source)
        level = quality * LEVELS_PER_QUALITY
        descriptor, payload = self.tables.write(level, found.z_index, found.parts)
        return HEADER.pack(*x.shape[:2], quality, descriptor) + payload

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """[h, w, 3] uint8.

        Raises:
            BitstreamError: not what `encode` made.
        """
        if len(data) < HEADER.size:
            raise BitstreamError(f"decode: expected a header, got {len(data)} bytes")
        height, width, quality, descriptor = HEADER.unpack_from(data)
        if not (height and width and quality < self.settings):
            raise BitstreamError(
                f"decode: expected sides of 1 or more and a quality below {self.settings}, got "
                f"{width}x{height} and {quality}"
            )
        level, multiple = quality * LEVELS_PER_QUALITY, self.networks.config.pad_multiple
        reader = PayloadReader(self.tables, level, descriptor, memoryview(data)[HEADER.size :])
        with self.networks.computing():
            z_index = reader.z_index(-(-height // multiple), -(-width // multiple))
            found = walk_parts(self.networks, z_index, reader)
            reader.finish()
            return self.networks.pixels(found.latent, quality, (height, width))


def train(stage, config_path: Path, overrides: list[str], resume: bool) -> None:
    """Run a stage of `glc.training` on this model."""
    config = load_config(config_path, overrides)
    stage.train(config, resume=resume, model_class=FactorizedGLC)


def load(args: argparse.Namespace) -> FactorizedCodec:
    """The codec of the model that the arguments name.

    Raises:
        InvalidArgumentError: a model of another kind, whose prior of z does not say how likely
            integers are.
    """
    model = FactorizedGLC.from_pretrained(args.model)
    if torch.equal(model.z_prior.logits, FactorizedPrior(model.config).logits):
        raise InvalidArgumentError(
            f"factorized: model: expected one that this script has trained, got {args.model}"
        )
    return FactorizedCodec(model)


def main() -> None:
    """Train, or measure."""
    task = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if stage := {"stage2": stage2, "stage3": stage3}.get(task):
        launched(functools.partial(train, stage))
    elif task == "measure":
        command_line("factorised z", __doc__, load)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
