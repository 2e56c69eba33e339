"""`hjpde compare`: the discretisation report of a network."""

from pathlib import Path
from typing import Annotated

import jax
import typer

from hjpde._terminal import Json, Precision, print_json, print_table, teller


def compare(
    architecture: Annotated[
        str,
        typer.Argument(
            help="residual, rnn, gru, lstm, ssm, selective_ssm, attention, transformer or log_sum_exp.",
        ),
    ],
    trained_on: Annotated[
        str | None,
        typer.Option(help="digits, sunspots, another data set, a .csv or a .npz.", show_default="random weights"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column of a file to predict.", show_default="the last")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the network, such as depth=16, stepping=leapfrog or closure=relaxed."),
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="gaussian=NU, stochastic-depth=KEEP or dropout=KEEP.", show_default="none")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Networks to train, each on its own split.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of Adam.")] = 600,
    rate: Annotated[float, typer.Option(help="Adam's learning rate at the start.")] = 0.01,
    points: Annotated[int, typer.Option(help="Inputs that the report takes means over, at most.")] = 64,
    out: Annotated[
        Path | None, typer.Option(help="Where the page, figures and tables go.", show_default="hjpde-compare")
    ] = None,
    precision: Precision = "float64",
    as_json: Json = False,
) -> None:
    """Measures how far a network discretises the Hamilton-Jacobi problem behind it.

    Refines it, compares values and gradients with its flow's, and says in a sentence what it is: exact, of order h, or
    structural only. A trained one is also compared with initial data fitted to the same examples. With --json, files
    are written only if --out is given.
    """
    from hjpde._output_folder import output_folder

    out = Path("hjpde-compare") if out is None and not as_json else out
    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde._compare_job import CompareSettings, run_compare, summary
            from hjpde._compare_report import seeds_table, write_compare_report
            from hjpde._comparison_table import measures_table

            options = tuple(option or ())
            settings = CompareSettings(architecture, trained_on, target, options, noise, seeds, steps, rate, points)
            job = run_compare(settings, progress=True, say=teller())
            if folder is not None:
                write_compare_report(folder, job)
        report = None if out is None else str(out / "report.html")
        if as_json:
            print_json({**summary(job), "report": report})
            return
        print_table(job.reports[0].table())
        print_table(measures_table(job.reports[0]), without=("meaning",))
        if job.trained:
            print_table(seeds_table(job), without=("operator_gap_95", "native_gap", "roughness"))
        print(f"{job.reports[0].verdict}\nReport: {report}")
