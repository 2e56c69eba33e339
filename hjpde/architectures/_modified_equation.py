"""What the step of a network really follows: the modified equation, and the drift of the Hamiltonian along depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike

from ._architecture import AbstractArchitecture, Layer, State, pairing
from ._costate import CostatePath
from ._depth_flow import DepthFlow, integrate


def modified_velocity(
    architecture: AbstractArchitecture, s: ScalarLike, z: State, h: ScalarLike, layer: Layer
) -> State:
    r"""The velocity whose flow the steps of size `h` follow to second order, measured from the step itself:

    $$\tilde F = \frac{\Phi_h(z) - z}{h} - \frac{h}{2}\,(F_s + DF\,F) + O(h^2).$$

    For Euler steps it is $F - \frac h2 (F_s + DF\,F)$; for a Lie-Trotter step its commutator appears by itself.
    A deterministic network has this drift and **no** viscosity: the value obeys
    $u_t - \tilde F \cdot \nabla u = 0$ without a second-order term.

    **Arguments:**

    - `architecture`: whose step is a method of order 1 or more.
    - `s`, `z`: depth and state.
    - `h`: the size of a step.
    - `layer`: what the layer holds.

    ??? cite "References"

        E. Hairer, C. Lubich and G. Wanner, *Geometric Numerical Integration*, Springer, 2006, Section IX.1.
    """
    s = jnp.asarray(s, jnp.result_type(*jax.tree.leaves(z)))
    velocity = architecture.velocity(s, z, layer)
    tangents = (jnp.ones_like(s), velocity)
    acceleration = jax.jvp(lambda s, z: architecture.velocity(s, z, layer), (s, z), tangents)[1]
    stepped = architecture.step(s, z, h, layer)
    return jax.tree.map(lambda new, old, a: (new - old) / h - h / 2 * a, stepped, z, acceleration)


def drift_correction(architecture: AbstractArchitecture, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> State:
    r"""$(\Phi_h(z) - \varphi_h(z))/h$: what a step adds to the velocity, $-\frac h2 (F_s + DF\,F) + O(h^2)$ for Euler.

    Measured from the scheme against its flow $\varphi$, so it vanishes where the step is exact.

    **Arguments:** those of `modified_velocity`.
    """
    settled = architecture.settle(z, layer)
    flowed = architecture.settle(integrate(architecture, settled, s, s + h, layer), layer)
    return jax.tree.map(lambda a, b: (a - b) / h, architecture.step(s, z, h, layer), flowed)


def euler_hamiltonian(flow: DepthFlow, z: State, p: State, h: ScalarLike, terms: int = 0) -> Scalar:
    r"""The Hamiltonian that Euler steps of an autonomous network conserve, cut off after `terms` corrections:

    $$\tilde H = p \cdot \Bigl(F - \frac h2 DF\,F
    + h^2 \bigl(\tfrac1{12} D^2F(F, F) + \tfrac13 DF\,DF\,F\bigr) - \ldots\Bigr).$$

    Along the network's states and co-states it drifts by $O(h^{1 + \mathrm{terms}})$.

    **Arguments:**

    - `flow`: an autonomous network of explicit Euler steps.
    - `z`, `p`: state and co-state at the same edge.
    - `h`: the size of a step.
    - `terms`: 0, 1 or 2.

    **Raises:** `ValueError` if `terms` is another number.
    """
    if terms not in (0, 1, 2):
        raise ValueError(f"`terms` must be 0, 1 or 2, got {terms!r}.")

    def F(z):
        return flow.F(0.0, z)

    def along(field, z, v):
        return jax.jvp(field, (z,), (v,))[1]

    velocity = F(z)
    value = pairing(p, velocity)
    first = along(F, z, velocity)
    if terms >= 1:
        value = value - h / 2 * pairing(p, first)
    if terms == 2:
        second = along(lambda y: along(F, y, velocity), z, velocity)
        value = value + h**2 * (pairing(p, second) / 12 + pairing(p, along(F, z, first)) / 3)
    return value


def hamiltonian_along(flow: DepthFlow, path: CostatePath, x: Float[Array, "..."], terms: int = 0) -> Float[Array, " K"]:
    r"""$\tilde H(z_k, p_k)$ at the edges of the steps of a network with the same weights in all layers.

    **Arguments:**

    - `flow`: an autonomous network of explicit Euler steps.
    - `path`: of `discrete_costate`.
    - `x`: the input that it belongs to.
    - `terms`: corrections of the modified Hamiltonian, see `euler_hamiltonian`.
    """
    steps = jax.tree.leaves(path.states)[0].shape[0] - 1
    h = flow.T(x) / steps
    return eqx.filter_vmap(lambda z, p: euler_hamiltonian(flow, z, p, h, terms))(path.states, path.costates)
