"""What backpropagation conserves: the pairing of co-states with perturbations, and the symplectic form."""

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike

from ._architecture import Layer, State, pairing
from ._costate import discrete_costate
from ._depth_flow import DepthFlow


def pairing_along(flow: DepthFlow, x: Float[Array, "..."], direction: State, n: int = 1) -> Float[Array, " K"]:
    r"""$p_k \cdot \delta z_k$ at the edges of the steps: the same at all, as $p_k \cdot \delta z_k = \delta V$.

    **Arguments:**

    - `flow`: the network with its readout.
    - `x`: one input.
    - `direction`: the perturbation $\delta z_0$ of the state at the start, carried forward by the tangent of the steps.
    - `n`: steps a layer.
    """
    architecture, h = flow.architecture, flow.architecture.layer_time / n
    path = discrete_costate(flow, x, n)
    states = jax.tree.map(lambda leaf: leaf[:-1], path.states)
    layers = jax.tree.map(lambda leaf: jnp.repeat(leaf, n, axis=0), architecture.layers(x))
    depths = jnp.arange(flow.L(x) * n, dtype=x.dtype) * h

    def forward(tangent, held):
        s, z, layer = held
        return jax.jvp(lambda z: architecture.step(s, z, h, layer), (z,), (tangent,))[1], tangent

    last, tangents = jax.lax.scan(forward, direction, (depths, states, layers))
    tangents = jax.tree.map(lambda rest, end: jnp.concatenate([rest, end[None]]), tangents, last)
    return jax.vmap(pairing)(path.costates, tangents)


def symplectic_defect(flow: DepthFlow, s: ScalarLike, z: State, p: State, h: ScalarLike, layer: Layer = None) -> Scalar:
    r"""$\max|M^\top \Omega M - \Omega|$ for the derivative `M` of $(z_k, p_k) \mapsto (z_{k+1}, p_{k+1})$.

    The map is $z_{k+1} = \Phi(z_k)$, $p_{k+1} = D\Phi(z_k)^{-\top} p_k$; zero to rounding where $D\Phi$ is regular.

    **Arguments:**

    - `flow`: the network.
    - `s`: the depth at the left end.
    - `z`, `p`: state and co-state there.
    - `h`: the size of the step.
    - `layer`: what the layer holds.
    """
    flat, restore = jax.flatten_util.ravel_pytree(z)
    size = flat.size

    def step(z):
        return jax.flatten_util.ravel_pytree(flow.architecture.step(s, restore(z), h, layer))[0]

    def canonical(both):
        z, p = both[:size], both[size:]
        return jnp.concatenate([step(z), jnp.linalg.solve(jax.jacfwd(step)(z).T, p)])

    M = jax.jacfwd(canonical)(jnp.concatenate([flat, jax.flatten_util.ravel_pytree(p)[0]]))
    identity, zero = jnp.eye(size, dtype=M.dtype), jnp.zeros((size, size), M.dtype)
    omega = jnp.block([[zero, identity], [-identity, zero]])
    return jnp.max(jnp.abs(M.T @ omega @ M - omega))
