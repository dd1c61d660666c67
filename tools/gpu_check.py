# SPDX-License-Identifier: Apache-2.0
"""Everything to be checked and measured on a machine with a GPU; `make gpu-check` runs it.

Builds with CUDA, runs the CUDA tests of C++ and Python, compares symbols between the CPU and the
device in both directions, runs compute-sanitizer over the C++ tests, then the benchmarks, whose
lines it writes to benchmarks/results/<device>-<commit>.jsonl. Needs no network: the environment has
torch, numpy, pybind11, cmake, ninja and requirements/test.txt. What is not timed runs side by side,
and a failure there stops nothing; a short table comes last.

Exit status: 0 when every stage passed or was skipped with a reason.
"""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.harness import quantity_text, seconds_text

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / f"cmake-{sysconfig.get_config_var('SOABI')}"
SANITIZER_SECONDS = 40  # of one tool
SMALL_CASES = {"test_exact_cuda_device": ["2000"], "test_rans_cuda_device": ["small"]}
BENCHMARK_SECONDS = "0.15"  # of each side of a race
BENCHMARK_LIMIT = 120.0  # of one module
NOTHING_SELECTED = 5  # exit status of pytest
SAMPLE = ROOT / "examples/images/kodim23.png"


@dataclass
class Stage:
    """One row of the table at the end."""

    name: str
    outcome: str = ""
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a command of it failed."""
        return self.outcome.startswith("FAILED")


def run(
    stage: Stage,
    *command: object,
    limit: float | None = None,
    fine: tuple[int, ...] = (0,),
    **env: str,
) -> bool:
    """Run a command from the root, its output shown and kept; False when it fails."""
    words = [str(word) for word in command]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    print(f"$ {shlex.join(words)}", flush=True)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
        output = done.stdout
        status = "" if done.returncode in fine else f"exit {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        status = f"not done after {limit:.0f} s"
    stage.seconds += time.perf_counter() - began
    stage.log.append(output)
    sys.stdout.write(output)
    if status and not stage.failed:
        stage.outcome = f"FAILED: {shlex.join(words)[:60]}: {status}"
    return not status


def build(stage: Stage) -> bool:
    """Build the module in place and the C++ tests beside it, each source once."""
    done = run(
        stage, sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", GLC_CUDA="ON"
    )
    # the one that setup.py takes: an older system's cannot configure what that has built
    cmake = shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")
    done = done and run(stage, cmake, "-S", ".", "-B", BUILD, "-DGLC_TESTS=ON", "-DGLC_SHARED=OFF")
    return done and run(stage, cmake, "--build", BUILD, "--target", "cuda_device_tests")


def cpp_tests() -> list[Path]:
    """The built programs."""
    return sorted(BUILD.glob("test_*_device"))


def run_cpp_tests(stage: Stage) -> None:
    """One after another."""
    for test in cpp_tests():
        run(stage, test, limit=120)


def run_python_tests(stage: Stage) -> None:
    """All that are marked for a device."""
    workers = ["-n", "6"] if importlib.util.find_spec("xdist") else []
    run(stage, sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-rf", *workers)


def compare_devices(stage: Stage, pictures: list[Path]) -> None:
    """Both models, both directions; the large one on a corner of two pictures."""
    command = (sys.executable, "-m", "tools.device_hashes")
    run(stage, *command, *pictures)
    run(stage, *command, "--model", "glc-image", "--crop", 256, "--qualities", 0, 3, "--",
        *pictures[:2])  # fmt: skip


def sanitize(stage: Stage) -> None:
    """Run the C++ tests, on small cases, under memcheck and then racecheck, all at once."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        stage.outcome = "skipped: compute-sanitizer is not on the PATH"
        return
    began = time.perf_counter()
    for name in ("memcheck", "racecheck"):
        end = time.perf_counter() + SANITIZER_SECONDS
        running = []
        for test in cpp_tests():
            command = [tool, "--tool", name, "--error-exitcode", "9", str(test)]
            command += SMALL_CASES.get(test.name, [])
            pipe = subprocess.PIPE
            running.append(
                subprocess.Popen(
                    command, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
                )
            )
        for test, process in zip(cpp_tests(), running, strict=True):
            try:
                output, _ = process.communicate(timeout=max(end - time.perf_counter(), 1.0))
                status = f"exit {process.returncode}" if process.returncode else "clean"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the program holds the pipe open too
                output, _ = process.communicate()
                status = "stopped" if b"========= E" not in output else "exit, an error"
            text = output.decode(errors="replace")
            print(f"{name} {test.name}: {status}", flush=True)
            stage.log.append(f"{name} {test.name}: {status}\n{text}")
            if status.startswith("exit"):
                print(text[-2000:])
                stage.outcome = f"FAILED: {name} {test.name}: {status}"
            elif status == "stopped" and not stage.failed:
                stage.outcome = f"passed, but {name} {test.name} was not done in its time"
    stage.seconds = time.perf_counter() - began


def measure(stage: Stage, results: Path, selection: str) -> None:
    """Race on the device, results into a file. A process for each module: one may spoil its own."""
    results.parent.mkdir(parents=True, exist_ok=True)
    options = ["--benchmark-only", "-m", "cuda", "-q", "--benchmark-quiet", "-k", selection]
    for module in sorted((ROOT / "benchmarks").glob("bench_*.py")):
        text = module.read_text(encoding="utf-8")
        if "ON_DEVICE" in text or "mark.cuda" in text:
            command = [sys.executable, "-m", "pytest", str(module), *options]
            run(
                stage,
                *command,
                "--glc-jsonl",
                results,
                limit=BENCHMARK_LIMIT,
                fine=(0, NOTHING_SELECTED),
                GLC_BENCH_SECONDS=BENCHMARK_SECONDS,
                OMP_WAIT_POLICY="PASSIVE",  # or the CPU's threads slow down the one that launches
            )


def race_lines(results: Path) -> Iterable[str]:
    """One short line for each race of a results file."""
    if not results.exists():
        return
    for text in results.read_text(encoding="utf-8").splitlines():
        race = json.loads(text)
        if "name" not in race:
            continue
        median = race["ours"]["median_s"]
        ratios = "  ".join(f"{ratio:.2f}x {peer}" for peer, ratio in race["ratios"].items())
        rate = quantity_text(race["work"] / median) + race["unit"]
        notes = " ".join(f"{k} {v:.3g}" for k, v in race["notes"].items() if isinstance(v, float))
        yield f"{race['name']:56} {seconds_text(median):>8} {rate:>11}/s  {ratios}  {notes}"


def results_file() -> Path:
    """Where the figures of this device and commit go."""
    device = torch.cuda.get_device_name().replace(" ", "-")
    commit = os.environ.get("GLC_COMMIT")
    if not commit and shutil.which("git"):
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()  # fmt: skip
    return ROOT / "benchmarks/results" / f"{device}-{commit or 'unknown'}.jsonl"


def main() -> int:
    """Run the stages and print the table."""
    names = ["build", "cpp", "python", "devices", "sanitizer", "benchmarks"]
    parser = argparse.ArgumentParser(description="Check and measure glc on a CUDA device.")
    parser.add_argument("stages", nargs="*", default=names, help=f"of {', '.join(names)}")
    parser.add_argument("--pictures", nargs="+", type=Path, default=[SAMPLE], help="for devices")
    parser.add_argument(
        "-k", dest="selection", default="", help="of benchmarks, as pytest takes it"
    )
    parser.add_argument("--results", type=Path, help="instead of benchmarks/results/...")
    parser.add_argument("--log", type=Path, help="where the whole output goes too")
    options = parser.parse_args()
    if unknown := sorted(set(options.stages) - set(names)):
        parser.error(f"stages: expected some of {', '.join(names)}, got {', '.join(unknown)}")
    if not torch.cuda.is_available():
        print("gpu-check: expected a CUDA device that torch can use, found none", file=sys.stderr)
        return 1
    results = options.results or results_file()
    actions = {
        "build": build,
        "cpp": run_cpp_tests,
        "python": run_python_tests,
        "devices": lambda stage: compare_devices(stage, options.pictures),
        "sanitizer": sanitize,
        "benchmarks": lambda stage: measure(stage, results, options.selection),
    }
    stages = {name: Stage(name) for name in options.stages}

    def perform(name: str) -> None:
        if name in stages:
            actions[name](stages[name])
            stages[name].outcome = stages[name].outcome or "passed"

    perform("build")
    if "build" not in stages or not stages["build"].failed:
        with ThreadPoolExecutor() as pool:  # what is not timed may share the machine
            list(pool.map(perform, ("cpp", "python", "devices")))
        perform("sanitizer")
        perform("benchmarks")
    if options.log:
        parts = [f"==== {s.name}: {s.outcome}\n" + "\n".join(s.log) + "\n" for s in stages.values()]
        options.log.write_text("".join(parts), encoding="utf-8")
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for line in race_lines(results):
        print(line)
    for stage in stages.values():
        print(f"{stage.name:12} {stage.seconds:6.1f} s  {stage.outcome}")
    return int(any(stage.failed for stage in stages.values()))


if __name__ == "__main__":
    sys.exit(main())
