"""Data sets: named ones, MNIST and CIFAR-10 from a folder, and a user's own table."""

import dataclasses
import difflib
import math
import os
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from hjpde._cifar10 import CLASSES, SHAPE, load_cifar10_arrays
from hjpde._idx import load_mnist_arrays
from hjpde._idx import read_idx as read_idx
from hjpde._tables import read_csv, read_npz

Task = Literal["classification", "regression"]

_SKLEARN = ("iris", "wine", "breast_cancer", "diabetes")
DATASET_NAMES = ("digits", "mnist", "sunspots", *_SKLEARN, "cifar10", "patches")

_OPENML = {"mnist": "mnist_784", "cifar10": "CIFAR_10"}
_TEST_ROWS = 10_000
"""The rows at the end that both of these keep for the test."""

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


def named_dataset(name: str, data: str | os.PathLike[str] | None = None, download: bool = False) -> Dataset:
    """One of `DATASET_NAMES`.

    **Arguments:**

    - `data`: the folder of MNIST's four files, or of the python batches of CIFAR-10.
    - `download`: whether to get these two from openml.org instead, through scikit-learn, which keeps them; only then
      is the network used.

    **Raises:** `ValueError` for an unknown name, for "mnist" or "cifar10" with neither, or for a `download` of another.
    """
    if download:
        if name not in _OPENML or data is not None:
            raise ValueError(f"`download` is for {' and '.join(_OPENML)} without `data`, got {name!r} and {data!r}.")
        return _downloaded(name)
    if name == "digits":
        return load_digits_data()
    if name == "patches":
        return load_patches()
    if name in _OPENML:
        if data is None:
            files = "MNIST's four IDX files" if name == "mnist" else "the python batches of CIFAR-10"
            raise ValueError(f"`data` must be the folder that holds {files}, got None (or `download` be True).")
        return load_mnist(data) if name == "mnist" else load_cifar10(data)
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
    dataset = _classification(_scaled_rows(train[0]), train[1], names, "digit", "mnist", image_shape=(rows, columns))
    unseen = sorted(set(test[1].tolist()) - set(dataset.classes))
    if unseen:
        raise ValueError(f"{os.fspath(folder)}: the test labels {unseen} do not occur among the training ones.")
    y_test = np.searchsorted(np.asarray(dataset.classes), test[1])
    return dataclasses.replace(dataset, X_test=_scaled_rows(test[0]), y_test=y_test)


def load_cifar10(folder: str | os.PathLike[str]) -> Dataset:
    """CIFAR-10 from its python batches in a folder; float32, 32 by 32 pixels of three colours from 0 to 1.

    **Raises:** `ValueError` that lists what is missing, or names the file that is not as it should be.
    """
    train, test = load_cifar10_arrays(folder)
    dataset = _colour_images(train[0], np.asarray(CLASSES)[train[1]], "object", "cifar10")
    unseen = sorted(set(np.asarray(CLASSES)[test[1]].tolist()) - set(dataset.classes))
    if unseen:
        raise ValueError(f"{os.fspath(folder)}: the test labels {unseen} do not occur among the training ones.")
    y_test = np.searchsorted(np.asarray(dataset.classes), np.asarray(CLASSES)[test[1]])
    return dataclasses.replace(dataset, X_test=_scaled_rows(test[0]), y_test=y_test)


def load_patches() -> Dataset:
    """Patches of scikit-learn's two sample photographs: which of the two is each from?

    Float32, 32 by 32 pixels of three colours from 0 to 1, cut every 16 pixels. Training patches are from the left
    seven tenths of each photograph, test patches from the rest, so that no pixel is in both.
    """
    from sklearn.datasets import load_sample_images

    bunch: Any = load_sample_images()
    names = [Path(file).stem for file in bunch.filenames]
    column = 16 * int(0.7 * bunch.images[0].shape[1] / 16)
    train = [_patches(image[:, :column]) for image in bunch.images]
    test = [_patches(image[:, column:]) for image in bunch.images]
    labels = np.repeat(names, [len(part) for part in train])
    dataset = _colour_images(np.concatenate(train), labels, "photograph", "patches")
    y_test = np.searchsorted(np.asarray(dataset.classes), np.repeat(names, [len(part) for part in test]))
    return dataclasses.replace(dataset, X_test=_scaled_rows(np.concatenate(test)), y_test=y_test)


def _patches(photograph: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(photograph, SHAPE[:2], axis=(0, 1))
    return windows[::16, ::16].reshape(-1, 3, *SHAPE[:2]).transpose(0, 2, 3, 1)


def _scaled_rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _colour_images(images: np.ndarray, labels: np.ndarray, target_name: str, name: str) -> Dataset:
    names = tuple(f"{colour}_{i}_{j}" for i in range(SHAPE[0]) for j in range(SHAPE[1]) for colour in "rgb")
    return _classification(_scaled_rows(images), labels, names, target_name, name, image_shape=SHAPE)


def _downloaded(name: str) -> Dataset:
    from sklearn.datasets import fetch_openml

    bunch: Any = fetch_openml(_OPENML[name], version=1, as_frame=False)
    images, labels = np.asarray(bunch.data).astype(np.uint8), np.asarray(bunch.target).astype(int)
    if name == "cifar10":
        images, labels = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.asarray(CLASSES)[labels]
        dataset = _colour_images(images, labels, "object", name)
    else:
        side = math.isqrt(images.shape[1])
        names = tuple(f"pixel_{i}_{j}" for i in range(side) for j in range(side))
        dataset = _classification(_scaled_rows(images), labels, names, "digit", name, image_shape=(side, side))
    X, y = dataset.X, dataset.y
    return dataclasses.replace(
        dataset, X=X[:-_TEST_ROWS], y=y[:-_TEST_ROWS], X_test=X[-_TEST_ROWS:], y_test=y[-_TEST_ROWS:]
    )


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
