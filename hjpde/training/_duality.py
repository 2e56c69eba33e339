"""Learning and activation as a Hamiltonian system: a state that is activated, a bias that learns."""

import abc
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from hjpde._compilation import compiled_once
from hjpde._types import Scalar, ScalarLike, positive_scalar

State = tuple[Float[Array, "..."], Float[Array, "..."]]


class AbstractLearningSystem(eqx.Module):
    r"""A network that is activated and then learns, once in each step,

    $$\varphi' = f(\varphi, \beta), \qquad
    \beta' = \beta - \frac{dH}{d\beta}, \qquad
    \frac{dH}{d\beta} = \frac{\partial H}{\partial \beta}(\varphi', \beta)
    + \Bigl(\frac{\partial \varphi'}{\partial \beta}\Bigr)^{\!\top}
    \frac{\partial H}{\partial \varphi'}(\varphi', \beta),$$

    gradient descent at rate 1 on a loss `H`, with the derivative taken through the activation. If $\varphi$ is read as
    a position and $\beta$ as a momentum, these can be Hamilton's equations.

    ??? cite "References"

        V. Vanchurin, *Emergent field theories from neural networks*, arXiv 2411.08138. The concrete losses here are
        our own: of that paper only the abstract and notes of others were seen.
    """

    @abc.abstractmethod
    def activate(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""The next state $f(\varphi, \beta)$ of the neurons."""

    @abc.abstractmethod
    def loss(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Scalar:
        r"""$H(\varphi', \beta)$, after activation."""

    def total_derivative(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$dH/d\beta$ with the state before activation held fixed."""
        return jax.grad(lambda b: self.loss(self.activate(phi, b), b))(beta)

    def __call__(self, state: State) -> State:
        """One step: activation, then learning."""
        phi, beta = state
        return self.activate(phi, beta), beta - self.total_derivative(phi, beta)


@final
class LearningSystem(AbstractLearningSystem):
    """A learning system from an activation and a loss, any two functions."""

    activation: Callable[..., Any]
    hamiltonian: Callable[..., Any]

    def __init__(self, activation: Callable[..., Any], hamiltonian: Callable[..., Any]):
        r"""**Arguments:**

        - `activation`: $f(\varphi, \beta)$, differentiable in $\beta$.
        - `hamiltonian`: the loss $H(\varphi', \beta)$, a scalar.
        """
        self.activation, self.hamiltonian = activation, hamiltonian

    def activate(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.activation(phi, beta)

    def loss(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Scalar:
        return self.hamiltonian(phi, beta)


@final
class Newtonian(AbstractLearningSystem):
    r"""Newton's equation $\ddot\varphi = -\nabla V(\varphi)$ as activation and learning.

    Activation adds the bias, $\varphi' = \varphi + \beta$, and the loss is $H = \varepsilon^2 V(\varphi')$. With
    $\beta = \varepsilon p$ a step is symplectic Euler for $\tfrac12|p|^2 + V(\varphi)$, exactly: the whole of the
    learning comes through the activation, since `H` does not depend on $\beta$ otherwise.
    """

    potential: Callable[..., Any]
    step: Scalar

    def __init__(self, potential: Callable[..., Any], step: ScalarLike):
        r"""**Arguments:**

        - `potential`: $V(\varphi)$, a scalar.
        - `step`: $\varepsilon > 0$.
        """
        self.potential = potential
        self.step = positive_scalar(step, "step", jnp.result_type(float))

    def activate(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Float[Array, "..."]:
        return phi + beta

    def loss(self, phi: Float[Array, "..."], beta: Float[Array, "..."]) -> Scalar:
        del beta
        return self.step.astype(phi.dtype) ** 2 * self.potential(phi)


def evolve(network: Callable[[Any], Any], state: PyTree, steps: int) -> PyTree:
    """The states before and after each of some steps of a network.

    **Arguments:**

    - `network`: a learning system, a `Dirac` network or another map of a state to the next; a module or a function.
    - `state`: where it starts.
    - `steps`: at least 0.

    **Returns:** the structure of `state`, each leaf with a leading axis of length `steps + 1`.

    **Raises:** `ValueError` for a negative number of steps.
    """
    if steps < 0:
        raise ValueError(f"`steps` must be at least 0, got {steps}.")
    return _evolve(network, jax.tree.map(jnp.asarray, state), steps)


@compiled_once
def _evolve(network: Callable[[Any], Any], state: PyTree, steps: int) -> PyTree:
    def advance(state: PyTree, _: None) -> tuple[PyTree, PyTree]:
        following = network(state)
        return following, following

    _, later = jax.lax.scan(advance, state, None, length=steps)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, later)
