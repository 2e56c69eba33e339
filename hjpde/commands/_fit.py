"""`hjpde fit`: initial data to a table or to images."""

from pathlib import Path
from typing import Annotated, Literal

import jax
import typer

from hjpde._serialisation import save
from hjpde._terminal import Json, Precision, print_json, print_table, teller


def fit(
    data: Annotated[
        str,
        typer.Argument(
            help="A .csv or .npz file, or digits, mnist, cifar10, patches, sunspots, iris, wine, breast_cancer or "
            "diabetes."
        ),
    ],
    target: Annotated[
        str | None, typer.Option(help="The column or array to predict.", show_default="the last column, or y")
    ] = None,
    data_folder: Annotated[
        Path | None, typer.Option("--data", help="The folder with MNIST's IDX files or CIFAR-10's batches.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Get mnist or cifar10 from openml.org.")] = False,
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
    precision: Precision = "float32",
    as_json: Json = False,
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
            dataset = load_data(data, target, data_folder, download)
            check_settings(settings, dataset)
            job = run_fit(dataset, settings, progress=True, say=teller())
            write_fit_report(folder, job)
            notes = {"data": dataset.name, "features": list(dataset.feature_names)}
            save(model or folder / "model.hjpde", job.fitted, **notes)
        paths = {"model_path": str(model or out / "model.hjpde"), "report": str(out / "report.html")}
        if as_json:
            print_json({**summary(job), **paths})
            return
        print_table(fit_table(job), without=("target",))
        print(f"Model: {paths['model_path']}\nReport: {paths['report']}")
