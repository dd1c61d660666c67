# SPDX-License-Identifier: Apache-2.0
"""`glc bench NAME`: run the committed benchmarks, in a checkout."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import Overwrite

__all__ = ["run"]

# pytest's exit codes for a command line it cannot use, and when it has selected nothing
_BAD_WORDS, _NO_CASE = 4, 5


def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Such as rans, vq, gaussian or codec; or all.")
    ],
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the cases for several; 1 leaves them out. Default: all."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("-k", metavar="WORDS", help="Only cases so named, e.g. 'decode and mid'."),
    ] = None,
    fast: Annotated[
        bool, typer.Option(help="Small cases, few rounds: a smoke test, its times mean nothing.")
    ] = False,
    chart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw a PNG or SVG chart (with matplotlib)."),
    ] = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the figures as JSON lines.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Run one benchmark file of a checkout, or all, each case beside its peers."""
    from glc.errors import InvalidArgumentError, UnsupportedError
    from glc.files import check_output

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
    for package in ("torch", "pytest", "pytest_benchmark"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    if name.endswith("_cuda"):
        import torch

        if not torch.cuda.is_available():
            raise UnsupportedError(f"bench: {name}: expected a CUDA device, found none")
    if threads is not None and threads < 1:
        raise InvalidArgumentError(f"bench: threads: expected at least 1, got {threads}")
    if chart is not None and chart.suffix not in {".png", ".svg"}:
        raise InvalidArgumentError(f"bench: chart: expected a .png or .svg file, got {chart}")
    target = folder if name == "all" else folder / f"bench_{name}.py"
    command = [sys.executable, "-m", "pytest", str(target), "--benchmark-only"]
    command += ["--glc-watch", "--benchmark-quiet", "--capture=no", "-qq", "--disable-warnings"]
    command += ["-o", "console_output_style=classic", "-p", "no:cacheprovider"]
    command += ["-k", only] if only else []
    for option, path in (("--glc-chart", chart), ("--glc-jsonl", jsonl)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            check_output(path, overwrite=overwrite or path is jsonl)  # which is added to
            command += [option, str(path.absolute())]
    environment = dict(os.environ)
    if threads is not None:
        environment["GLC_BENCH_THREADS"] = str(threads)
    if fast:
        environment["GLC_BENCH_FAST"] = "1"
    done = subprocess.run(command, cwd=folder.parent, env=environment, check=False)
    if done.returncode == _NO_CASE:
        raise InvalidArgumentError(f"bench: -k: no case of {name} matches {only!r}")
    raise typer.Exit(2 if done.returncode == _BAD_WORDS else done.returncode)
