# SPDX-License-Identifier: Apache-2.0
"""`glc info FILE`: say where every bit of a file goes."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glc.cli.options import MAX_PIXELS, MaxPixels, OptionalModel
from glc.cli.progress import progress_bar
from glc.cli.source import read_glc

if TYPE_CHECKING:
    from glc.report import Analysis

__all__ = ["run"]


def run(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The .glc file.")],
    model: OptionalModel = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Account for every bit of a .glc file."""
    data = read_glc(source, max_pixels=max_pixels)
    with progress_bar("info") as progress:
        progress("loading the model", 0.0)
        from glc.shortcuts import codec_for

        codec = codec_for(data, model, max_pixels=max_pixels)
        progress("symbols", 0.5)
        analysis = codec.analyze(data, max_pixels=max_pixels)
    if as_json:
        typer.echo(json.dumps(_as_dict(source, analysis), indent=2))
    else:
        _print(source, analysis)


def _as_dict(source: Path, analysis: "Analysis") -> dict[str, Any]:
    from glc.bitstream import TILE_UNIT

    header = analysis.header
    return {
        "file": str(source),
        "file_bytes": analysis.file_bytes,
        "width": header.width,
        "height": header.height,
        "quality": header.quality,
        "level": header.level,
        "model_id": header.model_id.hex(),
        "version": header.version,
        "profile": header.profile,
        "portable": header.portable,
        "lanes": header.n_lanes,
        "tile": header.tile * TILE_UNIT,
        "bits": analysis.bits(),
        "estimated_bits": analysis.estimated_bits,
        "z_symbols": analysis.z_symbols,
        "parts": [
            dataclasses.asdict(part) | {"skip_share": part.skip_share} for part in analysis.parts
        ],
    }


def _print(source: Path, analysis: "Analysis") -> None:
    from rich.console import Console
    from rich.table import Table

    from glc.bitstream import TILE_UNIT

    header = analysis.header
    pixels = header.width * header.height
    bits = 8 * analysis.file_bytes
    lanes = f"{header.n_lanes} lane{'s' * (header.n_lanes > 1)}" if header.n_lanes else "segments"
    layout = f"tiles of {header.tile * TILE_UNIT} pixels" if header.tile else lanes
    typer.echo(
        f"{source}: {header.width}x{header.height}, {analysis.file_bytes} bytes, "
        f"{bits / pixels:.4f} bpp, quality {header.quality:.2f} (level {header.level}), "
        f"model {header.model_id.hex()}, {layout}"
    )
    table = Table(box=None)
    for name in ("field", "bits", "share", "symbols", "coded", "nonzero", "skipped"):
        table.add_column(name, justify="left" if name == "field" else "right")
    for name, value in analysis.bits().items():
        if value == 0.0 and name in ("chunks", "tiles"):
            continue
        cells = [name, f"{value:.1f}", f"{100 * value / bits:.1f} %"]
        if name == "z":
            cells += [str(analysis.z_symbols)]
        elif name.startswith("part_"):
            part = analysis.parts[int(name[-1])]
            counts = (part.symbols, part.coded, part.nonzero)
            cells += [*map(str, counts), f"{100 * part.skip_share:.2f} %"]
        table.add_row(*cells)
    table.add_row("file", f"{sum(analysis.bits().values()):.1f}", "100.0 %", style="bold")
    Console(width=100).print(table)
    typer.echo(
        f"the model's estimate for z and y: {analysis.estimated_bits:.1f} bits; "
        f"the file has {bits / analysis.estimated_bits - 1:+.2%}"
    )
