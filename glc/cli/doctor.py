# SPDX-License-Identifier: Apache-2.0
"""`glc doctor`: what is installed here, and does it work."""

import importlib.metadata
import os
import platform

import typer

__all__ = ["run"]

_PACKAGES = ("numpy", "torch", "pillow", "safetensors", "huggingface_hub", "pytorch-msssim")


def run() -> None:
    """Print the environment and check the parts that coding needs."""
    import glc

    _line("python", f"{platform.python_version()} on {platform.platform()}")
    _line("processors", str(os.cpu_count()))
    for name, value in glc.build_info().items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        _line(f"glc {name}", text)
    for name in _PACKAGES:
        _line(name, _version_of(name))
    _check_torch()
    _check_coder()
    _check_models()


def _check_torch() -> None:
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "not available"
    _line("torch threads", str(torch.get_num_threads()))
    _line("torch cuda", cuda)


def _check_coder() -> None:
    import numpy as np

    from glc import cdf, rans

    tables, _ = cdf.canonical()
    rows = np.arange(4 * tables.rows, dtype=np.int32) % tables.rows
    symbols = (np.arange(rows.size, dtype=np.int32) * 7) % 11 - 5
    data = rans.encode(symbols, rows, tables)
    good = np.array_equal(rans.decode(data, rows, tables), symbols)
    _line("coder round trip", "good" if good else "BROKEN: symbols differ")
    if not good:
        raise typer.Exit(1)


def _check_models() -> None:
    from glc.codec import Codec
    from glc.defaults import DEFAULT_MODEL
    from glc.errors import GlcError
    from glc.models.pretrained import bundled_models

    broken = False
    for name in bundled_models() or [DEFAULT_MODEL]:
        try:
            codec = Codec(name)
        except GlcError as error:
            _line(name, f"BROKEN: {error}")
            broken = True
        else:
            _line(name, f"id {codec.fingerprint[:2].hex()}, pads to {codec.model.pad_multiple}")
    if broken:
        raise typer.Exit(1)


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _line(name: str, value: str) -> None:
    typer.echo(f"{name:18} {value}")
