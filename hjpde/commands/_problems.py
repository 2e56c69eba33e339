"""`hjpde problems`: what can be solved."""

from pathlib import Path
from typing import Annotated

import jax
import typer

from hjpde._terminal import Json, Precision, print_json


def problems(
    out: Annotated[
        Path | None, typer.Option(help="Where the list goes as a table.", show_default="printed only")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Also the domains, titles and sources.")] = False,
    precision: Precision = "float64",
    as_json: Json = False,
) -> None:
    """Lists the worked problems that `hjpde solve` takes."""
    from hjpde._output_folder import output_folder

    with jax.enable_x64(precision == "float64"), output_folder(out) as folder:
        from hjpde._solve_report import print_problems, problem_rows, write_problems_report

        found = problem_rows()
        if folder is not None:
            write_problems_report(folder, found)
        if as_json:
            print_json(found)
            return
        from rich.console import Console

        print_problems(found, Console(), long)
