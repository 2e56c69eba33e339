r"""Feynman and Kac's formula for a Hamiltonian that is linear in the co-state, $H = v \cdot p - \ell$."""

from collections.abc import Callable
from functools import partial
from typing import Any, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar, ScalarLike
from hjpde._viscosity import AbstractViscosity, VariableViscosity
from hjpde.hamiltonians import AbstractHamiltonian

from ._semidefinite_root import semidefinite_root


@final
class StochasticPaths(AbstractEvaluator):
    r"""$u(t, x) = \mathbb{E}\bigl[g(X_t) + \int_0^t \ell(t - s, X_s)\,ds\bigr]$ over
    $dX = -v(t - s, X)\,ds + \sqrt{2N(t - s, X)}\,dW$ from $X_0 = x$, in Itô's sense.

    A path of `n_steps` steps and one of half as many under the same Brownian motion are extrapolated to step 0.
    """

    datum: Callable
    hamiltonian: AbstractHamiltonian
    viscosity: AbstractViscosity
    key: PRNGKeyArray
    n_paths: int = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    control_variate: bool = eqx.field(static=True)
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return "take `t` >= 0" if t < 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        return jnp.mean(self._samples(t, x))

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """The standard deviation over the pairs of paths, by the root of their number."""
        samples = self._samples(t, x)
        return jnp.std(samples, ddof=1) / np.sqrt(samples.shape[0])

    def time_step_bias(self, t: ScalarLike, x: Point) -> Scalar:
        """What the extrapolation to step 0 has removed: an estimate of the bias of the paths with `n_steps` steps."""
        x = jnp.asarray(x)
        return eqx.filter_jit(StochasticPaths._bias)(self, jnp.asarray(t, x.dtype), x)

    def _bias(self, t: Scalar, x: Point) -> Scalar:
        noises = self._noises(x)
        both = jnp.concatenate([noises, -noises])
        return jnp.mean(jax.vmap(lambda dW: self._payoff(t, x, dW) - self._extrapolated(t, x, dW))(both))

    def _noises(self, x: Point) -> Float[Array, "pairs n d"]:
        scale = np.sqrt(1 / self.n_steps)
        return scale * jr.normal(self.key, (self.n_paths // 2, self.n_steps, x.shape[0]), x.dtype)

    def _samples(self, t: Scalar, x: Point) -> Float[Array, " pairs"]:
        """One value for each pair of opposite noises; an odd function of the noise cancels in it."""
        noises = self._noises(x)
        both = jax.vmap(partial(self._extrapolated, t, x))(jnp.concatenate([noises, -noises]))
        values = jnp.mean(both.reshape(2, -1), axis=0)
        if not self.control_variate:
            return values
        variates = self._second_order(t, x, noises)
        spread = jnp.sum((variates - jnp.mean(variates)) ** 2)
        slope = jnp.sum((values - jnp.mean(values)) * variates) / jnp.where(spread > 0, spread, 1)
        return values - slope * variates

    def _second_order(self, t: Scalar, x: Point, noises: Float[Array, "pairs n d"]) -> Float[Array, " pairs"]:
        """The payoff's second-order term in the noise along the deterministic path, less its known mean.

        The first-order one cancels in a pair.
        """

        def bend(dW: Float[Array, "n d"]) -> Scalar:
            def slope(s: Scalar) -> Scalar:
                return jax.jvp(partial(self._extrapolated, t, x), (s * dW,), (dW,))[1]

            return jax.jvp(slope, (jnp.zeros_like(t),), (jnp.ones_like(t),))[1] / 2

        units = jnp.eye(noises[0].size, dtype=x.dtype).reshape(-1, *noises[0].shape)
        bends = jax.vmap(bend)(jnp.concatenate([noises, units]))
        mean = jnp.sum(bends[noises.shape[0] :]) / self.n_steps
        return bends[: noises.shape[0]] - mean

    def _extrapolated(self, t: Scalar, x: Point, dW: Float[Array, "n d"]) -> Scalar:
        """The payoff with its leading error in the step removed (D. Talay and L. Tubaro, 1990)."""
        coarse = jnp.sum(dW.reshape(-1, 2, dW.shape[1]), axis=1)
        gain = 2**self._weak_order
        return (gain * self._payoff(t, x, dW) - self._payoff(t, x, coarse)) / (gain - 1)

    @property
    def _weak_order(self) -> int:
        return 1 if isinstance(self.viscosity, VariableViscosity) else 2

    def _payoff(self, t: Scalar, x: Point, dW: Float[Array, "n d"]) -> Scalar:
        """The value along one path; time runs from 0 to 1, in units of `t`.

        Noise that depends on the place takes Euler and Maruyama's method, which is Itô's; Heun's has weak order 2
        where it does not.
        """
        method: Any = diffrax.Euler() if self._weak_order == 1 else diffrax.Heun(scan_kind="bounded")
        times = jnp.linspace(0, 1, dW.shape[0] + 1, dtype=x.dtype)
        moving = t > 0
        root_of_time = jnp.where(moving, jnp.sqrt(jnp.where(moving, t, 1)), 0)

        def drift(s: Any, state: Any, args: Any) -> Any:
            at, (X, _) = t * (1 - s), state
            energy, velocity = jax.value_and_grad(self.hamiltonian, argnums=2)(at, X, jnp.zeros_like(X))
            return -t * velocity, -t * energy

        def root(at: Scalar, X: Point) -> Array:
            return root_of_time * semidefinite_root(2 * self.viscosity.matrix(at, X).astype(x.dtype))

        constant = None if isinstance(self.viscosity, VariableViscosity) else root(t, x)

        def noise(s: Any, state: Any, args: Any) -> Any:
            return root(t * (1 - s), state[0]) if constant is None else constant

        def step(state: Any, span: Any) -> tuple[Any, None]:
            start, end, increment = span
            term = diffrax.MultiTerm(diffrax.ODETerm(drift), _Noise(noise, increment))
            moved, *_ = method.step(term, start, end, state, None, method.init(term, start, end, state, None), False)
            return moved, None

        (X, cost), _ = jax.lax.scan(step, (x, jnp.zeros_like(t)), (times[:-1], times[1:], dW))
        return jnp.asarray(self.datum(X), x.dtype) + cost


class _Noise(diffrax.AbstractTerm):
    """The noise of one step, which moves the place and not the cost."""

    root: Callable
    increment: Float[Array, " d"]

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        return self.root(t, y, args)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return self.increment

    def prod(self, vf: Any, control: Any) -> Any:
        return vf @ control, jnp.zeros((), control.dtype)
