# SPDX-License-Identifier: Apache-2.0
"""A page to look at: each picture beside what its files decode to.

Figures cannot tell what a generative codec makes of a picture, eyes can.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from glc.evaluation.anchors import best_within
from glc.evaluation.curves import measured
from glc.evaluation.kept import kept_name, kept_original
from glc.evaluation.measures import Measures
from glc.evaluation.perceptual import PAIR_METRICS, SET_METRICS
from glc.evaluation.results import Evaluation, ImageResult
from glc.files import write_file
from glc.image import load_image, save_png

__all__ = ["write_page"]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A picture as some codec made it."""

    label: str
    file: str  # relative to the page
    file_bytes: int
    bpp: float
    distances: Mapping[str, Any]  # and more


def write_page(
    folder: str | os.PathLike[str],
    evaluation: Evaluation,
    *,
    against: str | None = None,
    measures: Measures | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write `index.html` beside what `evaluate` kept.

    The page needs no network and no other files.

    Args:
        folder: what was given to `evaluate` as `keep`.
        evaluation: what came of it.
        against: another codec, a name of `glc.evaluation.anchors.SETTINGS`, to show beside: what
            it makes of each picture in no more bytes.
        measures: what to measure of that; as `evaluate` did by default.
        progress: called with (picture name, fraction done).

    Returns:
        Path of the page.

    Raises:
        InvalidArgumentError: an unknown codec, or a file cannot be written, or read any more.
    """
    measures = measures or Measures()
    results: dict[str, list[ImageResult]] = {one.image: [] for one in evaluation.images}
    for one in evaluation.images:
        results[one.image].append(one)
    asked = [name for name in evaluation.metrics if name in PAIR_METRICS]
    sections = []
    for n, (name, ours) in enumerate(results.items()):
        shown = []
        for k, one in enumerate(ours):
            if progress:
                progress(name, (n + k / len(ours)) / len(results))
            shown.append(_ours(one))
            theirs = None if against is None else _theirs(Path(folder), one, against, measures)
            if theirs is not None:
                shown.append(theirs)
        sections.append(_section(n, ours[0], shown, asked))
    page = Path(folder, "index.html")
    write_file(page, _page(evaluation, sections, against).encode("utf-8", "replace"))
    return page


def _ours(one: ImageResult) -> _Shown:
    return _Shown(
        label=f"quality {one.quality:g}",
        file=kept_name(one.image, one.quality, ".png"),
        file_bytes=one.file_bytes,
        bpp=one.bpp,
        distances=vars(one),
    )


def _theirs(folder: Path, one: ImageResult, codec: str, measures: Measures) -> _Shown | None:
    x = load_image(folder / kept_original(one.image))
    original = x if one.reference is None else load_image(one.reference)
    rival = best_within(x, codec, one.file_bytes)
    if rival is None:
        return None
    drawn = kept_name(one.image, one.quality, f"-{rival.codec}.png")
    save_png(folder / drawn, rival.pixels)
    write_file(folder / kept_name(one.image, one.quality, f".{rival.codec}"), rival.data)
    size = "" if rival.divisor == 1 else f", sides / {rival.divisor}"
    return _Shown(
        label=f"{rival.codec} {rival.quality}{size}",
        file=drawn,
        file_bytes=len(rival.data),
        bpp=8 * len(rival.data) / (one.width * one.height),
        distances=measures.of_pair(original, rival.pixels),
    )


def _page(evaluation: Evaluation, sections: Sequence[str], against: str | None) -> str:
    refined = f", refined in {evaluation.refine} steps" if evaluation.refine else ""
    notes = [f"Model {evaluation.fingerprint}."]
    if evaluation.references is not None:
        notes.append(f"Distances are to the pictures of {evaluation.references}.")
    if set(evaluation.metrics) & set(SET_METRICS):
        notes.append(f"FID and KID of {evaluation.n_patches} patches of {evaluation.patch} pixels.")
    if against is not None:
        notes.append(
            f"Below each file what {against} makes of the picture in no more bytes, where it can, "
            "at its slowest and in the size, full to a quarter, of the highest PSNR."
        )
    levels = [
        ("", f"quality {level.quality:g}", level.file_bytes, level.bpp, vars(level))
        for level in evaluation.levels
    ]
    pictures = "1 picture" if len(sections) == 1 else f"{len(sections)} pictures"
    template = files("glc.evaluation").joinpath("page.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(
        title=escape(f"{evaluation.model}, {pictures}{refined}"),
        levels=_table(levels, evaluation.metrics),
        pictures="\n".join(sections),
        notes=escape(" ".join(notes)),
    )


def _section(
    number: int, picture: ImageResult, shown: Sequence[_Shown], asked: Sequence[str]
) -> str:
    size = f'width="{picture.width}" height="{picture.height}" loading="lazy"'
    rows = []
    for k, one in enumerate(shown):
        choice = (
            f'<input type="radio" name="choice-{number}" id="choice-{number}-{k}" '
            f'value="{_link(one.file)}" autocomplete="off"{" checked" if k == 0 else ""}>'
        )
        label = f'<label for="choice-{number}-{k}">{one.label}</label>'
        rows.append((choice, label, one.file_bytes, one.bpp, one.distances))
    return f"""<section>
<h2>{escape(picture.image)}</h2>
<div class="pair">
<img src="{_link(kept_original(picture.image))}" alt="the picture" {size}>
<img class="coded" src="{_link(shown[0].file)}" alt="as decoded" {size}>
<input type="range" step="0.1" autocomplete="off" aria-label="where the line is">
</div>
<div class="wide">{_table(rows, asked)}</div>
</section>"""


def _table(
    rows: Sequence[tuple[str, str, int, float, Mapping[str, Any]]], asked: Sequence[str]
) -> str:
    """Rows of (what chooses it, label, bytes, bpp, distances), and the metrics asked for."""
    figures = measured([distances for *_, distances in rows], asked)
    heads = ["", "", "bytes", "bpp", *(metric.label for metric in figures.values())]
    lines = ["".join(f"<th>{head}</th>" for head in heads)]
    for choice, label, n_bytes, bpp, distances in rows:
        texts = [metric.text(distances.get(name)) for name, metric in figures.items()]
        cells = (choice, label, f"{n_bytes:,}", f"{bpp:.4f}", *texts)
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _link(path: str) -> str:
    return quote(os.fsencode(path))
