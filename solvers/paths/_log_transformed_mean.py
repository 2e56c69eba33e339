r"""The logarithm of a mean: $u = c - \varepsilon \log \mathbb{E}\,e^{-g(Y)/\varepsilon}$ with a Gaussian `Y`."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.quadratics._hopf_cole_integral import HopfColeIntegral

LEAST_EFFECTIVE = 10
"""With fewer effective samples the variance that was sampled means nothing: the standard error is infinite."""


@final
class LogTransformedMean(AbstractEvaluator):
    r"""$Y \sim \mathcal{N}(m, \varepsilon S^{-1})$ for the foot `m` and the stiffness `S` of the heat kernel.

    Under $H = p^\top A p$ that is $Y = x + \sqrt{2\varepsilon t A}\,Z$. With `shift` the samples are moved to the
    minimiser of the exponent and weighted accordingly, which keeps them effective when $\varepsilon$ is small.
    """

    datum: Callable
    hamiltonian: AbstractHamiltonian
    viscosity: Scalar
    key: PRNGKeyArray
    n_paths: int = eqx.field(static=True)
    shift: bool = eqx.field(static=True)
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return "take `t` > 0; at 0 the value is the datum's" if t <= 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        constant, exponents = self._exponents(t, x)
        mean = jax.nn.logsumexp(exponents) - np.log(exponents.size)
        return constant - self.viscosity.astype(x.dtype) * mean

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        r"""The delta method over the pairs, $\varepsilon\,\mathrm{std}(w)/(\bar w\sqrt n)$; infinite where fewer than
        10 samples are effective."""
        _, exponents = self._exponents(t, x)
        weights = jnp.mean(jnp.exp(exponents - jnp.max(exponents)), axis=0)
        relative = jnp.std(weights, ddof=1) / (jnp.mean(weights) * np.sqrt(weights.size))
        enough = _effective(exponents) >= LEAST_EFFECTIVE
        return jnp.where(enough, self.viscosity.astype(x.dtype) * relative, jnp.inf)

    def effective_sample_size(self, t: ScalarLike, x: Point) -> Scalar:
        r"""$(\sum w)^2/\sum w^2$, between 1 and `n_paths`."""
        x = jnp.asarray(x)
        return _effective_at(self, jnp.asarray(t, x.dtype), x)

    def _exponents(self, t: Scalar, x: Point) -> tuple[Scalar, Float[Array, "2 pairs"]]:
        """The constant, and the logarithms of the weights for opposite samples."""
        epsilon, d = self.viscosity.astype(x.dtype), x.shape[0]
        whole = HopfColeIntegral(self.datum, self.hamiltonian, self.viscosity, self.key, 2, self.known_dim)
        kernel = whole._kernel(t, x)
        root = jnp.linalg.inv(jnp.linalg.cholesky(kernel.stiffness)).T
        constant = kernel.least - epsilon * (jnp.linalg.slogdet(root)[1] + d / 2 * jnp.log(2 * jnp.pi * epsilon))
        centre = jnp.zeros_like(x)
        if self.shift:
            fixed = jax.lax.stop_gradient((kernel.foot, root, eqx.filter(self.datum, eqx.is_array)))
            datum = eqx.combine(fixed[2], eqx.filter(self.datum, eqx.is_array, inverse=True))
            centre = _minimiser(datum, *fixed[:2])
        z = jr.normal(self.key, (self.n_paths // 2, d), x.dtype)
        z = jnp.sqrt(epsilon) * jnp.stack([z, -z])

        def exponent(z: Point) -> Scalar:
            y = kernel.foot + root @ (centre + z)
            return -(jnp.asarray(self.datum(y), x.dtype) + centre @ centre / 2 + centre @ z) / epsilon

        return constant, jax.vmap(jax.vmap(exponent))(z)


def _minimiser(datum: Callable, foot: Point, root: Float[Array, "d d"]) -> Point:
    """The minimiser of the datum plus the kernel in whitened coordinates, or 0 where that is lower."""

    def cost(z: Point, args: None = None) -> Scalar:
        del args
        return jnp.asarray(datum(foot + root @ z), z.dtype) + z @ z / 2

    origin = jnp.zeros_like(foot)
    found = optx.minimise(cost, optx.BFGS(rtol=1e-5, atol=1e-5), origin, max_steps=100, throw=False).value
    better = jnp.all(jnp.isfinite(found)) & (cost(found) <= cost(origin))
    return jax.lax.stop_gradient(jnp.where(better, found, origin))


def _effective(exponents: Float[Array, "2 pairs"]) -> Scalar:
    return jnp.exp(2 * jax.nn.logsumexp(exponents) - jax.nn.logsumexp(2 * exponents))


@eqx.filter_jit
def _effective_at(evaluator: LogTransformedMean, t: Scalar, x: Point) -> Scalar:
    return _effective(evaluator._exponents(t, x)[1])
