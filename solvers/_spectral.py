"""Fourier modes and an exponential integrator: viscous problems on a periodic box."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import Scalar, ScalarLike, is_concrete, positive_scalar
from hjpde._viscosity import MatrixViscosity, NoViscosity, ScalarViscosity
from hjpde.solvers.grids._ghost_cells import why_not_over
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.grids._grid_values import datum_at_nodes
from hjpde.solvers.stepping._heat import HeatFlow
from hjpde.solvers.stepping._pseudo_spectral import PseudoSpectral
from hjpde.solvers.stepping._spectral_evaluator import SpectralEvaluator
from hjpde.solvers.stepping._spectral_run import INTERRUPTED, NOT_FINITE, OUT_OF_STEPS, Interval, SpectralRun

from ._abstract import AbstractSteppingSolver

Field = Float[Array, "..."]


@final
class Spectral(AbstractSteppingSolver):
    r"""A Fourier pseudo-spectral method for $u_t + H(t, x, \nabla u) = \mathrm{tr}(N D^2 u)$ on a periodic box, with
    constant $N$.

    For a smooth solution the error falls exponentially with the size of the grid. The viscous part is exact, so that a
    large `N` does not shrink the step; the rest is followed by an exponential Runge-Kutta method of order 4 whose
    step adapts to the tolerances. The mean of `u` is part of the solution. Between the nodes the solution is its
    Fourier sum; between saved times it is a cubic polynomial, so save the times that are wanted.

    Solutions can be differentiated in both modes, to the initial data, the Hamiltonian's parameters and `N`: the
    reverse mode keeps about $2\sqrt{\texttt{max\_steps}}$ states.

    ??? cite "References"

        S. M. Cox and P. C. Matthews, *Exponential time differencing for stiff systems*, J. Comput. Phys. 176, 2002.
        A.-K. Kassam and L. N. Trefethen, *Fourth-order time-stepping for stiff PDEs*, SIAM J. Sci. Comput. 26, 2005.
    """

    grid: Grid
    rtol: Scalar
    atol: Scalar | None
    tail_limit: Scalar
    max_steps: int = eqx.field(static=True)
    dealias: bool = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        *,
        rtol: ScalarLike | None = None,
        atol: ScalarLike | None = None,
        max_steps: int = 4096,
        dealias: bool = True,
        tail_limit: ScalarLike = 1e-2,
    ):
        r"""**Arguments:**

        - `grid`: the `solvers.Grid`, periodic along every axis; sizes with small prime factors are fastest.
        - `rtol`, `atol`: tolerances of a step, relative to `u` and in units of `u`. By default `rtol` is $10^{-11}$ in
          float64 and $10^{-5}$ in float32, and `atol` is `rtol` times the range of the initial data.
        - `max_steps`: at most about so many steps between two saved times, rejected ones included.
        - `dealias`: whether the Hamiltonian sees and moves only the lower two thirds of the modes of each axis, which
          keeps products of a quadratic one exact. Without it a solution that is resolved has more modes.
        - `tail_limit`: the solve ends as `under_resolved` if at a saved time the highest third of the modes in use
          carries more than this part of what `u` varies by (root mean squares); `stats["tail"]` is the largest part.
          At 1e-2 the picture is right; the error of the gradient is larger.

        **Raises:** `ValueError` if an argument is outside of its range.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a `solvers.Grid`, got {type(grid).__name__}.")
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise ValueError(f"`max_steps` must be an integer of at least 1, got {max_steps!r}.")
        dtype = grid.lower.dtype
        rtol = (1e-11 if dtype == jnp.float64 else 1e-5) if rtol is None else rtol
        self.rtol = positive_scalar(rtol, "rtol", dtype)
        self.atol = None if atol is None else positive_scalar(atol, "atol", dtype)
        self.tail_limit = positive_scalar(tail_limit, "tail_limit", dtype)
        self.grid, self.max_steps, self.dealias = grid, max_steps, dealias

    def why_not(self, problem: InitialValueProblem) -> str | None:
        grid = self.grid
        if problem.dim is not None and problem.dim != grid.dim:
            return f"the grid has d = {grid.dim} and the problem d = {problem.dim}."
        if not all(grid.periodic):
            return f"Fourier modes are periodic, and the grid is periodic along {grid.periodic}; use FiniteDifference."
        if isinstance(problem.viscosity, NoViscosity):
            return "there is no viscosity, so that kinks form, which no Fourier sum resolves; use FiniteDifference."
        if not isinstance(problem.viscosity, ScalarViscosity | MatrixViscosity):
            return "the viscosity depends on time or place, and modes decay on their own only if it is constant."
        if problem.constraint is not None:
            return "the problem has a `constraint`, whose solution has kinks; use FiniteDifference."
        return why_not_over(grid, problem.domain)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        u = datum_at_nodes(problem.initial_data, self.grid)
        ts = ts.astype(u.dtype)
        run = self._run(problem, u)
        parts = run.through(u, jnp.zeros_like(ts[0]), ts, progress)
        start = jnp.zeros_like(ts[:1]), u[None], _rate(run.system, jnp.zeros_like(ts[0]), u)[None]
        return self._solution(start, parts, {})

    def resume(
        self, problem: InitialValueProblem, ts: Float[Array, " T"], start: Solution, *, progress: bool
    ) -> Solution:
        before = start.evaluator
        if not isinstance(before, SpectralEvaluator) or before.grid.shape != self.grid.shape:
            raise ValueError(f"`start` must be a solution by `Spectral` on a grid of shape {self.grid.shape}.")
        # Steps begin anew at every saved time: what an interruption left after the last one is taken again.
        kept = before.ts.shape[0] - int(bool(start.result == RESULTS.interrupted))
        saved = before.ts[:kept], before.us[:kept], before.saved.rates[:kept]
        ts = ts.astype(before.us.dtype)
        if is_concrete(saved, ts) and not float(saved[0][-1]) < float(ts[0]):
            raise ValueError(
                f"`t` must lie beyond {float(saved[0][-1]):g}, which `start` has reached, got {float(ts[0]):g}."
            )
        run = self._run(problem, before.us[0])
        return self._solution(saved, run.through(saved[1][-1], saved[0][-1], ts, progress), start.stats)

    def _run(self, problem: InitialValueProblem, first: Field) -> SpectralRun:
        viscosity = problem.viscosity
        assert isinstance(viscosity, ScalarViscosity | MatrixViscosity)
        N = viscosity.epsilon if isinstance(viscosity, ScalarViscosity) else viscosity.constant
        grid, dtype = self.grid, first.dtype
        flow = HeatFlow(grid.shape, grid.spacing, ("periodic",) * grid.dim, N.astype(dtype))
        datum = jax.lax.stop_gradient(first)
        rtol = self.rtol.astype(dtype)
        extent = jnp.max(datum) - jnp.min(datum)
        # A constant datum sets no scale.
        atol = rtol * jnp.where(extent > 0, extent, 1) if self.atol is None else self.atol.astype(dtype)
        scale = jnp.sqrt(jnp.mean((datum - jnp.mean(datum)) ** 2))
        system = PseudoSpectral(grid, problem.hamiltonian, flow, self.dealias)
        return SpectralRun(system, rtol, atol, scale, self.max_steps)

    def _solution(self, saved: tuple[Array, Array, Array], parts: Interval, before: dict[str, Any]) -> Solution:
        ts, us, rates = (
            jnp.concatenate([old, new]) for old, new in zip(saved, (parts.t, parts.u, parts.rate), strict=True)
        )
        steps, rejected = parts.steps.sum() + before.get("steps", 0), parts.rejected.sum() + before.get("rejected", 0)
        tail = jnp.max(jnp.where(jnp.isfinite(parts.tail), parts.tail, 0))
        tail = jnp.maximum(tail, before.get("tail", 0))
        first = jnp.argmax(parts.failure > 0)
        failure, stopped = parts.failure[first], parts.stopped[first]
        counts = {
            "steps": steps,
            "accepted": steps - rejected,
            "rejected": rejected,
            "shortest_step": jnp.minimum(parts.shortest.min(), before.get("shortest_step", jnp.inf)),
            "longest_step": jnp.maximum(parts.longest.max(), before.get("longest_step", 0)),
            "tail": tail,
            "failure_time": jnp.where((failure > 0) & (failure != INTERRUPTED), stopped, jnp.nan),
        }
        result = RESULTS.where(tail > self.tail_limit, RESULTS.under_resolved, RESULTS.successful)
        for code, name in _FAILURES.items():
            result = RESULTS.where(failure == code, name, result)
        evaluator = SpectralEvaluator(GridEvaluator(self.grid, ts, us, rates))
        scheme = f"Fourier{', 2/3 of the modes' if self.dealias else ''}, exponential Runge-Kutta 4(3)"
        return Solution(evaluator, ts[1:], solver="Spectral", result=result, counts=counts, notes={"scheme": scheme})


_FAILURES = {
    NOT_FINITE: RESULTS.not_finite,
    OUT_OF_STEPS: RESULTS.max_steps_reached,
    INTERRUPTED: RESULTS.interrupted,
}


@eqx.filter_jit
def _rate(system: PseudoSpectral, t: Scalar, u: Field) -> Field:
    return system.rate(t, u)
