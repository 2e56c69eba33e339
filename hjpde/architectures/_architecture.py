"""What a network must tell of itself so that it can be read as a discretised Hamilton-Jacobi equation."""

import abc
import functools
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike

State: TypeAlias = Any
"""What depth transports: an array, or a tuple of arrays, of any shapes."""

Layer: TypeAlias = Any
"""What one layer holds: its own weights, or the element of the sequence that it reads; `None` for nothing."""


class AbstractArchitecture(eqx.Module):
    r"""A network that steps a state through depth, as a discretisation of $\dot z = F(s, z)$ for $s \in [0, T]$.

    $$z_0 = \mathrm{start}(x), \qquad z_{k+1} = \mathrm{step}(s_k, z_k, h; \theta_k), \qquad
    \text{output} = \mathrm{finish}(z_L), \qquad s_k = kh, \quad h = T/L,$$

    where $\theta_k$ is what layer `k` holds: its weights, or in a recurrent network the element that it reads. Both
    are constant on the layer's interval, so `step` may be taken with any part of `h`: `n` steps of size `h/n` a layer
    are the same network refined, and as $n \to \infty$ it becomes its flow.

    `hjpde.as_hamiltonian` makes a member, with a readout, a Hamiltonian; `hjpde.compare` measures it.
    """

    @property
    @abc.abstractmethod
    def layer_count(self) -> int | None:
        """The number of layers $L$; `None` where it is the length of the sequence that is read."""

    @property
    @abc.abstractmethod
    def layer_time(self) -> float:
        """How much depth one layer covers, $h = T/L$."""

    @property
    @abc.abstractmethod
    def input_ndim(self) -> int:
        """The number of axes of one input: 1 for a vector, 2 for a sequence."""

    @property
    @abc.abstractmethod
    def scheme(self) -> str:
        """The integrator that one layer is, in words."""

    @property
    @abc.abstractmethod
    def expected_order(self) -> float:
        """The order of `step` in `h` against the flow, infinite where it is the flow itself."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The output for one input; batch with `jax.vmap`."""

    @abc.abstractmethod
    def start(self, x: Float[Array, "..."]) -> State:
        """The state at depth 0."""

    @abc.abstractmethod
    def layers(self, x: Float[Array, "..."] | None) -> Layer:
        """What the layers hold, stacked along a leading axis of length $L$; `None` if nothing.

        **Raises:** `ValueError` if they hold elements of the input and there is none.
        """

    @abc.abstractmethod
    def velocity(self, s: ScalarLike, z: State, layer: Layer) -> State:
        """$F(s, z)$ inside the interval of one layer, in units of the state per unit of depth."""

    @abc.abstractmethod
    def step(self, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> State:
        """The network's own step from depth `s` to `s + h`, at most a layer long."""

    @abc.abstractmethod
    def settle(self, z: State, layer: Layer) -> State:
        """The state that satisfies what the flow holds algebraically; the identity where it holds nothing so."""

    @abc.abstractmethod
    def finish(self, z: State) -> Float[Array, "..."]:
        """The output that the final state is read out to."""


def pairing(p: State, v: State) -> Scalar:
    r"""$\langle p, v \rangle$, summed over all entries of a state."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), p, v)
    return functools.reduce(jnp.add, jax.tree.leaves(products))
