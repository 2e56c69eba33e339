"""Hopf-Lax on a grid: any datum, as one minimum along every axis and no time step."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from hjpde._domain import Extrapolation, ExtrapolationAwayFromZero
from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import Scalar
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import AbstractHamiltonian, HasSeparableLagrangian
from hjpde.solvers.convolutions._infimal_convolution import AlongAxis, infimal_convolution
from hjpde.solvers.grids._ghost_cells import boundary_of, pad, why_not_over
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.grids._grid_values import datum_at_nodes
from hjpde.solvers.stepping._numerical_hamiltonian import choose_flux, numerical_hamiltonian
from hjpde.solvers.stepping._one_sided import GHOST_CELLS, one_sided_derivatives
from hjpde.solvers.stepping._speed_bound import speed_bound_of

from ._abstract import AbstractSolver

Field = Float[Array, "..."]

_FEWEST = 4


@final
class GridHopfLax(AbstractSolver):
    r"""$u(t, x) = \min_y\, g(y) + t\,L((x - y)/t)$ at the nodes of a grid, at $N = 0$, for any datum.

    For a convex $H(p) = \sum_i h_i(p_i)$ the minimum is taken along one axis after the other. Each saved time is
    computed directly from the datum: no time step, no CFL condition, and an error that does not grow with time. The
    minimum is exact between the nodes for what the grid knows of `g`: parabolas where `g` is smooth or has concave
    kinks, and two of them that meet at a convex kink, so that the error is of third order in the spacing. The work is
    that of some tens of comparisons a node and axis.

    A periodic axis wraps. Along any other, sources outside of the box do not exist: the box must hold all points from
    which characteristics arrive. `stats["border_minimisers"]` counts the values, over all axes and times, whose
    minimiser a border has held back, and which are too high; in `stats["window"]` stands, for each axis, over how many
    shifts minimisers were looked for at the last time.

    Solutions can be differentiated in both modes, to the datum, the Hamiltonian's parameters and the times; the
    reverse mode is one scatter an axis.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 3.3.2, Theorem 4.

        L. Corrias, *Fast Legendre-Fenchel transform and applications to Hamilton-Jacobi equations and conservation
        laws*, SIAM J. Numer. Anal. 33, 1996.
    """

    grid: Grid

    def __init__(self, grid: Grid):
        """**Arguments:**

        - `grid`: the `solvers.Grid`, with at least 4 nodes an axis.

        **Raises:** `ValueError` if it is no grid, or has fewer nodes.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a `solvers.Grid`, got {type(grid).__name__}.")
        if min(grid.shape) < _FEWEST:
            raise ValueError(f"`grid` must have at least {_FEWEST} nodes an axis, got the shape {grid.shape}.")
        self.grid = grid

    def why_not(self, problem: InitialValueProblem) -> str | None:
        grid, H = self.grid, problem.hamiltonian
        if problem.dim is not None and problem.dim != grid.dim:
            return f"the grid has d = {grid.dim} and the problem d = {problem.dim}."
        if not isinstance(problem.viscosity, NoViscosity):
            return "there is viscosity (Hopf-Lax needs N = 0)."
        if problem.constraint is not None:
            return "the problem has a `constraint`, and the Hopf-Lax formula knows none; use FiniteDifference."
        if not isinstance(H, HasSeparableLagrangian):
            return f"{type(H).__name__} is not known to be a sum of convex functions of one co-state component each."
        if (reason := H.why_not_separable(grid.dim)) is not None:
            return reason
        for condition in (side for sides in boundary_of(grid, problem.domain) for side in sides or ()):
            if not isinstance(condition, Extrapolation | ExtrapolationAwayFromZero):
                return (
                    f"the problem's `domain` has a {type(condition).__name__} condition, and the Hopf-Lax formula "
                    "holds on the whole space and on a torus; use FiniteDifference."
                )
        return why_not_over(grid, problem.domain)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        g = datum_at_nodes(problem.initial_data, self.grid)
        return _solve(self.grid, problem, g, ts.astype(g.dtype))


@eqx.filter_jit
def _solve(grid: Grid, problem: InitialValueProblem, g: Field, ts: Float[Array, " T"]) -> Solution:
    H = problem.hamiltonian
    known = jnp.isfinite(g)
    # Where the datum is not known nothing is.
    blank = jnp.where(jnp.all(known), 0, jnp.nan).astype(g.dtype)

    def at(t: Scalar) -> tuple[Field, Field, Array, Array]:
        one = jnp.ones_like(t)
        # By the envelope theorem the derivative in time is -H at the minimiser's momentum.
        u, rate, (window, from_beyond) = jax.jvp(lambda t: _evolve(grid, H, g, t), (t,), (one,), has_aux=True)
        return u + blank, rate + blank, window, from_beyond

    if ts.shape[0] == 1:
        us, rates, windows, from_beyond = jax.tree.map(lambda part: part[None], at(ts[0]))
    else:
        us, rates, windows, from_beyond = lax.map(at, ts)
    us = jnp.concatenate([g[None], us])
    rates = jnp.concatenate([_first_rate(grid, problem, g)[None], rates])
    ts = jnp.concatenate([jnp.zeros_like(ts[:1]), ts])
    finite = jnp.isfinite(us)
    failed = ~jnp.all(finite)
    time, *place = jnp.unravel_index(jnp.argmin(finite), us.shape)
    point = jnp.stack([axis[i] for axis, i in zip(grid.axes, place, strict=True)])
    counts = {
        "window": windows[-1],
        "border_minimisers": jnp.sum(from_beyond, dtype=jnp.int32),
        "failure_time": jnp.where(failed, ts[time], jnp.nan),
        "failure_point": jnp.where(failed, point, jnp.nan),
    }
    return Solution(
        GridEvaluator(grid, ts, us, rates),
        ts[1:],
        solver="GridHopfLax",
        result=RESULTS.where(failed, RESULTS.not_finite, RESULTS.successful),
        counts=counts,
        notes={"method": "one (min,+) convolution an axis, monotone blocks"},
    )


def _evolve(grid: Grid, H: AbstractHamiltonian, g: Field, t: Scalar) -> tuple[Field, tuple[Array, Array]]:
    """The values at the nodes at time `t`; and for each axis the window, and the number of minimisers held back."""
    assert isinstance(H, HasSeparableLagrangian)
    searches = []
    for axis in range(grid.dim):
        along = AlongAxis(H, axis, grid.spacing[axis].astype(g.dtype), grid.periodic[axis])
        g, search = infimal_convolution(g, t, along)
        searches.append(search)
    window, from_beyond = (jnp.stack(parts) for parts in zip(*searches, strict=True))
    return g, (window, from_beyond)


def _first_rate(grid: Grid, problem: InitialValueProblem, g: Field) -> Field:
    """$-H(\\nabla g)$, of the differences of the datum, on the upwind side of its kinks."""
    H, zero, boundary = problem.hamiltonian, jnp.zeros((), g.dtype), boundary_of(grid, problem.domain)
    left, right = [], []
    for axis in range(grid.dim):
        padded = pad(g, axis, GHOST_CELLS[5], grid, boundary, zero)
        minus, plus = one_sided_derivatives(padded, axis, grid.spacing[axis].astype(g.dtype), 5)
        left.append(minus)
        right.append(plus)
    axes = [axis.astype(g.dtype) for axis in grid.axes]
    bound = speed_bound_of(H, dim=grid.dim)[0]
    return -numerical_hamiltonian(choose_flux("auto", H), H, bound, zero, axes, left, right)
