# SPDX-License-Identifier: Apache-2.0
"""Which positions of y each of its four parts takes (facts D4)."""

PARTS = 4

PHASES = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))
"""PHASES[part][group] = the pixel phase 2 * (row % 2) + (column % 2) that this part codes."""
