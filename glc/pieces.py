# SPDX-License-Identifier: Apache-2.0
"""The pieces of a file: the whole picture as one, or tiles that know nothing of each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from glc.bitstream import N_PARTS, TILE_UNIT, Header, accounting, parse
from glc.entropy_path import Symbols, walk_parts
from glc.errors import BitstreamError
from glc.payload import PayloadReader, PayloadTables, split_tiles
from glc.strips import CoderNetworks, Report, part_of

__all__ = [
    "Box",
    "Piece",
    "Progress",
    "boxes",
    "most_padded",
    "padded_size",
    "piece_report",
    "read_pieces",
]

Progress = Callable[[str, float], None]  # of a step's name and the fraction done
Box = tuple[slice, slice]  # rows and columns of the picture


@dataclass(frozen=True)
class Piece:
    """What a file says about one piece of its picture.

    Attributes:
        box: where it belongs.
        symbols: of the piece; zero in parts that were not read.
        n_parts: parts that were read, 0 .. 4.
    """

    box: Box
    symbols: Symbols
    n_parts: int


def boxes(height: int, width: int, tile: int) -> list[Box]:
    """Cut a picture into its pieces.

    Args:
        height: pixels.
        width: pixels.
        tile: side of a tile in units of 64 pixels; 0 leaves the picture whole.

    Returns:
        The pieces, row by row; those at the right and bottom edges may be smaller.
    """
    side = tile * TILE_UNIT or max(height, width)
    return [
        (slice(top, min(top + side, height)), slice(left, min(left + side, width)))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def piece_report(
    progress: Progress,
    step: str,
    share: float,
    n: int,
    pieces: Sequence[object],
    *,
    begin: float = 0.0,
) -> Report:
    """Report what is done of piece n as a fraction of all the work.

    Args:
        progress: told the step's name and that fraction.
        step: name.
        share: of all the work that the step takes for all pieces.
        n: number of the piece.
        pieces: all of them.
        begin: fraction of the piece that is done before the first report.

    Returns:
        What to call with the fraction done of the rest; it has reported 0 already.
    """
    of_piece = part_of(lambda done: progress(step, share * done), n, len(pieces))

    def report(fraction: float) -> None:
        of_piece(begin + (1.0 - begin) * fraction)

    report(0.0)
    return report


def padded_size(height: int, width: int, multiple: int) -> int:
    """Pixels of a picture whose sides are padded to multiples: what the networks work on."""
    return -(-height // multiple) * -(-width // multiple) * multiple**2


def most_padded(max_pixels: int, multiple: int) -> int:
    """Bound of `padded_size`: far more than any picture but a thin one needs at `max_pixels`."""
    return 2 * max_pixels + multiple**2


def read_pieces(
    networks: CoderNetworks,
    tables: PayloadTables,
    data: bytes,
    *,
    max_pixels: int,
    until: int = N_PARTS,
    cut: bool = False,
) -> tuple[Header, Iterator[Piece]]:
    """Recover the symbols of a file, piece by piece, checking all but the checksum.

    Args:
        networks: of the model that wrote the file, where `walk_parts` can run them.
        tables: of the same model.
        data: the file.
        max_pixels: refuse a file that claims more pixels than this.
        until: parts to read.
        cut: the file may end early; a tiled one may not.

    Returns:
        The header, and the pieces as they are asked for.

    Raises:
        BitstreamError: malformed, too many pixels, or cut unasked for; also while iterating.
        UnsupportedError: as `parse`.
    """
    header, payload = parse(data, max_pixels=max_pixels, cut=cut)
    multiple = networks.config.pad_multiple
    if header.tile * TILE_UNIT % multiple:
        raise BitstreamError(
            f"decode: tile: expected a multiple of {multiple} pixels, got {header.tile * TILE_UNIT}"
        )
    if padded_size(header.height, header.width, multiple) > most_padded(max_pixels, multiple):
        raise BitstreamError(
            f"decode: size: expected at most {max_pixels} pixels, got {header.width}x"
            f"{header.height}, which are many times as many with sides of {multiple}"
        )
    if not header.tile:
        coded = iter([(header.coder, payload)])
    else:
        accounting(data)  # raises unless all tiles are there, and not a byte more
        coded = split_tiles(payload)

    def read(box: Box, descriptor: int, body: memoryview) -> Piece:
        reader = PayloadReader(tables, header.level, descriptor, body, until=until, cut=cut)
        z_sides = (-(-(side.stop - side.start) // multiple) for side in box)
        with networks.computing():
            symbols = walk_parts(networks, reader.z_index(*z_sides), reader)
        reader.finish()
        return Piece(box, symbols, reader.n_parts)

    places = boxes(header.height, header.width, header.tile)
    return header, (read(box, *piece) for box, piece in zip(places, coded, strict=True))
