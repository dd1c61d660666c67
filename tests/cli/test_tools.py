# SPDX-License-Identifier: Apache-2.0
"""`glc train`, `glc bench` and `glc doctor`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from glc.cli import app
from tests.cli.refusal import assert_refused


def test_train_without_a_config() -> None:
    assert_refused(CliRunner().invoke(app, ["train", "stage1", "/nonexistent.yaml"]), "config")
    assert_refused(CliRunner().invoke(app, ["train", "stage9", "/nonexistent.yaml"]), "stage9")


def test_train_passes_everything_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("steps: 1\n")
    calls = []
    monkeypatch.setattr("glc.training.cli.run", lambda *arguments: calls.append(arguments))
    options = ["--set", "a.b=1", "--set", "c=[1, 2]", "--resume"]
    result = CliRunner().invoke(app, ["train", "stage2", str(config), *options])
    assert result.exit_code == 0, result.output
    assert calls == [("stage2", config, ["a.b=1", "c=[1, 2]"], True)]


def test_train_with_a_wrong_setting(tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("no_such_setting: 1\n")
    assert_refused(CliRunner().invoke(app, ["train", "stage1", str(config)]), "no_such_setting")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nothing"], "name"),
        (["rans", "--threads", "0"], "threads"),
        (["rans", "--chart", "chart.txt"], "chart"),
    ],
)
def test_bench_bad_requests(arguments: list[str], word: str) -> None:
    assert_refused(CliRunner().invoke(app, ["bench", *arguments]), word)


def test_bench(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One short race: the table and the bars on stdout, the same figures in the file."""
    figures = tmp_path / "figures.jsonl"
    options = ["--fast", "--threads", "1", "-k", "symbols and low and 8K and decode"]
    result = CliRunner().invoke(app, ["bench", "rans", *options, "--jsonl", str(figures)])
    out, error = capfd.readouterr()
    assert result.exit_code == 0, out + error
    environment, race = [json.loads(row) for row in figures.read_text().splitlines()]
    assert environment["environment"]["fast_mode"]
    assert race["name"] == "rans.symbols[low 8K-decode]"
    assert race["side_notes"]["ours"]["size over ideal %"] < 2
    assert out.count(race["name"]) == 2
    assert "█" in out
    for peer in race["ratios"]:
        assert out.count(peer) >= 2
    assert "1 passed" not in out  # pytest's own report made way


def test_bench_writes_no_file_over_another(tmp_path: Path) -> None:
    """Nor races for minutes before it says so."""
    chart = tmp_path / "old.svg"
    chart.write_text("old")
    bench = ["bench", "vq", "--fast", "-k", "no_such_case"]
    assert_refused(CliRunner().invoke(app, [*bench, "--chart", str(chart)]), "old.svg exists")
    assert_refused(CliRunner().invoke(app, [*bench, "--jsonl", str(tmp_path)]), "folder")
    result = CliRunner().invoke(app, [*bench, "--chart", str(chart), "--overwrite"])
    assert_refused(result, "no_such_case")
    assert chart.read_text() == "old"


def test_bench_with_words_that_select_nothing_in_any_case() -> None:
    assert CliRunner().invoke(app, ["bench", "vq", "--fast", "-k", "("]).exit_code == 2


def test_bench_without_a_matching_case() -> None:
    result = CliRunner().invoke(app, ["bench", "vq", "--fast", "-k", "no_such_case"])
    assert_refused(result, "no_such_case")


def test_doctor() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "coder round trip   good" in result.stdout
