"""Backpropagation as the co-state equation: through the network's steps, and through its flow."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike

from ._architecture import AbstractArchitecture, Layer, State
from ._depth_flow import DepthFlow, integrate

_Step = Callable[[AbstractArchitecture, Scalar, State, Layer], State]


@final
class CostatePath(eqx.Module):
    r"""A forward and a backward pass, as a path of the Hamiltonian system in $(z, p)$.

    - `value`: $g$ at the final state.
    - `states`, `costates`: $z_k$ and $p_k = \nabla V(s_k, z_k)$ at the edges of the steps, with a leading axis one
      longer than there are steps.
    - `input_gradient`: the derivative of the value with respect to the input `x`, of its shape: through the start
      where the network reads `x` at once, and through the layers where it reads it element by element. In the lifted
      state $(z, x_1, \ldots, x_L)$ with $\dot x_k = 0$ these are co-states as well.
    - `parameter_gradient`: with respect to the architecture's arrays, a module of its structure.
    """

    value: Scalar
    states: State
    costates: State
    input_gradient: Float[Array, "..."]
    parameter_gradient: Any


def discrete_costate(flow: DepthFlow, x: Float[Array, "..."], n: int = 1) -> CostatePath:
    r"""The co-state of the network refined `n` times,

    $$p_L = \nabla g(z_L), \qquad p_k = D\Phi_k(z_k)^\top p_{k+1}, \qquad
    \frac{dV}{d\theta_k} = (\partial_\theta \Phi_k(z_k))^\top p_{k+1},$$

    with the Jacobian of the step $\Phi_k$ at its **left** end $z_k$. For Euler steps $\Phi = z + hF$ this is the
    symplectic Euler method of $(\dot z, \dot p) = (F, -DF^\top p)$; for any step it is the discrete system that keeps
    the pairing $p_k \cdot \delta z_k$ constant, and it is backpropagation.

    **Arguments:**

    - `flow`: the network with its readout.
    - `x`: one input.
    - `n`: steps a layer; 1 is the network itself.

    ??? cite "References"

        W. W. Hager, *Runge-Kutta methods in optimal control and the transformed adjoint system*, Numerische Mathematik
        87 (2000). J. M. Sanz-Serna, *Symplectic Runge-Kutta schemes for adjoint equations*, SIAM Review 58 (2016).
    """
    h = flow.architecture.layer_time / n
    depths = _depths(flow, x, n)
    return _there_and_back(flow, x, depths, lambda architecture, s, z, layer: architecture.step(s, z, h, layer))


def refined_costate(flow: DepthFlow, x: Float[Array, "..."], n: ScalarLike, most: int) -> CostatePath:
    """`discrete_costate` for a number of steps that may be traced: one compiled program serves all refinements.

    **Arguments:**

    - `flow`: the network with its readout.
    - `x`: one input.
    - `n`: steps a layer, at least 1 and at most `most`.
    - `most`: fixes the shapes: each layer's path goes on with its last state, `most` edges in all.
    """
    h = flow.architecture.layer_time / jnp.asarray(n, x.dtype)
    left = jnp.arange(flow.L(x))[:, None] * flow.architecture.layer_time + jnp.arange(most)[None] * h

    def step(architecture: AbstractArchitecture, s: Scalar, z: State, layer: Layer) -> State:
        return architecture.step(s, z, h, layer)

    return _there_and_back(flow, x, left.astype(x.dtype), step, n)


def continuous_costate(flow: DepthFlow, x: Float[Array, "..."], rtol: float | None = None) -> CostatePath:
    r"""The co-state of the flow, $\dot p = -DF(s, z)^\top p$ with $p(T) = \nabla g(z(T))$, at the edges of the layers.

    **Arguments:**

    - `flow`: the network with its readout.
    - `x`: one input.
    - `rtol`: of the adaptive integration, as for `DepthFlow.exact`; the co-state is the derivative of that solution,
        so both have its accuracy.
    """

    def layer_flow(architecture: AbstractArchitecture, s: Scalar, z: State, layer: Layer) -> State:
        z = architecture.settle(z, layer)
        z = integrate(architecture, z, s, s + architecture.layer_time, layer, rtol, varied=True)
        return architecture.settle(z, layer)

    return _there_and_back(flow, x, _depths(flow, x, 1), layer_flow)


def right_endpoint_costate(flow: DepthFlow, x: Float[Array, "..."], n: int = 1) -> State:
    r"""Explicit Euler on the co-state equation from the right, $p_k = p_{k+1} + h\,DF(s_{k+1}, z_{k+1})^\top p_{k+1}$.

    A consistent method of order 1 for the same equation that is **not** backpropagation: it evaluates the Jacobian at
    the other end, and keeps neither the pairing nor the symplectic form. Returns $p_0$.

    **Arguments:**

    - `flow`: the network with its readout.
    - `x`: one input.
    - `n`: steps a layer.
    """
    architecture, h = flow.architecture, flow.architecture.layer_time / n
    path = discrete_costate(flow, x, n)
    layers = _repeated(architecture.layers(x), n)
    right = jax.tree.map(lambda leaf: leaf[1:], path.states)

    def backward(p, held):
        s, z, layer = held
        pulled = jax.vjp(lambda z: architecture.velocity(s, z, layer), z)[1](p)[0]
        return jax.tree.map(lambda a, b: a + h * b, p, pulled), None

    last = jax.tree.map(lambda leaf: leaf[-1], path.costates)
    # Within its own layer, so that the weights are those of the step.
    depths = _depths(flow, x, n).ravel() + h
    return jax.lax.scan(backward, last, (depths, right, layers), reverse=True)[0]


def _there_and_back(
    flow: DepthFlow, x: Float[Array, "..."], depths: Float[Array, "L n"], step: _Step, count: ScalarLike | None = None
) -> CostatePath:
    """Scans over layers, and over the steps at `depths` in each: forward for states, backward for co-states.

    Of the depths in each layer only the first `count` are taken, if it is given.
    """
    count = depths.shape[1] if count is None else count
    weights, rest = eqx.partition(flow.architecture, eqx.is_inexact_array)

    def prepared(weights: Any, x: Float[Array, "..."]) -> tuple[State, Layer]:
        architecture = eqx.combine(weights, rest)
        return architecture.start(x), architecture.layers(x)

    def stepped(weights: Any, s: Scalar, z: State, layer: Layer) -> State:
        return step(eqx.combine(weights, rest), s, z, layer)

    def terminal(weights: Any, z: State) -> Scalar:
        return DepthFlow(eqx.combine(weights, rest), flow.readout).g(z)

    (z, layers), pull_back_start = jax.vjp(prepared, weights, x)

    def forward(z, held):
        depths, layer = held

        def one_step(k, carry):
            z, path = carry
            return stepped(weights, depths[k], z, layer), _written(path, k, z)

        z, path = jax.lax.fori_loop(0, count, one_step, (z, _empty(z, depths)))
        return z, _filled(path, count, z)

    last, states = jax.lax.scan(forward, z, (depths, layers))
    value, pull_back_terminal = jax.vjp(terminal, weights, last)
    weights_bar, p = pull_back_terminal(jnp.ones_like(value))

    def backward(carry, held):
        depths, zs, layer = held

        def one_step(k, carry):
            p, weights_bar, layer_bar, path = carry
            s, z = depths[count - 1 - k], jax.tree.map(lambda leaf: leaf[count - 1 - k], zs)
            pull_back = jax.vjp(lambda weights, z, layer: stepped(weights, s, z, layer), weights, z, layer)[1]
            to_weights, to_state, to_layer = pull_back(p)
            path = _written(path, count - 1 - k, p)
            return to_state, _sum(weights_bar, to_weights), _sum(layer_bar, to_layer), path

        p, weights_bar = carry
        start = (p, weights_bar, jax.tree.map(jnp.zeros_like, layer), _empty(p, depths))
        new, weights_bar, layer_bar, path = jax.lax.fori_loop(0, count, one_step, start)
        return (new, weights_bar), (_filled(path, count, p), layer_bar)

    (p, weights_bar), (ps, layers_bar) = jax.lax.scan(
        backward, (p, weights_bar), (depths, states, layers), reverse=True
    )
    from_start, input_gradient = pull_back_start((p, layers_bar))
    return CostatePath(
        value=value,
        states=jax.tree.map(lambda path, end: jnp.concatenate([_flat(path), end[None]]), states, last),
        costates=jax.tree.map(lambda start, path: jnp.concatenate([start[None], _flat(path)]), p, ps),
        input_gradient=input_gradient,
        parameter_gradient=_sum(weights_bar, from_start),
    )


def _depths(flow: DepthFlow, x: Float[Array, "..."], n: int) -> Float[Array, "L n"]:
    """The depth at the left end of every step."""
    return (jnp.arange(flow.L(x))[:, None] + jnp.arange(n)[None] / n).astype(x.dtype) * flow.architecture.layer_time


def _empty(z: State, depths: Float[Array, " n"]) -> State:
    """Room for a state at each depth."""
    return jax.tree.map(lambda leaf: jnp.zeros((depths.size, *leaf.shape), leaf.dtype), z)


def _written(path: State, k: ScalarLike, z: State) -> State:
    return jax.tree.map(lambda rows, leaf: rows.at[k].set(leaf), path, z)


def _filled(path: State, count: ScalarLike, z: State) -> State:
    """The rows from `count` on replaced by `z`."""

    def filled(rows: Array, leaf: Array) -> Array:
        taken = (jnp.arange(rows.shape[0]) < count).reshape(-1, *[1] * leaf.ndim)
        return jnp.where(jnp.broadcast_to(taken, rows.shape), rows, jnp.broadcast_to(leaf, rows.shape))

    return jax.tree.map(filled, path, z)


def _flat(path: Float[Array, "L n ..."]) -> Float[Array, "steps ..."]:
    """Layers and their steps along one axis."""
    return path.reshape(-1, *path.shape[2:])


def _repeated(layers: Layer, n: int) -> Layer:
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, n, axis=0), layers)


def _sum(one: Any, other: Any) -> Any:
    return jax.tree.map(jnp.add, one, other)
