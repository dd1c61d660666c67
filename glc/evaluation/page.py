# SPDX-License-Identifier: Apache-2.0
"""A page to look at: each picture beside what its files decode to.

Figures cannot tell what a generative codec makes of a picture, eyes can.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from glc.evaluation.curves import measured
from glc.evaluation.evaluate import Evaluation, ImageResult, kept_name
from glc.files import write_file
from glc.image import load_image, save_png

__all__ = ["write_page"]


def write_page(
    folder: str | os.PathLike[str],
    pictures: str | os.PathLike[str],
    evaluation: Evaluation,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write `index.html` beside what `evaluate` kept, and the pictures as PNG files.

    The page needs no network and no other files.

    Args:
        folder: what was given to `evaluate` as `keep`.
        pictures: the folder that was evaluated.
        evaluation: what came of it.
        progress: called with (picture name, fraction done).

    Returns:
        Path of the page.

    Raises:
        InvalidArgumentError: a picture cannot be read any more, or a file not be written.
    """
    names = list(dict.fromkeys(one.image for one in evaluation.images))
    for n, name in enumerate(names):
        if progress:
            progress(name, n / len(names))
        save_png(Path(folder, _original(name)), load_image(Path(pictures, name)))
    page = Path(folder, "index.html")
    write_file(page, _page(evaluation, names).encode("utf-8", "replace"))
    return page


def _original(name: str) -> str:
    return f"{name}.png"


def _page(evaluation: Evaluation, names: Sequence[str]) -> str:
    count = f"{len(names)} picture{'s' if len(names) != 1 else ''}"
    refined = f", refined in {evaluation.refine} steps" if evaluation.refine else ""
    patches = ""
    if evaluation.n_patches:
        patches = f" FID and KID of {evaluation.n_patches} patches of {evaluation.patch} pixels."
    results: dict[str, list[ImageResult]] = {name: [] for name in names}
    for one in evaluation.images:
        results[one.image].append(one)
    sections = (_section(n, name, results[name]) for n, name in enumerate(names))
    template = files("glc.evaluation").joinpath("page.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(
        title=escape(f"{evaluation.model}, {count}{refined}"),
        levels=_table(evaluation.levels, [""] * len(evaluation.levels)),
        pictures="\n".join(sections),
        colophon=f"Model {escape(evaluation.fingerprint)}.{patches}",
    )


def _section(number: int, name: str, results: Sequence[ImageResult]) -> str:
    width, height = results[0].width, results[0].height
    sources = [_link(kept_name(name, one.quality, ".png")) for one in results]
    size = f'width="{width}" height="{height}" loading="lazy"'
    choices = [
        f'<input type="radio" name="quality-{number}" value="{source}" autocomplete="off" '
        f'aria-label="quality {one.quality:g}"{" checked" if source == sources[0] else ""}>'
        for source, one in zip(sources, results, strict=True)
    ]
    return f"""<section>
<h2>{escape(name)}</h2>
<div class="pair">
<img src="{_link(_original(name))}" alt="the picture" {size}>
<img class="coded" src="{sources[0]}" alt="as decoded" {size}>
<input type="range" step="0.1" autocomplete="off" aria-label="where the line is">
</div>
<div class="wide">{_table(results, choices)}</div>
</section>"""


def _table(results: Sequence[Any], choices: Sequence[str]) -> str:
    """Rows of `LevelResult` or of `ImageResult`, with what chooses one."""
    figures = measured(results)
    heads = ["", "quality", "bytes", "bpp", *(metric.label for metric in figures.values())]
    rows = ["".join(f"<th>{head}</th>" for head in heads)]
    for result, choice in zip(results, choices, strict=True):
        cells = [choice, f"{result.quality:g}", f"{result.file_bytes:,}", f"{result.bpp:.4f}"]
        cells += [metric.text(getattr(result, name)) for name, metric in figures.items()]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _link(path: str) -> str:
    return quote(os.fsencode(path))
