"""Hopf: inviscid problems whose datum is convex, or a minimum of planes."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._extremum import largest
from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, AbstractEvaluator, Solution
from hjpde._types import Point, Scalar
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import AbstractMomentumHamiltonian
from hjpde.initial_data import AbstractInitialDatum, MaxPlanes, SoftMinPlanes, SumOfData
from hjpde.solvers.quadratics._planes_condition import planes_stay_exact
from hjpde.solvers.quadratics._simplex import maximise_over_simplex
from hjpde.solvers.saddle._convex_parts import is_known_convex
from hjpde.solvers.saddle._saddle_evaluator import SaddleEvaluator, duality_gap

from ._abstract import AbstractSolver
from ._whole_space import why_not_whole_space


@final
class Hopf(AbstractSolver):
    r"""$u(t, x) = \max_p\, p \cdot x - g^*(p) - t\,H(p)$ for a convex datum, and minima of planes, at $N = 0$.

    - A minimum of planes under a convex `H`: each plane moves alone, $\min_j -W_j \cdot x - b_j - t\,H(-W_j)$.
    - A maximum of planes $p_i \cdot x - \gamma_i$: each plane moves alone, $\max_i p_i \cdot x - \gamma_i - t\,H(p_i)$,
      if and only if $H(p) \ge \min_\alpha \sum_i \alpha_i H(p_i)$ for `p` in the hull of the slopes, over the
      simplex weights with $\sum_i \alpha_i p_i = p$ that minimise $\sum_i \alpha_i \gamma_i$. Every concave `H` meets
      this; $|p|^2$ does not. The condition is checked and reported in `stats["planes_exact"]`. Where it is not shown
      to hold, the solution is Hopf's formula, the maximum over the hull, in `stats["duality_gap"]` with the gap that
      was left at the origin.

    - Any other convex datum, in any dimension, by optimisation at each point: `QuadraticForm`, `Norm` and `SumOfData`
      of them, `LogSumExp`, under every $H(p)$; a plain function under a convex $H(p)$, where the gap at a point
      decides whether it counts as convex (`stats["duality_gap"]` at the origin, if the dimension is known, and
      `Solution.certificate` anywhere).

    Hopf's formula is maximised with a certificate where `H` is convex or linear; a concave `H` needs none. Where the
    curvature is unknown, the best of many starts is taken and nothing is certified.

    ??? cite "References"

        J. Darbon, G. P. Langlois and T. Meng, *Overcoming the curse of dimensionality for some Hamilton-Jacobi
        partial differential equations via neural network architectures*, Res. Math. Sci. 7:20, 2020, Theorem 3.1.

        M. Bardi and L. C. Evans, *On Hopf's formulas for solutions of Hamilton-Jacobi equations*, Nonlinear
        Anal. 8(11), 1984.

        J. Darbon and S. Osher, *Algorithms for overcoming the curse of dimensionality for certain Hamilton-Jacobi
        equations arising in control theory and elsewhere*, Res. Math. Sci. 3:19, 2016.
    """

    max_steps: int = eqx.field(static=True)

    def __init__(self, max_steps: int = 5000):
        """**Arguments:**

        - `max_steps`: steps of the maximisation, at least 1.

        **Raises:** `ValueError` if it is less.
        """
        if max_steps < 1:
            raise ValueError(f"`max_steps` must be at least 1, got {max_steps}.")
        self.max_steps = max_steps

    def why_not(self, problem: InitialValueProblem) -> str | None:
        datum, H = problem.initial_data, problem.hamiltonian
        if (reason := why_not_whole_space(problem)) is not None:
            return reason
        if not isinstance(problem.viscosity, NoViscosity):
            return "there is viscosity (Hopf's formula needs N = 0)."
        if not isinstance(H, AbstractMomentumHamiltonian):
            return "the Hamiltonian depends on more than the co-state, or is not known not to."
        if isinstance(datum, MaxPlanes):
            return None
        if is_known_convex(datum):
            return None
        if not isinstance(datum, SoftMinPlanes):
            if isinstance(datum, AbstractInitialDatum) and not isinstance(datum, SumOfData):
                return "the initial data are neither a minimum nor a maximum of planes, nor known to be convex."
            if H.curvature not in ("convex", "linear"):
                return "neither the initial data nor the Hamiltonian are known to be convex."
            return None
        if not datum.hard:
            return "the planes have a temperature: theirs is no minimum of planes."
        if H.curvature not in ("convex", "linear"):
            return "a minimum of planes needs a convex Hamiltonian."
        return None

    def is_of_planes(self, problem: InitialValueProblem) -> bool:
        """Whether the solver applies, and the datum is a minimum or a maximum of planes."""
        return self.why_not(problem) is None and isinstance(problem.initial_data, MaxPlanes | SoftMinPlanes)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        datum, H = problem.initial_data, problem.hamiltonian
        assert isinstance(H, AbstractMomentumHamiltonian)
        if isinstance(datum, SoftMinPlanes):
            return Solution(MovedPlanes(-datum.weights, -datum.biases, H, -1), ts, solver="Hopf, minimum of planes")
        if not isinstance(datum, MaxPlanes):
            formula = SaddleEvaluator(datum, H, problem.dim, "Hopf", self.max_steps)
            counts, result = duality_gap(formula, ts, must_close=H.curvature in ("convex", "linear"))
            return Solution(formula, ts, solver="Hopf's formula by optimisation", counts=counts, result=result)
        exact, checked = planes_stay_exact(datum, H)
        counts = {"planes_exact": exact, "points_checked": checked}
        if exact:
            evaluator = MovedPlanes(datum.slopes, -datum.offsets, H, 1)
            return Solution(evaluator, ts, solver="Hopf, maximum of planes", counts=counts)
        formula = HopfFormula(datum, H, self.max_steps)
        gap = formula.standard_error(ts[-1], jnp.zeros(datum.dim, ts.dtype))
        closed = (H.curvature == "unknown") | (gap <= 1e3 * jnp.finfo(ts.dtype).eps ** 0.5)
        return Solution(
            formula,
            ts,
            solver="Hopf's formula over the hull of the slopes",
            result=RESULTS.where(closed, RESULTS.successful, RESULTS.not_converged),
            counts={**counts, "duality_gap": gap},
        )


@final
class MovedPlanes(AbstractEvaluator):
    """The maximum (`sign` 1) or minimum (-1) of planes that each move on their own."""

    slopes: Float[Array, "N d"]
    heights: Float[Array, " N"]
    hamiltonian: AbstractMomentumHamiltonian
    sign: int = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int:
        return self.slopes.shape[1]

    def invalid_time(self, t: float) -> str | None:
        return "take `t` >= 0" if t < 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        energies = jax.vmap(lambda p: self.hamiltonian(t, x, p))(self.slopes)
        return self.sign * largest(self.sign * (self.slopes @ x + self.heights - t * energies))

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=256)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        del t
        return jnp.zeros((), x.dtype)


@final
class HopfFormula(AbstractEvaluator):
    r"""$u(t, x) = \max_\alpha \sum_i \alpha_i (p_i \cdot x - \gamma_i) - t\,H(\sum_i \alpha_i p_i)$ on the simplex."""

    datum: MaxPlanes
    hamiltonian: AbstractMomentumHamiltonian
    max_steps: int = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        return self.datum.dim

    def invalid_time(self, t: float) -> str | None:
        return "take `t` >= 0" if t < 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        alpha, _ = self._maximiser(t, x)
        # Danskin: the derivative is that of the objective at the maximiser, which may stand still.
        return self._objective(alpha, t, x)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=64)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """The duality gap: an upper bound of the error where `H` is convex."""
        return self._maximiser(t, x)[1]

    def _objective(self, alpha: Float[Array, " N"], t: Scalar, x: Point) -> Scalar:
        p = alpha @ self.datum.slopes
        return p @ x - alpha @ self.datum.offsets - t * self.hamiltonian(t, x, p)

    def _maximiser(self, t: Scalar, x: Point) -> tuple[Float[Array, " N"], Scalar]:
        arrays, functions = eqx.partition((self, t, x), eqx.is_array)
        fixed = eqx.combine(jax.lax.stop_gradient(arrays), functions)

        def objective(alpha: Float[Array, " N"]) -> Scalar:
            solution, t, x = fixed
            return solution._objective(alpha, t, x)

        n, dtype = self.datum.slopes.shape[0], x.dtype
        centroid = jnp.full((1, n), 1 / n, dtype)
        if self.hamiltonian.curvature == "convex" or self.hamiltonian.curvature == "linear":
            starts = centroid
        else:
            vertices = jnp.eye(n, dtype=dtype)
            mixtures = jax.random.dirichlet(jax.random.key(0), jnp.full((n,), 0.3, dtype), (64,)).astype(dtype)
            starts = jnp.concatenate([centroid, vertices, mixtures])
        alphas, gaps = jax.vmap(lambda start: maximise_over_simplex(objective, start, self.max_steps))(starts)
        best = jnp.argmax(jax.vmap(objective)(alphas))
        return jax.lax.stop_gradient((alphas[best], gaps[best]))
