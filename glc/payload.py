# SPDX-License-Identifier: Apache-2.0
"""The payload of a file: skip thresholds, hyper indices and four parts in one coder stream.

    4 bytes      skip threshold of each part: symbols of lower table rows are zero and not coded
    coder stream z high halves, z low halves, part 0, 1, 2, 3, without its descriptor byte

What trips people first: the table rows of a part follow from the symbols of the parts before it, so
a reader is pulled from by the entropy path; it cannot run ahead.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glc import cdf, rans
from glc.bitstream import N_PARTS
from glc.entropy_path import Part
from glc.errors import BitstreamError

__all__ = ["PayloadReader", "PayloadTables", "write_payload"]

_LANE_BYTES = 2048  # of payload for each lane, which costs 3 bytes and saves microseconds
_LOW_BITS = 7  # a z index is coded as index >> 7, then index & 127


class PayloadTables:
    """The integer tables that a payload is coded with.

    Attributes:
        y: the canonical Gaussian tables.
        bounds: [rows - 1] float32, between the scales of their rows.
        z: row 0 for the high half of an index, row 1 + high for its low half.
        n_codes: entries of the hyper codebook.
    """

    def __init__(self, n_codes: int) -> None:
        self.y, bounds = cdf.canonical()
        self.bounds: Tensor = torch.from_numpy(np.array(bounds))
        self.z: cdf.TableSet = cdf.uniform_index_tables(n_codes)
        self.n_codes = n_codes

    def z_bits(self, z_index: Tensor) -> float:
        """Cost of hyper indices, a multiple of 2^-16 bit."""
        high, low = _split_index(z_index)
        return self.z.cost_bits(high, 0) + self.z.cost_bits(low, high + 1)

    def part_bits(self, part: Part) -> float:
        """Cost of a part's coded symbols, escapes included, a multiple of 2^-16 bit."""
        return self.y.cost_bits(part.symbols[part.coded], part.rows[part.coded])


def write_payload(
    tables: PayloadTables, z_index: Tensor, parts: Sequence[Part]
) -> tuple[int, bytes]:
    """Code all symbols of a picture.

    Args:
        tables: the integer tables.
        z_index: [1, h/4, w/4] int64, CPU.
        parts: the four parts.

    Returns:
        The coder's descriptor byte, which the header carries, and the payload.
    """
    bits = tables.z_bits(z_index) + sum(tables.part_bits(part) for part in parts)
    lanes = max((n for n in (1, 2, 4, 8, 16, 32) if _LANE_BYTES * n <= bits / 8), default=1)
    encoder = rans.Encoder(lanes, segment_symbols=0)  # the header keeps one stream's descriptor
    high, low = _split_index(z_index)
    encoder.push(high, 0, tables.z)
    encoder.push(low, high + 1, tables.z)
    for part in parts:
        encoder.push(part.symbols[part.coded], part.rows[part.coded], tables.y)
    stream = encoder.finish()
    return stream[0], bytes(part.threshold for part in parts) + stream[1:]


class PayloadReader:
    """Gives the symbols of a payload in the order the entropy path asks for them."""

    def __init__(
        self, tables: PayloadTables, descriptor: int, payload: bytes, first_byte: int
    ) -> None:
        """Open a payload.

        Args:
            tables: the integer tables.
            descriptor: the coder's descriptor byte, from the header.
            payload: as `write_payload` made it.
            first_byte: its position in the file, for error messages.

        Raises:
            BitstreamError: a threshold beyond the rows, or a malformed coder stream.
        """
        self._tables = tables
        self._thresholds = payload[:N_PARTS]
        for part, threshold in enumerate(self._thresholds):
            if threshold > tables.y.rows:
                raise BitstreamError(
                    f"decode: threshold of part {part} at byte {first_byte + part}: expected at "
                    f"most {tables.y.rows}, got {threshold}"
                )
        self._decoder = rans.Decoder(payload[N_PARTS:], descriptor=descriptor)

    def z_index(self, height: int, width: int) -> Tensor:
        """Read the hyper indices, which come first.

        Args:
            height: rows of z.
            width: columns of z.

        Returns:
            [1, height, width] int64, below the size of the hyper codebook.

        Raises:
            BitstreamError: the stream ends too early, or names an index that does not exist.
        """
        high = self._decoder.pull(0, self._tables.z, count=height * width)
        low = self._decoder.pull(high + 1, self._tables.z)
        index = (high.astype(np.int64) << _LOW_BITS) | low
        if int(index.max()) >= self._tables.n_codes:
            raise BitstreamError(
                f"decode: z: expected an index below {self._tables.n_codes}, got {index.max()}"
            )
        return torch.from_numpy(index.reshape(1, height, width))

    def symbols(
        self, part: int, rows: NDArray[np.uint8], mean: Tensor, step: Tensor
    ) -> tuple[NDArray[np.int32], int]:
        """Read one part; see `glc.entropy_path.SymbolSource`.

        Raises:
            BitstreamError: the stream ends too early.
        """
        threshold = self._thresholds[part]
        coded = rows >= threshold
        symbols = np.zeros(rows.size, dtype=np.int32)
        symbols[coded] = self._decoder.pull(rows[coded], self._tables.y)
        return symbols, threshold

    def require_finite(self, name: str, value: Tensor) -> None:
        """Raise BitstreamError unless all values are finite."""
        if not bool(torch.isfinite(value).all()):
            raise BitstreamError(f"decode: {name}: expected finite values, the file is damaged")

    def finish(self) -> None:
        """Check that the stream ends exactly here.

        Raises:
            BitstreamError: words are left, or the coder's closing state is wrong.
        """
        self._decoder.finish()


def _split_index(z_index: Tensor) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    index = z_index.numpy().astype(np.int32).ravel()
    return index >> _LOW_BITS, index & ((1 << _LOW_BITS) - 1)
