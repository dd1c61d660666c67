# SPDX-License-Identifier: Apache-2.0
"""Turn whatever people call a picture into uint8 sRGB pixels, and pixels into a PNG.

What surprises people first: the orientation flag of a photograph and its colour profile are applied
to the pixels, transparency is laid over white, and everything is 8 bits per channel afterwards.
"""

import io
import os
import sys
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from glc._quiet import quiet
from glc.bitstream import CHUNK_EXIF, CHUNK_ICC
from glc.defaults import MAX_PIXELS
from glc.errors import InvalidArgumentError
from glc.files import check_output, read_file, write_file

__all__ = [
    "EXIF_HEAD",
    "MAX_PIXELS",
    "METADATA",
    "Metadata",
    "load_image",
    "load_with_metadata",
    "png_bytes",
    "save_png",
]

Metadata = dict[int, bytes]
"""Content of the metadata chunks by tag; see `glc.bitstream.chunks`."""

METADATA = (CHUNK_ICC, CHUNK_EXIF)
"""Tags of all that can be kept of a picture beside its pixels."""

EXIF_HEAD = b"Exif\0\0"
"""Stands before EXIF in a JPEG, and in what Pillow calls `exif`; not in a `.glc` file."""

_WHITE = (255, 255, 255, 255)
_TIFF_HEADS = (b"II*\0", b"MM\0*")  # with which EXIF begins
_ORIENTATION = 0x0112
_EXIF_FOLDERS = {0x8769, 0x8825}  # of the camera's settings, and of the place
# sizes, offsets and forms of samples; and what has chunks of its own or is no EXIF: XMP, IPTC, ICC
_TIFF_STRUCTURE = {
    *(*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(290, 294)),
    *(*range(317, 326), 330, *range(332, 348), *range(512, 533)),
    *(700, 33723, 34377, 34675),
}
# what Pillow reads back from a PNG at most; no profile of a camera or printer is as large
_MAX_PROFILE_BYTES = PngImagePlugin.MAX_TEXT_CHUNK
_PNG_LEVEL = 4  # 0.3 % larger files than the library's 6, in 0.42 of the time: half of decoding's
_GREY_16 = {"I;16", "I;16L", "I;16B", "I;16N"}
# of a PNG's grey of few bits Pillow spreads the samples over 8, but not the one that is transparent
_SPREAD = {"L;2": 85, "L;4": 17}


def load_image(image: Any, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a picture as 8-bit sRGB, upright.

    The EXIF orientation is baked in; an embedded ICC profile is converted to sRGB; 16-bit grey is
    rounded to 8 bits, of 16-bit colours Pillow gives the upper 8; grey, palette, CMYK and CIELAB
    become RGB; alpha is composited on white, except that the one transparent colour which a PNG of
    16-bit colours may have is drawn; of an animated file the first frame is taken.

    Args:
        image: a path, a PIL image, a uint8 array [h, w, 3], or a float torch tensor [3, h, w] in
            [0, 1]. Arrays and tensors are taken to be sRGB.
        max_pixels: the most pixels to accept, checked before any are decoded.

    Returns:
        [h, w, 3] uint8, C-contiguous, own memory, h >= 1 and w >= 1.

    Raises:
        InvalidArgumentError: not an image, truncated, too many pixels, no pixels, or an unsupported
            array, sample format or value range.
    """
    return load_with_metadata(image, keep=(), max_pixels=max_pixels)[0]


def load_with_metadata(
    image: Any, *, keep: Container[int] = METADATA, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.uint8], Metadata]:
    """Read a picture as `load_image` does, and keep what it says about itself.

    Args:
        image: as `load_image`.
        keep: tags of what to keep. `CHUNK_EXIF` keeps EXIF, its orientation set to upright;
            `CHUNK_ICC` leaves an RGB picture in its own colour space, and keeps its ICC profile.
        max_pixels: the most pixels to accept.

    Returns:
        Pixels as `load_image`, and the metadata by the tag of its chunk in a `.glc` file.

    Raises:
        InvalidArgumentError: as `load_image`.
    """
    if isinstance(image, str | os.PathLike):
        return _load_path(Path(image), max_pixels, keep)
    if isinstance(image, Image.Image):
        return _from_pil(image, "PIL image", max_pixels, keep)
    if isinstance(image, np.ndarray):
        return _from_array(image, max_pixels), {}
    torch = sys.modules.get("torch")  # a tensor can only exist once torch has been imported
    if torch is not None and isinstance(image, torch.Tensor):
        return _from_tensor(image, max_pixels), {}
    raise InvalidArgumentError(
        "load_image: image: expected a path, a PIL image, a uint8 array [h, w, 3] or a float "
        f"tensor [3, h, w], got {type(image).__name__}"
    )


def png_bytes(pixels: NDArray[np.uint8], metadata: Metadata | None = None) -> bytes:
    """Encode pixels as a PNG file.

    Args:
        pixels: [h, w, 3] uint8, sRGB or of the profile in metadata.
        metadata: ICC profile and EXIF to embed, as `load_with_metadata` gives them.

    Returns:
        The bytes of the file.
    """
    stream = io.BytesIO()
    known = metadata or {}
    profile, exif = known.get(CHUNK_ICC), known.get(CHUNK_EXIF, b"").removeprefix(EXIF_HEAD)
    if profile is not None and len(profile) > _MAX_PROFILE_BYTES:
        _warn_left_out("the colour profile", f"{len(profile)} bytes are too many for a PNG")
        profile = None
    if exif and not exif.startswith(_TIFF_HEADS):
        _warn_left_out("EXIF", "it is not a TIFF file")
        exif = b""
    Image.fromarray(_from_array(pixels, sys.maxsize)).save(
        stream,
        format="PNG",
        icc_profile=profile,
        exif=exif or None,
        compress_level=_PNG_LEVEL,
    )
    return stream.getvalue()


def _warn_left_out(what: str, why: str) -> None:
    warnings.warn(f"write: {what} is left out: {why}", stacklevel=3)


def save_png(
    path: str | os.PathLike[str],
    pixels: NDArray[np.uint8],
    *,
    metadata: Metadata | None = None,
    overwrite: bool = False,
) -> None:
    """Write pixels as a PNG file, whole or not at all.

    Args:
        path: the file to write; its name must end in .png.
        pixels: [h, w, 3] uint8, sRGB or of the profile in metadata.
        metadata: as `png_bytes`.
        overwrite: whether an existing regular file may be replaced.

    Raises:
        InvalidArgumentError: another suffix, or `path` cannot be written.
    """
    check_png_path(path, overwrite=overwrite)
    write_file(path, png_bytes(pixels, metadata), overwrite=overwrite)


def check_png_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Say early whether `save_png` could write `path`.

    Raises:
        InvalidArgumentError: as `save_png`.
    """
    if Path(path).suffix.lower() != ".png":
        raise InvalidArgumentError(f"write: output: expected a name ending in .png, got {path}")
    check_output(path, overwrite=overwrite)


def _load_path(
    path: Path, max_pixels: int, keep: Container[int]
) -> tuple[NDArray[np.uint8], Metadata]:
    data = read_file(path)
    if not data:
        raise InvalidArgumentError(f"load_image: {path}: the file is empty")
    try:
        with quiet():  # about its pixel bound: max_pixels decides
            picture = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        most = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow's own bound
        raise InvalidArgumentError(
            f"load_image: {path}: expected at most {most} pixels, got more"
        ) from error
    except UnidentifiedImageError as error:
        raise InvalidArgumentError(
            f"load_image: {path}: expected a picture Pillow can read, got an unknown format"
        ) from error
    except Exception as error:  # Pillow's plugins raise anything on a damaged header
        raise InvalidArgumentError(
            f"load_image: {path}: the file is damaged ({_one_line(error)})"
        ) from error
    with picture:
        return _from_pil(picture, str(path), max_pixels, keep)


def _from_pil(
    picture: Image.Image, name: str, max_pixels: int, keep: Container[int]
) -> tuple[NDArray[np.uint8], Metadata]:
    _check_size(name, picture.height, picture.width, max_pixels)
    tiles = getattr(picture, "tile", [])  # until it is loaded
    if tiles and picture.format == "EPS":  # Pillow would run it, for as long as it takes
        raise InvalidArgumentError(
            f"load_image: {name}: expected a picture made of pixels, got a PostScript program"
        )
    spread = _SPREAD.get(tiles[0][3]) if tiles and picture.format == "PNG" else None  # its raw mode
    try:
        with quiet():  # about damaged EXIF, which Pillow then ignores
            picture.load()
            profile = picture.info.get("icc_profile")
    except Exception as error:  # Pillow's plugins raise anything on damaged data
        raise _damaged(name, error) from error
    upright, exif = _upright(picture, name)
    metadata = {CHUNK_EXIF: exif} if exif and CHUNK_EXIF in keep else {}
    sample = upright.info.get("transparency")
    if spread is not None and sample is not None:
        upright = upright.copy()  # the caller's picture stays as it is
        upright.info["transparency"] = sample % (255 // spread + 1) * spread
    try:
        plain = _to_8_bits(upright, name)
    except InvalidArgumentError:
        raise
    except (TypeError, ValueError, OSError) as error:  # of transparency that fits no such pixels
        raise _damaged(name, error) from error
    keeps_profile = CHUNK_ICC in keep and plain.mode in {"RGB", "RGBA"}
    if keeps_profile and profile and profile[16:20] == b"RGB ":
        if len(profile) <= _MAX_PROFILE_BYTES:
            if not _is_srgb(profile):  # half a kilobyte for what a file without one means anyway
                metadata[CHUNK_ICC] = profile
            profile = None
        else:
            warnings.warn(
                f"load_image: {name}: the colour profile is too large to keep "
                f"({len(profile)} bytes); the picture becomes sRGB",
                stacklevel=2,
            )
    pixels = np.array(_to_srgb(plain, profile, name), dtype=np.uint8)
    return np.ascontiguousarray(pixels), metadata


def _upright(picture: Image.Image, name: str) -> tuple[Image.Image, bytes]:
    """Turn a picture as its EXIF says; the EXIF as TIFF bytes that says so, if there is any."""
    try:
        with quiet():  # about damaged EXIF, which Pillow then ignores
            upright = ImageOps.exif_transpose(picture)
            # of a TIFF, whose tags are its EXIF, an upright copy has none
            exif = _told(picture.getexif()) if picture.format == "TIFF" else upright.getexif()
            exif.pop(_ORIENTATION, None)
            return upright, exif.tobytes().removeprefix(EXIF_HEAD) if exif else b""
    except Exception as error:  # Pillow raises anything on damaged EXIF; the pixels are sound
        warnings.warn(
            f"load_image: {name}: EXIF cannot be used and is ignored ({_one_line(error)})",
            stacklevel=2,
        )
        return picture, b""


def _told(tags: Image.Exif) -> Image.Exif:
    """What the tags of a TIFF say about the picture, without how the file is made."""
    told = Image.Exif()
    for tag, value in tags.items():
        if tag in _EXIF_FOLDERS:
            if folder := tags.get_ifd(tag):
                told[tag] = folder
        elif tag not in _TIFF_STRUCTURE:
            told[tag] = value
    return told


def _to_8_bits(picture: Image.Image, name: str) -> Image.Image:
    """Bring unusual sample formats to one of L, LA, RGB, RGBA, CMYK, LAB."""
    mode = picture.mode
    if mode in _GREY_16 or mode == "I":
        samples = np.asarray(picture).astype(np.int64)
        if samples.min() < 0 or samples.max() > 65535:
            raise InvalidArgumentError(
                f"load_image: {name}: expected 8 or 16 bits per sample, got values in "
                f"{samples.min()}..{samples.max()}"
            )
        grey = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
        transparent = picture.info.get("transparency")
        if transparent is not None:
            grey.putalpha(
                Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
            )
        return grey
    if mode == "F":
        raise InvalidArgumentError(
            f"load_image: {name}: expected 8 or 16 bits per sample, got floating point"
        )
    if picture.has_transparency_data and mode not in {"LA", "La", "RGBA"}:
        return picture.convert("RGBA")
    plain = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
    if mode in {"YCbCr", "HSV"}:
        return picture.convert("RGB")
    return picture.convert(plain[mode]) if mode in plain else picture


def _to_srgb(picture: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Apply the colour profile, then lay what is transparent over white."""
    alpha = picture.getchannel("A") if picture.mode in {"LA", "RGBA"} else None
    colour = picture
    if alpha is not None:
        colour = picture.convert("L" if picture.mode == "LA" else "RGB")
    if colour.mode == "LAB":
        colour = _convert(colour, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    elif profile:
        colour = _apply_profile(colour, profile, name)
    if colour.mode != "RGB":
        colour = colour.convert("RGB")
    if alpha is None:
        return colour
    colour.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", colour.size, _WHITE), colour).convert("RGB")


def _apply_profile(colour: Image.Image, profile: bytes, name: str) -> Image.Image:
    """Convert from an embedded ICC profile; one that does not fit the pixels is left out, aloud."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        # A grey picture expanded from a palette, or the reverse, no longer matches its profile.
        if space == "GRAY" and colour.mode == "RGB":
            colour = colour.convert("L")
        elif space == "RGB" and colour.mode == "L":
            colour = colour.convert("RGB")
        return _convert(colour, source)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(
            f"load_image: {name}: the colour profile cannot be used and is ignored "
            f"({_one_line(error)})",
            stacklevel=2,
        )
        return colour


def _is_srgb(profile: bytes) -> bool:
    """Whether pixels of an RGB profile are sRGB as they are, within a level."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = _convert(Image.fromarray(cube), source)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return int(np.abs(np.asarray(converted).astype(int) - cube).max()) <= 1


def _convert(colour: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(source, target, colour.mode, "RGB")
    converted = ImageCms.applyTransform(colour, transform)
    return colour if converted is None else converted


def _from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InvalidArgumentError(
            "load_image: image: expected a uint8 array [h, w, 3], got "
            f"{array.dtype} {list(array.shape)}"
        )
    _check_size("array", array.shape[0], array.shape[1], max_pixels)
    return np.array(array, dtype=np.uint8, order="C", copy=True)


def _from_tensor(tensor: Any, max_pixels: int) -> NDArray[np.uint8]:
    if not tensor.is_floating_point() or tensor.ndim != 3 or tensor.shape[0] != 3:
        raise InvalidArgumentError(
            "load_image: image: expected a float tensor [3, h, w] in [0, 1], got "
            f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        )
    _check_size("tensor", tensor.shape[1], tensor.shape[2], max_pixels)
    try:
        values = tensor.detach().cpu().double().numpy()
    except (RuntimeError, TypeError) as error:  # of another layout, or on the meta device
        raise InvalidArgumentError(
            f"load_image: image: expected a dense tensor with values ({_one_line(error)})"
        ) from error
    low, high = values.min(), values.max()
    if not (low >= 0.0 and high <= 1.0):  # so written, NaN is refused too
        raise InvalidArgumentError(
            f"load_image: image: expected values in [0, 1], got {low:g}..{high:g}"
        )
    return np.ascontiguousarray(np.rint(values * 255.0).astype(np.uint8).transpose(1, 2, 0))


def _check_size(name: str, height: int, width: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"load_image: {name}: the picture has no pixels")
    if height * width > max_pixels:
        raise InvalidArgumentError(
            f"load_image: {name}: expected at most {max_pixels} pixels, got {width}x{height}"
        )


def _damaged(name: str, error: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"load_image: {name}: the file is truncated or damaged ({_one_line(error)})"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
