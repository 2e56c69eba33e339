"""Finite random networks, and trained ones, as energies of their inputs."""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from hjpde._types import Scalar

from ._activation import Activation
from ._energy import AbstractEnergy
from ._random_network import RandomNetwork


@jax.custom_jvp
def _product(W: Array, transposed: Array, x: Array) -> Array:
    """`W @ x`; derivatives with respect to `x` are faster without the transposed matrix."""
    return x @ transposed


@_product.defjvp
def _product_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    W, _, x = primals
    return W @ x, W @ tangents[-1]


@final
class NetworkEnergy(AbstractEnergy):
    r"""One network of the ensemble `RandomNetwork`, $H(x) = \sum_i a_i\phi(z^L_i)$.

    - `weights`: $W^{l+1}/\sqrt{N_l}$, of shapes `(N_{l+1}, N_l)`.
    - `readout`: $a$, shape `(N_L,)`.
    - `activation`: $\phi$.
    - `transposed`: none, or the weights transposed, by which values at few points take a quarter of the time.
    """

    weights: tuple[Float[Array, "..."], ...]
    readout: Float[Array, "..."]
    activation: Activation = eqx.field(static=True)
    transposed: tuple[Float[Array, "..."], ...] = ()

    @property
    def dimension(self) -> int:
        return self.weights[0].shape[-1]

    def laid_out(self) -> "NetworkEnergy":
        transposed = tuple(jnp.swapaxes(W, -1, -2) for W in self.weights)
        return NetworkEnergy(self.weights, self.readout, self.activation, transposed)

    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        layers = (x,)
        for l, W in enumerate(self.weights):
            z = _product(W, self.transposed[l], layers[-1]) if self.transposed else W @ layers[-1]
            layers = (*layers, self.activation(z))
        return layers, self.readout @ layers[-1]


def draw_network(network: RandomNetwork, dimension: int, samples: int = 16, *, key: Key[Array, ""]) -> NetworkEnergy:
    r"""Independent networks of the ensemble at a finite input dimension.

    **Arguments:**

    - `network`: the ensemble; layer $l$ gets $\alpha_l N$ neurons, rounded.
    - `dimension`: `N`, at least 2. - `samples`: how many, at least 1. - `key`: of the weights.

    **Returns:** the networks, with a leading axis of samples, in jax's default precision.

    **Raises:** `ValueError` if `dimension` or `samples` is too small, or a layer is left without a neuron.
    """
    require_sizes(dimension, samples)
    sizes = (dimension, *(round(alpha * dimension) for alpha in network.widths))
    if min(sizes) < 1:
        raise ValueError(f"`dimension` = {dimension} leaves a layer without a neuron: widths {network.widths}.")
    *keys, last = jax.random.split(key, len(sizes))
    weights = tuple(
        network.sigma_w / math.sqrt(below) * jax.random.normal(k, (samples, size, below))
        for k, below, size in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )
    return NetworkEnergy(weights, jax.random.normal(last, (samples, sizes[-1])), network.activation)


@final
class ModelEnergy(AbstractEnergy):
    r"""A function of the input as an energy, $H(x) = N f(x)$; a module of equinox, trained or not.

    - `function`: $f$, from shape `(N,)` to a scalar.
    - `size`: `N`.
    """

    function: Callable[[Array], Any]
    size: int = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        return self.size

    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        return (x,), self.size * jnp.asarray(self.function(x))


def require_sizes(dimension: int, samples: int) -> None:
    """**Raises:** `ValueError` if a sphere has fewer than two dimensions or there is no sample."""
    if dimension < 2 or samples < 1:
        raise ValueError(f"`dimension` must be at least 2 and `samples` at least 1, got {dimension} and {samples}.")
