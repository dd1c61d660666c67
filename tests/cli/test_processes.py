# SPDX-License-Identifier: Apache-2.0
"""`glc` in processes of their own: what CliRunner cannot show."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from glc.cli.progress import progress_bar
from glc.image import load_image


def glc(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glc", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # a busy machine would wait for a second thread
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def end(
    *arguments: str, stdout: IO[str], stderr: int | IO[str]
) -> subprocess.CompletedProcess[str]:
    """Run the command, whose `--cmakedir` works where the package is not installed too."""
    code = "from glc import __main__ as m; m.cmake_dir = lambda: 'folder'; m.main()"
    command = [sys.executable, "-c", code, *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, check=False, env=env)


@contextmanager
def unread() -> Iterator[IO[str]]:
    """Give a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        yield pipe


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


def test_no_bar_is_made_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is only disabled prints an empty line in old releases of rich."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("rich.progress.Progress", None)
    with progress_bar("encode") as progress:
        progress("loading the model", 0.0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("argument", ["--version", "--help", "--cmakedir"])
def test_a_full_disk_behind_stdout_ends_with_2_and_a_line(argument: str) -> None:
    """Python itself would try again as it exits, complain in words of its own, and return 120."""
    with open("/dev/full", "w") as full:
        done = end(argument, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("glc: ")
    assert "No space left" in done.stderr


@pytest.mark.parametrize("argument", ["--version", "--help", "--cmakedir"])
def test_output_that_nobody_reads_ends_with_1_and_no_word(argument: str) -> None:
    with unread() as pipe:
        done = end(argument, stdout=pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_complaint_that_nobody_reads_leaves_its_exit_code() -> None:
    with unread() as pipe:
        assert end("info", "nothing.glc", stdout=pipe, stderr=pipe).returncode == 2


def test_ctrl_c_while_the_verbs_are_imported_shows_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from glc.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


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
