# SPDX-License-Identifier: Apache-2.0
"""Numbers of things in words."""

__all__ = ["counted"]


def counted(number: int, thing: str) -> str:
    """Say how many: `1 picture`, `2 pictures`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
