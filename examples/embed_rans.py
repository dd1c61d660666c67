# SPDX-License-Identifier: Apache-2.0
"""Use the coder in a codec of your own: numpy only, no model, no torch.

    python examples/embed_rans.py

The toy codec: a smooth signal is predicted from its past and the rounded differences are coded,
each with a Gaussian row that its neighbours choose. Encoder and decoder derive the rows from
symbols that both know, block by block: that is what push and pull are for.
"""

import math

import numpy as np

from glc import cdf, rans
from glc.errors import BitstreamError

BLOCK = 512


def row_of_next_block(block: np.ndarray, bounds: np.ndarray) -> int:
    """Choose the table row for the next block from the spread of this one."""
    # Integer sums, and a square root, which unlike a power is rounded in one way only, so that both
    # sides agree to the last bit on any machine.
    mean_square = int(np.sum(block.astype(np.int64) ** 2)) / max(block.size, 1)
    return int(cdf.gaussian_rows(np.float32(math.sqrt(max(mean_square, 0.01))), bounds))


def compress(samples: np.ndarray) -> bytes:
    """Code int32 samples."""
    tables, bounds = cdf.canonical()
    residuals = np.diff(samples, prepend=np.int32(0))  # of int32 they wrap, and so do their sums
    encoder = rans.Encoder()
    row = 40
    for begin in range(0, residuals.size, BLOCK):
        block = residuals[begin : begin + BLOCK]
        encoder.push(block, row, tables)
        row = row_of_next_block(block, bounds)
    return residuals.size.to_bytes(4, "little") + encoder.finish()


def restore(data: bytes, max_samples: int = 1 << 24) -> np.ndarray:
    """Decode what compress wrote; raises BitstreamError on anything else."""
    n_samples = int.from_bytes(data[:4], "little")
    if n_samples > max_samples:  # never allocate what a file merely claims
        raise BitstreamError(f"toy: size: expected at most {max_samples}, got {n_samples}")
    tables, bounds = cdf.canonical()
    decoder = rans.Decoder(memoryview(data)[4:])
    residuals = np.empty(n_samples, np.int32)
    row = 40
    for begin in range(0, n_samples, BLOCK):
        block = decoder.pull(row, tables, out=residuals[begin : begin + BLOCK])
        row = row_of_next_block(block, bounds)
    decoder.finish()
    return np.cumsum(residuals, dtype=np.int32)


def main() -> None:
    """Compress a noisy signal, restore it, and show what damage does."""
    rng = np.random.default_rng(0)
    time = np.arange(50_000)
    loudness = 20 + 18 * np.sin(time / 6000)
    samples = np.rint(3000 * np.sin(time / 500) + rng.normal(0, loudness)).astype(np.int32)
    samples[123] = 2_000_000_000  # outliers cost bits, not correctness

    data = compress(samples)
    assert np.array_equal(restore(data), samples)
    print(f"{samples.size} samples, {samples.nbytes} bytes as int32, {len(data)} coded")

    for name, damaged in {"cut": data[:-100], "flipped": data[:-9] + b"?" + data[-8:]}.items():
        try:
            restore(damaged)
        except BitstreamError as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    main()
