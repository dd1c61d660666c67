# SPDX-License-Identifier: Apache-2.0
"""Assemble the verbs, and turn the caller's mistakes into one line and exit code 2."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from glc._ending import BAD_INPUT, INTERRUPTED, complain, complaint, prepare
from glc.cli import (
    bench,
    decode,
    demo,
    doctor,
    encode,
    eval_,
    export,
    finetune,
    fit_prior,
    info,
    plot,
    report,
    train,
    verify,
)

__all__ = ["app", "main"]

# typer carries its own copy of click in some releases and imports click in others.
_UsageError: Any = typer.BadParameter.__base__


class OneLineErrors(TyperGroup):
    """A command group that reports a mistake as one line on stderr.

    Only a bug shows a traceback: `GlcError`, usage errors and what the system refuses exit with
    code 2, Ctrl-C with 130.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit; see the class for the exit codes."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                code = super().main(
                    args, prog_name, complete_var, False, windows_expand_args, **extra
                )
        except _UsageError as error:
            code = _complain(error.format_message())
        except typer.Abort:
            code = INTERRUPTED
        except Exception as error:
            text = complaint(error)
            if text is None:
                raise
            code = _complain(text)
        code = code if isinstance(code, int) else 0
        if standalone_mode:
            sys.exit(code)
        return code


def main() -> None:
    """Entry point of the `glc` script and of `python -m glc`."""
    prepare()
    # torch's threads spin while they wait for each other. Beside other work that turns tenths of a
    # second into seconds, and in a benchmark counts as the work of those that are timed; sleeping
    # costs microseconds. Long runs may prefer to spin.
    if sys.argv[1:2] not in (["train"], ["finetune"]):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


def _complain(text: str) -> int:
    complain(text)
    return BAD_INPUT


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    typer.echo(f"glc: warning: {message}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        import glc

        typer.echo(f"glc {glc.__version__}")
        raise typer.Exit


app = typer.Typer(
    name="glc",
    cls=OneLineErrors,
    help="Compress pictures to about a kilobyte, and restore them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("encode")(encode.run)
app.command("decode")(decode.run)
app.command("info")(info.run)
app.command("verify")(verify.run)
app.command("eval")(eval_.run)
app.command("plot")(plot.run)
app.command("report")(report.run)
app.command("fit-prior")(fit_prior.run)
app.command("export")(export.run)
app.command("train")(train.run)
app.command("finetune")(finetune.run)
app.command("bench")(bench.run)
app.command("doctor")(doctor.run)
app.command("demo")(demo.run)
