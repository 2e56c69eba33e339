"""When the planes of a maximum each move on their own."""

import itertools

import jax
import numpy as np
from jaxtyping import Float, Int

from hjpde._types import is_concrete
from hjpde.hamiltonians import AbstractMomentumHamiltonian
from hjpde.initial_data import MaxPlanes

_LARGEST_DIMENSION = 4
"""Above it, the cells of the slopes' hull are too many to list."""


def planes_stay_exact(datum: MaxPlanes, H: AbstractMomentumHamiltonian) -> tuple[bool, int]:
    r"""Whether $H(p) \ge \sum_i \alpha_i H(p_i)$ on the cells over which the planes' conjugate is affine.

    For a concave or linear `H` this is Jensen's inequality. For others it is tried at points of each cell: a failure
    is certain, a success as good as the points. Data that are traced, or of a dimension above 4, count as not shown.

    **Returns:** the answer, and the number of points tried.
    """
    if H.curvature in ("concave", "linear"):
        return True, 0
    if datum.dim > _LARGEST_DIMENSION or not is_concrete(datum, H):
        return False, 0
    slopes = np.asarray(datum.slopes, float)
    cells = _cells(slopes, np.asarray(datum.offsets, float))
    if cells is None:
        return False, 0
    if len(cells) == 0:
        return True, 0  # one slope: there is nothing to mix
    weights = _barycentric_points(cells.shape[1])
    points = np.einsum("kc,scd->skd", weights, slopes[cells]).reshape(-1, datum.dim)
    energy = jax.vmap(lambda p: H(0.0, p, p))
    with jax.ensure_compile_time_eval():  # constants inside a compiled function are known too
        at_points = np.asarray(energy(points.astype(datum.slopes.dtype)), float).reshape(len(cells), -1)
        at_vertices = np.asarray(energy(datum.slopes), float)
    interpolated = at_vertices[cells] @ weights.T
    tolerance = 1e3 * np.finfo(datum.slopes.dtype).eps * (1 + np.abs(at_vertices).max())
    return bool(np.all(at_points >= interpolated - tolerance)), points.shape[0]


def _cells(
    slopes: Float[np.ndarray, "N d"], offsets: Float[np.ndarray, " N"]
) -> Int[np.ndarray, "cells vertices"] | None:
    """The simplices, as rows of indices, of the lower hull of the points `(p_i, gamma_i)`."""
    import scipy.spatial

    d = slopes.shape[1]
    if d == 1:
        return _segments(slopes[:, 0], offsets)
    lifted = np.concatenate([slopes, offsets[:, None]], axis=1)
    try:
        hull = scipy.spatial.ConvexHull(lifted)
    except (scipy.spatial.QhullError, ValueError):
        return None  # fewer than d + 2 points, or all in one hyperplane
    return hull.simplices[hull.equations[:, d] < -1e-12]


def _segments(slopes: Float[np.ndarray, " N"], offsets: Float[np.ndarray, " N"]) -> np.ndarray:
    """The lower hull of points in the plane, by one sweep from left to right."""
    chain: list[int] = []
    for i in np.lexsort((offsets, slopes)).tolist():
        if chain and slopes[i] == slopes[chain[-1]]:
            continue
        while len(chain) > 1 and _above(chain[-2], chain[-1], i, slopes, offsets):
            chain.pop()
        chain.append(i)
    return np.asarray(list(itertools.pairwise(chain)), int).reshape(-1, 2)


def _above(a: int, b: int, c: int, slopes: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether `b` lies on or above the line from `a` to `c`."""
    return bool(
        (offsets[b] - offsets[a]) * (slopes[c] - slopes[a]) >= (offsets[c] - offsets[a]) * (slopes[b] - slopes[a])
    )


def _barycentric_points(vertices: int) -> Float[np.ndarray, "points vertices"]:
    if vertices == 2:
        s = np.linspace(0, 1, 65)[1:-1]
        return np.stack([s, 1 - s], axis=1)
    random = np.random.default_rng(0).dirichlet(np.full(vertices, 0.7), 256)
    edges = [np.eye(vertices)[i] / 2 + np.eye(vertices)[j] / 2 for i in range(vertices) for j in range(i)]
    return np.concatenate([random, np.asarray(edges), np.full((1, vertices), 1 / vertices)])
