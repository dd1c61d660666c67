# SPDX-License-Identifier: Apache-2.0
"""Curves of several reports, compared at equal distortion and drawn."""

import json
import math
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glc.cli import app
from glc.errors import InvalidArgumentError
from glc.evaluation import METRICS, Curve, bd_rate, load_curves
from glc.evaluation.curves import draw, frontier

needs_plot = pytest.mark.skipif(
    find_spec("bjontegaard") is None, reason="needs the packages of requirements/plot.txt"
)
BPP = (0.03, 0.05, 0.08, 0.12)
PSNR = (23.0, 24.0, 25.5, 26.0)


def eval_report(name="ours", factor=1.0, pictures=("a.png", "b.png")):
    levels = [
        {"bpp": factor * bpp, "psnr_db": psnr, "ms_ssim": None, "tinydarknet": 1 / psnr}
        for bpp, psnr in zip(BPP, PSNR, strict=True)
    ]
    return {"model": name, "levels": levels, "images": [{"image": p} for p in pictures]}


def anchor_report(*codecs):
    return [
        {"codec": codec, "bpp": 2 * bpp, "psnr_db": psnr, "ms_ssim": 0.9, "tinydarknet": None}
        for codec in codecs
        for bpp, psnr in zip(BPP, PSNR, strict=True)
    ]


def results(**values):
    return {"name": "theirs", "description": "", "results": {"bpp": list(BPP), **values}}


def curve(bpp=BPP, psnr=PSNR, distance=None):
    nothing = (None,) * len(bpp)
    values = {"psnr_db": psnr, "ms_ssim": nothing, "tinydarknet": distance or nothing}
    return Curve(name="c", bpp=tuple(bpp), values=values)


@pytest.fixture
def write(tmp_path):
    def write(name, report):
        path = tmp_path / name
        path.write_text(report if isinstance(report, str) else json.dumps(report))
        return path

    return write


def plot(*arguments):
    return CliRunner().invoke(app, ["plot", *map(str, arguments)])


def test_every_kind_of_report_is_read(write):
    (ours,) = load_curves(write("eval.json", eval_report()))
    assert ours.name == "ours"
    assert ours.pictures == {"a.png", "b.png"}
    assert ours.points("psnr_db") == list(zip(BPP, PSNR, strict=True))
    assert ours.points("ms_ssim") == []

    avif, webp = load_curves(write("anchors.json", anchor_report("avif", "webp")))
    assert (avif.name, webp.name) == ("avif", "webp")
    assert avif.pictures is None
    assert webp.points("ms_ssim") == [(2 * bpp, 0.9) for bpp in BPP]

    for psnr, ms_ssim in (("psnr", "ms-ssim"), ("psnr-rgb", "ms-ssim-rgb")):
        report = results(**{psnr: list(PSNR), ms_ssim: [0.7, 0.8, 0.85, 0.9]})
        (theirs,) = load_curves(write("compressai.json", report))
        assert theirs.points("psnr_db") == list(zip(BPP, PSNR, strict=True))
        assert theirs.points("ms_ssim")[-1] == (0.12, 0.9)
        assert theirs.points("tinydarknet") == []


def test_codecs_are_told_apart_by_their_names_as_text(write):
    """As they are shown; one that has no name has settings all the same."""
    report = [{**setting, "codec": None} for setting in anchor_report("avif")]
    (nameless,) = load_curves(write("anchors.json", report))
    assert (nameless.name, len(nameless.bpp)) == ("None", 4)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("no json", "expected what glc eval"),
        ("[" * 10000, "expected what glc eval"),
        ([], "empty"),
        ({**eval_report(), "levels": []}, "bpp: expected a number for each setting"),
        (results(bpp=[]), "bpp: expected a number for each setting"),
        (results(psnr=[True] * 4), "psnr_db: expected a number"),
        (7, "expected what glc eval"),
        ({"levels": [{"psnr_db": 20}], "images": []}, "bpp"),
        ({"levels": eval_report()["levels"]}, "images"),
        (results(psnr=[1, 2]), "psnr_db: expected 4 values, got 2"),
        (results(psnr=["20"] * 4), "psnr_db: expected a number"),
        (results(psnr=[math.nan] * 4), "psnr_db: expected a number"),
        (results(**{"ms-ssim": [11.0, 12.0, 13.0, 14.0]}), "ms_ssim: expected a number"),
        ({**results(), "results": {"bpp": [0.0]}}, "bpp: expected a number"),
        ({**results(), "results": {"bpp": [None]}}, "bpp: expected a number"),
        ({**results(), "results": {"bpp": [5e-324]}}, "bpp: expected a number"),
        ({**results(), "results": {"bpp": [10**400]}}, "bpp: expected a number"),
        ({**results(), "results": {"bpp": [math.inf]}}, "bpp: expected a number"),
        (results(psnr=[1e308, -1e308, 1, 2]), "psnr_db: expected a number"),
    ],
)
def test_other_files_are_refused(write, report, message):
    with pytest.raises(InvalidArgumentError, match=message):
        load_curves(write("report.json", report))


def test_a_report_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="No such file"):
        load_curves(tmp_path / "report.json")


def test_settings_that_a_cheaper_one_surpasses_are_left_out():
    points = [(4.0, 30.0), (1.0, 20.0), (3.0, 24.0), (2.0, 25.0), (1.0, 19.0), (5.0, 30.0)]
    assert frontier(points, 1) == [(1.0, 20.0), (2.0, 25.0), (4.0, 30.0)]
    assert frontier(points, -1) == [(1.0, 19.0)]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@needs_plot
def test_bd_rate_of_so_many_times_the_bits(factor):
    """Whatever the curve's form, and whether higher is better or lower."""
    distance = (0.6, 0.5, 0.45, 0.3)
    anchor = curve(distance=distance)
    other = curve([factor * bpp for bpp in BPP], distance=distance)
    for metric in ("psnr_db", "tinydarknet"):
        rate = bd_rate(anchor, other, metric)
        assert rate.percent == pytest.approx(100 * (factor - 1))
        assert rate.overlap == pytest.approx(1)


@needs_plot
def test_bd_rate_is_a_mean_over_what_both_reach():
    """Curves linear in log bits, one twice as steep: their difference is known at each value."""
    steep, flat = np.array([20.0, 22.0, 26.0, 30.0]), np.array([24.0, 25.0, 28.0, 34.0])
    anchor = curve(2 ** (steep / 2), steep)
    other = curve(2 ** (flat / 4), flat)
    rate = bd_rate(anchor, other, "psnr_db")
    # from 24 to 30 dB the mean of v / 4 - v / 2 is -27 / 4
    assert rate.percent == pytest.approx(100 * (2 ** (-27 / 4) - 1))
    assert rate.overlap == pytest.approx(6 / 14)


@needs_plot
def test_bd_rate_with_settings_in_any_order_and_idle_ones():
    mixed = curve((0.12, 0.03, 0.10, 0.08, 0.05), (26.0, 23.0, 24.5, 25.5, 24.0))
    assert bd_rate(curve(), mixed, "psnr_db").percent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("psnr", [(30.0, 31.0, 32.0, 33.0), (24.0,) * 4, (None,) * 4])
def test_there_is_no_bd_rate_of_curves_that_share_nothing(psnr):
    assert bd_rate(curve(), curve(psnr=psnr), "psnr_db") is None


@needs_plot
def test_the_table_compares_with_the_anchor(write):
    reports = write("eval.json", eval_report()), write("anchors.json", anchor_report("avif"))
    result = plot(*reports)
    assert result.exit_code == 0, result.output
    assert "against ours" in result.stdout
    assert "+100.0% (100%)" in result.stdout
    assert METRICS["psnr_db"].label in result.stdout
    assert METRICS["ms_ssim"].label not in result.stdout  # only one has it
    assert plot(*reports, "--metric", " psnr_db , psnr_db").stdout == result.stdout
    result = plot(*reports, "--anchor", "avif")
    assert "-50.0% (100%)" in result.stdout


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@needs_plot
def test_curves_are_drawn(write, tmp_path, suffix):
    reports = (
        write("eval.json", eval_report()),
        write("anchors.json", anchor_report("avif", "webp")),
    )
    chart = tmp_path / f"chart.{suffix}"
    result = plot(*reports, "--chart", chart)
    assert result.exit_code == 0, result.output
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert chart.read_bytes().startswith(head)
    if suffix == "svg":
        text = chart.read_text()
        assert all(f"<!-- {name} -->" in text for name in ("ours", "avif", "webp"))
    if suffix == "png":
        with Image.open(chart) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 16
    assert plot(*reports, "--chart", chart).exit_code == 2
    assert plot(*reports, "--chart", chart, "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", [r"$\frac{$", "a\nb\x1b[31m", "\ud800", "[red]x[/red]", "_", ""])
@needs_plot
def test_odd_names_are_shown_as_they_are(write, tmp_path, name):
    reports = write("a.json", eval_report()), write("b.json", eval_report(name=name))
    result = plot(*reports, "--chart", tmp_path / "chart.svg")
    assert result.exit_code == 0, result.output
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    assert result.stdout.splitlines()[-1].split("   ")[0].strip() == shown
    assert f"<!-- {shown} -->" in (tmp_path / "chart.svg").read_text("utf-8") or not shown


@pytest.mark.parametrize("length", [5, 40, 400])
@pytest.mark.parametrize("n_curves", [2, 7, 50])
@needs_plot
def test_many_and_long_names_leave_room_for_the_curves(monkeypatch, length, n_curves):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    curves = [replace(curve(), name=f"{k:n>{length}}") for k in range(n_curves)]
    draw(curves, ["psnr_db"], "png")
    (figure,) = drawn
    with warnings.catch_warnings(action="error"):
        figure.draw_without_rendering()
    (legend,) = figure.legends
    panel, names = figure.axes[0].get_window_extent(), legend.get_window_extent()
    assert 0 <= names.x0 < names.x1 <= figure.bbox.width
    assert panel.y1 <= names.y0 < names.y1 <= figure.bbox.height
    assert panel.height > 2 * figure.dpi


@needs_plot
def test_models_of_one_name_are_told_apart_by_their_files(write):
    old, new = write("old.json", eval_report()), write("new.json", eval_report(factor=0.5))
    result = plot(old, new)
    assert "against ours (old)" in result.stdout
    assert "-50.0%" in result.stdout
    assert "ours (old) twice" in plot(old, old).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--anchor", "bpg"], "anchor: expected one of ours, avif, got 'bpg'"),
        (["--metric", "lpips"], "metric: expected some of psnr_db, got lpips"),
        (["--metric", "ms_ssim"], "metric: expected some of psnr_db, got ms_ssim"),
        (["--chart", "chart.bmp"], "chart: expected a file named .png, .svg, .pdf, got chart.bmp"),
    ],
)
def test_requests_that_cannot_be_met_are_one_line(write, arguments, message):
    reports = write("eval.json", eval_report()), write("anchors.json", anchor_report("avif"))
    result = plot(*reports, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_means_over_different_pictures_are_not_compared(write):
    old = write("old.json", eval_report("old"))
    new = write("new.json", eval_report("new", pictures=("a.png",)))
    result = plot(old, new)
    assert result.exit_code == 2
    assert "b.png is in one of them only" in result.stderr


def test_curves_that_share_no_metric_are_not_compared(write):
    other = write("theirs.json", results(vmaf=[70, 80, 85, 90]))
    result = plot(write("eval.json", eval_report()), other)
    assert result.exit_code == 2
    assert "expected curves that share a metric, got none" in result.stderr


@needs_plot
def test_no_figure_is_cut_where_there_are_all_metrics(write):
    reports = []
    for name, factor in (("a", 1.0), ("b", 400.0)):
        report = eval_report(name, factor)
        for level in report["levels"]:
            good, bad = level["psnr_db"] / 30, 1 - level["psnr_db"] / 30
            level.update(ms_ssim=good, lpips=bad, dists=bad, fid=bad, kid=bad)
        reports.append(write(f"{name}.json", report))
    result = plot(*reports)
    assert result.stdout.count("+39900.0% (100%)") == len(METRICS)
    assert "…" not in result.stdout


def test_a_curve_alone_has_nothing_to_share_with(write):
    result = plot(write("eval.json", eval_report()))
    assert result.exit_code == 0, result.output
    assert "Tiny Darknet" in result.stdout


@pytest.mark.parametrize("package", ["bjontegaard", "matplotlib"])
@needs_plot
def test_a_missing_package_is_named(write, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    reports = write("eval.json", eval_report()), write("anchors.json", anchor_report("avif"))
    chart = tmp_path / "chart.svg"
    result = plot(*reports, "--chart", chart)
    assert result.exit_code == 2
    assert f"pip install {package}" in result.stderr
    assert not chart.exists()
