"""A user's table as numbers and a target: `.csv` and `.npz`."""

import csv
import difflib
import io
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Table(NamedTuple):
    """Features, and a target that is still as it was written: numbers, or words."""

    X: np.ndarray
    target: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str


def read_csv(path: str, target: str | int | None) -> Table:
    """**Raises:** `ValueError` that names the file, and the row (as an editor counts) and column."""
    rows = _csv_rows(path)
    width = len(rows[0][1])
    named = _has_names(rows, target)
    body = rows[1:] if named else rows
    names = [name.strip() if named else f"x{i}" for i, name in enumerate(rows[0][1])]
    names = [name or f"column {i}" for i, name in enumerate(names)]
    if not body:
        raise ValueError(f"{path} has a line of names and no data.")
    if width < 2:
        raise ValueError(f"{path} has one column ({names[0]}); features and a target are needed.")
    if len(set(names)) < width:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{path} has more than one column named {', '.join(twice)}.")
    index = _column(path, names, target, named)
    for number, row in body:
        if len(row) != width:
            raise ValueError(f"{path}, row {number}: {len(row)} cells where the first row has {width}.")
        for name, cell in zip(names, row, strict=True):
            if _is_missing(cell):
                raise ValueError(f"{path}, row {number}, column {name!r}: the value is missing ({cell!r}).")
    columns = [i for i in range(width) if i != index]
    X = np.empty((len(body), width - 1))
    for k, i in enumerate(columns):
        X[:, k] = [_number(path, number, names[i], row[i]) for number, row in body]
    cells = [row[index].strip() for _, row in body]
    return Table(X, _typed(cells), tuple(names[i] for i in columns), names[index])


def _csv_rows(path: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their line numbers, split at the delimiter that is used most."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        first = next((line for line in text.splitlines() if line.strip()), "")
        if not first:
            raise ValueError(f"{path} is empty.")
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 (byte {error.start}).") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no readable table: {error}.") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _has_names(rows: list[tuple[int, list[str]]], target: str | int | None) -> bool:
    """Whether the first row names the columns: a word in it stands over numbers, or it is all words."""
    first = [cell.strip() for cell in rows[0][1]]
    if target in first or not any(_is_number(cell) for cell in first):
        return True
    for i, cell in enumerate(first):
        below = [row[i] for _, row in rows[1:] if len(row) > i]
        over_numbers = below and all(_is_number(other) or _is_missing(other) for other in below)
        if over_numbers and not (_is_number(cell) or _is_missing(cell)):
            return True
    return False


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _column(path: str, names: list[str], target: str | int | None, named: bool) -> int:
    if target is None:
        return len(names) - 1
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, str) and not target.lstrip("-").isdigit():
        close = difflib.get_close_matches(target, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        which = f"it has {shown}.{hint}" if named else "it has no line of names; give a position from 0."
        raise ValueError(f"{path} has no column `target`={target!r}: {which}")
    position = int(target)
    if not -len(names) <= position < len(names):
        raise ValueError(f"{path} has no column at `target`={position}: it has {len(names)} columns.")
    return position % len(names)


def _number(path: str, row: int, name: str, cell: str) -> float:
    if not _is_number(cell):
        raise ValueError(f"{path}, row {row}, column {name!r}: {cell!r} is no number; features must be numbers.")
    return float(cell)


def _typed(cells: list[str]) -> np.ndarray:
    """Integers, else floats, else the words themselves."""
    if not all(map(_is_number, cells)):
        return np.array(cells)
    values = np.array([float(cell) for cell in cells])
    whole = all(cell.lstrip("+-").isdigit() for cell in cells) and np.abs(values).max() < 2**53
    return values.astype(np.int64) if whole else values


def read_npz(path: str, target: str | int | None) -> Table:
    """**Raises:** `ValueError` that names the file and the array."""
    if isinstance(target, int):
        raise ValueError(f"`target` must name an array of {path}, got the number {target}.")
    name = "y" if target is None else target
    with open(path, "rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            missing = [key for key in ("X", name) if key not in archive.files]
            held = ", ".join(archive.files) or "nothing"
            X, y = (None, None) if missing else (archive["X"], archive[name])
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError) as error:
            raise ValueError(f"{path} is no readable .npz file without pickles: {error}.") from error
    if X is None or y is None:
        raise ValueError(f"{path} must hold the arrays X and {name}; it lacks {', '.join(missing)} and holds {held}.")
    if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
        raise ValueError(f"{path} must hold X of shape (M, d) and {name} of shape (M,), got {X.shape} and {y.shape}.")
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{path}: X must hold real numbers, got dtype {X.dtype}.")
    if y.dtype.kind not in "fiubUS":
        raise ValueError(f"{path}: {name} must hold real numbers or words, got dtype {y.dtype}.")
    y = y.astype(str) if y.dtype.kind == "S" else y
    return Table(X.astype(np.float64), y, tuple(f"x{i}" for i in range(X.shape[1])), name)
