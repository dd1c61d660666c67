# SPDX-License-Identifier: Apache-2.0
"""Read the `.glc` file that a verb is given."""

from pathlib import Path

__all__ = ["read_glc"]


def read_glc(source: Path, *, cut: bool = False) -> bytes:
    """Read a `.glc` file; what is none is refused by its head, before torch is loaded.

    Args:
        source: the file.
        cut: whether it may end early.

    Raises:
        InvalidArgumentError: it cannot be read.
        BitstreamError: no `.glc` file, or cut unasked for.
        UnsupportedError: written by another version.
    """
    from glc.bitstream import parse
    from glc.files import read_file

    data = read_file(source, check_head=lambda head: parse(head, cut=True))
    parse(data, cut=cut)
    return data
