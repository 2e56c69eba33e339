"""The first verb: solve."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._choose_solver import admitted, require_applicable
from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import ArrayInput, as_float_array, is_concrete
from hjpde.solvers import AbstractSolver, AbstractSteppingSolver


class SolveError(RuntimeError):
    """A solve that failed; the message says what to change, `solution` holds what was reached."""

    solution: Solution

    def __init__(self, message: str, solution: Solution):
        super().__init__(message)
        self.solution = solution


def solve(
    problem: InitialValueProblem,
    t: ArrayInput,
    solver: AbstractSolver | None = None,
    *,
    start: Solution | None = None,
    throw: bool = True,
    progress: bool = False,
) -> Solution:
    """Solves an initial-value problem.

    **Arguments:**

    - `problem`: the `hjpde.InitialValueProblem`.
    - `t`: the time up to which the solution is wanted, or an increasing vector of times to save; all above 0.
    - `solver`: a member of `hjpde.solvers`; `None` takes the most exact one that the problem admits and names it
      in `stats["solver"]`: a formula where there is one, at points or over the box of the problem's domain, else
      a grid over that box (of 1024, 256, 64 or 24 nodes an axis in 1 to 4 dimensions), characteristics or paths.
    - `start`: an earlier grid solution of the same problem by the same solver, such as one that was interrupted or
      loaded from a file: the solve goes on from its last time to `t`, and returns both parts as one, bit for bit what
      a single run would have given.
    - `throw`: whether a solve that fails raises; otherwise `Solution.result` says how it ended.
    - `progress`: whether long work shows a bar on standard error; interrupting such a solve on a grid keeps what it
      has reached.

    **Returns:** a `hjpde.Solution`.

    **Raises:**

    `ValueError` if `t` is not positive, finite and increasing, or the solver does not apply, with the reason and
    the names of those that do. `hjpde.SolveError` if the solve fails and `throw` is set; its message says when,
    where and what to change.
    """
    ts = _times(t)
    if solver is None:
        choice = admitted(problem)
        solver = choice[0]
    else:
        choice = [solver]
        require_applicable(problem, solver)
    if start is None:
        solution = solver.solve(problem, ts, progress=progress)
        if len(choice) > 1 and _is_known(solution.result == RESULTS.under_resolved):
            # Modes do not resolve this one; differences keep its kinks sharp.
            solution = choice[1].solve(problem, ts, progress=progress)
    elif isinstance(solver, AbstractSteppingSolver):
        solution = solver.resume(problem, ts, start, progress=progress)
    else:
        raise ValueError(f"`start`: {type(solver).__name__} does not step through time; leave `start` out.")
    if throw and _is_known(solution.result != RESULTS.successful):
        raise SolveError(f"{solution.stats['solver']}{_where(solution)}: {RESULTS[solution.result]}", solution)
    return solution


def _is_known(flag: Bool[Array, ""]) -> bool:
    """Whether a flag is known now, and set."""
    return is_concrete(flag) and bool(flag)


def _where(solution: Solution) -> str:
    """The step, time and place of a failure, as far as the solver tells them."""
    stats = solution.stats
    parts = [f"step {int(stats['steps'])}"] if "steps" in stats else []
    time, point = (np.asarray(stats.get(f"failure_{name}", np.nan)) for name in ("time", "point"))
    if np.all(np.isfinite(time)):
        parts.append(f"t = {float(time):.6g}")
    if np.all(np.isfinite(point)):
        parts.append(f"x = ({', '.join(f'{coordinate:.6g}' for coordinate in point)})")
    return f" at {', '.join(parts)}" if len(parts) > 1 else ""


def _times(t: ArrayInput) -> Float[Array, " T"]:
    ts = jnp.atleast_1d(as_float_array(t, "t"))
    if ts.ndim != 1 or ts.shape[0] < 1:
        raise ValueError(f"`t` must be a scalar or a vector of times, got shape {ts.shape}.")
    if is_concrete(t):
        values = np.atleast_1d(np.asarray(t, ts.dtype))
        if not np.all(np.isfinite(values)) or not np.all(values > 0):
            raise ValueError(f"`t` must be positive and finite, got {values.tolist()}.")
        if np.any(np.diff(values) <= 0):
            raise ValueError(f"`t` must be increasing, got {values.tolist()}.")
    return ts
