"""Hopf-Cole: viscous problems that a logarithm makes linear."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from hjpde._problem import InitialValueProblem
from hjpde._solution import Solution
from hjpde._types import Scalar, is_concrete
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import LinearQuadratic, Quadratic
from hjpde.initial_data import AbstractSoftMinimum, Atoms, GaussianMixture, QuadraticForm, SoftMinPlanes
from hjpde.solvers.quadratics._hopf_cole_integral import HopfColeIntegral
from hjpde.solvers.quadratics._quadratics import solve_quadratics

from ._abstract import AbstractSolver
from ._whole_space import why_not_whole_space


@final
class HopfCole(AbstractSolver):
    r"""Exact solutions under $H = p^\top A p + (Bx + c) \cdot p - \tfrac12 x^\top Q x$ with $N = \varepsilon A$.

    $\varphi = e^{-u/\varepsilon}$ solves a linear equation whose kernel is Gaussian. Point masses, soft minima of
    planes and Gaussian mixtures stay what they are and cost nothing to evolve. For any other datum the Gaussian
    integral is computed: a quadrature about the minimiser for $d \le 3$, importance sampling above, with
    `Solution.standard_error` as estimate of the error.

    ??? cite "References"

        E. Hopf, *The partial differential equation* $u_t + u u_x = \mu u_{xx}$, Comm. Pure Appl. Math. 3, 1950.

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 4.4.1.
    """

    normalised: bool = eqx.field(static=True)
    n_samples: int = eqx.field(static=True)
    key: PRNGKeyArray | None

    def __init__(self, normalised: bool = True, n_samples: int = 4096, key: PRNGKeyArray | None = None):
        r"""**Arguments:**

        - `normalised`: for point masses, whether `u` carries $\tfrac{\varepsilon}{2}\log\det(4\pi\varepsilon tA)$,
          with which it solves the equation. Without it, as in the source paper, the residual is
          $-\varepsilon d/(2t)$.
        - `n_samples`: points of the importance sampling in $d > 3$, an even number.
        - `key`: its random key; `None` takes a fixed one, so that a solution is a function.

        **Raises:** `ValueError` if `n_samples` is not an even number of at least 2.
        """
        if n_samples < 2 or n_samples % 2:
            raise ValueError(f"`n_samples` must be an even number of at least 2, got {n_samples}.")
        self.normalised, self.n_samples, self.key = normalised, n_samples, key

    def why_not(self, problem: InitialValueProblem) -> str | None:
        if (reason := why_not_whole_space(problem)) is not None:
            return reason
        if not isinstance(problem.hamiltonian, Quadratic | LinearQuadratic):
            return "the Hamiltonian is neither `Quadratic` nor `LinearQuadratic`."
        if isinstance(problem.viscosity, NoViscosity):
            return "there is no viscosity (Hopf-Cole needs N = eps A with eps > 0)."
        try:
            problem.temperature()
        except ValueError as error:
            return str(error)
        return None

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        epsilon, hamiltonian = problem.temperature(), problem.hamiltonian
        datum = problem.initial_data
        if isinstance(datum, QuadraticForm):
            datum = datum.mixture(epsilon)
        if isinstance(datum, Atoms) or _closed_at(datum, epsilon):
            assert isinstance(datum, Atoms | SoftMinPlanes | GaussianMixture)
            assert isinstance(hamiltonian, Quadratic | LinearQuadratic)
            epsilon = _same_temperature(datum, epsilon)
            return solve_quadratics(
                datum,
                hamiltonian,
                epsilon,
                ts,
                normalised=self.normalised,
                solver=f"HopfCole, {type(datum).__name__} in closed form",
            )
        key = jr.key(0) if self.key is None else self.key
        evaluator = HopfColeIntegral(datum, hamiltonian, epsilon, key, self.n_samples, problem.dim)
        return Solution(evaluator, ts, solver="HopfCole, Gaussian integral", counts={"n_samples": self.n_samples})


def _closed_at(datum: object, epsilon: Scalar) -> bool:
    """Whether a soft minimum is one at the problem's own temperature: at any other it is just a function."""
    if not isinstance(datum, AbstractSoftMinimum) or datum.viscosity is None:
        return False
    if not is_concrete(datum.viscosity, epsilon):
        return True  # checked when it runs, by `_same_temperature`
    with jax.ensure_compile_time_eval():  # constants inside a compiled function are known too
        return bool(_agree(datum.viscosity, epsilon))


def _same_temperature(datum: object, epsilon: Scalar) -> Scalar:
    if not isinstance(datum, AbstractSoftMinimum) or datum.viscosity is None or is_concrete(datum.viscosity, epsilon):
        return epsilon
    return eqx.error_if(
        epsilon,
        ~_agree(datum.viscosity, epsilon),
        "`initial_data` has another temperature than the problem, and both are traced: a closed form was assumed.",
    )


def _agree(one: Scalar, other: Scalar) -> Bool[Array, ""]:
    return jnp.isclose(one, other.astype(one.dtype), rtol=1e-6, atol=0.0)
