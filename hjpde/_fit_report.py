"""The figures and the page of `hjpde fit`."""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hjpde._fit_job import FitJob, summary
from hjpde._plotting import atoms_figure, history_figure
from hjpde._plotting_fit import (
    confusion,
    confusion_figure,
    line_figure,
    observed_figure,
    regions_figure,
    surface_figure,
)
from hjpde._report import Column, Picture, Section, TableOf, write_report
from hjpde.initial_data import Atoms

_METRICS = {"accuracy": "accuracy", "r2": "R²"}
_SHOWN_PER_CLASS = 10
_MOST_CLASSES = 26


def fit_table(job: FitJob) -> TableOf:
    """The result in one row."""
    metric = _METRICS[job.metric]
    return TableOf(
        name="results",
        caption=f"The {metric} is that of the {len(job.X_test):,} rows that were held out.",
        columns=(
            Column("data", "data", number=False),
            Column("target", "target", number=False),
            Column("score", metric, lambda v: f"{v:.4f}"),
            Column("atoms", "atoms", lambda v: f"{v:,}"),
            Column("parameters", "numbers", lambda v: f"{v:,}"),
            Column("train_seconds", "training [s]", lambda v: f"{v:.1f}"),
            Column("viscosity", "ε", lambda v: f"{v:.3g}"),
            Column("time", "t", lambda v: f"{v:.3g}"),
        ),
        rows=[summary(job)],
    )


def write_fit_report(folder: Path, job: FitJob) -> Path:
    """Writes the page, the figures and the tables into an existing folder; returns the page's path."""
    dataset = job.dataset
    if job.metric == "accuracy":
        lead = (
            f"{100 * job.score:.1f} % of {len(job.X_test):,} held-out "
            f"{'rows' if dataset.image_shape is None else 'images'} of {dataset.name} were given the right "
            f"{dataset.target_name}."
        )
    else:
        error = float(np.sqrt(np.mean((job.predicted - job.y_test) ** 2)))
        lead = (
            f"The fit explains {100 * job.score:.1f} % of the variance of {dataset.target_name} on {len(job.X_test):,} "
            f"held-out rows of {dataset.name} (R² = {job.score:.3f}); its root-mean-square error is {error:.3g}."
        )
    sections = (
        Section("How to read this", [_meaning(job)]),
        Section("The result", [fit_table(job), *_pictures(job), _history(job)]),
        Section("What to keep in mind", [_remarks(job)]),
    )
    return write_report(folder, f"Initial data fitted to {dataset.name}", lead, sections, _settings(job))


def _meaning(job: FitJob) -> str:
    if job.metric == "accuracy":
        return (
            "Each class owns atoms: point masses at positions $y_j$ with heights $g_j$. From all of them grows a "
            "solution of the viscous Hamilton-Jacobi equation $u_t + ∇u · A∇u = ε tr(A D²u)$, and each atom has a "
            "share in it at a point $x$, its Gibbs weight. The class whose atoms weigh most is the prediction, and "
            "the sum of their weights its probability."
        )
    two = (
        "The fitted function is the difference of two solutions, u and v, of "
        if job.settings.difference
        else ("The fitted function is a solution u of ")
    )
    return (
        two
        + "the viscous Hamilton-Jacobi equation $u_t + ∇u · A∇u = ε tr(A D²u)$, read at one time $t$. What was trained "
        "are its initial data, atoms at positions $y_j$ with heights $g_j$, and $t$ itself. "
        "The same numbers are the weights of a log-sum-exp layer."
    )


def _pictures(job: FitJob) -> list[Picture]:
    dataset = job.dataset
    names = dataset.feature_names
    if job.metric == "accuracy":
        pictures = [_confusion(job)]
        if dataset.image_shape is not None and len(dataset.classes) <= _MOST_CLASSES:
            return [_atoms(job), *pictures]
        if len(names) == 2:
            words = [str(name) for name in dataset.classes]
            figure = regions_figure(job.predict, job.X_test, job.y_test, words, (names[0], names[1]))
            caption = "The colour of the ground is the predicted class, the marks are held-out rows in the colour of "
            caption += "their true class: a mark on ground of another colour is a mistake."
            return [
                Picture("fit", figure, "Regions of the predicted classes, and the held-out rows.", caption),
                *pictures,
            ]
        return pictures
    observed = Picture(
        "predicted",
        observed_figure(job.predicted, job.y_test, dataset.target_name),
        "Predicted against observed values of the held-out rows.",
        "Held-out rows. On the dashed line prediction and observation are equal; the distance from it is the error.",
    )
    if len(names) == 1:
        training, test = (job.X, job.y), (job.X_test, job.y_test)
        figure = line_figure(job.predict, training, test, (names[0], dataset.target_name))
        caption = "The fitted solution, the rows that it was fitted to, and those that were held out."
        return [Picture("fit", figure, "The data and the fitted function.", caption), observed]
    if len(names) == 2:
        figure = surface_figure(job.predict, job.X_test, job.y_test, (names[0], names[1], dataset.target_name))
        caption = "The fitted solution as colour; held-out rows are dots in the same colours, so a dot that stands out "
        caption += "from its ground is an error."
        return [Picture("fit", figure, "The fitted function, and the held-out rows.", caption), observed]
    return [observed]


def _atoms(job: FitJob) -> Picture:
    dataset, fitted = job.dataset, job.fitted
    initial_data = fitted.problem.initial_data
    assert isinstance(initial_data, Atoms)
    positions = np.asarray(initial_data.positions)
    groups = np.asarray(fitted.atom_classes)
    most = min(np.bincount(groups).max(), _SHOWN_PER_CLASS)
    assert dataset.image_shape is not None
    images = np.full((len(dataset.classes), most, *dataset.image_shape), np.nan)
    for c in range(len(dataset.classes)):
        mine = positions[groups == c][:most]
        images[c, : len(mine)] = mine.reshape(-1, *dataset.image_shape)
    low, high = np.nanpercentile(images, [1, 99])
    return Picture(
        "atoms",
        atoms_figure(images, [str(name) for name in dataset.classes], float(low), float(high)),
        "Learnt atoms as images, one row a class.",
        f"Up to {_SHOWN_PER_CLASS} of the learnt atoms of each class, as images; dark is ink. An image is compared "
        "with these: the nearer it lies to an atom, the more that atom weighs.",
    )


def _confusion(job: FitJob) -> Picture:
    classes = [str(name) for name in job.dataset.classes]
    counts = confusion(job.predicted, job.y_test, len(classes))
    off = counts - np.diag(np.diag(counts))
    caption = "Held-out rows by true class (down) and predicted class (across); colour is the share of the true class. "
    if off.max() > 0:
        i, j = np.unravel_index(np.argmax(off), off.shape)
        caption += f"The most frequent mistake is to take {classes[i]} for {classes[j]} ({off[i, j]} times)."
    else:
        caption += "There is no mistake."
    return Picture("confusion", confusion_figure(counts, classes), "Confusion matrix of the held-out rows.", caption)


def _history(job: FitJob) -> Picture:
    entries = job.fitted.history
    curves = {"training": [(entry["step"], entry["loss"]) for entry in entries]}
    if "validation" in entries[-1]:
        curves["validation"] = [(entry["step"], entry["validation"]) for entry in entries]
    unit = "nats" if job.metric == "accuracy" else "squared error / variance"
    kept = "The numbers with the best validation loss were kept." if len(curves) == 2 else "The last numbers were kept."
    return Picture(
        "history",
        history_figure(list(curves), list(curves.values()), unit),
        "Loss against steps of the training.",
        f"The loss along the training. {kept} The held-out rows took no part in it.",
    )


def _remarks(job: FitJob) -> list[str]:
    remarks = [
        f"The score is that of one split with {len(job.X_test):,} held-out rows: another --seed gives another number.",
        "The time $t$ and, here, the matrix $A$ are a gauge: other times with other atoms give the same function. "
        "Positions, heights and $t$ only mean something together.",
    ]
    if job.metric == "r2" and not job.settings.difference:
        remarks.append(
            "A single solution cannot bend upwards more sharply than $A^{-1}/2t$: convex kinks and deep narrow "
            "valleys are rounded. --difference fits the difference of two, which has no such bound."
        )
    return remarks


def _settings(job: FitJob) -> dict[str, Any]:
    settings, dataset = job.settings, job.dataset
    held = "the test part of the data set" if dataset.X_test is not None else f"{settings.test_fraction:g} of the rows"
    names = ("jax", "jaxlib", "equinox", "optax", "numpy", "scikit-learn")
    return {
        "data": f"{dataset.name}, {len(job.X):,} rows of {dataset.X.shape[1]} features to train",
        "target": dataset.target_name,
        "held out": f"{len(job.X_test):,} rows: {held}",
        "optimiser": f"{settings.optimiser}, {job.fitted.history[-1]['step']:,} steps",
        "seed": settings.seed,
        "precision": str(job.fitted.layer.weights.dtype),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in names),
        "made by": "hjpde fit",
    }
