# SPDX-License-Identifier: Apache-2.0
"""How a run of the command ends that was refused."""

from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]


def assert_refused(result: Result, *words: str) -> None:
    """Exit code 2, and exactly one line, on stderr."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("glc: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
