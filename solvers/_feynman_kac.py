"""Feynman-Kac: viscous problems as means over random paths, in any dimension."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._problem import InitialValueProblem
from hjpde._solution import Solution
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import LinearQuadratic, Quadratic
from hjpde.initial_data import Atoms
from hjpde.solvers.paths._curvature import curvature_of
from hjpde.solvers.paths._log_transformed_mean import LogTransformedMean
from hjpde.solvers.paths._stochastic_paths import StochasticPaths

from ._abstract import AbstractSolver
from ._periodic_extension import why_not_periodic_extension
from ._whole_space import why_not_whole_space


@final
class FeynmanKac(AbstractSolver):
    r"""The value as a mean over paths, with its standard error; the same key gives the same function.

    - `H` linear in `p`, $H = v \cdot p - \ell$ (`Transport`, `ControlAffine` without players), any $N(t, x)$:
      $u = \mathbb{E}[g(X_t) + \int_0^t \ell\,ds]$ over $dX = -v(t - s, X)\,ds + \sqrt{2N}\,dW$ from `x`, in Itô's
      sense. Euler and Maruyama's method where `N` depends on time or place, weak order 1, and Heun's elsewhere, weak
      order 2; both are extrapolated to step 0 over the same noise, and `solution.evaluator.time_step_bias(t, x)` is
      what that removes. Noise comes in opposite pairs, in which all that is odd in it cancels.
    - `Quadratic` and `LinearQuadratic` with $N = \varepsilon A$:
      $u = -\varepsilon \log \mathbb{E}\,e^{-g(Y)/\varepsilon}$, $Y = x + \sqrt{2\varepsilon t A}\,Z$ without drift, by
      exact samples of the heat kernel in opposite pairs. Few of them may carry all the weight:
      `solution.evaluator.effective_sample_size(t, x)` tells, and below 10 the standard error is infinite.
      `HopfCole` takes a quadrature or a proposal fitted to the exponent's curvature instead, with smaller errors;
      here the proposal has the kernel's own covariance.

    ??? cite "References"

        B. Øksendal, *Stochastic Differential Equations*, 6th ed., Springer, 2003, Theorem 8.2.1.

        P. Glasserman, *Monte Carlo Methods in Financial Engineering*, Springer, 2004, Sections 4.1, 4.2 and 6.2.4.

        D. Talay and L. Tubaro, *Expansion of the global error for numerical schemes solving stochastic differential
        equations*, Stochastic Anal. Appl. 8, 1990.
    """

    n_paths: int = eqx.field(static=True)
    key: PRNGKeyArray | None
    n_steps: int = eqx.field(static=True)
    control_variate: bool = eqx.field(static=True)
    shift: bool = eqx.field(static=True)

    def __init__(
        self,
        n_paths: int = 4096,
        key: PRNGKeyArray | None = None,
        *,
        n_steps: int = 32,
        control_variate: bool = True,
        shift: bool = False,
    ):
        """**Arguments:**

        - `n_paths`: paths for one value, an even number of at least 4.
        - `key`: their random key; `None` takes a fixed one.
        - `n_steps`: steps in time, an even number of at least 2, for an `H` linear in `p`.
        - `control_variate`: for the same, whether the payoff's second-order term in the noise, whose mean is known,
          is subtracted with the best factor: it pays where the noise is small or the datum nearly quadratic.
        - `shift`: for a quadratic `H`, whether the samples are moved to the minimiser of the exponent.

        **Raises:** `ValueError` if a count is no such number.
        """
        for name, count, least in (("n_paths", n_paths, 4), ("n_steps", n_steps, 2)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least or count % 2:
                raise ValueError(f"`{name}` must be an even number of at least {least}, got {count!r}.")
        self.n_paths, self.key, self.n_steps = n_paths, key, n_steps
        self.control_variate, self.shift = control_variate, shift

    def why_not(self, problem: InitialValueProblem) -> str | None:
        if isinstance(problem.viscosity, NoViscosity):
            return "there is no viscosity, and so nothing random; `Characteristics` follows the one path."
        if isinstance(problem.initial_data, Atoms):
            return "point masses are infinite almost everywhere; `HopfCole` takes them."
        if curvature_of(problem.hamiltonian) == "linear":
            return why_not_periodic_extension(problem)
        if not isinstance(problem.hamiltonian, Quadratic | LinearQuadratic):
            return "the Hamiltonian is neither linear in the co-state nor `Quadratic` or `LinearQuadratic`."
        if isinstance(problem.hamiltonian, LinearQuadratic):
            reason = why_not_whole_space(problem)
        else:
            reason = why_not_periodic_extension(problem)
        if reason is not None:
            return reason
        try:
            problem.temperature()
        except ValueError as error:
            return str(error)
        return None

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        key = jr.key(0) if self.key is None else self.key
        datum, H, dim = problem.initial_data, problem.hamiltonian, problem.dim
        counts = {"n_paths": jnp.asarray(self.n_paths)}
        if curvature_of(H) != "linear":
            evaluator = LogTransformedMean(datum, H, problem.temperature(), key, self.n_paths, self.shift, dim)
            return Solution(evaluator, ts, solver="FeynmanKac, logarithm of a mean", counts=counts)
        evaluator = StochasticPaths(
            datum, H, problem.viscosity, key, self.n_paths, self.n_steps, self.control_variate, dim
        )
        counts["n_steps"] = jnp.asarray(self.n_steps)
        return Solution(evaluator, ts, solver="FeynmanKac, mean over paths", counts=counts)
