# SPDX-License-Identifier: Apache-2.0
"""Write files so that a reader never sees half of one."""

import os
import pickle
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from glc.errors import GlcError, InvalidArgumentError

__all__ = [
    "LOAD_ERRORS",
    "check_folder",
    "check_new_folder",
    "check_output",
    "is_within",
    "load_complaint",
    "make_folder",
    "read_file",
    "read_list",
    "write_file",
]

LOAD_ERRORS = (
    *(OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, AttributeError),
    pickle.UnpicklingError,
)
"""What `torch.load` raises for a file that is none of its own, or one of something else."""

_SHOWN_MISMATCHES = 3  # keys of a kind, and tensors of another shape
_HEAD_BYTES = 1 << 10
_MOST_BYTES = 1 << 32


def load_complaint(error: Exception) -> str:
    """Say in a line why `torch.load`, or what read its result, refused a file.

    Of a file of something else torch itself says a number, or advises to load it with less care and
    to report a bug. Of a state dict that does not fit, the first keys of each kind are named.
    """
    unknown_opcode = isinstance(error, KeyError) and any(isinstance(a, int) for a in error.args)
    if unknown_opcode or isinstance(error, pickle.UnpicklingError | EOFError):
        return "something other than tensors, or damaged ones"
    first, *others = str(error).splitlines() or [type(error).__name__]
    return _mismatches(others) if first.startswith("Error(s) in loading state_dict") else first


def _mismatches(lines: list[str]) -> str:
    """Shorten what `load_state_dict` says, a line per kind of key or tensor of another shape."""
    said = []
    for line in map(str.strip, lines):
        keys = re.findall(r'"[^"]+"', line)
        said.append(f"{line.partition(':')[0]}: {_first(keys, ', ')}" if keys else line)
    return _first([text[:1].lower() + text[1:] for text in said], "; ")


def _first(texts: list[str], separator: str) -> str:
    left_out = len(texts) - _SHOWN_MISMATCHES
    more = [f"{left_out} more"] if left_out > 0 else []
    return separator.join([*texts[:_SHOWN_MISMATCHES], *more])


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Say early whether `path` can be written, before any work is done for it.

    Args:
        path: where a file is going to be written.
        overwrite: whether an existing regular file may be replaced.

    Returns:
        The path with symbolic links resolved, so that a link keeps pointing at its target.

    Raises:
        InvalidArgumentError: the path exists and may not be replaced, is not a regular file, or its
            folder is missing or closed to us.
    """
    if os.fspath(path) == "-":
        raise InvalidArgumentError(
            "write: output: expected a file name, got -: nothing is written to standard output"
        )
    try:
        target = Path(os.path.realpath(path))
        is_folder, is_file, exists = target.is_dir(), target.is_file(), Path(path).exists()
        parent_exists = target.parent.is_dir()
    except (OSError, ValueError) as error:  # a name too long, a NUL byte, a folder closed to us
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error
    if target.is_symlink():  # what a link resolves to is none, unless links lead in a circle
        raise InvalidArgumentError(f"write: output: {path} is a link that leads back to itself")
    if is_folder:
        raise InvalidArgumentError(f"write: output: expected a file name, got the folder {path}")
    if exists and not is_file:
        raise InvalidArgumentError(
            f"write: output: expected the name of a file that is new or a regular one, got {path}: "
            "nothing is written to a device or a pipe"
        )
    if exists and not overwrite:
        raise InvalidArgumentError(f"write: output: {path} exists; use --overwrite to replace it")
    if not parent_exists:
        raise InvalidArgumentError(f"write: output: the folder of {path} does not exist")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InvalidArgumentError(f"write: output: the folder of {path} is not writable")
    return target


def write_file(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` under a temporary name beside `path`, then rename it in one step.

    Whatever goes wrong, `path` is either absent, what it was before, or complete, and the temporary
    file is removed.

    Args:
        path: the file to write.
        data: its whole content.
        overwrite: whether an existing regular file may be replaced.

    Raises:
        InvalidArgumentError: as `check_output`, or the disk refused (full, read-only, a quota).
    """
    target = check_output(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        name = target.parent / f".glc-{secrets.token_hex(8)}.part"
        with open(name, "xb") as stream:  # its permissions are 0666 less the umask
            temporary = name
            stream.write(data)
            stream.flush()
            if target.exists():
                os.fchmod(stream.fileno(), target.stat().st_mode & 0o777)
            os.fsync(stream.fileno())
        check_output(path, overwrite=overwrite)  # somebody may have made it meanwhile
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def read_file(
    path: str | os.PathLike[str], *, check_head: Callable[[bytes], object] | None = None
) -> bytes:
    """Read a whole file.

    Args:
        path: the file to read.
        check_head: called with the first bytes, 1 KiB at most, before the others are read; what it
            raises is passed on.

    Raises:
        InvalidArgumentError: it does not exist, is a folder, may not be read, or is larger than
            4 GiB or than there is memory for.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(_HEAD_BYTES)
            if check_head is not None:
                check_head(data)
            if os.fstat(stream.fileno()).st_size > _MOST_BYTES:  # of a pipe or a device it is 0
                raise MemoryError
            while len(data) <= _MOST_BYTES:
                room = _MOST_BYTES + 1 - len(data)
                piece = stream.read(min(max(len(data), _HEAD_BYTES), room))
                if not piece:
                    return data
                data += piece
            raise MemoryError
    except MemoryError as error:
        raise InvalidArgumentError(
            f"read: input: {path}: expected at most {_MOST_BYTES} bytes, and memory for them"
        ) from error
    except GlcError:  # of check_head
        raise
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"read: input: {path}: {_reason(error)}") from error


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """Read the names in a text file, one a line, blank lines left out.

    Raises:
        InvalidArgumentError: as `read_file`, or it is not text.
    """
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()  # Windows puts a mark first
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"list: expected a text file, got {path}: {error}") from error
    return [name for line in lines if (name := line.strip())]


def check_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Say early whether files can be written into a folder, which is made where it is missing.

    Args:
        path: the folder.
        overwrite: whether one that exists will do.

    Raises:
        InvalidArgumentError: it exists unasked for, is no folder, or is closed to us.
    """
    folder = Path(path)
    parts = (folder, *folder.absolute().parents)
    try:
        there = next(part for part in parts if part.exists() or part.is_symlink())
    except OSError as error:  # a name too long
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error
    if not there.exists():
        raise InvalidArgumentError(f"write: output: {there} is a link to what does not exist")
    if there is folder and not overwrite:
        raise InvalidArgumentError(f"write: output: {path} exists; use --overwrite to replace it")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InvalidArgumentError(
            f"write: output: expected a folder that can be made and written to, got {path}"
        )


def is_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether a path, which need not exist, is a folder or lies in it, links resolved."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_new_folder(
    what: str, path: str | os.PathLike[str], pictures: str | os.PathLike[str]
) -> None:
    """Refuse a folder for new pictures in which there is something, or which is among the old ones.

    Args:
        what: the argument, for the message.
        path: the folder; it may be absent.
        pictures: folder of the old ones.

    Raises:
        InvalidArgumentError: it is in use, a part of the other, or cannot be made.
    """
    if is_within(path, pictures):
        raise InvalidArgumentError(
            f"{what}: expected an empty folder outside {pictures}, got {path}, whose pictures the "
            "next run would take too"
        )
    check_folder(path, overwrite=True)
    try:
        occupied = os.path.exists(path) and any(Path(path).iterdir())
    except OSError as error:
        raise InvalidArgumentError(f"{what}: {path}: {_reason(error)}") from error
    if occupied:
        raise InvalidArgumentError(f"{what}: expected an empty folder, got {path}")


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in, where they are missing.

    Raises:
        InvalidArgumentError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]
