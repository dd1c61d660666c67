# SPDX-License-Identifier: Apache-2.0
"""Rate control: from a quality or a size to one of the 64 levels a file can name."""

from collections.abc import Callable
from numbers import Real

from glc.errors import InvalidArgumentError

__all__ = [
    "LEVELS_PER_QUALITY",
    "MAX_LEVEL",
    "MOST_TRIES",
    "largest_within",
    "level_of",
    "prior_row",
    "top_level",
]

MAX_LEVEL = 63
LEVELS_PER_QUALITY = 21


def level_of(quality: float) -> int:
    """Round a quality to the level a file can name.

    Args:
        quality: 0 .. 3.

    Returns:
        21 x quality, rounded, 0 .. 63.

    Raises:
        InvalidArgumentError: out of range, or not a number.
    """
    number = isinstance(quality, Real) and not isinstance(quality, bool)
    if not number or not 0.0 <= quality <= MAX_LEVEL / LEVELS_PER_QUALITY:
        raise InvalidArgumentError(f"encode: quality: expected 0 .. 3, got {quality!r:.40}")
    return int(quality * LEVELS_PER_QUALITY + 0.5)


def top_level(levels: int) -> int:
    """Highest level that a file of a model can name, of those it has learned.

    Args:
        levels: learned by the model, at least 1; of more than four a file names four.

    Returns:
        21 x (levels - 1), at most 63.
    """
    return min(MAX_LEVEL, LEVELS_PER_QUALITY * (levels - 1))


def prior_row(quality: float, levels: int) -> int:
    """Which of the learned levels' priors of hyper indices a quality uses: the nearest one's.

    Halfway between two, the upper one's.
    """
    return min(int(quality + 0.5), levels - 1)


MOST_TRIES = (MAX_LEVEL + 1).bit_length()  # of a bisection


def largest_within(
    target_bytes: int,
    encode_level: Callable[[int], bytes],
    report: Callable[[str, float], None],
    *,
    top: int = MAX_LEVEL,
) -> bytes:
    """Find the highest level whose file fits, by bisection: seven files at most are made.

    Sizes grow with the level, a few bytes of a small picture aside. A larger target never gives a
    lower level: both searches take the same turns until the larger target takes the higher half.

    Args:
        target_bytes: the size not to exceed.
        encode_level: gives the file of a level.
        report: called with (step name, fraction done), which begins behind the latents, that every
            level needs and that take about as long as one.
        top: the highest level that the model has learned.

    Returns:
        The file.

    Raises:
        InvalidArgumentError: not even level 0 fits; names the smallest size.
    """
    best: bytes | None = None
    low, high, tried, smallest = 0, top, 0, 0
    while low <= high:
        level = (low + high) // 2
        tried += 1
        report(f"level {level}", tried / (1 + MOST_TRIES))
        data = encode_level(level)
        if len(data) <= target_bytes:
            best, low = data, level + 1
        else:
            smallest, high = min(len(data), smallest or len(data)), level - 1
    if best is None:
        raise InvalidArgumentError(
            f"encode: target_bytes: expected at least {smallest} for this picture, "
            f"got {target_bytes}"
        )
    return best
