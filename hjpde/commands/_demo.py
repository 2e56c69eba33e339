"""`hjpde demo`: the main job, on real data."""

from pathlib import Path
from typing import Annotated

import jax
import typer

from hjpde._terminal import Json, Precision, print_json, print_table, teller


def demo(
    seeds: Annotated[int, typer.Option(help="How many splits of the data, trained side by side.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of Adam, for every model.")] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Where the page, figures and tables go.", show_default="hjpde-demo")
    ] = None,
    precision: Precision = "float32",
    as_json: Json = False,
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

            result = run_demo(seeds, steps, progress=True, say=teller())
            if folder is not None:
                write_demo_report(folder, result)
        report = None if out is None else str(out / "report.html")
        if as_json:
            measured = {"rows": result.rows, "layer_identity_residual": result.layer_identity_residual}
            print_json({**measured, **settings(result), "report": report})
            return
        print_table(demo_table(result), without=("loss_spread", "compile_seconds", "learning_rate"))
        hidden = ("native_gap", "roughness", "operator_gap_95", "operator_gradient_gap_95")
        print_table(networks_table(result), without=hidden)
        print(f"Layer and solution agree to {result.layer_identity_residual:.1e}, relative to the terms.")
        print(f"Report: {report}")
