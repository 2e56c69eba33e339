"""The command line: `hjpde compare`, `hjpde demo`, `hjpde fit`, `hjpde problems`, `hjpde solve`.

Commands import their modules when they run, so that `hjpde --help` loads no scikit-learn and no matplotlib.
"""

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import typer

import hjpde

app = typer.Typer(
    name="hjpde",
    help="Hamilton-Jacobi equations whose initial data are neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn boxes cost the help a third of a second
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = "interrupted; nothing was written."

_Precision = Annotated[Literal["float32", "float64"], typer.Option(help="Of all arrays.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 for a solve that failed, 2 for a mistake of the user's.

    **Arguments:**

    - `arguments`: without the program's name; `None` takes those of the process.
    """
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="hjpde", standalone_mode=False)
        # The exit code of an interruption, which typer does not raise.
        return _fail(_INTERRUPTED, 130) if code == 130 else code or 0
    except typer.TyperException as error:
        return _fail(error.format_message(), 2)
    except (hjpde.SolveError, FloatingPointError, eqx.EquinoxRuntimeError) as error:
        return _fail(str(error), 1)
    except ValueError as error:
        return _fail(str(error), 2)
    except OSError as error:
        words = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
        return _fail(words, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(_INTERRUPTED, 130)


def _fail(words: str, code: int) -> int:
    print("hjpde:", " ".join(words.split()), file=sys.stderr)
    return code


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(f"hjpde {hjpde.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


@app.command(name="compare")
def compare_(
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
    precision: _Precision = "float64",
    as_json: _Json = False,
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
            job = run_compare(settings, progress=True, say=_teller())
            if folder is not None:
                write_compare_report(folder, job)
        report = None if out is None else str(out / "report.html")
        if as_json:
            _print_json({**summary(job), "report": report})
            return
        _print_table(job.reports[0].table())
        _print_table(measures_table(job.reports[0]), without=("meaning",))
        if job.trained:
            _print_table(seeds_table(job), without=("operator_gap_95", "native_gap", "roughness"))
        print(f"{job.reports[0].verdict}\nReport: {report}")


@app.command()
def demo(
    seeds: Annotated[int, typer.Option(help="How many splits of the data, trained side by side.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of Adam, for every model.")] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Where the page, figures and tables go.", show_default="hjpde-demo")
    ] = None,
    precision: _Precision = "float32",
    as_json: _Json = False,
) -> None:
    """Fits digits with HJ initial data, beside four networks of the same size.

    With --json, files are written only if --out is given.
    """
    from hjpde._output_folder import output_folder

    out = Path("hjpde-demo") if out is None and not as_json else out
    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde._demo import run_demo, settings
            from hjpde._demo_report import demo_table, networks_table, write_demo_report

            result = run_demo(seeds, steps, progress=True, say=_teller())
            if folder is not None:
                write_demo_report(folder, result)
        report = None if out is None else str(out / "report.html")
        if as_json:
            measured = {"rows": result.rows, "layer_identity_residual": result.layer_identity_residual}
            _print_json({**measured, **settings(result), "report": report})
            return
        _print_table(demo_table(result), without=("loss_spread", "compile_seconds", "learning_rate"))
        hidden = ("native_gap", "roughness", "operator_gap_95", "operator_gradient_gap_95")
        _print_table(networks_table(result), without=hidden)
        print(f"Layer and solution agree to {result.layer_identity_residual:.1e}, relative to the terms.")
        print(f"Report: {report}")


@app.command()
def fit(
    data: Annotated[
        str, typer.Argument(help="A .csv or .npz file, or digits, mnist, iris, wine, breast_cancer, diabetes.")
    ],
    target: Annotated[
        str | None, typer.Option(help="The column or array to predict.", show_default="the last column, or y")
    ] = None,
    data_folder: Annotated[Path | None, typer.Option("--data", help="The folder with MNIST's four IDX files.")] = None,
    n_atoms: Annotated[
        int | None, typer.Option(help="Point masses, in a classification for each class.", show_default="by the data")
    ] = None,
    viscosity: Annotated[
        float | None, typer.Option(help="The temperature ε, above 0.", show_default="by the data")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of the optimiser.", show_default="1500, or 200 for lbfgs")] = None,
    optimiser: Annotated[Literal["adam", "lbfgs"], typer.Option(help="Which one.")] = "adam",
    difference: Annotated[bool, typer.Option("--difference", help="Fit the difference of two solutions.")] = False,
    test_fraction: Annotated[float, typer.Option(help="The part of the rows that is held out.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the split and of the fit.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the page, figures, tables and the model go.")] = Path("hjpde-fit"),
    model: Annotated[Path | None, typer.Option(help="Where the model goes.", show_default="OUT/model.hjpde")] = None,
    precision: _Precision = "float32",
    as_json: _Json = False,
) -> None:
    """Fits initial data to a table or to images, and scores them on held-out rows."""
    from hjpde._output_folder import output_folder, require_writable_file

    if model is not None:
        require_writable_file(model)
    with jax.enable_x64(precision == "float64"):
        with output_folder(out) as folder:
            from hjpde._fit_job import FitSettings, check_settings, load_data, run_fit, summary
            from hjpde._fit_report import fit_table, write_fit_report

            assert folder is not None
            settings = FitSettings(n_atoms, viscosity, steps, optimiser, difference, test_fraction, seed)
            dataset = load_data(data, target, data_folder)
            check_settings(settings, dataset)
            job = run_fit(dataset, settings, progress=True, say=_teller())
            write_fit_report(folder, job)
            notes = {"data": dataset.name, "features": list(dataset.feature_names)}
            hjpde.save(model or folder / "model.hjpde", job.fitted, **notes)
        paths = {"model_path": str(model or out / "model.hjpde"), "report": str(out / "report.html")}
        if as_json:
            _print_json({**summary(job), **paths})
            return
        _print_table(fit_table(job), without=("target",))
        print(f"Model: {paths['model_path']}\nReport: {paths['report']}")


@app.command()
def problems(
    out: Annotated[
        Path | None, typer.Option(help="Where the list goes as a table.", show_default="printed only")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Also the domains, titles and sources.")] = False,
    precision: _Precision = "float64",
    as_json: _Json = False,
) -> None:
    """Lists the worked problems that `hjpde solve` takes."""
    from hjpde._output_folder import output_folder

    with jax.enable_x64(precision == "float64"), output_folder(out) as folder:
        from hjpde._solve_report import print_problems, problem_rows, write_problems_report

        found = problem_rows()
        if folder is not None:
            write_problems_report(folder, found)
        if as_json:
            _print_json(found)
            return
        from rich.console import Console

        print_problems(found, Console(), long)


@app.command()
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
    precision: _Precision = "float64",
    as_json: _Json = False,
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
            _print_json({**found, "report": report, "animation": moving})
            return
        _print_table(table, without=("shape", "array_bytes", "compile_seconds"))
        print(f"Report: {report}")


def _solve_on_grids(
    problem: str, settings: Any, folder: Path | None, animation: Literal["gif", "html"] | None, progress: bool
) -> tuple[dict[str, Any], Any]:
    """The fields and the table of a problem on three grids; its report goes into the folder."""
    from hjpde._solve_job import run_job, summary
    from hjpde._solve_report import convergence_table, write_solve_report

    job = run_job(problem, settings, progress=progress, say=_teller())
    if folder is not None:
        write_solve_report(folder, job, animation, progress=progress, say=_teller())
    return summary(job), convergence_table(job)


def _solve_at_points(
    problem: str, settings: Any, folder: Path | None, animation: str | None, progress: bool
) -> tuple[dict[str, Any], Any]:
    """The same of a problem in many dimensions."""
    from hjpde._solve_points_job import points_summary, run_points_job
    from hjpde._solve_points_report import points_table, write_points_report

    if animation is not None:
        raise ValueError(f"`animation`: {problem!r} is solved at random points, where there is nothing to animate.")
    job = run_points_job(problem, settings, progress=progress, say=_teller())
    if folder is not None:
        write_points_report(folder, job)
    return points_summary(job), points_table(job)


def _teller() -> Callable[[str], None]:
    """Prints news on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    return lambda words: console.print(words, style="dim", highlight=False, markup=False, soft_wrap=True)


def _print_json(document: Any) -> None:
    print(json.dumps(_finite(document), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _print_table(table: Any, without: Sequence[str] = ()) -> None:
    from rich.console import Console

    from hjpde._report import print_table

    print_table(table, Console(), without)


if __name__ == "__main__":
    sys.exit(main())
