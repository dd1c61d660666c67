# SPDX-License-Identifier: Apache-2.0
"""Rate-distortion curves: read from reports, compared, and drawn."""

from __future__ import annotations

import io
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from glc.errors import InvalidArgumentError

__all__ = [
    "METRICS",
    "TABLE_WIDTH",
    "BdRate",
    "Curve",
    "Metric",
    "bd_rate",
    "draw",
    "frontier",
    "load_curves",
    "measured",
    "named_apart",
]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a distortion is called and read.

    Attributes:
        label: for tables and axes, the unit included.
        sign: 1 where higher is better, -1 where lower is.
        least: of its values.
        most: of its values.
        digits: that tables show behind the point.
    """

    label: str
    sign: int
    least: float
    most: float
    digits: int = 4

    def text(self, value: float | None) -> str:
        """A value as tables show it."""
        return "n/a" if value is None else f"{value:.{self.digits}f}"


_MOST = 1e6  # of any figure, far beyond what pictures give: axes and rates can be computed with it

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "psnr_db": Metric(label="PSNR dB", sign=1, least=-_MOST, most=_MOST, digits=2),
        "ms_ssim": Metric(label="MS-SSIM", sign=1, least=-1, most=1),  # and not in decibels
        "tinydarknet": Metric(label="Tiny Darknet", sign=-1, least=0, most=_MOST),
        "lpips": Metric(label="LPIPS", sign=-1, least=0, most=_MOST),
        "dists": Metric(label="DISTS", sign=-1, least=-1, most=_MOST),  # of equal pictures about 0
        "fid": Metric(label="FID", sign=-1, least=-_MOST, most=_MOST, digits=2),
        "kid": Metric(label="KID", sign=-1, least=-_MOST, most=_MOST, digits=5),
    }
)
"""The distortions of a report, named as in `LevelResult`."""

TABLE_WIDTH = 200
"""Of tables, in letters: there a figure of every metric is whole, in a hundred it would be cut."""

# CompressAI writes the second since it measures other colour spaces too
_COMPRESSAI_NAMES = {"psnr_db": ("psnr", "psnr-rgb"), "ms_ssim": ("ms-ssim", "ms-ssim-rgb")}

_MARKERS = "osD^vPX<>"

# Of a chart, in inches. The legend has a column for each panel, in which names of so many letters
# find room.
_PANEL_WIDTH, _PANEL_HEIGHT, _LEGEND_ROW = 4.8, 3.6, 0.22
_LONGEST_NAME = 40


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Rate and distortion of one codec, a point for each of its settings.

    Attributes:
        name: of the codec.
        bpp: bits per pixel of each setting, in the report's order.
        values: for every name of `METRICS` a value for each setting; None where it is not known.
        pictures: names of the pictures that these are means over; None where the report does not
            say.
    """

    name: str
    bpp: tuple[float, ...]
    values: Mapping[str, tuple[float | None, ...]]
    pictures: frozenset[str] | None = None

    def points(self, metric: str) -> list[tuple[float, float]]:
        """(bpp, value) of the settings whose value is known, by rising bpp.

        Args:
            metric: a name of `METRICS`.
        """
        pairs = zip(self.bpp, self.values[metric], strict=True)
        return sorted((bpp, value) for bpp, value in pairs if value is not None)


@dataclass(frozen=True, kw_only=True)
class BdRate:
    """Bjontegaard's mean difference of rate.

    Attributes:
        percent: bits more than the anchor's at equal distortion, below 0 where they are fewer.
        overlap: the range of distortion that this is a mean over, as a share of the range that
            both curves cover together, 0 .. 1; of a small share it says little.
    """

    percent: float
    overlap: float


def measured(settings: Sequence[Mapping[str, Any]], asked: Sequence[str] = ()) -> dict[str, Metric]:
    """The metrics that tables show of some settings.

    Args:
        settings: values by name, such as `vars` gives of a `LevelResult`.
        asked: names of `METRICS` that were asked for.

    Returns:
        PSNR, MS-SSIM, what any setting has, and what was asked for.
    """
    always = {"psnr_db", "ms_ssim", *asked}
    return {
        name: metric
        for name, metric in METRICS.items()
        if name in always or any(one.get(name) is not None for one in settings)
    }


def load_curves(path: str | os.PathLike[str]) -> list[Curve]:
    """Read the curves of a report.

    Args:
        path: of what `glc eval --json` or `python -m glc.evaluation.anchors --json` wrote, or of a
            file of CompressAI's results, {"name": ..., "results": {"bpp": [...], "psnr": [...]}}.

    Returns:
        A curve, or one for each codec of the anchors.

    Raises:
        InvalidArgumentError: it cannot be read, or is no such report.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(report, list):
            settings: dict[str, list[Any]] = {}
            for setting in report:
                settings.setdefault(str(setting["codec"]), []).append(setting)
            curves = [_curve(codec, ours) for codec, ours in settings.items()]
        elif "levels" in report:
            pictures = frozenset(str(image["image"]) for image in report["images"])
            curve = _curve(str(report.get("model", Path(path).stem)), report["levels"])
            curves = [replace(curve, pictures=pictures)]
        else:
            curves = [_compressai_curve(str(report["name"]), report["results"])]
        if not curves:
            raise ValueError("it is empty")
    except OSError as error:
        raise InvalidArgumentError(f"curves: report: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArgumentError(
            "curves: report: expected what glc eval --json or the anchors' --json wrote, or "
            f"CompressAI's results, got {path}: {error!r}"
        ) from error
    return curves


def _curve(name: str, settings: Sequence[Mapping[str, Any]]) -> Curve:
    values = {metric: [setting.get(metric) for setting in settings] for metric in METRICS}
    return _checked(name, [setting["bpp"] for setting in settings], values)


def _compressai_curve(name: str, results: Mapping[str, Sequence[Any]]) -> Curve:
    bpp = results["bpp"]
    values: dict[str, Sequence[Any]] = {metric: [None] * len(bpp) for metric in METRICS}
    for metric, names in _COMPRESSAI_NAMES.items():
        for key in names:
            values[metric] = results.get(key, values[metric])
    return _checked(name, bpp, values)


def _checked(name: str, bpp: Sequence[Any], values: Mapping[str, Sequence[Any]]) -> Curve:
    if not bpp:
        raise ValueError("bpp: expected a number for each setting, got none")
    for metric, limits in METRICS.items():
        if len(values[metric]) != len(bpp):
            raise ValueError(f"{metric}: expected {len(bpp)} values, got {len(values[metric])}")
        _check_numbers(
            metric, [v for v in values[metric] if v is not None], limits.least, limits.most
        )
    _check_numbers("bpp", bpp, 1 / _MOST, _MOST)
    return Curve(
        name=_printable(name),
        bpp=tuple(float(b) for b in bpp),
        values={
            metric: tuple(None if v is None else float(v) for v in values[metric])
            for metric in METRICS
        },
    )


def _check_numbers(key: str, values: Sequence[Any], least: float, most: float) -> None:
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and least <= value <= most):
            raise ValueError(f"{key}: expected a number of {least:g} .. {most:g}, got {value!r}")


def _printable(name: str) -> str:
    """A name in one line of characters that can be shown and written."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )


def named_apart(curves: Sequence[tuple[Path, Curve]]) -> list[Curve]:
    """Curves of several reports with names that differ: of those alike, with their file's name.

    Raises:
        InvalidArgumentError: two of one name are of files of one name.
    """
    often = Counter(curve.name for _, curve in curves)
    named = [
        curve
        if often[curve.name] == 1
        else replace(curve, name=_printable(f"{curve.name} ({path.stem})"))
        for path, curve in curves
    ]
    name, times = Counter(curve.name for curve in named).most_common(1)[0]
    if times > 1:
        raise InvalidArgumentError(f"curves: report: expected different curves, got {name} twice")
    return named


def frontier(points: Sequence[tuple[float, float]], sign: int) -> list[tuple[float, float]]:
    """The settings that no cheaper one equals or surpasses.

    Args:
        points: (bpp, value) of the settings.
        sign: of the metric.

    Returns:
        Those of them, by rising bpp; their values get better strictly.
    """
    best: list[tuple[float, float]] = []
    for bpp, value in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not best or sign * value > sign * best[-1][1]:
            best.append((bpp, value))
    return best


def bd_rate(anchor: Curve, curve: Curve, metric: str) -> BdRate | None:
    """Bits more than an anchor's at equal distortion.

    The mean of the difference of log rate over the values of the metric that both curves reach,
    each interpolated by monotone cubics (PCHIP) between the settings that no cheaper one surpasses.
    (Bjontegaard 2001, VCEG-M33; PCHIP: JCTVC-L1100)

    Args:
        anchor: what to compare with.
        curve: of the codec in question.
        metric: a name of `METRICS`; MS-SSIM is taken as it is, not in decibels.

    Returns:
        The difference; None where no value of the metric is within both curves.

    Raises:
        ModuleNotFoundError: the package bjontegaard is not installed.
    """
    sign = METRICS[metric].sign
    theirs, ours = (frontier(c.points(metric), sign) for c in (anchor, curve))
    if min(len(theirs), len(ours)) < 2:
        return None
    (their_bpp, their_values), (our_bpp, our_values) = (
        (np.array([bpp for bpp, _ in points]), sign * np.array([value for _, value in points]))
        for points in (theirs, ours)
    )
    both = min(their_values[-1], our_values[-1]) - max(their_values[0], our_values[0])
    either = max(their_values[-1], our_values[-1]) - min(their_values[0], our_values[0])
    if both <= 0:
        return None
    import bjontegaard

    percent = bjontegaard.bd_rate(
        their_bpp,
        their_values,
        our_bpp,
        our_values,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return BdRate(percent=float(percent), overlap=float(both / either))


def draw(curves: Sequence[Curve], metrics: Sequence[str], suffix: str) -> bytes:
    """Draw curves, a panel for each metric, rates in bits per pixel on a logarithmic axis.

    Lines join the settings that `bd_rate` goes by; the others are hollow.

    Args:
        curves: of several codecs.
        metrics: names of `METRICS`.
        suffix: of the kind of picture: png, svg or pdf.

    Returns:
        A file's bytes.

    Raises:
        ModuleNotFoundError: the package matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    columns = len(metrics)
    height = _PANEL_HEIGHT + _LEGEND_ROW * math.ceil(len(curves) / columns)
    figure = Figure(figsize=(_PANEL_WIDTH * columns, height), layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False)[0]
    lines = {}
    for panel, metric in zip(panels, metrics, strict=True):
        for number, curve in enumerate(curves):
            points = curve.points(metric)
            best = frontier(points, METRICS[metric].sign)
            style = {"color": f"C{number % 10}", "marker": _MARKERS[number % len(_MARKERS)]}
            for some, fill, line in ((points, "none", "none"), (best, "full", "-")):
                if some:
                    (lines[curve.name],) = panel.plot(
                        *zip(*some, strict=True),
                        fillstyle=fill,
                        linestyle=line,
                        markersize=4,
                        **style,
                    )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("bits per pixel")
        better = "higher" if METRICS[metric].sign > 0 else "lower"
        panel.set_ylabel(f"{METRICS[metric].label} ({better} is better)")
        panel.grid(alpha=0.3)
    names = [n if len(n) <= _LONGEST_NAME else f"…{n[1 - _LONGEST_NAME :]}" for n in lines]
    legend = figure.legend(lines.values(), names, loc="outside upper center", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold any number of dollars
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=150)
    return buffer.getvalue()
