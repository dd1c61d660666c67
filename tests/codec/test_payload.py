# SPDX-License-Identifier: Apache-2.0
"""Payloads of any size: how many lanes they get, and that they are read back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glc.codec import Codec
from glc.entropy_path import NumpyKit, Part, on_host
from glc.payload import PayloadReader, PayloadTables
from glc.torch_networks import TorchKit

LEVEL = 42
SEGMENTS = 0x10


@pytest.fixture(scope="module")
def tables(tiny_folder: Path) -> PayloadTables:
    return PayloadTables(Codec(tiny_folder)._tables._prior)


def parts_of(n_bytes: int, tables: PayloadTables, threshold: int) -> list[Part]:
    """Four parts of about so many bytes together, a third of whose symbols are not coded."""
    rng = np.random.default_rng(n_bytes)
    wide = tables.y.rows - 1  # the row of the largest scale
    one = tables.y.cost_bits(np.zeros(1, np.int32), wide)
    n = int(8 * n_bytes / one / 4) + 1
    rows = np.full(n + n // 2, wide, np.uint8)
    rows[::3] = threshold - 1
    symbols = np.where(rows == wide, rng.integers(-2, 3, rows.size), 0).astype(np.int32)
    return [Part(symbols, rows, rows.astype(np.float32), threshold)] * 4


@pytest.mark.parametrize("n_bytes", [100, 3000, 5000, 9000, 20000, 40000, 60000, 94000, 110000])
def test_lanes_grow_with_the_payload(tables: PayloadTables, n_bytes: int) -> None:
    threshold = 5
    z_index = np.arange(12).reshape(1, 3, 4)
    parts = parts_of(n_bytes, tables, threshold)
    descriptor, payload = tables.write(LEVEL, z_index, parts)
    estimate = (tables.index(LEVEL).cost_bits(z_index) + sum(map(tables.part_bits, parts))) / 8
    if estimate >= 96 << 10:
        assert descriptor == SEGMENTS
    else:
        expected = min(32, 1 << max(0, int(np.log2(estimate / 2048))))
        assert 1 << (descriptor & 7) == expected
        assert descriptor & SEGMENTS == 0
        assert 0 < len(payload) - estimate < 4 + 4 * expected + 8

    for kit in (NumpyKit(), TorchKit(torch.device("cpu"))):
        reader = PayloadReader(tables, LEVEL, descriptor, memoryview(payload))
        assert np.array_equal(reader.z_index(3, 4), z_index)
        for n, part in enumerate(parts):
            rows, scale = kit.there(part.rows), kit.there(part.scale)
            symbols, found = reader.symbols(kit, n, rows, scale, scale)
            assert np.array_equal(on_host(symbols), part.symbols)
            assert found == threshold
        reader.finish()
        assert reader.n_parts == 4
