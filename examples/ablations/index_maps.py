# SPDX-License-Identifier: Apache-2.0
"""Coding the index map of the autoencoder's codebook, in place of transform coding its latent.

    python index_maps.py PICTURES --model MODEL --photos PHOTOS --json JSON [--tinydarknet WEIGHTS]

MODEL is Stage I's. A picture is E, the nearest code at every position, and D. Rates come from
codebooks of several sizes: the model's own, which its D has been trained with, and others that
k-means finds among the latents of photos. Indices are coded by how often each is chosen there.
"""

import argparse
import struct

import torch
from measuring import Pixels, command_line, to_pixels
from torch import Tensor

from glc import rans
from glc.cdf import ranked_index_tables
from glc.errors import BitstreamError
from glc.models.glc import GLC
from glc.models.padding import pad_to_multiple
from glc.ops import vq_nearest
from glc.payload import IndexTables
from glc.training.config import DataConfig
from glc.training.data import Photos

SIZES = (64, 256, 4096)  # of the codebooks beside the model's own
PHOTOS, SIDE = 512, 256  # that latents are taken from, and of their crops, pixels
ROUNDS = 20  # of k-means
HEADER = struct.Struct("<HHB")  # height, width, number of the codebook


@torch.inference_mode()
def latents(model: GLC, photos: Photos) -> Tensor:
    """Vectors of l of crops of photos: [n, l_channels]."""
    chunks = photos.first_crops(PHOTOS).split(8)
    return torch.cat([model.latents(x).permute(0, 2, 3, 1).flatten(0, 2) for x in chunks])


def k_means(vectors: Tensor, k: int) -> Tensor:
    """Means [k, d] of the vectors [n, d] that are nearest to each (Lloyd 1982)."""
    codebook = vectors[torch.randperm(len(vectors))[:k]].clone()
    for _ in range(ROUNDS):
        index = vq_nearest(vectors, codebook)
        sums = torch.zeros_like(codebook).index_add_(0, index, vectors)
        counts = torch.bincount(index, minlength=k)[:, None]
        codebook = torch.where(counts > 0, sums / counts.clamp(min=1), codebook)
    return codebook


class IndexMapCodec:
    """Codes pictures by the indices of one of several codebooks."""

    def __init__(self, model: GLC, codebooks: list[Tensor], vectors: Tensor) -> None:
        """Count on vectors [n, d] how often each code is chosen; one that never is counts once."""
        self.model, self.codebooks, self.settings = model, codebooks, len(codebooks)
        self.tables = []
        for codebook in codebooks:
            counts = torch.bincount(vq_nearest(vectors, codebook), minlength=len(codebook))
            self.tables.append(IndexTables(*ranked_index_tables(counts.clamp(min=1).log().numpy())))

    @torch.inference_mode()
    def encode(self, x: Pixels, book: int) -> bytes:
        """[h, w, 3] uint8 -> a header and the coder's stream."""
        pixels = torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1
        l = self.model.latents(pad_to_multiple(pixels, self.model.pad_multiple))
        index = vq_nearest(l.permute(0, 2, 3, 1).flatten(0, 2), self.codebooks[book])
        encoder = rans.Encoder(1, segment_symbols=0)
        self.tables[book].push(encoder, index.numpy())
        return HEADER.pack(*x.shape[:2], book) + encoder.finish()

    @torch.inference_mode()
    def decode(self, data: bytes) -> Pixels:
        """[h, w, 3] uint8.

        Raises:
            BitstreamError: not what `encode` made.
        """
        if len(data) < HEADER.size:
            raise BitstreamError(f"decode: expected a header, got {len(data)} bytes")
        height, width, book = HEADER.unpack_from(data)
        if not (height and width and book < self.settings):
            raise BitstreamError(
                f"decode: expected sides of 1 or more and one of {self.settings} codebooks, got "
                f"{width}x{height} and number {book}"
            )
        stride, multiple = self.model.config.autoencoder.stride, self.model.pad_multiple
        sides = [-(-side // multiple) * multiple // stride for side in (height, width)]
        decoder = rans.Decoder(data[HEADER.size :])
        index = torch.from_numpy(self.tables[book].pull(decoder, *sides))
        decoder.finish()
        l_hat = self.codebooks[book][index].permute(0, 3, 1, 2)
        return to_pixels(self.model.reconstruct(l_hat), height, width)


def load(args: argparse.Namespace) -> IndexMapCodec:
    """With codebooks by rising size."""
    torch.manual_seed(0)
    model = GLC.from_pretrained(args.model)
    photos = Photos(DataConfig(root=args.photos, crop=SIDE, holdout=0), seed=0)
    vectors = latents(model, photos)
    codebooks = [k_means(vectors, k) for k in SIZES] + [model.image_vq.codebook.detach()]
    return IndexMapCodec(model, sorted(codebooks, key=len), vectors)


def main() -> None:
    """Measure."""
    command_line("index maps", __doc__, load, "--photos")


if __name__ == "__main__":
    main()
