# SPDX-License-Identifier: Apache-2.0
"""`glc train STAGE CONFIG`, and the same for `accelerate launch -m glc.training.STAGE CONFIG`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

from glc._ending import ending
from glc.errors import InvalidArgumentError

STAGES = ("stage1", "stage2", "stage3", "restoration", "stylization")

Main = Callable[[Path, list[str], bool], None]


def run(stage: str, config_path: Path, overrides: list[str], resume: bool) -> None:
    """Train one stage; see the stage's `main`.

    Raises:
        InvalidArgumentError: an unknown stage, and whatever the stage raises.
    """
    if stage not in STAGES:
        raise InvalidArgumentError(f"train: stage: expected one of {list(STAGES)}, got {stage!r}")
    main: Main = importlib.import_module(f"glc.training.{stage}").main
    main(config_path, overrides, resume)


def launched(main: Main) -> None:
    """Command line of one stage, for launchers that start a module in several processes.

    Exit code 2 and one line on stderr for the caller's mistakes and for runs that cannot go on, as
    on a full disk; 143 and 130 where SIGTERM and Ctrl-C ended it, as `glc train` has them.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path, help="the stage's YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    args = parser.parse_args()
    with ending():
        main(args.config, args.overrides, args.resume)
