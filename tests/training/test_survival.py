# SPDX-License-Identifier: Apache-2.0
"""What a run survives: being killed, a full disk, gradients that are not finite, wrong files."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch
from torch import nn

from glc.errors import InvalidArgumentError, TrainingError
from glc.models import room
from glc.training import stage1
from glc.training.checkpoint import read_checkpoint, write_checkpoint
from glc.training.cli import run
from glc.training.loop import Run

ADVERSARIAL = "{weight: 0.8, start: 2, discriminator_start: 1, width: 8, layers: 2}"
LIMIT_SECONDS = 120  # for a process that starts on a busy machine


def same(a, b) -> bool:
    """Whether two checkpoints, or parts of them, hold equal values."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "out")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def start(stage, config, *arguments, **options):
    command = [sys.executable, "-m", f"glc.training.{stage}", str(config), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for(condition):
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "the process did not come that far"
        time.sleep(0.002)


def test_a_killed_run_goes_on_as_if_nothing_had_been(write_config, tmp_path):
    """SIGKILL twice, at moments of chance, then resume to the end: bit for bit the same."""
    changes = {"steps": 60, "checkpoint_every": 4, "validate_every": 30, "batch": 2}
    whole = write_config(tmp_path, "stage1", adversarial=ADVERSARIAL, **changes)
    run("stage1", whole, [], False)
    out = tmp_path / "killed"
    checkpoint = out / "checkpoint.pt"
    rng = random.Random(0)
    before = 0
    for arguments in ([], ["--resume"]):
        process = start("stage1", whole, "--set", f"out={out}", *arguments)
        wait_for(lambda old=before: checkpoint.exists() and checkpoint.stat().st_mtime_ns > old)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        before = checkpoint.stat().st_mtime_ns
    assert read_checkpoint(checkpoint)["step"] < 60
    run("stage1", whole, [f"out={out}"], True)
    assert same(read_checkpoint(tmp_path / "stage1" / "checkpoint.pt"), read_checkpoint(checkpoint))
    logs = [(folder / "log.jsonl").read_text() for folder in (tmp_path / "stage1", out)]
    assert logs[0] == logs[1]


def test_a_checkpoint_is_whole_whenever_its_writer_dies(tmp_path):
    """A process that does nothing but write checkpoints is killed at moments of chance."""
    path = tmp_path / "checkpoint.pt"
    script = (
        "import sys, torch; from pathlib import Path;"
        "from glc.training.checkpoint import write_checkpoint\n"
        "for step in range(10**9):\n"
        "    state = {'stage': 's', 'step': step, 'model': {}, 'model_config': {}}\n"
        "    write_checkpoint({**state, 'values': torch.full((10**6,), step)}, Path(sys.argv[1]))"
    )
    rng = random.Random(1)
    for _ in range(4):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", script, str(path)])
        wait_for(path.exists)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        state = read_checkpoint(path)
        assert (state["values"] == state["step"]).all()


def test_a_full_disk_leaves_the_last_checkpoint(write_config, tmp_path):
    config = write_config(tmp_path, "stage1", steps=3)
    run("stage1", config, [], False)
    checkpoint = tmp_path / "stage1" / "checkpoint.pt"
    kept = checkpoint.read_bytes()
    limit = len(kept) // 2  # files may grow no further, as on a disk that is full

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start("stage1", config, "--resume", "--set", "steps=6", preexec_fn=fill)
    _, text = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 2, text
    assert "expected room for the checkpoint of step 6" in text
    assert "the one before it stands" in text
    assert checkpoint.read_bytes() == kept
    assert not list(checkpoint.parent.glob("*.tmp"))
    run("stage1", config, ["steps=6"], True)


@pytest.mark.parametrize(("limit", "named"), [(500, "config.yaml"), (4096, "log.jsonl")])
def test_a_full_disk_leaves_configuration_and_log(write_config, tmp_path, limit, named):
    """Both are written anew where a run goes on."""
    config = write_config(tmp_path, "stage1", steps=3)
    run("stage1", config, [], False)
    out = tmp_path / "stage1"
    later = [json.dumps({"step": step // 50, "l1": 0.5}) + "\n" for step in range(400)]
    (out / "log.jsonl").write_text("".join(later))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    # torch 2.5 writes a file of its own when it is imported: the limit comes after that
    code = (
        "import resource, runpy, torch.distributed.nn\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "runpy.run_module('glc.training.stage1', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(config), "--resume", "--set", "steps=6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 2
    message = done.stderr
    assert message.splitlines() == [f"glc: write: output: {out / named}: file too large"]
    changed = {} if named == "config.yaml" else {out / "config.yaml": before[out / "config.yaml"]}
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert before == {**after, **changed}


class Spoiler(nn.Module):
    """Stands in for the perceptual network, and spoils chosen steps."""

    def __init__(self, kind: str, steps) -> None:
        super().__init__()
        self.kind, self.steps, self.run = kind, steps, None

    def forward(self, x, x_hat):
        distance = (x - x_hat).square().mean((1, 2, 3))
        if self.run is None or not self.run.model.training or self.run.step not in self.steps:
            return distance
        # infinite slope at zero, or no number at all
        return distance + ((distance * 0).sqrt() if self.kind == "gradient" else torch.nan)


@pytest.fixture
def spoiled(monkeypatch):
    """Makes Stage I use a `Spoiler`; returns the runs that were made."""
    runs: list[Run] = []

    def spoil(kind, steps):
        spoiler = Spoiler(kind, steps)
        monkeypatch.setattr(stage1, "perceptual_distance", lambda *_: spoiler)
        init = Run.__init__

        def remember(self, *args, **kwargs):
            init(self, *args, **kwargs)
            spoiler.run = self
            runs.append(self)

        monkeypatch.setattr(Run, "__init__", remember)
        return runs

    return spoil


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("value", "perceptual is nan; 3 in a row"),
        ("gradient", "the gradient of perceptual is not finite; 3 in a row"),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_not_finite_is_named_and_undone(
    write_config, tmp_path, spoiled, kind, message, accumulate
):
    runs = spoiled(kind, range(3, 99))
    changes = {"steps": 20, "nonfinite_limit": 3, "accumulate": accumulate}
    config = write_config(tmp_path, "stage1", adversarial=ADVERSARIAL, **changes)
    with pytest.raises(TrainingError, match=f"stage1: step 5: .*{message}"):
        run("stage1", config, [], False)
    saved = read_checkpoint(tmp_path / "stage1" / "checkpoint.pt")
    assert saved["step"] == 3  # the last whole step; what came after moved nothing
    assert same(saved["model"], runs[0].model.state_dict())
    assert same(saved["average"], runs[0].average.state)
    assert same(saved["extras"], {k: e.state_dict() for k, e in runs[0].extras.items()})
    assert same(saved["optimizer"], runs[0].optimizer.state_dict())
    buffers = dict(runs[0].helpers["discriminator"].named_buffers())
    assert same({k: saved["helpers"]["discriminator"][k] for k in buffers}, buffers)


def test_a_single_step_that_is_not_finite_is_skipped(write_config, tmp_path, spoiled, capsys):
    spoiled("value", [2, 4])
    run("stage1", write_config(tmp_path, "stage1"), [], False)
    state = read_checkpoint(tmp_path / "stage1" / "checkpoint.pt")
    assert (state["step"], state["skipped"]) == (6, 2)
    assert "step 3: put back, perceptual is nan" in capsys.readouterr().out
    assert all(v.isfinite().all() for v in state["model"].values())


def test_other_checkpoints_are_refused(write_config, tmp_path):
    first = write_config(tmp_path, "stage1", steps=3)
    run("stage1", first, [], False)
    checkpoint = tmp_path / "stage1" / "checkpoint.pt"
    second = write_config(tmp_path, "stage2", init=checkpoint)
    (tmp_path / "stage2").mkdir()
    shutil.copy(checkpoint, tmp_path / "stage2")
    with pytest.raises(InvalidArgumentError, match="expected one of stage2, got 'stage1'"):
        run("stage2", second, [], True)
    with pytest.raises(InvalidArgumentError, match="model: expected 'glc-tiny'"):
        run("stage1", first, ["model=glc-image-small"], True)
    with pytest.raises(InvalidArgumentError, match="helpers"):
        run("stage1", first, [f"adversarial={ADVERSARIAL}"], True)
    whole = checkpoint.read_bytes()
    state = torch.load(checkpoint, weights_only=True)
    for other in ([], {k: v for k, v in state.items() if k != "model_config"}):
        torch.save(other, checkpoint)
        with pytest.raises(InvalidArgumentError, match="by glc train, got other content in"):
            run("stage1", first, [], True)
    name = next(iter(state["model"]))
    torch.save(state | {"model": state["model"] | {name: torch.zeros(3, 1)}}, checkpoint)
    with pytest.raises(InvalidArgumentError, match=f"got: size mismatch for {name}: "):
        run("stage1", first, [], True)
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InvalidArgumentError, match="expected one written by glc train"):
            run("stage1", first, [], True)


def test_checkpoints_made_by_hand_are_refused_in_a_line(write_config, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_SLACK_BYTES", 1 << 24)
    first = write_config(tmp_path, "stage1", steps=3)
    run("stage1", first, [], False)
    checkpoint = tmp_path / "stage1" / "checkpoint.pt"
    second = write_config(tmp_path, "stage2", init=checkpoint)
    whole = read_checkpoint(checkpoint)

    def refused(*begins, **changed):
        torch.save({k: v for k, v in {**whole, **changed}.items() if v is not ...}, checkpoint)
        for stage, config, resume in begins:
            with pytest.raises(InvalidArgumentError, match=r"^(checkpoint|GLCConfig): ") as found:
                run(stage, config, [], resume)
            assert "\n" not in str(found.value)

    resumed, followed = ("stage1", first, True), ("stage2", second, False)
    deep = {**whole["model_config"], "prior_depth": 10**7}
    for layout in (None, {"autoencoder": None}, deep):
        refused(resumed, followed, model_config=layout)
    for weights in ([], {"no": 1}):
        refused(resumed, followed, model=weights, average=weights)
    for key in ("step", "config", "optimizer", "random", "helpers", "extras", "skipped"):
        refused(resumed, **{key: ...})
    for key in ("step", "config", "optimizer", "random", "helpers", "extras"):
        refused(resumed, **{key: "a\nb"})
    refused(followed, average=...)


STOPS = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, -signal.SIGUSR1)]
# a shell makes what it starts in the background deaf to Ctrl-C
HEARING = (
    "import runpy, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
)


def start_hearing(module, *arguments, **options):
    """Start a module whose process hears Ctrl-C, and which has a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", HEARING, module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.parametrize(("how", "code"), STOPS)
def test_a_run_that_is_asked_to_stop_saves_its_step(write_config, tmp_path, how, code):
    """All its processes hear it, as from a scheduler; then resume to the end: bit for bit equal."""
    config = write_config(tmp_path, "stage1", steps=60, checkpoint_every=1000, validate_every=25)
    run("stage1", config, [], False)
    out = tmp_path / "stopped"
    set_out = ["--set", f"out={out}", "--set", "data.workers=2"]
    process = start_hearing("glc.training.stage1", config, *set_out)
    wait_for((out / "log.jsonl").exists)
    os.killpg(process.pid, how)
    said, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == code, errors
    assert errors == ""
    step = read_checkpoint(out / "checkpoint.pt")["step"]
    assert step < 60
    assert f"stage1 step {step}: stopped by {how.name}; --resume goes on from here" in said
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [".lock", "checkpoint.pt", "config.yaml", "log.jsonl"]
    )
    run("stage1", config, [f"out={out}"], True)
    whole, stopped = (read_checkpoint(f / "checkpoint.pt") for f in (tmp_path / "stage1", out))
    assert same(whole, stopped)
    assert (tmp_path / "stage1" / "log.jsonl").read_text() == (out / "log.jsonl").read_text()


@pytest.mark.parametrize(("how", "code"), STOPS)
def test_the_second_signal_ends_a_run_at_once(write_config, tmp_path, how, code):
    """It hangs in a step, and the first has no end to wait for."""
    config = write_config(tmp_path, "stage1")
    (tmp_path / "hangs.py").write_text(
        "import signal, sys, time\n"
        "from glc.training import cli, loop, stage1, stop\n"
        "stop.ONE_REQUEST_SECONDS = 0.2\n"
        "def hang(*_):\n"
        "    print('hangs', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.01)\n"
        "loop.Run.take_step = hang\n"
        "cli.launched(stage1.main)\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = start_hearing("hangs", config, env={**os.environ, "PYTHONPATH": path})
    assert process.stdout is not None
    while process.stdout.readline() != "hangs\n":
        assert process.poll() is None
    for _ in range(2):  # the second is the first one's echo
        process.send_signal(how)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(how)
    _, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not (tmp_path / "stage1" / "checkpoint.pt").exists()


def test_a_signal_while_a_checkpoint_is_written_leaves_no_part_of_it(tmp_path, monkeypatch):
    def interrupted(_state, file):
        file.write(b"half")
        raise SystemExit

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(SystemExit):
        write_checkpoint({"step": 7}, tmp_path / "checkpoint.pt")
    assert not list(tmp_path.iterdir())


def test_fewer_steps_than_were_made_are_refused(write_config, tmp_path):
    config = write_config(tmp_path, "stage1", steps=4)
    run("stage1", config, [], False)
    written = (tmp_path / "stage1" / "config.yaml").read_text()
    with pytest.raises(InvalidArgumentError, match=r"steps: expected at least 4.* got 3"):
        run("stage1", config, ["steps=3"], True)
    assert (tmp_path / "stage1" / "config.yaml").read_text() == written


def test_a_checkpoint_that_cannot_be_renamed_is_reported(tmp_path):
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(TrainingError, match="step 7"):
        write_checkpoint({"step": 7}, tmp_path / "checkpoint.pt")


def test_the_log_forgets_what_will_be_made_again(write_config, tmp_path):
    config = write_config(tmp_path, "stage1")
    run("stage1", config, [], False)
    log = tmp_path / "stage1" / "log.jsonl"
    whole = log.read_text()
    log.write_text(whole + json.dumps({"step": 9}) + "\n" + '{"step": 1')
    run("stage1", config, [], True)
    assert log.read_text() == whole


def test_two_runs_do_not_share_a_folder(write_config, tmp_path):
    config = write_config(tmp_path, "stage1", steps=2000)
    process = start("stage1", config, "--set", "data.workers=1")
    out = tmp_path / "stage1"
    wait_for((out / "checkpoint.pt").exists)
    with pytest.raises(InvalidArgumentError, match=r"out: .* another process is training in"):
        run("stage1", config, [], True)
    process.kill()
    process.communicate()
    step = read_checkpoint(out / "checkpoint.pt")["step"]
    run("stage1", config, [f"steps={step + 1}"], True)


def test_an_earlier_run_is_not_written_over(write_config, tmp_path):
    config = write_config(tmp_path, "stage1", steps=3)
    run("stage1", config, [], False)
    out = tmp_path / "stage1"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InvalidArgumentError, match=r"stage1: out: expected.*--resume"):
        run("stage1", config, [], False)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "checkpoint.pt").unlink()
    run("stage1", config, [], False)


def test_photos_are_counted_on_and_others_are_noticed(write_config, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "33.png").write_bytes(b"no picture")
    data = f"{{root: {folder}, holdout: 0, crop: 64, validation_crop: 64}}"
    config = write_config(tmp_path, "stage1", steps=3, data=data)
    run("stage1", config, [], False)  # 12 crops of 9 photos
    log = tmp_path / "stage1" / "log.jsonl"
    shutil.copy(photos / "3.png", folder / "33.png")  # so that it is not met again
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run("stage1", config, ["steps=4"], True)
    assert json.loads(log.read_text().splitlines()[-1])["unreadable"] == 1
    (folder / "33.png").unlink()
    with pytest.warns(UserWarning, match="expected 9, as when .* written, got 8"):
        run("stage1", config, ["steps=5"], True)
    assert json.loads(log.read_text().splitlines()[-1])["unreadable"] == 0


@pytest.mark.parametrize("stage", ["stage2", "stage3"])
def test_a_run_goes_on_without_the_stage_before(write_config, photos, tmp_path, stage):
    """Its own checkpoint has all it needs, the unit of its latents included."""
    before = None
    for name in ("stage1", "stage2", "stage3")[: int(stage[-1])]:
        config = write_config(tmp_path, name, init=before or "null", steps=3)
        run(name, config, [], False)
        if name != stage:
            before = tmp_path / name / "checkpoint.pt"
    checkpoint = tmp_path / stage / "checkpoint.pt"
    spread = read_checkpoint(checkpoint)["extras"]["spread"]
    assert spread["value"] > 0
    before.unlink()
    run(stage, config, ["steps=5", "data.resized_share=0.0"], True)  # other first crops
    state = read_checkpoint(checkpoint)
    assert state["step"] == 5
    assert same(state["extras"]["spread"], spread)


def test_the_checkpoint_is_written_before_the_validation(write_config, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(stage1, "validate_autoencoder", fail)
    with pytest.raises(RuntimeError, match="no room"):
        run("stage1", write_config(tmp_path, "stage1"), [], False)
    assert read_checkpoint(tmp_path / "stage1" / "checkpoint.pt")["step"] == 6


@pytest.mark.parametrize("step", [3, 6])
def test_a_run_killed_while_it_validates_makes_up_for_it(write_config, tmp_path, monkeypatch, step):
    config = write_config(tmp_path, "stage1", validate_every=3)
    run("stage1", config, [], False)
    validate = stage1.validate_autoencoder

    def fail(*arguments):
        if read_checkpoint(tmp_path / "killed" / "checkpoint.pt")["step"] == step:
            raise RuntimeError("no room")
        return validate(*arguments)

    monkeypatch.setattr(stage1, "validate_autoencoder", fail)
    with pytest.raises(RuntimeError, match="no room"):
        run("stage1", config, [f"out={tmp_path / 'killed'}"], False)
    monkeypatch.undo()
    run("stage1", config, [f"out={tmp_path / 'killed'}"], True)
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("stage1", "killed")]
    assert logs[0] == logs[1]


def test_a_launched_run_that_cannot_write_says_so_in_one_line(write_config, tmp_path):
    (tmp_path / "stage1").write_text("a file where the folder of the run should be")
    process = start("stage1", write_config(tmp_path, "stage1"))
    message = process.communicate(timeout=LIMIT_SECONDS)[1]
    assert process.returncode == 2
    (line,) = message.splitlines()
    assert line.startswith("glc: write: output: expected a folder that can be made and written to")
    assert line.endswith(f"got {tmp_path / 'stage1'}")


def test_a_misspelt_model_is_not_asked_for_elsewhere(write_config, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("asked"))
    config = write_config(tmp_path, "stage3", init="runs/mdoel")
    with pytest.raises(InvalidArgumentError, match=r"^config: init: expected a folder or one of"):
        run("stage3", config, [], False)
