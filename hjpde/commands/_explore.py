"""`hjpde explore`: the interactive page."""

from pathlib import Path
from typing import Annotated

import jax
import typer

from hjpde._terminal import Json, Precision, print_json, teller


def explore(
    quick: Annotated[bool, typer.Option("--quick", help="Train the networks of the page only briefly.")] = False,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("hjpde-explore"),
    precision: Precision = "float64",
    as_json: Json = False,
) -> None:
    """Makes a page on which one drags ε and t; it is one file, and needs no network."""
    from hjpde._output_folder import output_folder

    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde.explore._job import FILE, run_explore, summary, write_explore

            assert folder is not None
            made = run_explore(quick, progress=True, say=teller())
            write_explore(folder, made)
        page = str(out / FILE)
        if as_json:
            print_json({**summary(made), "page": page})
            return
        print(f"Page: {page} ({summary(made)['bytes'] / 1e6:.1f} MB, made in {made.seconds:.0f} s)")
