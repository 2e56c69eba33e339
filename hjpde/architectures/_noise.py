"""Noise in the layers, and the viscosity that it amounts to."""

import abc
from typing import Any, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._architecture import AbstractArchitecture, Layer, State


@runtime_checkable
class HasHiddenUnits(Protocol):
    """An architecture whose layers have hidden units that can be switched off."""

    @property
    def hidden_size(self) -> int:
        """The number of hidden units of a layer."""
        ...

    def masked_step(
        self, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, mask: Float[Array, " hidden"] | None
    ) -> State:
        """`step` with the hidden units multiplied by `mask`."""
        ...


class AbstractNoise(eqx.Module):
    r"""Randomness of a layer whose mean is the layer itself."""

    @abc.abstractmethod
    def noisy_step(
        self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, key: PRNGKeyArray
    ) -> State:
        """One random step of size `h`."""

    @abc.abstractmethod
    def viscosity(self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> Float[Array, "d d"]:
        r"""$N = \mathrm{Cov}(\Phi_h(z)) / 2h$ in closed form, over the entries of the state in a row.

        The value $u = E\,g$ of the noisy network then solves $u_t + H = \mathrm{tr}(N D^2 u)$ up to $O(h)$.
        """


@final
class GaussianNoise(AbstractNoise):
    r"""$\Phi_h(z) + \sqrt{2 \nu h}\,\xi$ with standard normal $\xi$: the viscosity $\nu I$, whatever the step."""

    nu: float = eqx.field(static=True)

    def __init__(self, nu: float):
        r"""**Arguments:**

        - `nu`: $\nu > 0$, in squared units of the state per unit of depth.

        **Raises:** `ValueError` if `nu` is not positive and finite.
        """
        if not (np.isfinite(nu) and nu > 0):
            raise ValueError(f"`nu` must be positive and finite, got {nu!r}.")
        self.nu = float(nu)

    def noisy_step(
        self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, key: PRNGKeyArray
    ) -> State:
        flat, restore = jax.flatten_util.ravel_pytree(architecture.step(s, z, h, layer))
        scale = jnp.sqrt(2 * self.nu * jnp.asarray(h, flat.dtype))
        return restore(flat + scale * jax.random.normal(key, flat.shape, flat.dtype))

    def viscosity(self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> Float[Array, "d d"]:
        flat, _ = jax.flatten_util.ravel_pytree(z)
        return self.nu * jnp.eye(flat.size, dtype=flat.dtype)


@final
class StochasticDepth(AbstractNoise):
    r"""The whole layer is kept with probability $q$ and scaled by $1/q$, or skipped: $z + \frac mq(\Phi_h(z) - z)$.

    Its viscosity $\frac h2 \frac{1-q}{q} FF^\top$ has rank one, depends on the state and is of the order of the step,
    as large as Euler's error of drift. With $(1-q)/q = 2\nu_0/h$ it stays finite as the network deepens, but then
    the jumps do not shrink, and the limit is a jump process, not a diffusion.

    ??? cite "References"

        G. Huang, Y. Sun, Z. Liu, D. Sedra and K. Weinberger, *Deep Networks with Stochastic Depth*, ECCV 2016.
    """

    keep: float = eqx.field(static=True)

    def __init__(self, keep: float):
        """**Arguments:**

        - `keep`: $q$ in $(0, 1]$.

        **Raises:** `ValueError` if it lies outside.
        """
        self.keep = _probability(keep)

    def noisy_step(
        self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, key: PRNGKeyArray
    ) -> State:
        factor = jax.random.bernoulli(key, self.keep) / self.keep
        stepped = architecture.step(s, z, h, layer)
        return jax.tree.map(lambda old, new: old + factor.astype(old.dtype) * (new - old), z, stepped)

    def viscosity(self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> Float[Array, "d d"]:
        old, _ = jax.flatten_util.ravel_pytree(z)
        new, _ = jax.flatten_util.ravel_pytree(architecture.step(s, z, h, layer))
        increment = new - old
        return jnp.outer(increment, increment) * ((1 - self.keep) / (2 * self.keep) / h)


@final
class Dropout(AbstractNoise):
    r"""Every hidden unit of a layer is kept with probability $q$ and scaled by $1/q$.

    For $F = W_2 \sigma + b$ the viscosity is $\frac h2 \frac{1-q}{q} W_2\,\mathrm{diag}(\sigma^2)\,W_2^\top$.

    ??? cite "References"

        N. Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, JMLR 15 (2014).
    """

    keep: float = eqx.field(static=True)

    def __init__(self, keep: float):
        """**Arguments:**

        - `keep`: $q$ in $(0, 1]$.

        **Raises:** `ValueError` if it lies outside.
        """
        self.keep = _probability(keep)

    def noisy_step(
        self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, key: PRNGKeyArray
    ) -> State:
        dtype = jnp.result_type(*jax.tree.leaves(z))
        mask = jax.random.bernoulli(key, self.keep, (architecture.hidden_size,)).astype(dtype) / self.keep
        return architecture.masked_step(s, z, h, layer, mask)

    def viscosity(self, architecture: Any, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> Float[Array, "d d"]:
        dtype = jnp.result_type(*jax.tree.leaves(z))

        def stepped(mask):
            return jax.flatten_util.ravel_pytree(architecture.masked_step(s, z, h, layer, mask))[0]

        # The step is linear in the mask, so its covariance is that of the mask seen through the derivative.
        by_unit = jax.jacfwd(stepped)(jnp.ones(architecture.hidden_size, dtype))
        return by_unit @ by_unit.T * ((1 - self.keep) / (2 * self.keep) / h)


@final
class NoisyNetwork(AbstractArchitecture):
    """A network with noise in its layers; called, it is its mean layers, as at inference."""

    architecture: AbstractArchitecture
    noise: AbstractNoise

    def __init__(self, architecture: AbstractArchitecture, noise: AbstractNoise):
        """**Arguments:**

        - `architecture`: the network without noise.
        - `noise`: a `GaussianNoise`, a `StochasticDepth` or a `Dropout`.

        **Raises:** `ValueError` if `noise` is none of these, or needs hidden units that the network does not have.
        """
        if not isinstance(noise, AbstractNoise):
            raise ValueError(f"`noise` must be a member of `hjpde.architectures`, got {type(noise).__name__}.")
        if isinstance(noise, Dropout) and not isinstance(architecture, HasHiddenUnits):
            raise ValueError(f"`noise`: {type(architecture).__name__} has no hidden units to drop.")
        self.architecture, self.noise = architecture, noise

    @property
    def layer_count(self) -> int | None:
        return self.architecture.layer_count

    @property
    def layer_time(self) -> float:
        return self.architecture.layer_time

    @property
    def input_ndim(self) -> int:
        return self.architecture.input_ndim

    @property
    def scheme(self) -> str:
        return self.architecture.scheme

    @property
    def expected_order(self) -> float:
        return self.architecture.expected_order

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.architecture(x)

    def start(self, x: Float[Array, "..."]) -> State:
        return self.architecture.start(x)

    def layers(self, x: Float[Array, "..."] | None) -> Layer:
        return self.architecture.layers(x)

    def velocity(self, s: ScalarLike, z: State, layer: Layer) -> State:
        return self.architecture.velocity(s, z, layer)

    def step(self, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> State:
        return self.architecture.step(s, z, h, layer)

    def settle(self, z: State, layer: Layer) -> State:
        return self.architecture.settle(z, layer)

    def finish(self, z: State) -> Float[Array, "..."]:
        return self.architecture.finish(z)

    def noisy_step(self, s: ScalarLike, z: State, h: ScalarLike, layer: Layer, key: PRNGKeyArray) -> State:
        """One random step."""
        return self.noise.noisy_step(self.architecture, s, z, h, layer, key)

    def viscosity(self, s: ScalarLike, z: State, h: ScalarLike, layer: Layer) -> Float[Array, "d d"]:
        """The effective viscosity tensor of a step, in closed form: see `AbstractNoise.viscosity`."""
        return self.noise.viscosity(self.architecture, s, z, h, layer)

    def sample(self, x: Float[Array, "..."], key: PRNGKeyArray) -> Float[Array, "..."]:
        """The output of one random pass, as in training."""
        layers, z = self.layers(x), self.start(x)
        depth = x.shape[0] if self.layer_count is None else self.layer_count

        def layer_step(z, held):
            index, layer, key = held
            return self.noisy_step(index * self.layer_time, z, self.layer_time, layer, key), None

        keys = jax.random.split(key, depth)
        return self.finish(jax.lax.scan(layer_step, z, (jnp.arange(depth), layers, keys))[0])


def _probability(keep: float) -> float:
    if not 0 < keep <= 1:
        raise ValueError(f"`keep` must be a probability in (0, 1], got {keep!r}.")
    return float(keep)
