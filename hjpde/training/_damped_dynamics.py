"""Gradient descent with inertia as a Lagrangian system whose action carries the weight exp(friction t)."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hjpde._types import Point, Scalar, ScalarLike, is_concrete, known_number, positive_scalar
from hjpde.hamiltonians import AbstractHamiltonian


def positive_number(value: ScalarLike, name: str) -> float:
    """A number above 0 that is known now.

    **Raises:** `ValueError` that names the argument otherwise.
    """
    number = known_number(value, name)
    if not 0 < number < float("inf"):
        raise ValueError(f"`{name}` must be positive and finite, got {number:g}.")
    return number


def at_rest(theta: PyTree) -> PyTree:
    """The velocity 0 of parameters: their tree, with `None` in place of all that is no floating array.

    **Raises:** `ValueError` if there is nothing to train, or an array is not finite.
    """
    parameters = eqx.filter(theta, eqx.is_inexact_array)
    leaves = jax.tree.leaves(parameters)
    if sum(leaf.size for leaf in leaves) == 0:
        raise ValueError("`theta` must hold floating arrays, got none.")
    if is_concrete(leaves):
        bad = sum(int(jnp.sum(~jnp.isfinite(leaf))) for leaf in leaves)
        if bad:
            raise ValueError(f"`theta` must be finite, got {bad} entries that are NaN or infinite.")
    return jax.tree.map(jnp.zeros_like, parameters)


def moved(theta: PyTree, factor: ScalarLike, direction: PyTree) -> PyTree:
    """`theta + factor * direction`, in the dtype of each array."""
    return eqx.apply_updates(theta, jax.tree.map(lambda v: jnp.asarray(factor, v.dtype) * v, direction))


def squared_norm(velocity: PyTree) -> Scalar:
    """The sum of the squares of all entries."""
    return optax.tree.norm(velocity, squared=True)


@final
class DampedDynamics(eqx.Module):
    r"""Parameters $\theta$ that roll down a cost $C$ against friction,

    $$\ddot\theta + \gamma\dot\theta + \nabla C(t, \theta) = 0,$$

    the Euler-Lagrange equation of the action $S = \int e^{\gamma t} L\,dt$ with $L = \tfrac12|\dot\theta|^2 - C$. Its
    momentum is $P = e^{\gamma t}\dot\theta$, and $P = \nabla S$ along extremals, where
    $S_t + e^{-\gamma t}|\nabla S|^2/2 + e^{\gamma t}C = 0$. With the learning rate $\eta = 1/\gamma$ gradient descent
    is its limit $\gamma \to \infty$.

    Parameters are any tree of arrays, or an Equinox module; a velocity or momentum is the same tree with `None` in
    place of what is not trained. Formulas are for one state; batch with `jax.vmap`.

    ??? cite "References"

        D. Lee, H.-S. Lee and J. Yi, *Bulk-boundary decomposition of neural networks*, arXiv 2511.02003, 2025.
        P. Caldirola, *Forze non conservative nella meccanica quantistica*, Il Nuovo Cimento 18 (1941), 393-400.
    """

    cost: Callable[[Any, Any], Scalar]
    friction: Scalar

    def __init__(self, cost: Callable[[Any, Any], Scalar], friction: ScalarLike):
        r"""**Arguments:**

        - `cost`: $C(t, \theta)$, a scalar; twice differentiable where modes and limits are asked for. For a model and
          a loss: `lambda t, model: loss(model, X, y)`.
        - `friction`: $\gamma > 0$, per unit of time; $1/\eta$ for a learning rate $\eta$.

        **Raises:** `ValueError` if `friction` is known now and not positive and finite.
        """
        self.cost = cost
        self.friction = positive_scalar(friction, "friction", jnp.result_type(float))

    def gradient(self, t: ScalarLike, theta: PyTree) -> PyTree:
        r"""$\nabla C(t, \theta)$."""
        return eqx.filter_grad(lambda theta: self.cost(t, theta))(theta)

    def acceleration(self, t: ScalarLike, theta: PyTree, velocity: PyTree) -> PyTree:
        r"""$\ddot\theta = -\gamma\dot\theta - \nabla C$, the equation of motion."""
        return jax.tree.map(lambda v, g: -self.friction.astype(v.dtype) * v - g, velocity, self.gradient(t, theta))

    def lagrangian(self, t: ScalarLike, theta: PyTree, velocity: PyTree) -> Scalar:
        r"""$L = \tfrac12|\dot\theta|^2 - C$, in units of the cost, without the weight $e^{\gamma t}$."""
        return squared_norm(velocity) / 2 - self.cost(t, theta)

    def energy(self, t: ScalarLike, theta: PyTree, velocity: PyTree) -> Scalar:
        r"""$E = \tfrac12|\dot\theta|^2 + C$, in units of the cost."""
        return squared_norm(velocity) / 2 + self.cost(t, theta)

    def power(self, t: ScalarLike, theta: PyTree, velocity: PyTree) -> Scalar:
        r"""$dE/dt = -\gamma|\dot\theta|^2 + \partial_t C$ along every solution."""
        return self.injected(t, theta) - self.friction * squared_norm(velocity)

    def injected(self, t: ScalarLike, theta: PyTree) -> Scalar:
        r"""$\partial_t C$, the power of a cost that changes by itself."""
        t = jnp.asarray(t, jnp.result_type(float))
        return jax.jvp(lambda t: self.cost(t, theta), (t,), (jnp.ones_like(t),))[1]

    def momentum(self, t: ScalarLike, velocity: PyTree) -> PyTree:
        r"""$P = \partial(e^{\gamma t}L)/\partial\dot\theta = e^{\gamma t}\dot\theta$."""
        return jax.tree.map(lambda v: jnp.exp(self.friction * t).astype(v.dtype) * v, velocity)

    def velocity(self, t: ScalarLike, momentum: PyTree) -> PyTree:
        r"""$\dot\theta = e^{-\gamma t}P$, the inverse of `momentum`."""
        return jax.tree.map(lambda p: jnp.exp(-self.friction * t).astype(p.dtype) * p, momentum)

    def hamiltonian(self, t: ScalarLike, theta: PyTree, momentum: PyTree) -> Scalar:
        r"""$H(t, \theta, P) = e^{-\gamma t}|P|^2/2 + e^{\gamma t}C = e^{\gamma t}E$, explicit in time."""
        weight = jnp.exp(self.friction * t)
        return squared_norm(momentum) / (2 * weight) + weight * self.cost(t, theta)

    def as_hamiltonian(self, theta: PyTree) -> "DampedHamiltonian":
        """The Hamiltonian of the flat vector of the parameters, for the solvers of this package.

        **Arguments:**

        - `theta`: parameters, for their shapes and for what is not trained.
        """
        parameters, rest = eqx.partition(theta, eqx.is_inexact_array)
        flat, unravel = ravel_pytree(parameters)
        return DampedHamiltonian(self, lambda x: eqx.combine(unravel(x), rest), flat.size)


@final
class DampedHamiltonian(AbstractHamiltonian):
    r"""$H(t, x, p) = e^{-\gamma t}|p|^2/2 + e^{\gamma t}C(t, x)$ on flat parameters: $S_t + H(t, x, \nabla S) = 0$ is
    the Hamilton-Jacobi equation of training with friction. Made by `DampedDynamics.as_hamiltonian`.
    """

    dynamics: DampedDynamics
    parameters: Callable[[Any], Any] = eqx.field(static=True)
    _dim: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        return self._dim

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        weight = jnp.exp(self.dynamics.friction * jnp.asarray(t, x.dtype))
        return p @ p / (2 * weight) + weight * self.dynamics.cost(t, self.parameters(x))
