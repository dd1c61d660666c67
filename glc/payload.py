# SPDX-License-Identifier: Apache-2.0
"""The payload of a picture: skip thresholds, hyper indices and four parts in one coder stream.

    4 bytes      skip threshold of each part: symbols of lower table rows are zero and not coded
    coder stream z high halves, z low halves, part 0, 1, 2, 3, without its descriptor byte

What trips people first: the table rows of a part follow from the symbols of the parts before it, so
a reader is pulled from by the entropy path; it cannot run ahead. And a file that was cut still
gives its first parts, for the coder's words lie in the order in which they are wanted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glc import cdf, rans
from glc.bitstream import N_PARTS
from glc.entropy_path import Array, ArrayKit, Part
from glc.errors import BitstreamError
from glc.rate import LEVELS_PER_QUALITY, prior_row

__all__ = ["IndexTables", "PayloadReader", "PayloadTables", "join_tiles", "split_tiles"]

_LANE_BYTES = 2048  # of payload for each lane, which costs 3 bytes and saves microseconds
_SEGMENTS_FROM_BYTES = 96 << 10  # a larger stream is cut, so that threads share its work


@dataclass(frozen=True)
class IndexTables:
    """How the hyper indices of a level are coded: by their rank, in two halves.

    Attributes:
        rank: [k] int32, place of every index, the likeliest first.
        tables: row 0 for the high half of a rank, row 1 + high for its low half.
    """

    rank: NDArray[np.int32]
    tables: rans.TableSet

    @cached_property
    def of_rank(self) -> NDArray[np.int64]:
        """The index at every rank, [k]."""
        return np.argsort(self.rank)

    def halves(self, z_index: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """High and low half of every rank, flat."""
        rank = self.rank[z_index.ravel()]
        return rank >> cdf.LOW_BITS, rank & ((1 << cdf.LOW_BITS) - 1)

    def cost_bits(self, z_index: NDArray[np.int64]) -> float:
        """Cost of hyper indices, a multiple of 2^-16 bit."""
        high, low = self.halves(z_index)
        return self.tables.cost_bits(high, 0) + self.tables.cost_bits(low, high + 1)

    def push(self, encoder: rans.Encoder, z_index: NDArray[np.int64]) -> None:
        """Append hyper indices, any shape, to a stream."""
        high, low = self.halves(z_index)
        encoder.push(high, 0, self.tables)
        encoder.push(low, high + 1, self.tables)

    def pull(self, decoder: rans.Decoder, height: int, width: int) -> NDArray[np.int64]:
        """Read what `push` appended: [1, height, width], below the size of the hyper codebook.

        Raises:
            BitstreamError: the stream ends too early.
        """
        high = decoder.pull(0, self.tables, count=height * width)
        low = decoder.pull(high + 1, self.tables)
        rank = (high.astype(np.int64) << cdf.LOW_BITS) | low  # below k: the tables have no other
        return self.of_rank[rank].reshape(1, height, width)


class PayloadTables:
    """The integer tables that a model's payloads are coded with.

    Attributes:
        y: the canonical Gaussian tables.
        n_zero_rows: the first rows of y, whose one bin beside the escape is zero.
    """

    def __init__(self, prior: NDArray[np.float32]) -> None:
        """Take a model's prior of its hyper indices.

        Args:
            prior: [levels, k], logits.
        """
        self.y, _ = cdf.canonical()
        _, n_bins, _ = self.y.arrays()
        self.n_zero_rows = int((n_bins > 2).argmax())
        self._prior = prior
        self._index: dict[int, IndexTables] = {}

    def index(self, level: int) -> IndexTables:
        """The tables of the hyper indices at a level, 0 .. 63."""
        row = prior_row(level / LEVELS_PER_QUALITY, len(self._prior))
        if row not in self._index:
            self._index[row] = IndexTables(*cdf.ranked_index_tables(self._prior[row]))
        return self._index[row]

    def part_bits(self, part: Part) -> float:
        """Cost of a part's coded symbols, escapes included, a multiple of 2^-16 bit."""
        return self.y.cost_bits(part.symbols[part.coded], part.rows[part.coded])

    def write(
        self,
        level: int,
        z_index: NDArray[np.int64],
        parts: Sequence[Part],
        encoder: rans.Encoder | None = None,
    ) -> tuple[int, bytes]:
        """Code all symbols of a picture.

        Args:
            level: 0 .. 63.
            z_index: [1, h/4, w/4].
            parts: the four parts.
            encoder: of other lanes or segments than the rule of the format gives.

        Returns:
            The coder's descriptor byte, which the header carries, and the payload.
        """
        index = self.index(level)
        if encoder is None:
            bits = index.cost_bits(z_index) + sum(self.part_bits(part) for part in parts)
            encoder = _encoder_for(bits / 8)
        index.push(encoder, z_index)
        for part in parts:
            encoder.push(part.symbols[part.coded], part.rows[part.coded], self.y)
        stream = encoder.finish()
        return stream[0], bytes(part.threshold for part in parts) + stream[1:]


def _encoder_for(n_bytes: float) -> rans.Encoder:
    if n_bytes >= _SEGMENTS_FROM_BYTES:
        return rans.Encoder()
    lanes = max((n for n in (1, 2, 4, 8, 16, 32) if _LANE_BYTES * n <= n_bytes), default=1)
    return rans.Encoder(lanes, segment_symbols=0)


class PayloadReader:
    """Gives the symbols of a payload in the order the entropy path asks for them.

    Attributes:
        n_parts: parts read so far.
    """

    def __init__(
        self,
        tables: PayloadTables,
        level: int,
        descriptor: int,
        payload: memoryview,
        *,
        until: int = N_PARTS,
        cut: bool = False,
    ) -> None:
        """Open a payload.

        Args:
            tables: the model's tables.
            level: 0 .. 63.
            descriptor: the coder's descriptor byte, from the header.
            payload: as `PayloadTables.write` made it.
            until: parts wanted; all symbols of the others are taken for zero.
            cut: the payload may end early; parts that are not whole are taken for zero too.

        Raises:
            BitstreamError: no thresholds, one beyond the rows, or a malformed coder stream.
        """
        self.n_parts = 0
        self._tables = tables
        self._index = tables.index(level)
        self._until = until
        self._cut = cut
        self._whole = True
        self._thresholds = bytes(payload[:N_PARTS])
        if len(self._thresholds) < N_PARTS:
            raise BitstreamError("decode: thresholds: truncated (at byte 0 of the payload)")
        for part, threshold in enumerate(self._thresholds):
            if threshold > tables.y.rows:
                raise BitstreamError(
                    f"decode: threshold of part {part}: expected at most {tables.y.rows}, got "
                    f"{threshold} (at byte {part} of the payload)"
                )
        self._decoder = rans.Decoder(payload[N_PARTS:], descriptor=descriptor)

    def z_index(self, height: int, width: int) -> NDArray[np.int64]:
        """Read the hyper indices, which come first.

        Args:
            height: rows of z.
            width: columns of z.

        Returns:
            [1, height, width], below the size of the hyper codebook.

        Raises:
            BitstreamError: the stream ends too early.
        """
        return self._index.pull(self._decoder, height, width)

    def symbols(
        self, kit: ArrayKit, part: int, rows: Array, mean: Array, step: Array
    ) -> tuple[Array, int]:
        """Read one part; see `glc.entropy_path.SymbolSource`.

        Raises:
            BitstreamError: the stream ends too early, and need not.
        """
        if part < self._until and self._whole:
            threshold = self._thresholds[part]
            try:
                symbols = self._pull(rows, rows >= threshold if threshold else None)
            except BitstreamError:
                if not self._cut:
                    raise
                self._whole = False
            else:
                self.n_parts += 1
                return symbols, threshold
        return kit.xp.zeros_like(rows, dtype=kit.xp.int32), self._tables.y.rows

    def _pull(self, rows: Array, coded: Array | None) -> Array:
        """Read the symbols that are coded, or all; the others are zero."""
        if not isinstance(rows, np.ndarray):
            return self._pull_there(rows, coded)
        if coded is None:
            return self._decoder.pull(rows, self._tables.y)
        symbols = np.zeros(rows.shape, np.int32)
        symbols[coded] = self._decoder.pull(rows[coded], self._tables.y)
        return symbols

    def _pull_there(self, rows: Array, coded: Array | None) -> Array:
        """`_pull` for torch's arrays, which may be on a device."""
        import torch

        from glc.ops._cuda import new_for_copies, to_host

        wanted = to_host(rows if coded is None else rows.masked_select(coded))
        pulled = new_for_copies(wanted.shape, torch.int32, rows.device)
        self._decoder.pull(wanted.numpy(), self._tables.y, pulled.numpy())
        pulled = pulled.to(rows.device, non_blocking=True)
        if coded is None:
            return pulled
        return torch.zeros_like(rows, dtype=torch.int32).masked_scatter_(coded, pulled)

    def require_finite(self, name: str, value: NDArray[np.float32]) -> None:
        """Raise BitstreamError unless all values are finite."""
        if not np.isfinite(value).all():
            raise BitstreamError(f"decode: {name}: expected finite values, the file is damaged")

    def finish(self) -> None:
        """Check that the stream ends exactly here, if it was read to its end.

        Raises:
            BitstreamError: words are left, or the coder's closing state is wrong.
        """
        if self._until == N_PARTS and not self._cut:
            self._decoder.finish()


def join_tiles(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """Put the (descriptor, payload) of every tile into one payload: length, descriptor, payload."""
    out = bytearray()
    for descriptor, payload in pieces:
        n_bytes = 1 + len(payload)
        while n_bytes > 0x7F:
            out.append(n_bytes & 0x7F | 0x80)
            n_bytes >>= 7
        out += bytes([n_bytes, descriptor]) + payload
    return bytes(out)


def split_tiles(payload: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Take apart what `join_tiles` made, of a file that `accounting` has found well formed.

    Yields:
        Descriptor and payload of each tile.
    """
    at = 0
    while at < len(payload):
        n_bytes = shift = 0
        while True:
            byte = payload[at]
            n_bytes |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        yield payload[at], payload[at + 1 : at + n_bytes]
        at += n_bytes
