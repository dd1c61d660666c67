# SPDX-License-Identifier: Apache-2.0
"""The `glc` command: one file per verb, each of which parses, calls and prints.

Importing this package imports neither torch nor numpy, so that `glc --help` is immediate.
"""

from glc.cli.app import app, main

__all__ = ["app", "main"]
