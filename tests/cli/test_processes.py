# SPDX-License-Identifier: Apache-2.0
"""`glc` in processes of their own: what CliRunner cannot show."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glc.image import load_image


def glc(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glc", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # a busy machine would wait for a second thread
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_real_process_round_trip(picture: Path, tmp_path: Path, tiny_folder: Path) -> None:
    out, png = tmp_path / "a.glc", tmp_path / "a.png"
    for arguments in (
        ("encode", picture, out),
        ("verify", out),
        ("info", out),
        ("decode", out, png),
    ):
        done = glc(*arguments, "--model", tiny_folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "no progress bar, no warning, when nobody watches"
    assert load_image(png).shape == (70, 90, 3)


def test_real_process_one_line_and_no_traceback(tmp_path: Path) -> None:
    bad = tmp_path / "bad.glc"
    bad.write_bytes(b"rubbish")
    done = glc("decode", bad, tmp_path / "a.png")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["bad.glc"]


def test_help_needs_neither_torch_nor_numpy() -> None:
    code = "import glc.cli, sys; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_nothing_stays_when_killed_while_writing(
    picture: Path, tmp_path: Path, tiny_folder: Path, how: signal.Signals
) -> None:
    """The disk hangs in the middle of the output, and somebody loses patience."""
    script = (
        "import os, signal, sys, time\n"
        # a shell makes what it starts in the background deaf to this one
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def hang(_handle):\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "os.fsync = hang\n"
        "from glc.cli import main\n"
        "main()\n"
    )
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = ["encode", str(picture), str(folder / "a.glc"), "--model", str(tiny_folder)]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(how)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in {130, 143}
    assert "Traceback" not in errors
    assert os.listdir(folder) == []
