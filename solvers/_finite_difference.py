"""Finite differences on a grid: any Hamiltonian, any viscosity."""

from collections.abc import Callable
from typing import final, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import ArrayInput, Scalar, as_float_array, is_concrete, known_number, positive_scalar, require_finite
from hjpde._viscosity import NoViscosity
from hjpde.solvers.grids._ghost_cells import boundary_of, why_not_over
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.grids._grid_values import datum_at_nodes
from hjpde.solvers.grids._interpolation import Order as InterpolationOrder
from hjpde.solvers.stepping._exact_heat import exact_heat
from hjpde.solvers.stepping._grid_run import History, run
from hjpde.solvers.stepping._numerical_hamiltonian import Flux, choose_flux
from hjpde.solvers.stepping._one_sided import GHOST_CELLS, Order
from hjpde.solvers.stepping._semi_discretisation import SemiDiscretisation
from hjpde.solvers.stepping._speed_bound import speed_bound_of
from hjpde.solvers.stepping._strong_stability import TimeOrder

from ._abstract import AbstractSteppingSolver

Field = Float[Array, "..."]


@final
class FiniteDifference(AbstractSteppingSolver):
    r"""Finite differences for $u_t + H(t, x, \nabla u) = \mathrm{tr}(N(t, x) D^2 u)$ on a grid, in any dimension.

    One-sided derivatives (first-order upwind, WENO3, WENO5), a monotone numerical Hamiltonian, strong-stability-
    preserving Runge-Kutta steps whose length follows the CFL condition. A constant viscosity is followed exactly
    between the stages, by a fast Fourier, cosine or sine transform; any other by super-time-stepping. So the step does
    not shrink with large viscosity.

    The boundary conditions and obstacles are those of the problem; a grid axis that is not periodic is extrapolated
    linearly where the problem has no domain. Solutions can be differentiated in both modes, to the initial data, the
    Hamiltonian's and the viscosity's parameters and the boundary values, through all steps: the reverse mode keeps
    about $2\sqrt{\texttt{max\_steps}}$ states.

    Beside a Dirichlet side with viscosity the error falls only between first and second order: the ghost cells of a
    side where $u_{xx}$ is not 0 are no smooth continuation.

    In float32 rounding grows along kinks of a game's value; use float64 to compare two codes there.

    ??? cite "References"

        S. Osher and C.-W. Shu, *High-order essentially nonoscillatory schemes for Hamilton-Jacobi equations*, SIAM J.
        Numer. Anal. 28, 1991. G.-S. Jiang and D. Peng, *Weighted ENO schemes for Hamilton-Jacobi equations*, SIAM J.
        Sci. Comput. 21, 2000.
    """

    grid: Grid
    cfl: Scalar
    front: Scalar | None
    speed_bound: Callable | Float[Array, " d"] | None
    order: Order = eqx.field(static=True)
    time_order: TimeOrder = eqx.field(static=True)
    flux: str = eqx.field(static=True)
    interpolation: InterpolationOrder = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    diffusion_stages: int = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        order: int = 5,
        *,
        flux: str = "auto",
        time_order: int | None = None,
        cfl: float = 0.75,
        speed_bound: ArrayInput | Callable | None = None,
        front: float | None = None,
        interpolation: str | None = None,
        max_steps: int = 4096,
        diffusion_stages: int = 16,
    ):
        r"""**Arguments:**

        - `grid`: the `solvers.Grid`; an axis needs more nodes than the stencil reaches (1, 2 or 3).
        - `order`: in space where the solution is smooth: 5 (WENO5), 3 (WENO3) or 1 (upwind).
        - `flux`: the numerical Hamiltonian: "godunov", the least diffusive, where `H` is a sum of convex functions of
          one component or grows with each $|p_i|$; "global", "local" or "local-local" Lax-Friedrichs; "auto" takes
          Godunov's where it applies, else "local".
        - `time_order`: 1, 2 or 3; by default 1 with `order` 1 and else 3.
        - `cfl`: the part of the stable step that is taken, in (0, 1].
        - `speed_bound`: for a Hamiltonian that has no closed bound of its own: a vector of shape `(d,)` or a function
          of `(t, x, box)` with $|\partial H/\partial p_i|$ at most that for all co-states in the `hjpde.Box`. Without
          one it is found by interval arithmetic, or else sampled; `stats["speed_bound"]` says which, and only
          "hamiltonian" and "interval" are rigorous. The others are checked at every step.
        - `front`: a level of `u`; the solve fails when its set reaches or leaves a border that is not periodic.
        - `interpolation`: between nodes, "cubic" or "linear"; by default linear with `order` 1 and else cubic.
        - `max_steps`: at most so many steps between two saved times.
        - `diffusion_stages`: of the super-time-stepping where viscosity depends on time or place; each half step may be
          as long as $(s^2 + s - 2)/4$ explicit ones.

        **Raises:** `ValueError` if an argument is outside of its range.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a `solvers.Grid`, got {type(grid).__name__}.")
        if order not in get_args(Order):
            raise ValueError(f"`order` must be 1, 3 or 5, got {order!r}.")
        time_order = (1 if order == 1 else 3) if time_order is None else time_order
        if time_order not in get_args(TimeOrder):
            raise ValueError(f"`time_order` must be 1, 2 or 3, got {time_order!r}.")
        words = ("auto", *get_args(Flux))
        if flux not in words:
            raise ValueError(f"`flux` must be one of {', '.join(map(repr, words))}, got {flux!r}.")
        if interpolation is not None and interpolation not in _INTERPOLATIONS:
            raise ValueError(f"`interpolation` must be 'cubic' or 'linear', got {interpolation!r}.")
        for name, count, least in (("max_steps", max_steps, 1), ("diffusion_stages", diffusion_stages, 3)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {count!r}.")
        short = [n for n in grid.shape if n <= GHOST_CELLS[order]]  # pyright: ignore
        if short:
            raise ValueError(
                f"`grid` has an axis of {short[0]} nodes; order {order} needs at least {GHOST_CELLS[order] + 1}."  # pyright: ignore
            )
        dtype = grid.lower.dtype
        self.cfl = positive_scalar(cfl, "cfl", dtype)
        if is_concrete(cfl) and known_number(cfl, "cfl") > 1:
            raise ValueError(f"`cfl` must lie in (0, 1], got {known_number(cfl, 'cfl'):g}.")
        self.front = None if front is None else as_float_array(front, "front", 0)
        if self.front is not None:
            require_finite(self.front, "front")
        self.speed_bound = _as_bound(speed_bound, grid.dim)
        self.grid, self.order, self.time_order = grid, order, time_order  # pyright: ignore
        self.flux, self.max_steps, self.diffusion_stages = flux, max_steps, diffusion_stages
        by_order: InterpolationOrder = "linear" if order == 1 else "cubic"
        self.interpolation = by_order if interpolation is None else _INTERPOLATIONS[interpolation]

    def why_not(self, problem: InitialValueProblem) -> str | None:
        if problem.dim is not None and problem.dim != self.grid.dim:
            return f"the grid has d = {self.grid.dim} and the problem d = {problem.dim}."
        return why_not_over(self.grid, problem.domain)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        v = datum_at_nodes(problem.initial_data, self.grid)
        ts = ts.astype(v.dtype)
        zero = jnp.zeros_like(ts[0])
        system = self._system(problem, v)
        v = system.project(zero, v)
        return self._solution(system, run(system, v, zero, zero, ts, self.max_steps, progress), None)

    def resume(
        self, problem: InitialValueProblem, ts: Float[Array, " T"], start: Solution, *, progress: bool
    ) -> Solution:
        before = start.evaluator
        if not isinstance(before, GridEvaluator) or before.grid.shape != self.grid.shape:
            raise ValueError(f"`start` must be a solution on a grid of shape {self.grid.shape}.")
        t, v = before.ts[-1], before.us[-1]
        ts = ts.astype(v.dtype)
        if is_concrete(t, ts) and not float(t) < float(ts[0]):
            raise ValueError(f"`t` must lie beyond {float(t):g}, which `start` has reached, got {float(ts[0]):g}.")
        system = self._system(problem, before.us[0])
        history = run(system, v, t, start.stats["interval_start"], ts, self.max_steps, progress)
        return self._solution(system, history, start)

    def _system(self, problem: InitialValueProblem, first: Field) -> SemiDiscretisation:
        boundary = boundary_of(self.grid, problem.domain)
        return SemiDiscretisation(
            grid=self.grid,
            hamiltonian=problem.hamiltonian,
            viscosity=problem.viscosity,
            heat=exact_heat(self.grid, boundary, problem.viscosity),
            boundary=boundary,
            constraint=problem.constraint,
            user_bound=self.speed_bound,
            cfl=self.cfl.astype(first.dtype),
            front=self.front,
            below_at_start=None if self.front is None else first < self.front.astype(first.dtype),
            steady=None,
            order=self.order,
            time_order=self.time_order,
            flux=choose_flux(self.flux, problem.hamiltonian),
            stages=self.diffusion_stages,
        )

    def _solution(self, system: SemiDiscretisation, history: History, start: Solution | None) -> Solution:
        ts, us, rates, counts = history.ts, history.us, history.rates, history.counts
        saved = ts
        if start is None:
            ts = jnp.concatenate([jnp.zeros_like(ts[:1]), ts])
            us = jnp.concatenate([history.first[None], us])
            rates = jnp.concatenate([history.first_rate[None], rates])
        else:
            before, stats = start.evaluator, start.stats
            assert isinstance(before, GridEvaluator)
            # What an interruption left between two saved times has served its purpose.
            kept = before.ts.shape[0] - int(bool(start.result == RESULTS.interrupted))
            ts, us, rates = (
                jnp.concatenate([old[:kept], new])
                for old, new in ((before.ts, ts), (before.us, us), (before.rates, rates))
            )
            saved = ts[1:]
            counts = counts | {
                "steps": stats["steps"] + counts["steps"],
                "shortest_step": jnp.minimum(stats["shortest_step"], counts["shortest_step"]),
                "longest_step": jnp.maximum(stats["longest_step"], counts["longest_step"]),
            }
        evaluator = GridEvaluator(self.grid, ts, us, rates, self.interpolation)
        notes = {
            "scheme": f"{_SPACE[self.order]}, {system.flux}, {_time_scheme(system)}",
            "speed_bound": speed_bound_of(system.hamiltonian, self.speed_bound, dim=self.grid.dim)[1],
        }
        return Solution(evaluator, saved, solver="FiniteDifference", result=history.result, counts=counts, notes=notes)


_INTERPOLATIONS: dict[str, InterpolationOrder] = {"linear": "linear", "cubic": "cubic"}
_SPACE = {1: "first-order upwind", 3: "WENO3", 5: "WENO5"}


def _time_scheme(system: SemiDiscretisation) -> str:
    steps = f"SSP Runge-Kutta {system.time_order}"
    if system.heat is not None:
        return f"integrating-factor {steps}"
    if not isinstance(system.viscosity, NoViscosity):
        return f"{steps}, Runge-Kutta-Legendre {system.stages} for the viscosity"
    return steps


def _as_bound(speed_bound: ArrayInput | Callable | None, dim: int) -> Callable | Float[Array, " d"] | None:
    if speed_bound is None or callable(speed_bound):
        return speed_bound
    bound = as_float_array(speed_bound, "speed_bound", 1)
    require_finite(bound, "speed_bound")
    if bound.shape != (dim,) or (is_concrete(bound) and not np.all(np.asarray(bound) >= 0)):
        raise ValueError(f"`speed_bound` must be a function or {dim} numbers of at least 0, got {bound.tolist()}.")
    return bound
