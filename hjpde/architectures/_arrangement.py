"""The cells into which hyperplanes cut space: on each, the units of a piecewise linear layer do not switch."""

import itertools
import math

import numpy as np

_MOST_AT_ONCE = 1 << 16


def cell_bound(hyperplanes: int, d: int) -> int:
    r"""$\sum_{k \le d} \binom Nk$, the most cells into which `N` hyperplanes can cut $\mathbb R^d$."""
    return sum(math.comb(hyperplanes, k) for k in range(d + 1))


def cells(weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    r"""The sides, +1 or -1, on which each cell of the arrangement $w_i \cdot x + b_i = 0$ lies.

    **Arguments:**

    - `weights`: shape `(N, d)`; a row of zeros cuts nothing, and its side is the sign of its bias, -1 for 0.
    - `biases`: shape `(N,)`.

    **Returns:** int8, shape `(cells, N)`, no row twice.

    Where the normals span space every cell has a corner, so cells are collected around all corners: there the
    hyperplanes that do not pass have fixed sides, and those that pass take the sides of the cones that they form. At
    a corner of exactly `d` hyperplanes these are all $2^d$; else the cones are cut by $l \cdot x = 1$, which is an
    arrangement in one dimension less, and are its cells and their opposites. Hyperplanes that meet to rounding count
    as meeting, so cells smaller than that may be missing.

    ??? cite "References"

        T. Zaslavsky, *Facing up to Arrangements*, Memoirs of the AMS 154 (1975).
    """
    lengths = np.linalg.norm(weights, axis=1)
    cutting = lengths > 0
    sides = np.where(biases > 0, 1, -1).astype(np.int8)
    if not cutting.any():
        return sides[None]
    normals, offsets = weights[cutting] / lengths[cutting, None], biases[cutting] / lengths[cutting]
    found = _spanning_cells(*_onto_span(normals, offsets))
    whole = np.broadcast_to(sides, (len(found), len(sides))).copy()
    whole[:, cutting] = found
    return whole


def _onto_span(normals: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same arrangement in the space that the normals span."""
    _, singular, directions = np.linalg.svd(normals, full_matrices=False)
    rank = int(np.sum(singular > 1e-10 * singular[0]))
    return normals @ directions[:rank].T, offsets


def _spanning_cells(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The cells where unit normals span the space."""
    N, d = normals.shape
    if d == 1:
        return _intervals(normals[:, 0], offsets)
    corners = np.array(list(itertools.combinations(range(N), d)))
    found, done = np.empty((0, N), np.int8), set()
    step = max(1, _MOST_AT_ONCE // N)
    for k in range(0, len(corners), step):
        found = _unique(np.concatenate([found, *_around(corners[k : k + step], normals, offsets, done)]))
    return found


def _around(corners: np.ndarray, normals: np.ndarray, offsets: np.ndarray, done: set[bytes]) -> list[np.ndarray]:
    """The cells around the corners where these hyperplanes meet; corners that many share are done once."""
    square = normals[corners]
    regular = np.abs(np.linalg.det(square)) > 1e-10
    corners, square = corners[regular], square[regular]
    points = np.linalg.solve(square, -offsets[corners][..., None])[..., 0]
    distances = points @ normals.T + offsets
    passing = np.abs(distances) <= 1e-9 * (1 + np.abs(points).max(axis=1, keepdims=True, initial=0) + np.abs(offsets))
    np.put_along_axis(passing, corners, True, axis=1)
    sides = np.where(distances > 0, 1, -1).astype(np.int8)
    simple = passing.sum(axis=1) == normals.shape[1]
    found = [_around_simple_corners(sides[simple], corners[simple])]
    for row, meeting in zip(sides[~simple], passing[~simple], strict=True):
        key = np.where(meeting, 0, row).tobytes()
        if key not in done:
            done.add(key)
            cones = _cones(normals[meeting])
            around = np.broadcast_to(row, (len(cones), len(row))).copy()
            around[:, meeting] = cones
            found.append(around)
    return found


def _intervals(slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The cells on a line."""
    roots = np.sort(-offsets / slopes)
    apart = np.diff(roots) > 1e-9 * (1 + np.abs(roots[1:]))
    roots = roots[np.concatenate([[True], apart])]
    inside = np.concatenate([[roots[0] - 1], (roots[:-1] + roots[1:]) / 2, [roots[-1] + 1]])
    return _unique(np.where(np.outer(inside, slopes) + offsets > 0, 1, -1).astype(np.int8))


def _around_simple_corners(sides: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """All choices of sides of the hyperplanes that make the corners, the others' being fixed."""
    N, d = sides.shape[1], corners.shape[1]
    choices = np.array(list(itertools.product([-1, 1], repeat=d)), np.int8)
    found = np.empty((0, N), np.int8)
    step = max(1, _MOST_AT_ONCE // len(choices))
    for k in range(0, len(corners), step):
        part = np.repeat(sides[k : k + step, None], len(choices), axis=1)
        places = np.broadcast_to(corners[k : k + step, None], (len(part), *choices.shape))
        np.put_along_axis(part, places, np.broadcast_to(choices, places.shape), axis=2)
        found = _unique(np.concatenate([found, part.reshape(-1, N)]))
    return found


def _cones(normals: np.ndarray) -> np.ndarray:
    """The cells of hyperplanes through one point, whose normals span the space."""
    d = normals.shape[1]
    # A fixed direction in general position: no cone has it as its normal, so each meets the cut or its opposite.
    direction = np.cos(np.arange(1, d + 1) ** 2 + 0.5)
    direction /= np.linalg.norm(direction)
    along = np.linalg.svd(direction[None])[2][1:]
    half = cells(normals @ along.T, normals @ direction)
    return _unique(np.concatenate([half, -half]))


def _unique(rows: np.ndarray) -> np.ndarray:
    """The distinct rows, in a fixed order."""
    if len(rows) == 0:
        return rows
    packed = np.packbits(rows > 0, axis=1)
    _, first = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True)
    return rows[first]
