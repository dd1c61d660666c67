# SPDX-License-Identifier: Apache-2.0
"""`glc doctor`: what is installed here, and does it work."""

import importlib.metadata
import os
import platform
from collections.abc import Callable

import typer

from glc._missing import PACKAGES, advice

__all__ = ["run"]


def run() -> None:
    """Print the environment and check the parts that coding needs.

    Exit code 1 says that one of them is broken or missing; the others are checked all the same.
    """
    import glc

    _line("python", f"{platform.python_version()} on {platform.platform()}")
    _line("processors", str(os.cpu_count()))
    for name, value in glc.build_info().items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        _line(f"glc {name}", text)
    for name in PACKAGES.values():
        _line(name, _version_of(name))
    checks = {"torch": _check_torch, "coder round trip": _check_coder, "models": _check_models}
    sound = [_is_sound(name, check) for name, check in checks.items()]
    if not all(sound):
        raise typer.Exit(1)


def _is_sound(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except ImportError as error:
        text = advice(error)
        _line(name, f"BROKEN: {error}" if text is None else f"MISSING: {text}")
    except OSError as error:  # of a library that is damaged, or lacks another
        _line(name, f"BROKEN: {error}")
    return False


def _check_torch() -> bool:
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "not available"
    _line("torch threads", str(torch.get_num_threads()))
    _line("torch cuda", cuda)
    return True


def _check_coder() -> bool:
    import numpy as np

    from glc import cdf, rans

    tables, _ = cdf.canonical()
    rows = np.arange(4 * tables.rows, dtype=np.int32) % tables.rows
    symbols = (np.arange(rows.size, dtype=np.int32) * 7) % 11 - 5
    data = rans.encode(symbols, rows, tables)
    good = np.array_equal(rans.decode(data, rows, tables), symbols)
    _line("coder round trip", "good" if good else "BROKEN: symbols differ")
    return good


def _check_models() -> bool:
    from glc.codec import Codec
    from glc.defaults import DEFAULT_MODEL
    from glc.errors import GlcError
    from glc.models.pretrained import bundled_models

    sound = True
    for name in bundled_models() or [DEFAULT_MODEL]:
        try:
            codec = Codec(name)
        except GlcError as error:
            _line(name, f"BROKEN: {error}")
            sound = False
        else:
            _line(name, f"id {codec.fingerprint[:2].hex()}, pads to {codec.config.pad_multiple}")
    return sound


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _line(name: str, value: str) -> None:
    typer.echo(f"{name:18} {value}")
