# SPDX-License-Identifier: Apache-2.0
"""Tables that are part of the format; tools/make_tables.py computes them."""
