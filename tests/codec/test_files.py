# SPDX-License-Identifier: Apache-2.0
"""Output files are whole or absent, whatever happens."""

import os
import stat
from pathlib import Path

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.files import check_output, load_complaint, read_file, write_file


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"first")
    assert read_file(path) == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_follow_the_umask_or_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    old = os.umask(0o027)
    try:
        write_file(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_file(path, b"2", overwrite=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"1")
    with pytest.raises(InvalidArgumentError, match="--overwrite"):
        write_file(path, b"2")
    assert path.read_bytes() == b"1"
    write_file(path, b"2", overwrite=True)
    assert path.read_bytes() == b"2"


def test_a_link_keeps_pointing_at_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_file(link, b"new", overwrite=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_devices_folders_and_missing_folders_are_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, message in (
        (fifo, "expected the name of a file .*: nothing is written to a device or a pipe"),
        (Path(os.devnull), "a device or a pipe"),
        (tmp_path, "folder"),
        (tmp_path / "absent" / "a", "does not exist"),
        (tmp_path / ("n" * 300), "too long"),
        (Path("/proc/glc-output"), "output"),
    ):
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            write_file(path, b"x", overwrite=True)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["fifo"]


def test_standard_output_and_links_that_lead_nowhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match="nothing is written to standard output"):
        write_file("-", b"x")
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    with pytest.raises(InvalidArgumentError, match="a is a link that leads back to itself"):
        write_file("a", b"x", overwrite=True)
    assert sorted(os.listdir()) == ["a", "b"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_that_has_a_name_is_refused_as_one(overwrite: bool) -> None:
    ends = os.pipe()
    try:  # as /dev/stdout is one
        with pytest.raises(InvalidArgumentError, match="nothing is written to a device or a pipe"):
            check_output(f"/dev/fd/{ends[1]}", overwrite=overwrite)
    finally:
        for end in ends:
            os.close(end)


def test_nothing_stays_when_the_write_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidArgumentError, match="no space left"):
        write_file(path, b"new", overwrite=True)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_nothing_stays_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    monkeypatch.setattr(os, "fsync", lambda _handle: path.write_bytes(b"theirs"))
    with pytest.raises(InvalidArgumentError, match="exists"):
        write_file(path, b"ours")
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"theirs"


def test_check_output_writes_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InvalidArgumentError, match="not writable"):
            check_output(tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no such file"):
        read_file(tmp_path / "a")
    with pytest.raises(InvalidArgumentError, match="directory"):
        read_file(tmp_path)
    with pytest.raises(InvalidArgumentError, match="null"):
        read_file("a\0b")


def test_what_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glc.files._MOST_BYTES", 5000)
    path = tmp_path / "a"
    path.write_bytes(bytes(5000))
    assert read_file(path) == bytes(5000)
    path.write_bytes(bytes(5001))
    for endless in (path, Path("/dev/zero")):  # the size of a device is not told
        with pytest.raises(InvalidArgumentError, match="at most 5000 bytes"):
            read_file(endless)


def complaint_about(state: dict[str, torch.Tensor]) -> str:
    layers = torch.nn.Sequential(*(torch.nn.Linear(2, 2, bias=False) for _ in range(6)))
    with pytest.raises(RuntimeError) as caught:
        layers.load_state_dict(state)
    return load_complaint(caught.value)


def test_the_first_keys_that_do_not_fit_are_named() -> None:
    state = {"0.weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    assert complaint_about(state) == (
        'missing key(s) in state_dict: "1.weight", "2.weight", "3.weight", 2 more; '
        'unexpected key(s) in state_dict: "bias"'
    )
    wrong = complaint_about({f"{n}.weight": torch.zeros(n + 3) for n in range(6)})
    assert wrong.count("size mismatch for") == 3
    assert "size mismatch for 0.weight: copying a param with shape torch.Size([3])" in wrong
    assert wrong.endswith("; 3 more")
