# SPDX-License-Identifier: Apache-2.0
"""`glc fit-prior DIR OUT`: give a model a prior of its hyper indices."""

from pathlib import Path
from typing import Annotated

import typer

from glc.cli.options import DEFAULT_MODEL, Model, Overwrite
from glc.cli.progress import progress_bar

__all__ = ["run"]


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs, best a few hundred.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new model.")],
    model: Model = DEFAULT_MODEL,
    listed: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="Take only the photographs this file names."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store half-precision weights.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Count hyper indices in photographs and save the model with the prior that they suggest.

    Files of the new model are smaller, and are not readable by the old one. What values the
    maps between the networks have on the photographs is noted too, and bounds them from then on.
    """
    from glc.errors import InvalidArgumentError
    from glc.files import check_folder, read_list

    check_folder(output, overwrite=overwrite)
    with progress_bar("fit-prior") as progress:
        progress("loading the model", 0.0)
        from glc.evaluation.evaluate import check_readable, find_images
        from glc.fit_range import fit_range, middles
        from glc.loading import model_folder
        from glc.models import GLC
        from glc.prior import captured_share, count_indices, set_prior

        given = model_folder(model)
        paths = find_images(folder)
        if listed is not None:
            wanted = set(read_list(listed))
            found = {str(path.relative_to(folder)): path for path in paths}
            if missing := sorted(wanted - found.keys()):
                raise InvalidArgumentError(
                    f"fit-prior: list: expected photographs in {folder}, got {missing[0]!r} and "
                    f"{len(missing) - 1} others that are not there"
                )
            paths = [found[name] for name in sorted(wanted)]
        if len(paths) < 2:
            raise InvalidArgumentError(
                f"fit-prior: folder: expected at least 2 photographs, got {len(paths)}"
            )
        check_readable(paths, progress)
        fitted = GLC.from_pretrained(given)
        counts = count_indices(fitted, paths, lambda name, done: progress(name, done / 2))
        fit_range(fitted, middles(paths, lambda name, done: progress(name, (1 + done) / 2)))
        set_prior(fitted, counts.sum(axis=0))
        shares = captured_share(counts)
        fitted.save_pretrained(output, half=half)
    for level, share in enumerate(shares):
        typer.echo(
            f"level {level}: saves {100 * share:.1f} % of what a static prior can save, on "
            "photographs it was not fitted on"
        )
    typer.echo(f"{output}: prior from {len(paths)} photographs")
