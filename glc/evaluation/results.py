# SPDX-License-Identifier: Apache-2.0
"""What an evaluation finds, as it is printed, drawn and written to JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Evaluation", "ImageResult", "LevelResult"]


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """One picture at one quality.

    Attributes:
        image: path relative to the folder.
        reference: path of what its distances are to; None where that is the picture itself.
        quality: as asked for.
        width: pixels.
        height: pixels.
        file_bytes: size of the `.glc` file.
        bpp: 8 * file_bytes / (width * height).
        estimated_bpp: bits the model estimates for z and y, per pixel.
        psnr_db: see `psnr`; None for equal images.
        ms_ssim: see `ms_ssim`; None where it is not defined.
        tinydarknet: distance of Tiny Darknet features (a stand-in, not LPIPS), lower is better;
            None without its weights.
        lpips: see `PairDistances`; None where it was not asked for or is not defined.
        dists: the same.
        encode_ms: from pixels to bytes, the model being loaded.
        decode_ms: from bytes to pixels, the model being loaded.
        skip_shares: share of symbols that were not coded, per part.
    """

    image: str
    reference: str | None
    quality: float
    width: int
    height: int
    file_bytes: int
    bpp: float
    estimated_bpp: float
    psnr_db: float | None
    ms_ssim: float | None
    tinydarknet: float | None
    lpips: float | None
    dists: float | None
    encode_ms: float
    decode_ms: float
    skip_shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LevelResult:
    """Means over the pictures at one quality, and distances of them all; None where there is none.

    Attributes:
        quality: as asked for.
        images: number of pictures.
        file_bytes: their total size.
        bpp: mean of the pictures' bpp.
        estimated_bpp: mean of the pictures' estimates.
        excess: real bits over estimated bits, minus 1, header included.
        psnr_db: mean over the pictures where it is finite.
        ms_ssim: mean over the pictures where it is defined.
        tinydarknet: mean; None without the network's weights.
        lpips: mean over the pictures where it is defined.
        dists: mean.
        fid: of all patches, see `SetDistances`.
        kid: the same.
        encode_ms: mean.
        decode_ms: mean.
    """

    quality: float
    images: int
    file_bytes: int
    bpp: float
    estimated_bpp: float
    excess: float
    psnr_db: float | None
    ms_ssim: float | None
    tinydarknet: float | None
    lpips: float | None
    dists: float | None
    fid: float | None
    kid: float | None
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything measured.

    Attributes:
        model: name or folder of the model.
        fingerprint: the model's, hexadecimal.
        device: where the networks ran.
        threads: torch threads.
        torch_version: version of torch.
        refine: steps by which the latent of each picture was refined.
        references: folder of pictures that distances are to; None where those coded are.
        metrics: what was asked for beside PSNR, MS-SSIM and Tiny Darknet.
        patch: side of the patches of FID and KID, in pixels.
        n_patches: how many of them the pictures have; 0 where neither was asked for.
        levels: means per quality.
        images: every picture at every quality.
    """

    model: str
    fingerprint: str
    device: str
    threads: int
    torch_version: str
    refine: int
    references: str | None
    metrics: tuple[str, ...]
    patch: int
    n_patches: int
    levels: tuple[LevelResult, ...]
    images: tuple[ImageResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """What `glc eval --json` writes, and `load_curves` reads."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
