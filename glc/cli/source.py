# SPDX-License-Identifier: Apache-2.0
"""Read the `.glc` file that a verb is given."""

from pathlib import Path

from glc.defaults import MAX_PIXELS

__all__ = ["read_glc"]


def read_glc(source: Path, *, cut: bool = False, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a `.glc` file; what is none is refused by its head, before a model is loaded.

    Args:
        source: the file.
        cut: whether it may end early.
        max_pixels: refuse a file that claims more pixels than this.

    Raises:
        InvalidArgumentError: it cannot be read.
        BitstreamError: no `.glc` file, cut unasked for, or of too many pixels.
        UnsupportedError: written by another version.
    """
    from glc.bitstream import parse
    from glc.files import read_file

    data = read_file(source, check_head=lambda head: parse(head, max_pixels, cut=True))
    parse(data, max_pixels, cut=cut)
    return data
