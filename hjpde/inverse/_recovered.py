"""What an inverse problem returns: the recovered problem, what is known of it, and what is not."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import Solution
from hjpde._solve import solve
from hjpde._types import ArrayInput, ScalarLike, as_float_array, require_finite
from hjpde._viscosity import NoViscosity
from hjpde.solvers import GridValues

from ._forward_map import ForwardMap
from ._sensitivity import Singular, observed, singular_values
from ._unknowns import Unknowns

_BLOCK = 256


@final
class RecoveryState(eqx.Module):
    """All that a recovery needs to go on as if it had never stopped.

    - `z`: the coordinates. - `kept`: those of the smallest weight so far whose residual was below the noise.
    - `stage`: how many weights were tried. - `weight`: of the next stage, or at the end of the result.
    - `low`, `high`: the weights between which the residual crosses the noise, as far as they are known.
    """

    z: Float[Array, " P"]
    kept: Float[Array, " P"]
    stage: int
    weight: float
    low: float | None
    high: float | None
    done: bool
    history: tuple[dict[str, Any], ...] = ()

    @staticmethod
    def at(z: Float[Array, " P"], *, weight: float = 0.0, done: bool = False) -> "RecoveryState":
        """The state of a run that begins, or ends, at `z`."""
        return RecoveryState(z, z, 0, weight, None, None, done)


@final
class Recovered(eqx.Module):
    """A recovered initial-value problem."""

    forward: ForwardMap
    state: RecoveryState
    noise: float | None
    seconds: float
    interrupted: bool

    def __init__(
        self,
        forward: ForwardMap,
        state: RecoveryState,
        noise: float | None,
        seconds: float,
        interrupted: bool,
    ):
        """Made by `hjpde.fit`.

        - `forward`: the forward map, from coordinates to values at the samples.
        - `state`: to be given to `hjpde.fit` to go on.
        - `noise`: what was given. - `seconds`: wall time, with compilation.
        - `interrupted`: whether the user stopped it.
        """
        self.forward, self.state = forward, state
        self.noise, self.seconds, self.interrupted = noise, seconds, interrupted

    @property
    def problem(self) -> InitialValueProblem:
        """The recovered problem: `hjpde.solve` takes it."""
        return self.forward.unknowns.problem(self.state.z)

    @property
    def initial_data(self) -> Any:
        """The recovered initial datum."""
        return self.problem.initial_data

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary a stage: `stage`, `regularisation`, `residual` (root mean square, in units of `u`),
        `steps`."""
        return list(self.state.history)

    @property
    def regularisation(self) -> float:
        r"""The weight $\lambda$ of the penalty in the result."""
        return self.state.weight

    @property
    def residual(self) -> float:
        """The root mean square of what the recovered solution misses of the observations, in units of `u`."""
        return float(jnp.sqrt(jnp.mean((observed(self.forward, self.state.z) - self.forward.u) ** 2)))

    def solution(self, t: ScalarLike | None = None) -> Solution:
        """The solution up to time `t`, by the solver of the fit; `None` is the last time that was observed.

        **Raises:** as `hjpde.solve`.
        """
        return solve(self.problem, self.forward.ts[-1] if t is None else t, self.forward.solver)

    def predict(self, X: ArrayInput, t: ScalarLike) -> Float[Array, " M"]:
        """The recovered solution at one time and the points `X`, shape `(M, d)`.

        **Raises:** `ValueError` if the shape is another one or a number is NaN or infinite, or as `hjpde.solve`.
        """
        X = as_float_array(X, "X", 2)
        require_finite(X, "X")
        return self.solution(t).batch(t, X)

    def singular_values(self, k: int = 20) -> Float[np.ndarray, " k"]:
        r"""The `k` largest singular values of the linearised map from the coordinates to the observed values, falling.

        Their decay is the ill-posedness: errors of the observations along the `i`-th direction come back $1/s_i$ times
        as large. Under viscosity they fall exponentially; without it they break off, as what no minimiser reaches has
        no influence at all.

        **Raises:** `ValueError` if `k` is less than 1.
        """
        return self._singular(k).values

    def standard_deviation(self, X: ArrayInput, k: int = 50) -> Float[Array, " M"]:
        r"""The standard deviation of the recovered datum at points, by the Gauss-Newton Hessian.

        With errors of size $\sigma$ and the penalty read as a Gaussian prior, the coordinates have about the covariance
        $(F'^\top F'/\sigma^2 + n\lambda I)^{-1}$. The `k` largest singular values of $F'$ are taken into account; what
        lies beyond them is as uncertain as the prior. Without a given noise the residual stands for it.

        **Arguments:**

        - `X`: points, shape `(M, d)`. - `k`: the number of singular values, at least 1.

        **Raises:** `ValueError` if the shape is another one, `k` is less than 1, the datum was not recovered, or there
        is no penalty, so that nothing bounds what the observations leave open.
        """
        unknowns, z = self.forward.unknowns, self.state.z
        if "initial_data" not in unknowns.parts:
            raise ValueError("`standard_deviation` is the initial datum's, which was not recovered.")
        if not self.regularisation > 0:
            raise ValueError("`regularisation` must be positive: without it the observations leave directions open.")
        X = as_float_array(X, "X", 2)
        n, (values, directions) = self.forward.u.shape[0], self._singular(k)
        sigma = self.noise if self.noise is not None else self.residual
        # J of the scaled misfit has the singular values s/(sigma sqrt n); its posterior covariance is over n.
        squares = jnp.asarray((values / sigma) ** 2 / n, z.dtype)
        shares = squares / (squares + self.regularisation)
        return _deviation(unknowns, z, X, jnp.asarray(directions, z.dtype), shares) / jnp.sqrt(n * self.regularisation)

    @property
    def observable(self) -> Bool[Array, "..."]:
        """At which nodes of a grid datum the observations depend on the value there, shape `(n1, ..., nd)`.

        Without viscosity a node counts if a minimiser of Hopf and Lax comes to lie on it or beside it; what the others
        hold could be anything higher and is lost. On a shock many minimisers give the same value, and one of them
        counts, so that a few nodes may be taken for seen that are not. With viscosity every node counts, if little.

        **Raises:** `ValueError` if the recovered datum is not given by values on a grid.
        """
        unknowns = self.forward.unknowns
        if not isinstance(unknowns.start.initial_data, GridValues) or "initial_data" not in unknowns.parts:
            raise ValueError("`observable` needs `solvers.GridValues` as the datum that was recovered.")
        return _reached(self.forward, self.state.z)

    def summary(self) -> str:
        """In words: how well the observations are met, and what they leave open."""
        met = f"The observations are met to {self.residual:.3g} (root mean square)"
        met += "." if self.noise is None else f", with errors of {self.noise:.3g}."
        if not isinstance(self.forward.unknowns.start.viscosity, NoViscosity):
            values = self.singular_values(min(20, self.state.z.shape[0], self.forward.u.shape[0]))
            return (
                f"{met} Viscosity blurs: the {len(values)}-th singular value of the linearised map is "
                f"{values[-1] / values[0]:.1e} of the first."
            )
        if isinstance(self.initial_data, GridValues):
            lost = 1 - float(jnp.mean(self.observable))
            return (
                f"{met} Shocks have swallowed the rest: at {lost:.0%} of the nodes the datum has no influence on what "
                "was observed, and is only known to lie above what is returned there."
            )
        return met

    def _singular(self, k: int) -> Singular:
        if k < 1:
            raise ValueError(f"`k` must be at least 1, got {k}.")
        return singular_values(self.forward, self.state.z, min(k, self.forward.u.shape[0], self.state.z.shape[0]))


@eqx.filter_jit
def _deviation(
    unknowns: Unknowns,
    z: Float[Array, " P"],
    X: Float[Array, "M d"],
    directions: Float[Array, "k P"],
    shares: Float[Array, " k"],
) -> Float[Array, " M"]:
    """The deviation of the datum: the prior's, less what the observations tell, in units of the prior's own."""

    def at(x: Float[Array, " d"]) -> Float[Array, ""]:
        slope = jax.grad(unknowns.datum_at)(z, x)
        return jnp.sqrt(jnp.maximum(slope @ slope - shares @ (directions @ slope) ** 2, 0))

    return jax.lax.map(at, X, batch_size=_BLOCK)


@eqx.filter_jit
def _reached(forward: ForwardMap, z: Float[Array, " P"]) -> Bool[Array, "..."]:
    """The nodes on which the observations depend: those of a combination with random weights, which do not cancel."""
    problem = forward.unknowns.problem(z)
    weights = jax.random.uniform(jax.random.key(0), forward.u.shape, forward.u.dtype, 0.5, 1.5)

    def combination(values: Float[Array, "..."]) -> Float[Array, ""]:
        return weights @ forward.observe(eqx.tree_at(lambda p: p.initial_data.values, problem, values))

    datum = problem.initial_data
    assert isinstance(datum, GridValues)
    return jax.grad(combination)(datum.values) != 0
