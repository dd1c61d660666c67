# SPDX-License-Identifier: Apache-2.0
"""`glc bench NAME`: run the committed benchmarks, in a checkout."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run"]


def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Such as rans, vq, gaussian or codec; or all.")
    ],
) -> None:
    """Run one benchmark file of a checkout, or all."""
    from glc.errors import InvalidArgumentError, UnsupportedError

    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not folder.is_dir():
        raise UnsupportedError(
            "bench: the benchmarks are part of a source checkout, not of the package"
        )
    names = sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))
    if name not in {*names, "all"}:
        raise InvalidArgumentError(
            f"bench: name: expected one of {', '.join([*names, 'all'])}, got {name!r}"
        )
    target = folder if name == "all" else folder / f"bench_{name}.py"
    command = [sys.executable, "-m", "pytest", str(target), "--benchmark-only"]
    raise typer.Exit(subprocess.run(command, cwd=folder.parent, check=False).returncode)
