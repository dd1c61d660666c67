# SPDX-License-Identifier: Apache-2.0
"""The benchmark harness: nothing is timed before it is right, and a ratio means what it says."""

import json
import time

import pytest

from benchmarks import harness
from benchmarks.harness import Race, Timing


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
