# SPDX-License-Identifier: Apache-2.0
"""The benchmark harness: nothing is timed before it is right, and a ratio means what it says."""

import importlib.util
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import harness, memory, progress, report
from benchmarks.harness import Race, Timing

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process's peak memory"
)


class FakeBenchmark:
    """Stands in for pytest-benchmark's fixture and counts what it is asked to time."""

    def __init__(self):
        self.extra_info = {}
        self.timed = 0

    def pedantic(self, run, **_options):
        self.timed += 1
        run()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(harness, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(harness, "RACE_SECONDS", 0.01)
    monkeypatch.setattr(harness, "MAX_ROUNDS", 5)
    monkeypatch.setattr(harness, "MIN_ROUNDS", 3)


def race(ours, peers, check, **options):
    bench = FakeBenchmark()
    results = []
    result = Race(bench, "case", results)(ours, peers, check=check, work=100, unit="sym", **options)
    assert results == [result]
    assert bench.timed == 1
    return result


@pytest.mark.usefixtures("quick")
def test_the_ratio_is_peer_over_ours():
    result = race(lambda: 1, {"sleeper": lambda: time.sleep(0.002) or 1}, lambda ours, peers: None)
    assert result.ratios["sleeper"] > 10
    assert "x sleeper" in result.line()
    assert "sym/s" in result.line()


@pytest.mark.usefixtures("quick")
def test_quartiles_of_the_ratio_enclose_it():
    result = race(lambda: 1, {"sleeper": lambda: time.sleep(0.002) or 1}, lambda ours, peers: None)
    low, high = result.ratio_quartiles["sleeper"]
    assert 10 < low <= high
    assert f"{low:.2f}-{high:.2f}x" in result.line()


@pytest.mark.usefixtures("quick")
def test_a_slow_peer_sits_rounds_out(monkeypatch):
    monkeypatch.setattr(harness, "SLOW_SECONDS", 0.001)
    calls = []
    slow = lambda: calls.append(time.sleep(0.002))  # noqa: E731
    result = race(lambda: 1, {"slow": slow, "quick": lambda: 1}, lambda ours, peers: None)
    assert result.ours.rounds == result.peers["quick"].rounds
    assert result.peers["slow"].rounds == -(-result.ours.rounds // harness.SLOW_EVERY)
    assert result.peers["slow"].calls_per_round == 1
    assert len(calls) == 2 + result.peers["slow"].rounds  # checked, and timed, before


@pytest.mark.usefixtures("quick")
def test_a_side_that_compiles_at_first_is_not_slow(monkeypatch):
    monkeypatch.setattr(harness, "SLOW_SECONDS", 0.02)
    monkeypatch.setattr(harness, "ROUND_SECONDS", 0.01)  # beside other work a call takes longer
    naps = iter([0.05])
    result = race(lambda: 1, {"compiled": lambda: time.sleep(next(naps, 0))}, lambda *_: None)
    assert result.peers["compiled"].rounds == result.ours.rounds
    assert result.peers["compiled"].calls_per_round > 1


@pytest.mark.usefixtures("quick")
def test_the_cpu_clock_does_not_count_sleep(monkeypatch):
    monkeypatch.setattr(harness, "CPU_CLOCK", True)
    nap = lambda: time.sleep(0.005)  # noqa: E731
    asleep = race(nap, {}, lambda ours, peers: None)
    assert asleep.clock == "cpu"
    assert asleep.ours.median_s < 0.0025
    awake = race(nap, {}, lambda ours, peers: None, threads=True)
    assert awake.clock == "wall"
    assert awake.ours.median_s >= 0.005


@pytest.mark.usefixtures("quick")
def test_progress_is_told_between_rounds():
    shares = []
    result = Race(FakeBenchmark(), "case", [], on_round=shares.append)(
        lambda: 1, {}, check=lambda ours, peers: None, work=1, unit="sym"
    )
    assert len(shares) == result.ours.rounds
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


@pytest.mark.usefixtures("quick")
def test_a_wrong_result_is_never_timed():
    bench = FakeBenchmark()
    results = []

    def check(ours, peers):
        assert ours == peers["other"]

    with pytest.raises(AssertionError):
        Race(bench, "case", results)(
            lambda: 1, {"other": lambda: 2}, check=check, work=1, unit="sym"
        )
    assert bench.timed == 0
    assert not results


@pytest.mark.usefixtures("quick")
def test_cold_cache_makes_one_call_a_round(monkeypatch):
    monkeypatch.setattr(harness, "COLD_CACHE_BYTES", 1 << 16)
    result = race(lambda: 1, {"peer": lambda: 1}, lambda ours, peers: None, cold_cache=True)
    assert result.cold_cache
    assert result.ours.calls_per_round == 1
    assert result.peers["peer"].calls_per_round == 1


@pytest.mark.usefixtures("quick")
def test_figures_of_each_side_are_reported(tmp_path):
    notes = {"ours": {"size %": 0.25}, "peer": {"size %": 1.5}}
    result = race(
        lambda: 1, {"peer": lambda: 1}, lambda ours, peers: None, side_notes=notes, notes={"n": 7}
    )
    assert "size %" in result.line()
    console = Console(width=200, file=io.StringIO())
    report.print_table([result], console)
    report.draw_bars([result], console)
    text = console.file.getvalue()
    path = tmp_path / "out.jsonl"
    harness.write_json_lines(path, [result])
    (read,) = report.read_json_lines(path, fast=harness.FAST)
    assert read.line() == result.line()
    head, _, row = report.markdown([read])
    assert head.count("|") == row.count("|")
    assert f"**{result.ratios['peer']:.2f}x** peer" in row
    for piece in ("case", "n 7", "ours", "peer", "0.25", "1.5", "█"):
        assert piece in text


@pytest.mark.usefixtures("quick")
def test_tables_of_a_file_say_what_was_a_smoke_test(tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.jsonl"
    for fast, name in ((True, "short"), (False, "whole")):
        monkeypatch.setattr(harness, "FAST", fast)
        result = Race(FakeBenchmark(), name, [])(
            lambda: 1, {}, check=lambda ours, peers: None, work=100, unit="sym"
        )
        harness.write_json_lines(path, [result])
    monkeypatch.setattr(sys, "argv", ["report", str(path)])
    report.main()
    whole, short = capsys.readouterr().out.split("\n\n")
    assert "smoke test" not in whole
    assert "`whole`" in whole
    assert "mean nothing" in short.splitlines()[0]
    assert "`short`" in short


@pytest.mark.parametrize("arguments", [[], ["missing.jsonl"]])
def test_tables_of_no_file_are_a_usage_error(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    with pytest.raises(SystemExit, match="2"):
        report.main()
    assert "usage: python -m benchmarks.report" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_bars_where_letters_are_all_there_is():
    result = race(lambda: 1, {"peer": lambda: 1}, lambda ours, peers: None)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # the locale C, without UTF-8
    report.draw_bars([result], Console(width=200, file=stream))
    stream.seek(0)
    assert "####" in stream.read()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_chart_is_drawn_where_matplotlib_is(tmp_path, suffix):
    result = race(lambda: 1, {"peer": lambda: 1}, lambda ours, peers: None)
    path = tmp_path / "deep" / f"chart{suffix}"
    drawn = report.draw_chart([result] * 5, path)
    assert drawn == (importlib.util.find_spec("matplotlib") is not None)
    assert path.exists() == drawn


@linux
def test_peak_memory_is_that_of_the_call():
    megabytes = 64
    kept = bytearray(megabytes << 20)  # held before: does not count
    peak = memory.measure(lambda: bytearray(b"x") * (megabytes << 20))
    assert len(kept) <= peak < 1.25 * len(kept)


@linux
def test_the_peak_of_a_large_picture_is_not_that_of_the_process_that_made_it(tmp_path):
    ballast = bytearray(b"x") * (1 << 30)
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    command = [sys.executable, "-m", "benchmarks.large_pictures", "--work", "encode"]
    done = subprocess.run(
        [*command, str(path), str(tmp_path / "a.glc")],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1e6 * float(done.stdout.split()[2]) < len(ballast)


def test_the_bar_counts_cases():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    bar = progress.Bar(2, console)
    bar.begin("first[low 8K-decode]")
    bar.advance(0.5)
    bar.end()
    bar.begin("second")
    bar.end()
    bar.close()
    text = console.file.getvalue()
    for piece in ("0/2", "1/2", "2/2", "first[low 8K-decode]", "second"):
        assert piece in text


def test_the_bar_has_room_for_case_and_time_in_80_columns():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    bar = progress.Bar(12, console)
    bar.begin("bits_forward_backward[1x256x68x120-1-thread-ste-sample]")
    bar.close()
    line = console.file.getvalue().rpartition("0/12")[2]
    for piece in ("0:00:0", "left -:--:--", "bits_forward_backward[1x256x"):
        assert piece in line


def test_quartiles_of_one_and_of_many():
    one = Timing.of([2.0], 1)
    assert (one.quartile1_s, one.median_s, one.quartile3_s) == (2.0, 2.0, 2.0)
    many = Timing.of([5.0, 1.0, 4.0, 2.0, 3.0], 7)
    assert (many.quartile1_s, many.median_s, many.quartile3_s) == (2.0, 3.0, 4.0)
    assert (many.rounds, many.calls_per_round) == (5, 7)


@pytest.mark.usefixtures("quick")
def test_json_lines_carry_the_machine_and_the_commit(tmp_path):
    result = race(lambda: 1, {}, lambda ours, peers: None, notes={"bits over entropy": 0.5})
    path = tmp_path / "deep" / "out.jsonl"
    harness.write_json_lines(path, [result])
    head, line = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    assert {"cpu", "cores", "build", "commit", "versions"} <= set(head["environment"])
    assert line["name"] == "case"
    assert line["notes"] == {"bits over entropy": 0.5}
