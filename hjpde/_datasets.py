"""Data sets: named ones, MNIST from a folder, and a user's own table."""

import dataclasses
import difflib
import os
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from hjpde._idx import load_mnist_arrays
from hjpde._idx import read_idx as read_idx
from hjpde._tables import read_csv, read_npz

Task = Literal["classification", "regression"]

_SKLEARN = ("iris", "wine", "breast_cancer", "diabetes")
DATASET_NAMES = ("digits", "mnist", "sunspots", *_SKLEARN)

_YEARS = 16
"""How many years of sunspots tell the next: a cycle and a half."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A table of numbers and a target.

    - `X`: shape `(M, d)`. - `y`: shape `(M,)`; in classification the indices of the labels in `classes`.
    - `classes`: the labels in increasing order; empty in regression.
    - `image_shape`: such as `(8, 8)` where a row is an image, else `None`.
    - `X_test`, `y_test`: the test part, where the source comes with one, else `None`.
    """

    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str
    task: Task
    classes: tuple[Any, ...]
    image_shape: tuple[int, ...] | None
    name: str
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None


def named_dataset(name: str, data: str | os.PathLike[str] | None = None) -> Dataset:
    """One of `DATASET_NAMES`; `data` is the folder of MNIST's four files.

    **Raises:** `ValueError` for an unknown name, or for "mnist" without `data`.
    """
    if name == "digits":
        return load_digits_data()
    if name == "mnist":
        if data is None:
            raise ValueError("`data` must be the folder that holds MNIST's four IDX files, got None.")
        return load_mnist(data)
    if name == "sunspots":
        return load_sunspots()
    if name not in _SKLEARN:
        close = difflib.get_close_matches(name, DATASET_NAMES, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"Unknown data set {name!r}; there are {', '.join(DATASET_NAMES)}.{hint}")
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    names = tuple(map(str, bunch.feature_names))
    if name == "diabetes":
        return _regression(bunch.data, bunch.target, names, "disease progression", name)
    labels = np.asarray(bunch.target_names)[bunch.target]
    return _classification(bunch.data, labels, names, "class", name)


def load_digits_data() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn, 8 by 8 pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    names = tuple(map(str, bunch.feature_names))
    return _classification(bunch.data / 16.0, bunch.target, names, "digit", "digits", image_shape=(8, 8))


def load_sunspots() -> Dataset:
    """The yearly numbers of sunspots from 1700 to 2008: each year is told by the 16 before it, the last 60 held out.

    From the National Geophysical Data Center, in the public domain.
    """
    table = np.loadtxt(Path(__file__).with_name("_sunspots.csv"), delimiter=",", skiprows=1)
    # The root evens out the spread of the counts.
    root = np.sqrt(table[:, 1])
    X, y = np.lib.stride_tricks.sliding_window_view(root[:-1], _YEARS).copy(), root[_YEARS:]
    names = tuple(f"{_YEARS - k} years before" for k in range(_YEARS))
    dataset = _regression(X[:-60], y[:-60], names, "root of the number of sunspots", "sunspots")
    return dataclasses.replace(dataset, X_test=X[-60:], y_test=y[-60:])


def load_mnist(folder: str | os.PathLike[str]) -> Dataset:
    """MNIST from its four IDX files (gz or plain) in a folder; float32, 28 by 28 pixels from 0 to 1.

    **Raises:** `ValueError` that lists what is missing, or names the file that is not as it should be.
    """
    train, test = load_mnist_arrays(folder)
    rows, columns = train[0].shape[1:]
    names = tuple(f"pixel_{i}_{j}" for i in range(rows) for j in range(columns))

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)

    dataset = _classification(flat(train[0]), train[1], names, "digit", "mnist", image_shape=(rows, columns))
    unseen = sorted(set(test[1].tolist()) - set(dataset.classes))
    if unseen:
        raise ValueError(f"{os.fspath(folder)}: the test labels {unseen} do not occur among the training ones.")
    y_test = np.searchsorted(np.asarray(dataset.classes), test[1])
    return dataclasses.replace(dataset, X_test=flat(test[0]), y_test=y_test)


def read_table(path: str | os.PathLike[str], target: str | int | None = None, task: str | None = None) -> Dataset:
    """A user's table, from `.csv` or `.npz`.

    **Arguments:**

    - `path`: a `.csv` file is separated by commas, semicolons or tabs, with or without a line of names, and
        every column but the target holds numbers. An `.npz` file holds `X`, shape `(M, d)`, and `y`.
    - `target`: of a `.csv`, a column's name, or its position from 0, by default the last column; of an
        `.npz`, the name of the array to take for `y`.
    - `task`: by default, words, booleans, and integers with at most 20 values of which each occurs twice on
        average, are labels of classes; other numbers make a regression.

    **Raises:** `ValueError` that names the file and the row, column or array at fault;
    `FileNotFoundError` or `PermissionError` from the system.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not a table.")
    if task not in (None, "classification", "regression"):
        raise ValueError(f"`task` must be 'classification', 'regression' or None, got {task!r}.")
    readers = {".csv": read_csv, ".npz": read_npz}
    reader = readers.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise ValueError(f"{path} must end in .csv or .npz.")
    X, y, names, target_name = reader(path, target)
    name = os.path.splitext(os.path.basename(path))[0]
    if task is None:
        few = y.dtype.kind in "iu" and len(y) and len(np.unique(y)) <= min(20, len(y) // 2)
        task = "classification" if few or y.dtype.kind in "bU" else "regression"
    if task == "classification":
        return _classification(X, y, names, target_name, name)
    if y.dtype.kind == "U":
        word = next(str(value) for value in y if not _is_float(value))
        raise ValueError(f"{path}: {target_name!r} holds {word!r}, and a regression needs numbers.")
    return _regression(X, y, names, target_name, name)


def check_dataset(dataset: Dataset) -> None:
    """Refuses data that nothing can be fitted to.

    **Raises:** `ValueError` if there is no row or no feature, a value is NaN or infinite (its row, from 0,
    and its column are named), lengths disagree, or there is one class only.
    """
    name = dataset.name
    parts = [("", dataset.X, dataset.y)]
    if dataset.X_test is not None and dataset.y_test is not None:
        parts.append(("test ", dataset.X_test, dataset.y_test))
    for part, X, y in parts:
        if X.ndim != 2 or y.shape != X.shape[:1]:
            raise ValueError(f"The {part}data of {name!r} have shapes {X.shape} and {y.shape}, not (M, d), (M,).")
        if 0 in X.shape:
            raise ValueError(f"The {part}data of {name!r} are empty: {X.shape[0]} rows, {X.shape[1]} features.")
        bad = np.argwhere(~np.isfinite(X))
        if len(bad):
            row, column = map(int, bad[0])
            raise ValueError(
                f"The {part}data of {name!r} hold {X[row, column]} in row {row}, column "
                f"{dataset.feature_names[column]!r} ({len(bad)} such values in all)."
            )
        bad = np.flatnonzero(~np.isfinite(y))
        if len(bad):
            raise ValueError(
                f"The {part}target {dataset.target_name!r} of {name!r} holds {y[bad[0]]} in row {bad[0]} "
                f"({len(bad)} such values in all)."
            )
    if dataset.task == "classification" and len(dataset.classes) < 2:
        only = ", ".join(map(repr, dataset.classes))
        raise ValueError(
            f"The target {dataset.target_name!r} of {name!r} has one class only ({only}); a classification needs two."
        )


def _is_float(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _classification(
    X: np.ndarray,
    labels: np.ndarray,
    feature_names: tuple[str, ...],
    target_name: str,
    name: str,
    image_shape: tuple[int, ...] | None = None,
) -> Dataset:
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"The target {target_name!r} of {name!r} holds labels that are NaN or infinite.")
    classes, y = np.unique(labels, return_inverse=True)
    return Dataset(X, y, feature_names, target_name, "classification", tuple(classes.tolist()), image_shape, name)


def _regression(X: np.ndarray, y: np.ndarray, feature_names: tuple[str, ...], target_name: str, name: str) -> Dataset:
    return Dataset(X, y.astype(np.float64), feature_names, target_name, "regression", (), None, name)
