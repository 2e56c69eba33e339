"""The tropical hypersurface, where a tropical polynomial bends, and the subdivided Newton polytope dual to it."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import scipy.spatial

from hjpde._plotting import BLUE, MARKERS, ORANGE, given_or_new, tidy

from ._tropical_polynomial import TropicalPolynomial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Sides of the hull over a border with more than two exponents are vertical, up to rounding.
_VERTICAL = 1e-10


@final
class Facet(NamedTuple):
    """A facet of the tropical hypersurface in the plane: a segment, or a ray where `vertices` holds one index.

    - `vertices`: one or two indices into `DualSubdivision.vertices`.
    - `direction`: the unit vector along it, for a ray pointing out.
    - `monomials`: the two monomials that are equal on it, the ends of the dual edge.
    """

    vertices: tuple[int, ...]
    direction: np.ndarray
    monomials: tuple[int, int]


@final
class DualSubdivision(NamedTuple):
    r"""The regular subdivision of the Newton polytope $\mathrm{conv}\{W_j\}$ that the coefficients induce.

    - `polynomial`: what is subdivided.
    - `vertices`: the vertices of the tropical hypersurface, shape `(n_cells, d)`; in one dimension the bends.
    - `cells`: for each vertex the monomials that attain the maximum there, in rising order: the dual cell.
    - `facets`: the segments and rays of the hypersurface in two dimensions; none in one.
    - `monomials`: those that win on an open region, each the slope of one linear piece.
    """

    polynomial: TropicalPolynomial
    vertices: np.ndarray
    cells: tuple[tuple[int, ...], ...]
    facets: tuple[Facet, ...]
    monomials: tuple[int, ...]


def dual_subdivision(polynomial: TropicalPolynomial) -> DualSubdivision:
    r"""Bends and dual cells of a tropical polynomial in one or two variables.

    The upper hull of the lifted points $(W_j, b_j)$, projected down, subdivides the Newton polytope. A facet of it with
    the affine function $c - x \cdot W$ says that $W_j \cdot x + b_j \le c$ with equality on the facet: `x` is a vertex
    of the hypersurface and `c` the value there. Edges of the two pictures are orthogonal.

    Computed in float64 by Qhull, whatever the dtype of the polynomial.

    **Arguments:**

    - `polynomial`: in 1 or 2 variables, whose exponents span them; monomials with coefficient $-\infty$ are left out.

    **Raises:** `ValueError` for more variables, or where the exponents lie in one point or on one line: the polynomial
    then depends on fewer variables.

    ??? cite "References"

        D. Maclagan and B. Sturmfels, *Introduction to Tropical Geometry*, AMS, 2015, Section 3.1.
    """
    d = polynomial.dim
    if d not in (1, 2):
        raise ValueError(f"`polynomial` must have 1 or 2 variables, got {d}.")
    W, b = np.asarray(polynomial.exponents, float), np.asarray(polynomial.coefficients, float)
    present = np.flatnonzero(np.isfinite(b))
    if present.size == 0 or np.linalg.matrix_rank(W[present] - W[present[0]]) < d:
        raise ValueError(
            f"`polynomial` must have exponents that span {d} dimensions, got {present.size} with a finite coefficient."
        )
    simplices, equations = _upper_hull(W[present], b[present])
    # Qhull splits a facet with more corners into simplices, which keep its equation to the last bit.
    distinct, which = np.unique(equations, axis=0, return_inverse=True)
    vertices = distinct[:, :d] / distinct[:, d : d + 1]
    values = -distinct[:, -1] / distinct[:, d]
    scale = np.abs(b[present]).max() + np.abs(vertices @ W[present].T).max()
    scores = vertices @ W.T + b
    cells = tuple(
        tuple(np.flatnonzero(row >= value - 1e3 * np.finfo(float).eps * scale).tolist())
        for row, value in zip(scores, values, strict=True)
    )
    order = np.lexsort(vertices.T[::-1])
    rank = np.argsort(order)
    edges = _edges(present[simplices], rank[which.ravel()]) if d == 2 else {}
    facets = tuple(_facet(W, monomials, ends, vertices[order]) for monomials, ends in edges.items())
    return DualSubdivision(
        polynomial,
        vertices[order],
        tuple(cells[k] for k in order),
        facets,
        tuple(np.unique(present[simplices]).tolist()),
    )


def _upper_hull(W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The simplices of the upper hull and their equations, `normal . (W, b) + offset = 0` with an upward normal."""
    # A point far below makes the hull solid also where all lifted points lie on one plane.
    apex = np.append(W.mean(axis=0), b.min() - 1 - np.ptp(b) - np.ptp(W))
    hull = scipy.spatial.ConvexHull(np.vstack([np.column_stack([W, b]), apex]))
    upper = hull.equations[:, -2] > _VERTICAL
    return hull.simplices[upper], hull.equations[upper]


def _edges(simplices: np.ndarray, cell: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """The edges of the subdivision, each with the one or two cells beside it; those inside a cell are left out."""
    beside: dict[tuple[int, int], list[int]] = {}
    for triangle, k in zip(np.sort(simplices, axis=1), cell, strict=True):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            beside.setdefault((int(triangle[i]), int(triangle[j])), []).append(int(k))
    return {edge: cells for edge, cells in beside.items() if len(cells) == 1 or cells[0] != cells[1]}


def _facet(W: np.ndarray, monomials: tuple[int, int], ends: list[int], vertices: np.ndarray) -> Facet:
    along = W[monomials[1]] - W[monomials[0]]
    across = np.array([along[1], -along[0]]) / np.hypot(*along)
    if len(ends) == 2:
        across = across * np.sign(across @ (vertices[ends[1]] - vertices[ends[0]]))
    else:
        # The ray leaves towards the side where no exponent lies.
        across = across * -np.sign(across @ (W.mean(axis=0) - W[monomials[0]]))
    return Facet(tuple(ends), across, monomials)


def plot_tropical_hypersurface(subdivision: DualSubdivision, ax: "Axes | None" = None) -> "Axes":
    """The hypersurface: in two dimensions its segments and rays, in one the graph of the polynomial with its bends.

    **Arguments:** `subdivision`, of `dual_subdivision`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax, 4.6, 4.2)
    low, high = subdivision.vertices.min(axis=0), subdivision.vertices.max(axis=0)
    reach = max(float((high - low).max()), 1.0)
    if subdivision.polynomial.dim == 1:
        x = np.linspace(low[0] - 0.5 * reach, high[0] + 0.5 * reach, 400)
        bends = subdivision.vertices
        ax.plot(x, subdivision.polynomial.batch(x[:, None]), color=BLUE, label="tropical polynomial")
        ax.plot(bends[:, 0], subdivision.polynomial.batch(bends), MARKERS[0], color=ORANGE, label="bends")
        ax.set_ylabel("f(x)")
        ax.set_xlabel("x")
        tidy(ax, "both")
    else:
        for facet in subdivision.facets:
            start = subdivision.vertices[facet.vertices[0]]
            ray = len(facet.vertices) == 1
            stop = start + 0.5 * reach * facet.direction if ray else subdivision.vertices[facet.vertices[1]]
            ax.plot(*np.stack([start, stop]).T, color=BLUE, linestyle="--" if ray else "-", linewidth=1.6)
        ax.plot([], [], color=BLUE, label="segments")
        ax.plot([], [], color=BLUE, linestyle="--", label="rays")
        ax.plot(*subdivision.vertices.T, MARKERS[0], color=ORANGE, markersize=5, label="vertices")
        ax.set_aspect("equal")
        ax.set_xlabel("x₁")
        ax.set_ylabel("x₂")
        tidy(ax, "both")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title("tropical hypersurface", fontsize=10)
    return ax


def plot_dual_subdivision(subdivision: DualSubdivision, ax: "Axes | None" = None) -> "Axes":
    """The subdivided Newton polytope: in one dimension the lifted points under their hull.

    **Arguments:** `subdivision`, of `dual_subdivision`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax, 4.6, 4.2)
    W = np.asarray(subdivision.polynomial.exponents, float)
    used = np.asarray(subdivision.monomials)
    unused = np.setdiff1d(np.arange(len(W)), used)
    if subdivision.polynomial.dim == 1:
        b = np.asarray(subdivision.polynomial.coefficients, float)
        hull = used[np.argsort(W[used, 0])]
        ax.plot(W[hull, 0], b[hull], "-", color=BLUE, label="upper hull")
        points = np.column_stack([W[:, 0], b])
        ax.set_xlabel("exponent W")
        ax.set_ylabel("coefficient b")
    else:
        for facet in subdivision.facets:
            border = len(facet.vertices) == 1
            ax.plot(*W[list(facet.monomials)].T, color=BLUE, linestyle="--" if border else "-", linewidth=1.6)
        points = W
        ax.plot([], [], color=BLUE, label="edges inside, dual to segments")
        ax.plot([], [], color=BLUE, linestyle="--", label="border, dual to rays")
        ax.set_aspect("equal")
        ax.set_xlabel("exponent W₁")
        ax.set_ylabel("exponent W₂")
    ax.plot(*points[used].T, MARKERS[0], color=ORANGE, markersize=5, label="monomials that win somewhere")
    if unused.size:
        ax.plot(*points[unused].T, "x", color="#666666", markersize=5, label="monomials that never win")
    tidy(ax, "both")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title("dual subdivision", fontsize=10)
    return ax
