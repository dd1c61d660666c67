# SPDX-License-Identifier: Apache-2.0
"""What can be said about a file: where its bits go, and whether it is sound."""

from dataclasses import dataclass

from glc.bitstream import Accounting, Header

__all__ = ["Analysis", "PartAnalysis", "Report"]


@dataclass(frozen=True, kw_only=True)
class PartAnalysis:
    """What one of the four context parts costs.

    Attributes:
        threshold: symbols of table rows below this are all zero and not coded; of several tiles the
            lowest.
        symbols: symbols of the part.
        coded: those that were coded; the others were skipped.
        nonzero: those that are not zero.
        bits: cost of the coded ones under the integer tables, escapes included.
        estimated_bits: what the model estimates for all of them (`gaussian_bits`).
    """

    threshold: int
    symbols: int
    coded: int
    nonzero: int
    bits: float
    estimated_bits: float

    def __add__(self, other: "PartAnalysis") -> "PartAnalysis":
        """The same part of two tiles together."""
        return PartAnalysis(
            threshold=min(self.threshold, other.threshold),
            symbols=self.symbols + other.symbols,
            coded=self.coded + other.coded,
            nonzero=self.nonzero + other.nonzero,
            bits=self.bits + other.bits,
            estimated_bits=self.estimated_bits + other.estimated_bits,
        )

    @property
    def skip_share(self) -> float:
        """Share of the symbols that were not coded, 0 .. 1."""
        return 1.0 - self.coded / self.symbols


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Where every bit of a file goes.

    Attributes:
        header: the parsed header.
        fields: bits of each container field, as the bytes say.
        z_symbols: hyper indices.
        z_bits: cost of the hyper indices under their tables.
        z_estimated_bits: log2(hyper codebook size) per index, whatever the prior.
        parts: the four context parts.
        file_bytes: size of the file.
    """

    header: Header
    fields: Accounting
    z_symbols: int
    z_bits: float
    z_estimated_bits: float
    parts: tuple[PartAnalysis, ...]
    file_bytes: int

    @property
    def coder_overhead_bits(self) -> float:
        """Coder bits beyond the table costs: lane states, rounding, length of the escapes."""
        costs = self.z_bits + sum(part.bits for part in self.parts)
        return self.fields.coder - costs

    @property
    def estimated_bits(self) -> float:
        """What the model estimates for z and y together."""
        return self.z_estimated_bits + sum(part.estimated_bits for part in self.parts)

    def bits(self) -> dict[str, float]:
        """Bits per field and part.

        Returns:
            Name to bits, about in file order; the values sum to exactly 8 * file_bytes.
        """
        fields = self.fields
        named = ["magic", "version", "model_id", "level", "flags", "size", "crc", "chunks"]
        named += ["tiles", "thresholds"]
        table: dict[str, float] = {name: float(getattr(fields, name)) for name in named}
        table["z"] = self.z_bits
        table |= {f"part_{i}": part.bits for i, part in enumerate(self.parts)}
        table["coder_overhead"] = self.coder_overhead_bits
        return table


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `verify` found in a sound file.

    Attributes:
        header: the parsed header.
        file_bytes: size of the file.
        symbols: entropy-coded and skipped symbols that were recovered.
        portable: whether other machines are promised to decode the same picture.
    """

    header: Header
    file_bytes: int
    symbols: int
    portable: bool
