"""The method of characteristics: inviscid problems with any smooth Hamiltonian, one point at a time."""

from typing import Any, final, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import ArrayInput, as_float_array, require_finite
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import Transport
from hjpde.hamiltonians._abstract import Curvature
from hjpde.initial_data import Atoms
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.paths._canonical_equations import Strips, constant
from hjpde.solvers.paths._characteristic_evaluator import CharacteristicEvaluator
from hjpde.solvers.paths._crossing import survey
from hjpde.solvers.paths._curvature import curvature_of
from hjpde.solvers.paths._quasi_random import kronecker_points
from hjpde.solvers.paths._transport_evaluator import TransportEvaluator

from ._abstract import AbstractSolver
from ._periodic_extension import why_not_periodic_extension

_SHAPES = {1: (256,), 2: (24, 24), 3: (10, 10, 10)}
_POINTS = 1024
"""How the domain's box is sampled where no `starts` are given: on a grid, and in more than 3 dimensions evenly."""


@final
class Characteristics(AbstractSolver):
    r"""$\dot x = H_p$, $\dot p = -H_x$, $\dot u = p \cdot H_p - H$ from $(y, \nabla g(y), g(y))$, at $N = 0$.

    The value at `(t, x)` is what the characteristic carries that arrives there, found by a trust region Newton
    iteration over its start `y`. Its gradient is the co-state `p`. `g` and `H` must be twice differentiable: nothing
    is found in the fan of a convex kink.

    Up to `stats["first_crossing"]`, the least time at which $\partial x/\partial y$ is singular for some start in
    `starts`, one characteristic arrives at every point. Afterwards the value is the least over those found from
    `n_starts` guesses if `H` is convex in `p`, the greatest if it is concave, and refused if it is neither or not
    known: raise `n_starts` for a datum that oscillates much. A point that none is found to reach has the value NaN;
    `solution.evaluator.arrival(t, x)` tells more.

    Under `hjpde.Transport` all slopes move alike, and the path is integrated backwards without a search.

    Along a periodic axis the characteristics go on through the whole space, so the datum and the Hamiltonian must be
    periodic functions.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Sections 3.2 and 3.3.

        P. Cannarsa and C. Sinestrari, *Semiconcave Functions, Hamilton-Jacobi Equations, and Optimal Control*,
        Birkhäuser, 2004, Section 6.3, for conjugate points and the minimum over characteristics.
    """

    starts: Grid | Float[Array, "S d"] | None
    jumps: Float[Array, " J"] | None
    curvature: Curvature | None = eqx.field(static=True)
    n_starts: int = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        starts: Grid | ArrayInput | None = None,
        *,
        curvature: str | None = None,
        n_starts: int = 32,
        rtol: float | None = None,
        atol: float | None = None,
        max_steps: int = 4096,
        jumps: ArrayInput | None = None,
    ):
        """**Arguments:**

        - `starts`: where the characteristics start among which the first crossing is searched, and which tell how
          far they run: a `hjpde.solvers.Grid`, or points of shape `(S, d)`; by default the problem's domain. It must
          cover the starts of all that is asked for.
        - `curvature`: how `H` depends on `p`: "linear", "convex", "concave" or "unknown". By default what the
          Hamiltonian tells; another word is vouched for by the user.
        - `n_starts`: guesses of the start for one point, at least 2. After the first crossing all are used.
        - `rtol`, `atol`: tolerances of the integration in time, by default 1e-10 and 1e-12 in float64, 1e-5 and 1e-7
          in float32. Straight characteristics are exact.
        - `max_steps`: the most steps of an integration.
        - `jumps`: increasing times at which `H` jumps, such as the edges between layers, shape `(J,)`.

        **Raises:** `ValueError` if an argument is of another kind, shape or range.
        """
        if starts is None or isinstance(starts, Grid):
            self.starts = starts
        else:
            self.starts = as_float_array(starts, "starts", 2)
            require_finite(self.starts, "starts")
            if 0 in self.starts.shape:
                raise ValueError(f"`starts` must hold points of shape (S, d), got shape {self.starts.shape}.")
        words = get_args(Curvature)
        if curvature is not None and curvature not in words:
            raise ValueError(f"`curvature` must be one of {', '.join(words)}, got {curvature!r}.")
        for name, count, least in (("n_starts", n_starts, 2), ("max_steps", max_steps, 1)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {count!r}.")
        for name, tolerance in (("rtol", rtol), ("atol", atol)):
            if tolerance is not None and not (np.isfinite(tolerance) and tolerance > 0):
                raise ValueError(f"`{name}` must be positive and finite, got {tolerance!r}.")
        self.jumps = None if jumps is None else as_float_array(jumps, "jumps", 1)
        self.curvature, self.n_starts, self.max_steps = curvature, n_starts, max_steps  # pyright: ignore
        self.rtol, self.atol = rtol, atol

    def why_not(self, problem: InitialValueProblem) -> str | None:
        if not isinstance(problem.viscosity, NoViscosity):
            return "there is viscosity (characteristics carry the value at N = 0 only)."
        if isinstance(problem.initial_data, Atoms):
            return "point masses have no slope to start with; `HopfLax` takes them."
        if (reason := why_not_periodic_extension(problem)) is not None:
            return reason
        if self.starts is None:
            if problem.domain is None and self._curvature(problem) != "linear":
                return "the problem has no `domain` in which to look for crossings: pass `starts` to the solver."
            return None
        dim = self.starts.dim if isinstance(self.starts, Grid) else self.starts.shape[1]
        if problem.dim is not None and dim != problem.dim:
            return f"`starts` has dimension {dim}, the problem {problem.dim}."
        return None

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        curvature, dtype = self._curvature(problem), ts.dtype
        double = dtype == jnp.float64
        strips = Strips(
            problem.initial_data,
            problem.hamiltonian,
            self.jumps,
            self.rtol if self.rtol is not None else (1e-10 if double else 1e-5),
            self.atol if self.atol is not None else (1e-12 if double else 1e-7),
            self.max_steps,
        )
        result, counts = RESULTS.successful, {"first_crossing": jnp.asarray(jnp.inf, dtype)}
        if isinstance(problem.hamiltonian, Transport):
            evaluator = TransportEvaluator(strips, problem.dim)
            return Solution(evaluator, ts, solver="Characteristics", result=result, counts=counts)
        speed = None
        if curvature != "linear":
            found = survey(*constant((strips, self._points(problem).astype(dtype), ts[-1])))
            crossed = jnp.asarray(curvature == "unknown") & (found.crossing_time < ts[-1])
            failed = RESULTS.where(crossed, RESULTS.crossed, RESULTS.successful)
            result = RESULTS.where(found.finite, failed, RESULTS.not_finite)
            speed = found.speed
            counts = {
                "first_crossing": found.crossing_time,
                "first_crossing_start": found.crossing_start,
                "first_crossing_point": found.crossing_point,
                "failure_time": jnp.where(crossed & found.finite, found.crossing_time, found.lost_time),
                "failure_point": jnp.where(crossed & found.finite, found.crossing_point, found.lost_point),
            }
        evaluator = CharacteristicEvaluator(
            strips, counts["first_crossing"], speed, curvature, self.n_starts, problem.dim
        )
        return Solution(evaluator, ts, solver="Characteristics", result=result, counts=counts)

    def _curvature(self, problem: InitialValueProblem) -> Curvature:
        return curvature_of(problem.hamiltonian) if self.curvature is None else self.curvature

    def _points(self, problem: InitialValueProblem) -> Float[Array, "S d"]:
        starts: Any = self.starts
        if starts is None:
            domain = problem.domain
            assert domain is not None
            if domain.dim not in _SHAPES:
                unit = kronecker_points(_POINTS, domain.dim, domain.lower.dtype)
                return domain.lower[None] + (domain.upper - domain.lower)[None] * unit
            starts = Grid.over(domain, _SHAPES[domain.dim])
        return starts.points.reshape(-1, starts.dim) if isinstance(starts, Grid) else starts
