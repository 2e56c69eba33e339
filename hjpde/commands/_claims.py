"""`hjpde claims`: each claim of the sources, measured."""

from pathlib import Path
from typing import Annotated

import jax
import typer

from hjpde._terminal import Json, Precision, print_json, print_table, teller


def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Claims, or parts: theory, training, landscape.", show_default="all"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="At the sources' own sizes, in about five minutes.")] = False,
    mnist: Annotated[
        Path | None, typer.Option(help="The folder with MNIST's four IDX files.", show_default="digits stand in")
    ] = None,
    cifar10: Annotated[
        Path | None, typer.Option(help="The folder with CIFAR-10's batches.", show_default="photographs stand in")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the page, figures and table go.", show_default="hjpde-claims")
    ] = None,
    precision: Precision = "float64",
    as_json: Json = False,
) -> None:
    """Measures the quantitative claims of the source documents, and says of each whether it holds.

    With --json, files are written only if --out is given.
    """
    from hjpde._output_folder import output_folder

    out = Path("hjpde-claims") if out is None and not as_json else out
    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde._claims_job import claims_summary, run_claims
            from hjpde._claims_report import claims_lead, claims_table, write_claims_report
            from hjpde.problems.claims import Setting

            job = run_claims(names or (), Setting(full, mnist, cifar10), say=teller())
            if folder is not None:
                write_claims_report(folder, job)
        if as_json:
            print_json(claims_summary(job))
            return
        print_table(claims_table(job), without=("quantity", "tolerance", "seconds"))
        print(f"{claims_lead(job)}\nReport: {None if out is None else out / 'report.html'}")
