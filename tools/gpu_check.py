# SPDX-License-Identifier: Apache-2.0
"""Everything to be checked and measured on a machine with a GPU; `make gpu-check` runs it.

Builds with CUDA, runs the CUDA tests of C++ and Python, compares symbols between the CPU and the
device in both directions, runs compute-sanitizer over the C++ tests, then the benchmarks, whose
lines it writes to benchmarks/results/<device>-<commit>.jsonl. Needs no network: the environment has
torch, numpy, pybind11, cmake, ninja and requirements/test.txt. A stage that fails does not stop the
next; a short table comes last.

Exit status: 0 when every stage passed or was skipped with a reason.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.harness import quantity_text, seconds_text

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / f"cmake-{sysconfig.get_config_var('SOABI')}"
SANITIZER_SECONDS = 100  # of one test under one tool
BENCHMARK_SECONDS = "0.2"  # of each side of a race
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


def run(stage: Stage, *command: object, limit: float | None = None, **env: str) -> bool:
    """Run a command from the root, its output shown and kept; False when it fails."""
    words = [str(word) for word in command]
    print(f"$ {shlex.join(words)}", flush=True)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
        output, status = done.stdout, f"exit {done.returncode}" if done.returncode else ""
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
    cmake = shutil.which("cmake") or "cmake"
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
    run(stage, sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-rf")


def compare_devices(stage: Stage, pictures: list[Path]) -> None:
    """Both models, both directions; the large one on a corner of two pictures."""
    command = (sys.executable, "-m", "tools.device_hashes")
    run(stage, *command, *pictures)
    run(stage, *command, "--model", "glc-image", "--crop", 256, "--qualities", 0, 3, "--",
        *pictures[:2])  # fmt: skip


def sanitize(stage: Stage) -> None:
    """Run the C++ tests under memcheck and racecheck, all at once."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        stage.outcome = "skipped: compute-sanitizer is not on the PATH"
        return
    began = time.perf_counter()
    running = {}
    for name in ("memcheck", "racecheck"):
        for test in cpp_tests():
            command = [tool, "--tool", name, "--error-exitcode", "9", str(test)]
            running[f"{name} {test.name}"] = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
    for name, process in running.items():
        try:
            left = SANITIZER_SECONDS - (time.perf_counter() - began)
            output, _ = process.communicate(timeout=max(left, 1.0))
            status = f"exit {process.returncode}" if process.returncode else "clean"
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            status = "no finding before it was stopped" if "Error" not in output else "an error"
        print(f"{name}: {status}", flush=True)
        stage.log.append(f"{name}: {status}\n{output}")
        if status.startswith(("exit", "an error")):
            print(output[-2000:])
            stage.outcome = f"FAILED: {name}: {status}"
    stage.seconds = time.perf_counter() - began


def measure(stage: Stage, results: Path, selection: str) -> None:
    """Race on the device, results into a file."""
    results.parent.mkdir(parents=True, exist_ok=True)
    pytest = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "-m", "cuda"]
    pytest += ["-q", "--benchmark-quiet", "-k", selection, "--glc-jsonl", str(results)]
    run(stage, *pytest, GLC_BENCH_SECONDS=BENCHMARK_SECONDS)


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
    commit = os.environ.get("GLC_COMMIT") or subprocess.run(
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
    stages = []
    for name in options.stages:
        stage = Stage(name)
        stages.append(stage)
        actions[name](stage)
        stage.outcome = stage.outcome or "passed"
        if options.log:
            with options.log.open("a", encoding="utf-8") as log:
                log.write(f"==== {name}: {stage.outcome}\n" + "\n".join(stage.log) + "\n")
        if name == "build" and stage.failed:
            break
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for line in race_lines(results):
        print(line)
    for stage in stages:
        print(f"{stage.name:12} {stage.seconds:6.1f} s  {stage.outcome}")
    return int(any(stage.failed for stage in stages))


if __name__ == "__main__":
    sys.exit(main())
