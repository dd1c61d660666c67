# SPDX-License-Identifier: Apache-2.0
"""`python -m glc` is the `glc` command; `--cmakedir` prints where find_package(glc) looks."""

import sys
from pathlib import Path

from glc._ending import INTERRUPTED, complain, drop_unwritten


def cmake_dir() -> str:
    """Return the folder of glcConfig.cmake in this installation.

    Raises:
        UnsupportedError: an in-place build, which has no installed headers.
    """
    from glc.errors import UnsupportedError

    folder = Path(__file__).resolve().parent / "lib" / "cmake" / "glc"
    if not (folder / "glcConfig.cmake").is_file():
        raise UnsupportedError(
            "cmakedir: this is an in-place build without an installed C++ library; "
            "use add_subdirectory, or install with `pip install .`"
        )
    return str(folder)


def main() -> None:
    """Print the CMake folder, or hand over to the command line."""
    try:
        if sys.argv[1:] == ["--cmakedir"]:
            _print_cmake_dir()
        else:
            _run_verb()
    except KeyboardInterrupt:  # while the verbs are being imported; later they catch it
        sys.exit(INTERRUPTED)
    finally:
        drop_unwritten()


def _print_cmake_dir() -> None:
    from glc.errors import GlcError

    try:
        print(cmake_dir(), flush=True)
    except BrokenPipeError:
        sys.exit(1)
    except (GlcError, OSError) as error:
        complain(str(error))
        sys.exit(2)


def _run_verb() -> None:
    try:
        from glc.cli import main as cli_main
    except ModuleNotFoundError as error:
        from glc._missing import advice

        text = advice(error)
        if text is None:
            raise
        complain(text)
        sys.exit(2)
    cli_main()


if __name__ == "__main__":
    main()
