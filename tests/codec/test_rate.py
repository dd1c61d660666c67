# SPDX-License-Identifier: Apache-2.0
"""The search for the highest level whose file is small enough."""

import numpy as np
import pytest

from glc.errors import InvalidArgumentError
from glc.rate import MAX_LEVEL, largest_within

SIZES = [100 + 7 * level for level in range(MAX_LEVEL + 1)]


def test_the_highest_level_that_fits_is_found_in_few_tries() -> None:
    for target in range(SIZES[0], SIZES[-1] + 10):
        tried: list[int] = []
        steps: list[tuple[str, float]] = []

        def encode_level(level: int, tried: list[int] = tried) -> bytes:
            tried.append(level)
            return bytes(SIZES[level])

        data = largest_within(target, encode_level, lambda *step, to=steps: to.append(step))
        assert len(data) == max(size for size in SIZES if size <= target)
        assert len(tried) in (6, 7)
        assert [name for name, _ in steps] == [f"level {level}" for level in tried]
        fractions = [fraction for _, fraction in steps]
        assert fractions[0] == 1 / 8  # behind the latents; seven levels at most follow
        assert (np.diff(fractions) > 0).all()
        assert fractions[-1] < 1.0


def test_what_would_fit_is_named_where_nothing_does() -> None:
    with pytest.raises(InvalidArgumentError, match="at least 100 for this picture, got 99"):
        largest_within(99, lambda level: bytes(SIZES[level]), lambda *_: None)
    rough = {0: 105, 1: 103}  # the lowest level is not the smallest file of a tiny picture
    with pytest.raises(InvalidArgumentError, match="expected at least 103 for"):
        largest_within(99, lambda level: bytes(rough.get(level, 200)), lambda *_: None)
