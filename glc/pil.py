# SPDX-License-Identifier: Apache-2.0
"""Teach Pillow `.glc` files: importing this module registers the format.

Neither that nor opening a file loads a model, which comes with the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from glc._missing import advice

try:
    from PIL import Image, ImageFile, UnidentifiedImageError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(advice(error) or str(error), name=error.name) from error

from glc.bitstream import CHUNK_EXIF, CHUNK_ICC, chunks, parse
from glc.defaults import DEFAULT_MODEL, MAX_PIXELS
from glc.errors import BitstreamError, UnsupportedError
from glc.image import EXIF_HEAD, load_with_metadata

__all__ = ["DamagedImageError", "GlcImageFile", "UnsupportedImageError"]

_ANY_SIZE = (1 << 64) - 1  # pixels: Pillow has a bound of its own, for files of all formats
_METADATA = {"exif": CHUNK_EXIF, "icc_profile": CHUNK_ICC}  # by Pillow's names


class DamagedImageError(BitstreamError, UnidentifiedImageError):
    """Damaged, truncated or of another model; an `OSError`, as callers of Pillow expect."""


class UnsupportedImageError(UnsupportedError, UnidentifiedImageError):
    """Written by another version; an `OSError`, as callers of Pillow expect."""


class GlcImageFile(ImageFile.ImageFile):
    """A `.glc` file that Pillow has opened."""

    format = "GLC"
    format_description = "Generative latent coding"

    def _open(self) -> None:
        assert self.fp is not None
        data = self.fp.read()  # a few kilobytes, of which the metadata is the end
        with _pillow_errors():
            header, _ = parse(data, _ANY_SIZE)
            found = chunks(data)
        self._size = (header.width, header.height)
        self._mode = "RGB"
        self.info.update({name: found[tag] for name, tag in _METADATA.items() if tag in found})
        if "exif" in self.info:
            self.info["exif"] = EXIF_HEAD + self.info["exif"].removeprefix(EXIF_HEAD)
        most = max(MAX_PIXELS, header.width * header.height)  # what Pillow is going to let pass
        tile: Any = ("glc", (0, 0, *self.size), 0, (data, most))  # newer releases type it
        self.tile = [tile]

    def load_seek(self, pos: int) -> None:
        """Stay: all is read, and the caller may have closed the file since."""

    def verify(self) -> None:
        """Check the file as `glc.verify` does; directly after opening it, as Pillow asks.

        Raises:
            DamagedImageError: damaged, truncated or made by another model.
            UnsupportedImageError: written by another version.
        """
        super().verify()
        if self.tile:
            from glc.shortcuts import verify

            arguments: Any = self.tile[0][3]
            data, most = arguments
            with _pillow_errors():
                verify(data, max_pixels=most)


class _Decoder(ImageFile.PyDecoder):
    """What Pillow calls for the pixels of a tile."""

    _pulls_fd = True  # called once, and given no bytes

    def decode(self, buffer: object) -> tuple[int, int]:
        from glc.shortcuts import decode

        data, most = self.args
        with _pillow_errors():
            pixels = decode(data, max_pixels=most)
        self.set_as_raw(pixels.tobytes())
        return -1, 0  # done, without an error


@contextmanager
def _pillow_errors() -> Iterator[None]:
    try:
        yield
    except BitstreamError as error:
        raise DamagedImageError(str(error)) from error
    except UnsupportedError as error:
        raise UnsupportedImageError(str(error)) from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(b"GLC")


def _save(picture: Image.Image, file: IO[bytes], _name: str | bytes) -> None:
    from glc.shortcuts import encode

    asked = picture.encoderinfo
    kept = {name: asked[name] for name in _METADATA if asked.get(name)}
    if kept:
        form = picture.format  # a TIFF's tags are not all EXIF
        picture = picture.copy()
        picture.format = form
        if isinstance(kept.get("exif"), Image.Exif):
            kept["exif"] = kept["exif"].tobytes()
        picture.info.update(kept)
    pixels, metadata = load_with_metadata(picture, keep=[_METADATA[name] for name in kept])
    data = encode(
        pixels,
        model=asked.get("model", DEFAULT_MODEL),
        quality=asked.get("quality"),
        target_bytes=asked.get("target_bytes"),
        refine=asked.get("refine", 0),
        metadata=metadata,
    )
    file.write(data)


Image.register_open(GlcImageFile.format, GlcImageFile, _accept)
Image.register_decoder("glc", _Decoder)
Image.register_save(GlcImageFile.format, _save)
Image.register_extension(GlcImageFile.format, ".glc")
Image.register_mime(GlcImageFile.format, "image/x-glc")
