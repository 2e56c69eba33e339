"""`hjpde solve`: a worked problem on three grids, or at points."""

from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import typer

from hjpde._terminal import Json, Precision, print_json, print_table, teller


def solve(
    problem: Annotated[str, typer.Argument(help="A name that `hjpde problems` lists.")],
    solver: Annotated[
        str | None,
        typer.Option(
            help="FiniteDifference, Spectral, GridHopfLax, GridHopfCole, HopfCole, HopfLax or Hopf.",
            show_default="the problem's in `hjpde problems`",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(help="Points an axis, or in all; n/4 and n/2 are solved too.", show_default="by the problem"),
    ] = None,
    t: Annotated[float | None, typer.Option(help="The final time, above 0.", show_default="by the problem")] = None,
    viscosity: Annotated[
        float | None, typer.Option(help="Of the problems that hold for any.", show_default="by the problem")
    ] = None,
    order: Annotated[
        int | None, typer.Option(help="FiniteDifference: 5 (WENO5), 3 (WENO3) or 1 (upwind).", show_default="5")
    ] = None,
    flux: Annotated[
        str | None,
        typer.Option(
            help="FiniteDifference: godunov, global, local or local-local.", show_default="by the Hamiltonian"
        ),
    ] = None,
    cfl: Annotated[
        float | None, typer.Option(help="FiniteDifference: the part of the stable step.", show_default="0.75")
    ] = None,
    animation: Annotated[
        Literal["gif", "html"] | None, typer.Option(help="Also writes animation.gif or animation.html.")
    ] = None,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="A bar; without one, Ctrl-C waits for the grid at work.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Where the page, figures and tables go.", show_default="hjpde-solve")
    ] = None,
    precision: Precision = "float64",
    as_json: Json = False,
) -> None:
    """Solves a worked problem on three grids, and measures its errors and their order.

    Problems in many dimensions are solved at random points instead. In float64 by default, as errors far below the
    rounding of float32 are measured. With --json, files are written only if --out or --animation is given.
    """
    from hjpde._output_folder import output_folder

    out = Path("hjpde-solve") if out is None and (not as_json or animation is not None) else out
    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde._solve_job import SolveSettings
            from hjpde.problems import POINTWISE

            settings = SolveSettings(solver, n, t, viscosity, order, flux, cfl)
            if problem in POINTWISE:
                found, table = _solve_at_points(problem, settings, folder, animation, progress)
            else:
                found, table = _solve_on_grids(problem, settings, folder, animation, progress)
        report = None if out is None else str(out / "report.html")
        if as_json:
            moving = None if animation is None or out is None else str(out / f"animation.{animation}")
            print_json({**found, "report": report, "animation": moving})
            return
        print_table(table, without=("shape", "array_bytes", "compile_seconds"))
        print(f"Report: {report}")


def _solve_on_grids(
    problem: str, settings: Any, folder: Path | None, animation: Literal["gif", "html"] | None, progress: bool
) -> tuple[dict[str, Any], Any]:
    """The fields and the table of a problem on three grids; its report goes into the folder."""
    from hjpde._solve_job import run_job, summary
    from hjpde._solve_report import convergence_table, write_solve_report

    job = run_job(problem, settings, progress=progress, say=teller())
    if folder is not None:
        write_solve_report(folder, job, animation, progress=progress, say=teller())
    return summary(job), convergence_table(job)


def _solve_at_points(
    problem: str, settings: Any, folder: Path | None, animation: str | None, progress: bool
) -> tuple[dict[str, Any], Any]:
    """The same of a problem in many dimensions."""
    from hjpde._solve_points_job import points_summary, run_points_job
    from hjpde._solve_points_report import points_table, write_points_report

    if animation is not None:
        raise ValueError(f"`animation`: {problem!r} is solved at random points, where there is nothing to animate.")
    job = run_points_job(problem, settings, progress=progress, say=teller())
    if folder is not None:
        write_points_report(folder, job)
    return points_summary(job), points_table(job)
