# SPDX-License-Identifier: Apache-2.0
"""Write files so that a reader never sees half of one."""

import os
import tempfile
from pathlib import Path

from glc.errors import InvalidArgumentError

__all__ = ["check_output", "read_file", "write_file"]


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
    try:
        target = Path(os.path.realpath(path))
        is_folder, is_file, exists = target.is_dir(), target.is_file(), target.exists()
        parent_exists = target.parent.is_dir()
    except (OSError, ValueError) as error:  # a name too long, a NUL byte, a folder closed to us
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error
    if is_folder:
        raise InvalidArgumentError(f"write: output: expected a file name, got the folder {path}")
    if exists and not is_file:
        raise InvalidArgumentError(f"write: output: {path} exists and is not a regular file")
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
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".glc-", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), _mode_of(target))
            os.fsync(stream.fileno())
        check_output(path, overwrite=overwrite)  # somebody may have made it meanwhile
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise InvalidArgumentError(f"write: output: {path}: {_reason(error)}") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a whole file.

    Raises:
        InvalidArgumentError: it does not exist, is a folder or may not be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"read: input: {path}: {_reason(error)}") from error


def _mode_of(target: Path) -> int:
    """Permission bits for the new file: those of the one it replaces, else 0666 less the umask."""
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]
