# SPDX-License-Identifier: Apache-2.0
"""Pictures to bytes and back: the one place where model, entropy coder and container meet."""

import copy
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glc.bitstream import Header, accounting, check, pack, parse
from glc.defaults import DEFAULT_MODEL, DEFAULT_QUALITY
from glc.entropy_path import Part, Quantizer, Symbols, walk_parts
from glc.errors import InvalidArgumentError
from glc.image import MAX_PIXELS, load_image
from glc.models.glc import GLC, bundled_models
from glc.models.padding import pad_to_multiple
from glc.ops import gaussian_bits
from glc.payload import PayloadReader, PayloadTables, write_payload
from glc.report import Analysis, PartAnalysis, Report

__all__ = ["MAX_LEVEL", "Codec", "codec_for", "decode", "encode", "level_of", "verify"]

MAX_LEVEL = 63
LEVELS_PER_QUALITY = 21

Progress = Callable[[str, float], None]


class Codec:
    """A model joined to the entropy coder.

    Example:
        >>> codec = Codec("glc-image-small")
        >>> data = codec.encode("photo.jpg", quality=1.5)
        >>> pixels = codec.decode(data)
    """

    def __init__(
        self, model: "str | os.PathLike[str] | GLC" = DEFAULT_MODEL, device: str = "cpu"
    ) -> None:
        """Load the model and the tables.

        Args:
            model: a bundled model's name, a folder made by `save_pretrained`, or a model, which is
                put in evaluation mode and moved to `device`.
            device: where the networks run. The entropy path always runs on the CPU.

        Raises:
            InvalidArgumentError: no such model or device, or the folder holds no model.
        """
        loaded = model if isinstance(model, GLC) else _load_model(os.fspath(model))
        self.device = _checked_device(device)
        coder_model = loaded.eval()
        if self.device.type != "cpu" or next(loaded.parameters()).device.type != "cpu":
            coder_model = copy.deepcopy(loaded).to("cpu")
        self.model: GLC = loaded.to(self.device)
        self.fingerprint: bytes = loaded.fingerprint()
        self._coder_model: GLC = coder_model
        self._tables = PayloadTables(loaded.config.hyper_codebook_size)

    def encode(
        self,
        image: Any,
        quality: float | None = None,
        target_bytes: int | None = None,
        *,
        progress: Progress | None = None,
    ) -> bytes:
        """Compress a picture.

        Args:
            image: a path, a PIL image, a uint8 array [h, w, 3], or a float tensor [3, h, w] in
                [0, 1]; see `load_image` for what happens to orientation, colour and alpha.
            quality: 0 (smallest file) to 3, rounded to a 21st; 2 unless told.
            target_bytes: instead of a quality, the size not to exceed. The highest level found to
                fit by bisection is taken.
            progress: called with (step name, fraction done) as the work goes on.

        Returns:
            The whole `.glc` file.

        Raises:
            InvalidArgumentError: not a picture, quality out of range, both limits given, or even
                the lowest quality does not fit `target_bytes`.
        """
        if None not in (quality, target_bytes):
            raise InvalidArgumentError("encode: expected a quality or target_bytes, got both")
        level = level_of(DEFAULT_QUALITY if quality is None else quality)
        pixels = load_image(image)
        height, width = pixels.shape[:2]
        report = progress or (lambda _step, _fraction: None)
        with torch.inference_mode():
            report("latents", 0.0)
            l = self.model.latents(self._to_tensor(pixels))
            if target_bytes is None:
                report(f"level {level}", 0.5)
                return self._encode_level(l, height, width, level)
            return self._search(l, height, width, target_bytes, report)

    def decode(
        self, data: bytes, *, max_pixels: int = MAX_PIXELS, progress: Progress | None = None
    ) -> NDArray[np.uint8]:
        """Restore the picture of a file.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.
            progress: called with (step name, fraction done) as the work goes on.

        Returns:
            [h, w, 3] uint8, sRGB.

        Raises:
            BitstreamError: damaged, truncated, made by another model, or too many pixels.
            UnsupportedError: written by a newer version.
        """
        report = progress or (lambda _step, _fraction: None)
        with torch.inference_mode():
            report("symbols", 0.0)
            header, coded = self._read(data, max_pixels)
            report("pixels", 0.5)
            y_hat = (coded.y_hat * coded.step).to(self.device)
            x_hat = self.model.reconstruct(self.model.synthesis(y_hat, header.quality))
            x_hat = x_hat[0, :, : header.height, : header.width].clamp(-1.0, 1.0)
            pixels = torch.round((x_hat * 0.5 + 0.5) * 255.0).to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())

    def analyze(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Analysis:
        """Account for every bit of a file.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.

        Returns:
            Bits per field and part, which sum to the file size, and the model's own estimate.

        Raises:
            BitstreamError: as `decode`.
            UnsupportedError: written by a newer version.
        """
        with torch.inference_mode():
            header, coded = self._read(data, max_pixels)
            parts = tuple(self._analyze_part(part) for part in coded.parts)
        return Analysis(
            header=header,
            fields=accounting(data),
            z_symbols=coded.z_index.numel(),
            z_bits=self._tables.z_bits(coded.z_index),
            z_estimated_bits=coded.z_index.numel()
            * float(np.log2(self.model.config.hyper_codebook_size)),
            parts=parts,
            file_bytes=len(data),
        )

    def verify(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Report:
        """Check a file as far as it can be without drawing the picture.

        Container, checksum, model, every coded symbol, and the coder's closing state are checked.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.

        Returns:
            What the file holds.

        Raises:
            BitstreamError: as `decode`.
            UnsupportedError: written by a newer version.
        """
        header, coded = self._read(data, max_pixels)
        n_symbols = 2 * coded.z_index.numel() + sum(part.symbols.size for part in coded.parts)
        return Report(
            header=header, file_bytes=len(data), symbols=n_symbols, portable=header.portable
        )

    def _to_tensor(self, pixels: NDArray[np.uint8]) -> Tensor:
        x = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None].float()
        return pad_to_multiple((x / 255.0 - 0.5) * 2.0, self.model.pad_multiple).contiguous()

    def _search(
        self, l: Tensor, height: int, width: int, target_bytes: int, report: Progress
    ) -> bytes:
        """The highest level whose file fits, by bisection; sizes grow with the level."""
        best, smallest = None, None
        low, high, tried = 0, MAX_LEVEL, 0
        while low <= high:
            level = (low + high) // 2
            report(f"level {level}", 0.3 + 0.1 * tried)
            data = self._encode_level(l, height, width, level)
            smallest = min(len(data), smallest or len(data))
            tried += 1
            if len(data) <= target_bytes:
                best, low = data, level + 1
            else:
                high = level - 1
        if best is None:
            raise InvalidArgumentError(
                f"encode: target_bytes: expected at least {smallest} for this picture, "
                f"got {target_bytes}"
            )
        return best

    def _encode_level(self, l: Tensor, height: int, width: int, level: int) -> bytes:
        y = self.model.analysis(l, level / LEVELS_PER_QUALITY)
        z_index = self.model.hyper_index(y).cpu()
        quantizer = Quantizer(y.cpu(), self._tables.y.rows)
        coded = walk_parts(self._coder_model, self._tables.bounds, z_index, quantizer)
        descriptor, payload = write_payload(self._tables, z_index, coded.parts)
        header = Header(
            width=width,
            height=height,
            level=level,
            coder=descriptor,
            model_id=self.fingerprint[:2],
        )
        return pack(header, payload, self.fingerprint)

    def _read(self, data: bytes, max_pixels: int) -> tuple[Header, Symbols]:
        """Recover every symbol of a file, checking all that can be checked."""
        data = _checked_bytes(data)
        header, payload = parse(data, max_pixels=max_pixels)
        check(data, self.fingerprint)
        reader = PayloadReader(self._tables, header.coder, bytes(payload), len(data) - len(payload))
        stride = self.model.pad_multiple
        z_index = reader.z_index(-(-header.height // stride), -(-header.width // stride))
        coded = walk_parts(self._coder_model, self._tables.bounds, z_index, reader)
        reader.finish()
        return header, coded

    def _analyze_part(self, part: Part) -> PartAnalysis:
        symbols = torch.from_numpy(part.symbols).float()
        estimate = gaussian_bits.plain(symbols, 0.0 * symbols, part.scale, rounding="round")
        return PartAnalysis(
            threshold=part.threshold,
            symbols=part.symbols.size,
            coded=int(part.coded.sum()),
            nonzero=int(np.count_nonzero(part.symbols)),
            bits=self._tables.part_bits(part),
            estimated_bits=float(estimate.double().sum()),
        )


def encode(
    image: Any,
    model: "str | os.PathLike[str] | GLC" = DEFAULT_MODEL,
    quality: float | None = None,
    target_bytes: int | None = None,
) -> bytes:
    """Compress a picture; see `Codec.encode`.

    Args:
        image: a path, a PIL image, a uint8 array [h, w, 3], or a float tensor [3, h, w] in [0, 1].
        model: a bundled model's name (kept loaded), a folder, or a model.
        quality: 0 (smallest file) to 3; 2 unless told.
        target_bytes: instead of a quality, the size not to exceed.

    Returns:
        The whole `.glc` file.

    Raises:
        InvalidArgumentError: as `Codec.encode`.
    """
    return _codec(model).encode(image, quality=quality, target_bytes=target_bytes)


def decode(
    data: bytes,
    model: "str | os.PathLike[str] | GLC | None" = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Restore the picture of a file; see `Codec.decode`.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        [h, w, 3] uint8, sRGB.

    Raises:
        BitstreamError: damaged, truncated, made by another model, or too many pixels.
        UnsupportedError: written by a newer version.
    """
    return codec_for(data, model, max_pixels=max_pixels).decode(data, max_pixels=max_pixels)


def verify(
    data: bytes,
    model: "str | os.PathLike[str] | GLC | None" = None,
    max_pixels: int = MAX_PIXELS,
) -> Report:
    """Check a file without drawing its picture; see `Codec.verify`.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        What the file holds.

    Raises:
        BitstreamError: damaged, truncated, made by another model, or too many pixels.
        UnsupportedError: written by a newer version.
    """
    return codec_for(data, model, max_pixels=max_pixels).verify(data, max_pixels=max_pixels)


def codec_for(
    data: bytes,
    model: "str | os.PathLike[str] | GLC | None" = None,
    *,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
) -> Codec:
    """Find the codec that reads a file; a file that is none is refused before a model is loaded.

    Args:
        data: the whole file.
        model: the model that wrote it; None looks among the bundled ones.
        device: where the networks run.
        max_pixels: refuse a file that claims more pixels than this.

    Returns:
        The codec; when no bundled model fits, one whose `decode` names both model ids.

    Raises:
        BitstreamError: not a `.glc` file.
        UnsupportedError: written by a newer version.
        InvalidArgumentError: no such model.
    """
    header, _ = parse(_checked_bytes(data), max_pixels=max_pixels)
    if model is not None:
        return _codec(model, device)
    names = bundled_models() or [DEFAULT_MODEL]
    codecs = [_codec(name, device) for name in names]
    return next((c for c in codecs if c.fingerprint[:2] == header.model_id), codecs[0])


def level_of(quality: float) -> int:
    """Round a quality to the level a file can name.

    Args:
        quality: 0 .. 3.

    Returns:
        21 x quality, rounded, 0 .. 63.

    Raises:
        InvalidArgumentError: out of range, or not a number.
    """
    if not 0.0 <= quality <= MAX_LEVEL / LEVELS_PER_QUALITY:
        raise InvalidArgumentError(f"encode: quality: expected 0 .. 3, got {quality:g}")
    return int(quality * LEVELS_PER_QUALITY + 0.5)


def _codec(model: "str | os.PathLike[str] | GLC", device: str = "cpu") -> Codec:
    if isinstance(model, str) and model in bundled_models():
        return _bundled(model, device)
    return Codec(model, device)


@lru_cache(maxsize=2)
def _bundled(name: str, device: str) -> Codec:
    return Codec(name, device)


def _load_model(name: str) -> GLC:
    """Load from disk only: coding must not wait for a network because of a misspelt folder."""
    if name not in bundled_models() and not Path(name).is_dir():
        raise InvalidArgumentError(
            f"codec: model: expected a folder or one of {bundled_models()}, got {name!r}"
        )
    return GLC.from_pretrained(name)


def _checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without that backend asserts
        raise InvalidArgumentError(
            f"codec: device: expected a device torch can use here, got {name!r}"
        ) from error
    return device


def _checked_bytes(data: bytes) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgumentError(f"decode: data: expected bytes, got {type(data).__name__}")
    return bytes(data)
