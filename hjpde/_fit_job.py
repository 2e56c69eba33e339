"""The work of `hjpde fit`: a data set in, a score on held-out rows, a model and a page out."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np

from hjpde._datasets import DATASET_NAMES, Dataset, check_dataset, named_dataset, read_table
from hjpde._fit_atoms import fit_atoms
from hjpde._fitted import Fitted
from hjpde._observations import Classification, Regression


@final
@dataclasses.dataclass(frozen=True)
class FitSettings:
    """What the user may choose; `None` leaves it to `hjpde.fit`."""

    n_atoms: int | None = None
    viscosity: float | None = None
    steps: int | None = None
    optimiser: Literal["adam", "lbfgs"] = "adam"
    difference: bool = False
    test_fraction: float = 0.2
    seed: int = 0


@final
@dataclasses.dataclass(frozen=True)
class FitJob:
    """The data, the fit, and what it says about the rows that were held out.

    `predicted` holds values, or in a classification indices into `dataset.classes`.
    """

    dataset: Dataset
    settings: FitSettings
    fitted: Fitted
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    predicted: np.ndarray
    metric: str
    score: float

    def predict(self, X: np.ndarray) -> np.ndarray:
        """As `predicted`, for other rows."""
        return _predict(self.fitted, X)


def load_data(data: str, target: str | None, folder: str | os.PathLike[str] | None, download: bool = False) -> Dataset:
    """A `.csv` or `.npz` file, or a data set by name; `folder` holds the files of MNIST or CIFAR-10.

    **Raises:** `ValueError` or `FileNotFoundError` that names what is at fault.
    """
    if data in DATASET_NAMES:
        if target is not None:
            raise ValueError(f"`target` is for files: the data set {data!r} has its own.")
        if folder is None and data == "mnist" and not download:
            raise ValueError("mnist needs --data DIR, the folder that holds its four IDX files, or --download.")
        dataset = named_dataset(data, folder, download)
    elif Path(data).suffix.lower() in (".csv", ".npz"):
        if folder is not None or download:
            raise ValueError(f"--data and --download are for MNIST and CIFAR-10; {data!r} is a file of its own.")
        dataset = read_table(data, target)
    else:
        # Raises, and suggests the nearest name.
        dataset = named_dataset(data)
    check_dataset(dataset)
    return dataset


def check_settings(settings: FitSettings, dataset: Dataset) -> None:
    """**Raises:** `ValueError` that names the option."""
    if settings.viscosity is not None and not (np.isfinite(settings.viscosity) and settings.viscosity > 0):
        raise ValueError(f"`viscosity` must be positive and finite, got {settings.viscosity:g}.")
    if settings.n_atoms is not None and settings.n_atoms < 1:
        raise ValueError(f"`n_atoms` must be at least 1, got {settings.n_atoms}.")
    if settings.steps is not None and settings.steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {settings.steps}.")
    if not 0 < settings.test_fraction < 1:
        raise ValueError(f"`test_fraction` must lie between 0 and 1, got {settings.test_fraction:g}.")
    if settings.seed < 0:
        raise ValueError(f"`seed` must not be negative, got {settings.seed}.")
    if settings.difference and dataset.task == "classification":
        raise ValueError(f"`difference` is for regressions; the target {dataset.target_name!r} holds classes.")


def run_fit(dataset: Dataset, settings: FitSettings, progress: bool, say: Callable[[str], None]) -> FitJob:
    """Holds rows out, fits the others, and scores.

    **Raises:** `ValueError` for a mistake in the data or the settings; `FloatingPointError` if the fit diverges;
    `KeyboardInterrupt` if the user stops it.
    """
    check_settings(settings, dataset)
    X, y, X_test, y_test = held_out(dataset, settings.test_fraction, settings.seed)
    say(f"{dataset.name}: {len(X)} rows of {X.shape[1]} features to train, {len(X_test)} held out ({dataset.task})")
    classification = dataset.task == "classification"
    observations = Classification(X, np.asarray(dataset.classes)[y]) if classification else Regression(X, y)
    fitted = fit_atoms(
        observations,
        n_atoms=_n_atoms(dataset, settings, len(X)),
        viscosity=settings.viscosity,
        steps=settings.steps,
        optimiser=settings.optimiser,
        difference=settings.difference,
        # Of an image, the pixels share one scale.
        metric="features" if dataset.image_shape is None else "common",
        key=jax.random.key(settings.seed),
        progress=progress,
    )
    if fitted.interrupted:
        raise KeyboardInterrupt
    predicted = _predict(fitted, X_test)
    score = float(np.mean(predicted == y_test)) if classification else _r2(predicted, y_test)
    return FitJob(
        dataset=dataset,
        settings=settings,
        fitted=fitted,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        predicted=predicted,
        metric="accuracy" if classification else "r2",
        score=score,
    )


def summary(job: FitJob) -> dict[str, Any]:
    """The fields of `hjpde fit --json`, the paths excepted."""
    dataset, fitted = job.dataset, job.fitted
    return {
        "score": job.score,
        "metric": job.metric,
        "parameters": fitted.parameters,
        "train_seconds": fitted.train_seconds,
        "data": dataset.name,
        "task": dataset.task,
        "target": dataset.target_name,
        "features": dataset.X.shape[1],
        "classes": list(dataset.classes),
        "train_rows": len(job.X),
        "test_rows": len(job.X_test),
        "atoms": sum(layer.biases.shape[0] for layer in fitted.layers),
        "viscosity": float(fitted.viscosity),
        "time": float(fitted.time),
        "seed": job.settings.seed,
    }


def held_out(
    dataset: Dataset, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`X`, `y`, `X_test`, `y_test`: the data set's own test part, or rows drawn at random, classes in proportion.

    **Raises:** `ValueError` if no row, or none of some class, is left to train with.
    """
    dtype = jnp.zeros(()).dtype
    X = dataset.X.astype(dtype)
    if dataset.X_test is not None and dataset.y_test is not None:
        return X, dataset.y, dataset.X_test.astype(dtype), dataset.y_test
    order = np.random.default_rng(seed).permutation(len(X))
    n_test = min(max(1, round(test_fraction * len(X))), len(X) - 1)
    if n_test < 1:
        raise ValueError(f"The data of {dataset.name!r} have {len(X)} row: none can be held out.")
    if dataset.task == "classification":
        order = _alternating(order, dataset.y[order])
    test, rest = np.sort(order[:n_test]), np.sort(order[n_test:])
    if dataset.task == "classification" and len(np.unique(dataset.y[rest])) < len(dataset.classes):
        missing = dataset.classes[min(set(range(len(dataset.classes))) - set(dataset.y[rest].tolist()))]
        raise ValueError(
            f"The class {missing!r} of {dataset.name!r} has too few rows: none is left to train with "
            f"`test_fraction` = {test_fraction:g}."
        )
    return X[rest], dataset.y[rest], X[test], dataset.y[test]


def _alternating(order: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The order in which every leading part has the classes in nearly the proportions of the whole."""
    rank, size = np.zeros(len(order)), np.bincount(labels)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        rank[mine] = (np.arange(len(mine)) + 0.5) / size[label]
    return order[np.argsort(rank, kind="stable")]


def _n_atoms(dataset: Dataset, settings: FitSettings, n: int) -> int | None:
    """The default grows with the data where these are many and large, as images are."""
    if settings.n_atoms is not None or dataset.task == "regression" or dataset.image_shape is None:
        return settings.n_atoms
    return 50 if n > 20_000 else 10


def _predict(fitted: Fitted, X: np.ndarray) -> np.ndarray:
    if fitted.kind == "classification":
        return np.searchsorted(fitted.classes, fitted.predict(X))
    return np.asarray(fitted.predict(X))


def _r2(predicted: np.ndarray, observed: np.ndarray) -> float:
    residual = float(np.sum((predicted - observed) ** 2))
    total = float(np.sum((observed - observed.mean()) ** 2))
    if total == 0:
        return 1.0 if residual == 0 else 0.0
    return 1 - residual / total
