"""Central differences for the viscous term `tr(N D^2 u)`."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar
from hjpde._viscosity import AbstractViscosity, MatrixViscosity, VariableViscosity
from hjpde.solvers.grids._ghost_cells import Boundary, boundary_of, pad
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._over_grid import over_grid

from ._one_sided import Order

Field = Float[Array, "..."]

# Weights of the second and the first derivative by the distance from the point: of order 2 and of order 4.
_SECOND = {2: (-2.0, 1.0), 4: (-5 / 2, 4 / 3, -1 / 12)}
_FIRST = {2: (0.5,), 4: (2 / 3, -1 / 12)}
# The largest eigenvalue of the second difference, in units of 1/spacing^2.
_LARGEST = {2: 4.0, 4: 16 / 3}


def diffusion(
    viscosity: AbstractViscosity, grid: Grid, boundary: Boundary, order: Order, t: Scalar, v: Field
) -> Float[Array, "..."]:
    r"""$\mathrm{tr}(N(t, x) D^2 v)$ on the grid: of order 2 beside first-order upwinding, else of order 4.

    A mixed derivative is the product of two first ones; its symbol is bounded by those on the diagonal, so that the
    sum is dissipative for every positive semidefinite `N`.
    """
    width = 1 if order == 1 else 2
    N = _entries(viscosity, grid, t)
    pairs = [pair for pair in N if pair[0] != pair[1]]
    slopes = {i: _first(v, i, width, grid, boundary, t) for i in {i for i, _ in pairs}}
    out = jnp.zeros_like(v)
    for i in range(grid.dim):
        out = out + N[i, i] * _second(v, i, width, grid, boundary, t)
    free = boundary_of(grid, None)  # the slopes obey no boundary condition of their own
    for i, j in pairs:
        out = out + 2 * N[i, j] * _first(slopes[i], j, width, grid, free, t)
    return out


def decay_rate(viscosity: AbstractViscosity, grid: Grid, order: Order, t: Scalar) -> Scalar:
    """The fastest rate at which the differences damp a mode, per unit of time: twice over Euler's stable step."""
    N = _entries(viscosity, grid, t)
    largest = _LARGEST[2 if order == 1 else 4]
    return largest * jnp.max(jnp.asarray(sum(N[i, i] / grid.spacing[i] ** 2 for i in range(grid.dim))))


def _entries(viscosity: AbstractViscosity, grid: Grid, t: Scalar) -> dict[tuple[int, int], Field]:
    """The entries of `N` on the grid, on and below the diagonal as far as they may differ from 0."""
    may_mix = isinstance(viscosity, MatrixViscosity | VariableViscosity)
    pairs = [(i, j) for i in range(grid.dim) for j in range(i + 1) if i == j or may_mix]

    def at_point(x: Point) -> tuple[Scalar, ...]:
        N = viscosity.matrix(t, x)
        return tuple(N[pair] for pair in pairs)

    return dict(zip(pairs, over_grid(at_point, grid.axes), strict=True))


def _second(v: Field, axis: int, width: int, grid: Grid, boundary: Boundary, t: Scalar) -> Field:
    values = _shifted(v, axis, width, grid, boundary, t)
    weights = _SECOND[2 * width]
    out = weights[0] * values[width]
    for k in range(1, width + 1):
        out = out + weights[k] * (values[width - k] + values[width + k])
    return out / grid.spacing[axis] ** 2


def _first(v: Field, axis: int, width: int, grid: Grid, boundary: Boundary, t: Scalar) -> Field:
    values = _shifted(v, axis, width, grid, boundary, t)
    weights = _FIRST[2 * width]
    out = jnp.zeros_like(v)
    for k in range(1, width + 1):
        out = out + weights[k - 1] * (values[width + k] - values[width - k])
    return out / grid.spacing[axis]


def _shifted(v: Field, axis: int, width: int, grid: Grid, boundary: Boundary, t: Scalar) -> list[Field]:
    padded = lax.optimization_barrier(pad(v, axis, width, grid, boundary, t))
    n = v.shape[axis]
    return [lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(2 * width + 1)]
