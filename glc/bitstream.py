# SPDX-License-Identifier: Apache-2.0
"""Read and write the `.glc` container; `docs/format.md` is its specification.

>>> fingerprint = bytes(range(32))  # of the model; not in the file, but in its checksum
>>> header = Header(width=768, height=512, level=42, coder=0, model_id=fingerprint[:2])
>>> data = pack(header, bytes(4) + b"coder stream", fingerprint)
>>> len(data) - len(b"coder stream")  # 16 bytes of header, 4 of skip thresholds
20
>>> check(data, fingerprint)
>>> header, payload = parse(data)
>>> header.quality, bytes(payload[4:])
(2.0, b'coder stream')
>>> accounting(data).total == 8 * len(data)
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glc import _core
from glc._arguments import as_bytes, in_range
from glc.defaults import MAX_PIXELS as MAX_PIXELS
from glc.errors import InvalidArgumentError

if TYPE_CHECKING:
    from typing_extensions import Buffer

FINGERPRINT_BYTES = 32
N_PARTS = 4

TILE_UNIT = 64
"""Pixels; the side of a tile is a multiple of it."""

CHUNK_ICC = 1
CHUNK_EXIF = 2

_MODEL_ID_BYTES = 2
_LEVELS_PER_QUALITY = 21
_SEGMENTS = 0x10


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about itself, without its checksum.

    Attributes:
        width: pixels, 1 .. 2^32 - 1.
        height: pixels, 1 .. 2^32 - 1.
        level: 0 .. 63, rate level, 21 x quality.
        coder: descriptor byte of the coder stream: bits 0-2 log2 of the lanes, bit 3 escapes; or
            bit 4 alone, segments. 0 in a tiled picture, whose tiles carry their own.
        model_id: 2 bytes, the beginning of the model fingerprint.
        version: format version.
        profile: arithmetic of the networks that predict the symbols: 1 is the same on every
            machine, 0 is whatever the writer's machine did.
        tile: side of the tiles in units of 64 pixels; 0 means the picture is one piece.
    """

    width: int
    height: int
    model_id: bytes
    level: int = 0
    coder: int = 0
    version: int = 1
    profile: int = 1
    tile: int = 0

    @property
    def quality(self) -> float:
        """The level on the user's scale, 0 .. 3."""
        return self.level / _LEVELS_PER_QUALITY

    @property
    def n_lanes(self) -> int:
        """Number of coder lanes; 0 in a stream of segments, each of which has its own."""
        return 0 if self.coder == _SEGMENTS else int(1 << (self.coder & 7))

    @property
    def has_escapes(self) -> bool:
        """Whether the payload holds an escape section."""
        return bool(self.coder & 8)

    @property
    def portable(self) -> bool:
        """Whether every machine is promised to decode the same picture."""
        return self.profile > 0


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """Where the bits of a file go; the attributes sum to 8 * len(data).

    Attributes:
        magic: bits of the three letters.
        version: bits of version and profile.
        model_id: bits of the short model id.
        level: bits of the rate level.
        flags: bits of coder descriptor and reserved flags.
        size: bits of width and height.
        crc: bits of the checksum.
        tiles: bits of the tiles' side, and of each one's length and descriptor.
        thresholds: bits of the four skip thresholds.
        escapes: bits of the escape section with its length and padding.
        states: bits of the initial lane states.
        words: bits of the renormalisation words.
        segments: bits of a stream of segments, as one.
        chunks: bits of the metadata, and of the payload's length, which only it needs.
    """

    magic: int
    version: int
    model_id: int
    level: int
    flags: int
    size: int
    crc: int
    tiles: int
    thresholds: int
    escapes: int
    states: int
    words: int
    segments: int
    chunks: int

    @property
    def header(self) -> int:
        """Bits of everything in front of the payload, checksum included."""
        fields = (self.magic, self.version, self.model_id, self.level, self.flags, self.size)
        return sum(fields) + self.crc

    @property
    def payload(self) -> int:
        """Bits of thresholds and coder streams, and of what divides them."""
        return self.tiles + self.thresholds + self.coder

    @property
    def coder(self) -> int:
        """Bits of the coder streams."""
        return self.escapes + self.states + self.words + self.segments

    @property
    def total(self) -> int:
        """Bits of the file."""
        return self.header + self.payload + self.chunks


def _checked_fingerprint(fingerprint: bytes) -> bytes:
    fingerprint = as_bytes(fingerprint, "bitstream: fingerprint")
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise InvalidArgumentError(
            f"bitstream: fingerprint: expected {FINGERPRINT_BYTES} bytes, got {len(fingerprint)}"
        )
    return fingerprint


def crc32c(data: Buffer) -> int:
    """Compute the CRC-32C (Castagnoli) of bytes.

    Args:
        data: contiguous bytes.

    Returns:
        The checksum, 0 .. 2^32 - 1; 0xe3069283 for b"123456789".

    Raises:
        InvalidArgumentError: data is not contiguous bytes.
    """
    return _core.crc32c(as_bytes(data, "crc32c: data"))


def pack(
    header: Header,
    payload: Buffer,
    fingerprint: bytes,
    chunks: Mapping[int, bytes] | None = None,
) -> bytes:
    """Assemble a `.glc` file.

    Args:
        header: its model_id must be the first two bytes of the fingerprint.
        payload: 4 bytes of skip thresholds, then the coder stream without its descriptor byte; or
            the tiles.
        fingerprint: 32 bytes that identify the model; they enter the checksum, not the file.
        chunks: metadata by tag, 1 .. 127.

    Returns:
        The file: header, CRC-32C, payload, chunks.

    Raises:
        InvalidArgumentError: a field out of range, a model id that is not the fingerprint's, or
            a payload shorter than the thresholds.
    """
    if chunks is not None and not isinstance(chunks, Mapping):
        raise InvalidArgumentError(
            f"pack: chunks: expected a mapping from tags to bytes, got {type(chunks).__name__}"
        )
    model_id = as_bytes(header.model_id, "pack: model_id")
    if len(model_id) != _MODEL_ID_BYTES:
        raise InvalidArgumentError(
            f"pack: model_id: expected {_MODEL_ID_BYTES} bytes, got {len(model_id)}"
        )
    wide = ("width", "height", "tile")
    for name in (*wide, "level", "coder", "version", "profile"):
        limit = 1 << 32 if name in wide else 1 << 8
        in_range(f"pack: {name}", getattr(header, name), 0, limit - 1)
    listed = {
        in_range("pack: chunks: tag", tag, 1, 127): as_bytes(content, "pack: chunks")
        for tag, content in (chunks or {}).items()
    }
    return _core.pack_container(
        (
            header.width,
            header.height,
            header.level,
            header.coder,
            header.version,
            header.profile,
            header.tile,
        ),
        model_id,
        as_bytes(payload, "pack: payload"),
        [(tag, listed[tag]) for tag in sorted(listed)],
        _checked_fingerprint(fingerprint),
    )


def parse(
    data: Buffer, max_pixels: int = MAX_PIXELS, *, cut: bool = False
) -> tuple[Header, memoryview]:
    """Read the header of a `.glc` file and find its payload.

    The checksum is not verified, because that takes the model's fingerprint: see `check`.

    Args:
        data: the whole file, contiguous bytes.
        max_pixels: refuse pictures that claim more pixels than this.
        cut: the file may end anywhere behind its header.

    Returns:
        The header, and the payload, or what is left of it, as a view into data.

    Raises:
        BitstreamError: malformed or truncated; names field and byte offset.
        UnsupportedError: written by another version, under an unknown profile, or with a chunk
            that must be understood and is not.
        InvalidArgumentError: max_pixels below 1, or data is not contiguous bytes.
    """
    most = min(in_range("parse: max_pixels", max_pixels, 1, 1 << 128), (1 << 64) - 1)
    data = as_bytes(data, "parse: data")
    fields, model_id, start, n_bytes = _core.parse_container(data, most, cut)
    width, height, level, coder, version, profile, tile = fields
    header = Header(
        width=width,
        height=height,
        level=level,
        coder=coder,
        model_id=model_id,
        version=version,
        profile=profile,
        tile=tile,
    )
    return header, memoryview(data).cast("B")[start : start + n_bytes]


def chunks(data: Buffer) -> dict[int, bytes]:
    """Read the metadata of a `.glc` file.

    Args:
        data: the whole file, contiguous bytes.

    Returns:
        Content by tag: `CHUNK_ICC`, `CHUNK_EXIF`, or one that a later writer added. Empty for most
        files. Nobody vouches for the content; only the checksum does, see `check`.

    Raises:
        BitstreamError: malformed or truncated; names field and byte offset.
        UnsupportedError: as `parse`.
        InvalidArgumentError: data is not contiguous bytes.
    """
    return dict(_core.container_chunks(as_bytes(data, "chunks: data")))


def check(data: Buffer, fingerprint: bytes) -> None:
    """Verify that a file is whole and belongs to a model.

    Args:
        data: the whole file, contiguous bytes.
        fingerprint: 32 bytes of the model that is about to decode it.

    Raises:
        BitstreamError: made by another model (names both ids), damaged (names both checksums), or
            malformed as in `parse`.
        UnsupportedError: as `parse`.
        InvalidArgumentError: the fingerprint is not 32 bytes, or data is not contiguous bytes.
    """
    _core.check_container(as_bytes(data, "check: data"), _checked_fingerprint(fingerprint))


def accounting(data: Buffer) -> Accounting:
    """Say where the bits of a file go, without decoding it.

    Args:
        data: the whole file, contiguous bytes.

    Returns:
        Bits per field; they sum to 8 * len(data) exactly.

    Raises:
        BitstreamError: malformed as in `parse`, or a payload too short for what it announces.
        UnsupportedError: as `parse`.
        InvalidArgumentError: data is not contiguous bytes.
    """
    return Accounting(**_core.container_accounting(as_bytes(data, "accounting: data")))
