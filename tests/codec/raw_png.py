# SPDX-License-Identifier: Apache-2.0
"""PNG files of a kind that Pillow reads and does not write."""

import struct
import zlib
from typing import Any


def raw_png(
    width: int, height: int, *, depth: int, colour: int, rows: bytes, more: Any = ()
) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunk(name, body) for name, body in more)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
