r"""The Lagrangian of training on one sample as a bulk, local in the layers and free of data, and a boundary with both.

With $g^{(m)} = \frac{d}{dt}(W^{(m)}h^{(m)})$ the biases move as $\dot b^{(m)} = \dot z^{(m+1)} - g^{(m)}$, and the
squares in $L = \tfrac12|\dot W|^2 + \tfrac12|\dot b|^2 - \ell$ fall apart into terms of single layers.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike

from ._damped_dynamics import squared_norm
from ._neuron_coordinates import BiasCoordinates, NeuronCoordinates, Perceptron, one_sample, require_smooth


def lagrangian(
    perceptron: Perceptron, state: BiasCoordinates, velocity: BiasCoordinates, x: ArrayInput, y: ArrayInput
) -> Scalar:
    r"""$L = \tfrac12|\dot W|^2 + \tfrac12|\dot b|^2 - \ell(Z, Y)$; the action weighs it with $e^{\gamma t}$.

    **Arguments:**

    - `perceptron`: architecture and loss. - `state`, `velocity`: in weights and biases.
    - `x`, `y`: one sample, `x` of shape `(n_0,)`.

    **Returns:** a scalar in units of the loss.

    **Raises:** `ValueError` as `to_neuron_coordinates`.
    """
    return squared_norm(velocity) / 2 - perceptron.cost(state, one_sample(x, state.weights, "x"), y)


def bulk_lagrangian(perceptron: Perceptron, state: NeuronCoordinates, velocity: NeuronCoordinates) -> Scalar:
    r"""What knows no data,

    $$L_\text{bulk} = \tfrac12\sum_{m=0}^{M-1}|\dot W^{(m)}|^2 + \tfrac12\sum_{m=1}^{M}|\dot z^{(m)}|^2 +
    \sum_{m=1}^{M-1}\bigl(\tfrac12|g^{(m)}|^2 - \dot z^{(m+1)}\cdot g^{(m)}\bigr).$$

    It does not depend on the sample as a function of its arguments. Along a training its value does, as the neurons do.

    **Arguments:** `perceptron`; `state` and `velocity` in weights and neurons.

    ??? cite "References"

        D. Lee, H.-S. Lee and J. Yi, *Bulk-boundary decomposition of neural networks*, arXiv 2511.02003, 2025.
    """
    total = squared_norm(velocity) / 2
    for m in range(1, len(state.weights)):
        total = total + bulk_cell(perceptron, m, state, velocity)
    return total


def bulk_cell(perceptron: Perceptron, m: int, state: NeuronCoordinates, velocity: NeuronCoordinates) -> Scalar:
    r"""$\tfrac12|g^{(m)}|^2 - \dot z^{(m+1)}\cdot g^{(m)}$, which joins $z^{(m)}$, $W^{(m)}$ and $z^{(m+1)}$ alone.

    **Raises:** `ValueError` if `m` is not from 1 to `M - 1`.
    """
    if not 1 <= m < len(state.weights):
        raise ValueError(f"`m` must be from 1 to {len(state.weights) - 1}, got {m}.")
    g = jax.jvp(
        lambda W, z: W @ perceptron.activation(z),
        (state.weights[m], state.neurons[m - 1]),
        (velocity.weights[m], velocity.neurons[m - 1]),
    )[1]
    return g @ g / 2 - velocity.neurons[m] @ g


def boundary_lagrangian(
    perceptron: Perceptron,
    state: NeuronCoordinates,
    velocity: NeuronCoordinates,
    x: ArrayInput,
    y: ArrayInput,
    x_velocity: ArrayInput | None = None,
) -> Scalar:
    r"""What knows the sample, at the first layer and the last,

    $$L_\text{boundary} = \tfrac12|g^{(0)}|^2 - \dot z^{(1)}\cdot g^{(0)} - \ell(Z, Y), \qquad
    g^{(0)} = \dot W^{(0)}X + W^{(0)}\dot X.$$

    The sum with `bulk_lagrangian` is `lagrangian`. In the authors' slides the factor 1/2 of the first term is missing;
    without it the sum exceeds `lagrangian` by $\tfrac12|g^{(0)}|^2$.

    **Arguments:**

    - `perceptron`, `state`, `velocity`: as for `bulk_lagrangian`.
    - `x`, `y`: one sample.
    - `x_velocity`: $\dot X$, shape `(n_0,)`; 0 by default, as between two switches of the sample. At a switch it is
      no function: go on piece by piece.

    **Raises:** `ValueError` if `x` or `x_velocity` is not one sample of that width.
    """
    g = first_drift(state, velocity, x, x_velocity)
    return g @ g / 2 - velocity.neurons[0] @ g - perceptron.loss(perceptron.output(state.neurons[-1]), y)


def first_drift(
    state: NeuronCoordinates, velocity: NeuronCoordinates, x: ArrayInput, x_velocity: ArrayInput | None = None
) -> Float[Array, " n1"]:
    r"""$g^{(0)} = \frac{d}{dt}(W^{(0)}X)$, shape `(n_1,)`; arguments as for `boundary_lagrangian`."""
    x = one_sample(x, state.weights, "x")
    drift = velocity.weights[0] @ x
    return (
        drift if x_velocity is None else drift + state.weights[0] @ one_sample(x_velocity, state.weights, "x_velocity")
    )


def momenta(
    perceptron: Perceptron, state: NeuronCoordinates, velocity: NeuronCoordinates, x: ArrayInput, y: ArrayInput
) -> NeuronCoordinates:
    r"""The derivatives of $L$ by the velocities of weights and neurons, without the weight $e^{\gamma t}$.

    That of $z^{(m)}$ is $\dot b^{(m-1)} - \sigma'(z^{(m)}) \odot W^{(m)\top}\dot b^{(m)}$, of the last
    $\dot b^{(M-1)}$.

    **Arguments:** as for `boundary_lagrangian`, $\dot X = 0$.
    """
    return jax.grad(_whole, argnums=2)(perceptron, state, velocity, x, y)


def euler_lagrange_residual(
    perceptron: Perceptron,
    state: NeuronCoordinates,
    velocity: NeuronCoordinates,
    acceleration: NeuronCoordinates,
    x: ArrayInput,
    y: ArrayInput,
    friction: ScalarLike,
) -> NeuronCoordinates:
    r"""$\frac{d}{dt}\frac{\partial L}{\partial\dot q} + \gamma\frac{\partial L}{\partial\dot q} - \frac{\partial
    L}{\partial q}$ in weights and neurons: 0 where $\ddot\theta + \gamma\dot\theta + \nabla\ell = 0$ holds in weights
    and biases.

    **Arguments:**

    - `perceptron`, `state`, `velocity`, `acceleration`: in weights and neurons; see `neuron_motion`.
    - `x`, `y`: one sample, which stays.
    - `friction`: $\gamma$.

    **Raises:** `ValueError` if the activation has kinks, or as `boundary_lagrangian`.
    """
    require_smooth(perceptron.activation)

    def p(state, velocity):
        return momenta(perceptron, state, velocity, x, y)

    momentum, rate = jax.jvp(p, (state, velocity), (velocity, acceleration))
    force = jax.grad(_whole, argnums=1)(perceptron, state, velocity, x, y)
    return jax.tree.map(lambda rate, p, f: rate + jnp.asarray(friction, p.dtype) * p - f, rate, momentum, force)


def layer_costates(perceptron: Perceptron, state: NeuronCoordinates, y: ArrayInput) -> tuple[Float[Array, " n"], ...]:
    r"""$\delta^{(m)} = \partial\ell/\partial z^{(m)}$ for `m = 1 .. M`, by backpropagation.

    The Euler-Lagrange equation of a neuron inside the bulk is its recursion: with $\pi^{(m)} = \ddot b^{(m-1)} +
    \gamma\dot b^{(m-1)}$ it reads $\pi^{(m)} = \sigma'(z^{(m)}) \odot W^{(m)\top}\pi^{(m+1)}$, and the loss enters
    as $\pi^{(M)} = -\partial\ell/\partial z^{(M)}$. So $\pi^{(m)} = -\delta^{(m)}$.

    **Arguments:** `perceptron`; `state` in weights and neurons; `y`, the target.
    """
    costate = jax.grad(lambda z: perceptron.loss(perceptron.output(z), y))(state.neurons[-1])
    costates = [costate]
    for W, z in zip(reversed(state.weights[1:]), reversed(state.neurons[:-1]), strict=True):
        costate = jax.vjp(perceptron.activation, z)[1](W.T @ costate)[0]
        costates.append(costate)
    return tuple(reversed(costates))


def _whole(perceptron, state, velocity, x, y):
    return bulk_lagrangian(perceptron, state, velocity) + boundary_lagrangian(perceptron, state, velocity, x, y)
