# SPDX-License-Identifier: Apache-2.0
"""Two processes, and a batch in parts, walk the same path as one process and one batch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glc.models.config import PRESETS
from glc.training.checkpoint import read_checkpoint
from glc.training.cli import run
from glc.training.config import DataConfig, StageConfig
from glc.training.distributed import Processes
from tests.training.processes import run_in_processes

# Sums in another order differ by single roundings, which Adam's first steps blow up where a
# gradient is nearly zero: a weight may then move the other way by one learning rate a step. The
# mean over all weights says whether the paths are the same.
MEAN_TOLERANCE = 2e-5
# spreads are of each process's own crops, a mean of two is not that of all; what is off by more has
# been counted by one process
LOG_TOLERANCE = {"rel": 0.05, "abs": 1e-3}
CHANGES = {
    "steps": 4,
    "warmup": 100,
    "learning_rate": 1e-3,
    "features": "{share: 0.5}",
    "levels_per_image": 2,
    "codebook": "{start: 1, reseed_every: 2}",
}


@pytest.fixture(scope="module")
def trained(write_config, tmp_path_factory):
    """One process, every stage."""
    folder = tmp_path_factory.mktemp("one")
    # levels that begin apart: else a codebook is drawn from pairs of all but equal vectors
    rate = "{lambdas: [0.1, 0.2, 0.3, 0.4], targets: [0.1, 0.2, 0.3, 0.4], "
    rate += "level_scales: [0.7, 0.8, 0.9, 1.0]}"
    for stage, before in (("stage1", None), ("stage2", "stage1"), ("stage3", "stage2")):
        init = {"init": folder / before / "checkpoint.pt"} if before else {}
        run(stage, write_config(folder, stage, rate=rate, **init, **CHANGES), [], False)
    return folder


def difference(a: dict, b: dict) -> float:
    """Mean absolute difference over all values of two state dicts."""
    total = sum((a[k] - b[k]).abs().sum().item() for k in a)
    return total / sum(v.numel() for v in a.values())


def last_metrics(folder) -> dict[str, float]:
    """What the log says of the last step."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line for line in lines if "validation" not in line][-1]


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_two_processes_equal_one(trained, tmp_path, stage):
    run_in_processes(2, run, stage, trained / f"{stage}.yaml", [f"out={tmp_path}"], False)
    logs = [last_metrics(folder) for folder in (trained / stage, tmp_path)]
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, **LOG_TOLERANCE), name
    one, two = (read_checkpoint(f / "checkpoint.pt") for f in (trained / stage, tmp_path))
    start = read_checkpoint(trained / "stage1" / "checkpoint.pt") if stage == "stage2" else None
    assert difference(one["model"], two["model"]) < MEAN_TOLERANCE
    if start is not None:  # the tolerance would notice a path of its own
        assert difference(one["model"], start["model"]) > 5 * MEAN_TOLERANCE
    for name, extra in one["extras"].items():
        for key, value in extra.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(two["extras"][name][key], value, rtol=2e-3, atol=2e-3)


def run_by_gradient(config: Path, overrides: list[str]) -> None:
    """Stage I of a model whose codebook the optimizer moves."""
    PRESETS["glc-tiny"] = dataclasses.replace(PRESETS["glc-tiny"], codebook_ema=None)
    run("stage1", config, overrides, False)


def test_two_processes_leave_alone_what_has_no_gradient_yet(trained, tmp_path):
    """A discriminator that begins to train late, and a codebook that is drawn late."""
    changes = ["adversarial={weight: 0.8, width: 8, layers: 2, start: 3, discriminator_start: 3}"]
    changes += ["codebook.start=3", "latent_noise=0.0", "learning_rate=1e-4", "warmup=0"]
    states = []
    for number in (1, 2):
        out = tmp_path / str(number)
        run_in_processes(number, run_by_gradient, trained / "stage1.yaml", [*changes, f"out={out}"])
        states.append(read_checkpoint(out / "checkpoint.pt"))
    for name in ("optimizer", "discriminator_optimizer"):
        one, two = (state[name]["state"] for state in states)
        assert {k: v["step"] for k, v in one.items()} == {k: v["step"] for k, v in two.items()}
    assert states[0]["discriminator_optimizer"]["state"][0]["step"] == 1


def test_processes_stop_at_one_step(write_config, tmp_path):
    """Only the second is asked to, and says where; both then go on as if nothing had been."""
    config = write_config(tmp_path, "stage1", steps=12, checkpoint_every=1000, validate_every=1000)
    (tmp_path / "asked.py").write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from glc.training import cli, loop, stage1\n"
        "step = loop.Run.take_step\n"
        "def take_step(run, *arguments):\n"
        "    if run.processes.rank == 1 and run.step == 7:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    metrics = step(run, *arguments)\n"
        "    if run.stopping:\n"
        "        Path(sys.argv[1] + f'.{run.processes.rank}').write_text(str(run.step))\n"
        "    return metrics\n"
        "loop.Run.take_step = take_step\n"
        "cli.launched(stage1.main)\n",
        encoding="utf-8",
    )

    def launch(script, out, *arguments):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node=2", *script, str(config), "--set", f"out={out}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_in_processes(2, run, "stage1", config, [f"out={whole}"], False)
    done = launch([str(tmp_path / "asked.py")], stopped)
    assert done.returncode == 1  # the launcher's, whatever its processes end with
    assert "exitcode  : 143" in done.stderr
    assert [Path(f"{config}.{rank}").read_text() for rank in (0, 1)] == ["7", "7"]
    assert read_checkpoint(stopped / "checkpoint.pt")["step"] == 8
    assert launch(["-m", "glc.training.stage1"], stopped, "--resume").returncode == 0
    one, two = (read_checkpoint(f / "checkpoint.pt") for f in (whole, stopped))
    assert one["step"] == two["step"] == 12
    assert all(torch.equal(one["model"][k], two["model"][k]) for k in one["model"])
    assert (whole / "log.jsonl").read_text() == (stopped / "log.jsonl").read_text()


def note_what_is_found(folder: Path) -> None:
    found = Processes(StageConfig(out="", data=DataConfig(root="")))
    found.wait()  # the first one's end would break off what the other still asks of it
    (folder / f"found{found.rank}").write_text(f"{found.world} {found.first}", encoding="utf-8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="wants a machine without an accelerator")
def test_processes_find_each_other_unasked(tmp_path):
    """`device: auto`, the default, on a machine that has nothing but its CPU."""
    run_in_processes(2, note_what_is_found, tmp_path)
    said = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.glob("found*")}
    assert said == {"found0": "2 True", "found1": "2 False"}


def test_accelerate_launches_a_stage(trained, tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=1"]
    command += ["-m", "glc.training.stage2", str(trained / "stage2.yaml")]
    command += ["--set", f"out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, launched = (read_checkpoint(f / "checkpoint.pt") for f in (trained / "stage2", tmp_path))
    assert all(torch.equal(one["model"][k], launched["model"][k]) for k in one["model"])


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_a_batch_in_parts_equals_a_whole_one(trained, tmp_path, stage):
    """Codebook, levels and lambdas follow a step, not its parts.

    Stage I's noise is scaled by the spread of the part's own latents, so it is left out.
    """
    overrides = ["latent_noise=0.0", "quantized_share=0.5", "features.share=0.5"]
    overrides += ["rate.balance=0.5"] if stage != "stage1" else []
    states = []
    for accumulate in (1, 4):
        out = tmp_path / str(accumulate)
        changes = [*overrides, f"accumulate={accumulate}", f"out={out}"]
        run(stage, trained / f"{stage}.yaml", changes, False)
        states.append(read_checkpoint(out / "checkpoint.pt"))
    whole, parts = states
    assert difference(whole["model"], parts["model"]) < MEAN_TOLERANCE
    usage = [state["extras"]["keeper"]["usage"] for state in states]
    torch.testing.assert_close(*usage, rtol=0, atol=0)
    assert torch.equal(whole["random"]["cpu"], parts["random"]["cpu"])
    if stage != "stage1":
        controllers = [state["extras"]["controller"] for state in states]
        torch.testing.assert_close(*controllers, rtol=1e-3, atol=1e-5)
