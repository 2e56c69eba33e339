r"""Energies $H(x)$ on the sphere $|x|^2 = N$, and their means over it.

An energy is one sample of the disorder. Samplers take many at once: the same module with a leading axis of samples on
all its arrays, as `draw_network` and `draw_spins` return it.
"""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from hjpde._compilation import compiled_once
from hjpde._types import Scalar

from ._sphere import uniform_points


class AbstractEnergy(eqx.Module):
    r"""An energy $H(x)$ of a point $x \in \mathbb R^N$ with $|x|^2 = N$; extensive, so that $H/N$ is of order one."""

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """`N`."""

    @abc.abstractmethod
    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        r"""The point and what the hidden layers make of it, $(x, \phi(z^1), \dots, \phi(z^L))$, and $H(x)$.

        **Arguments:** `x`: shape `(N,)`, of norm $\sqrt N$.
        """

    def laid_out(self) -> "AbstractEnergy":
        """The same energy with its arrays as evaluation at many points reads them fastest; by default as it is."""
        return self

    def __call__(self, x: Float[Array, " N"]) -> Scalar:
        """$H(x)$, for `x` of shape `(N,)`."""
        return self.layers(x)[1]


@final
class ShiftedEnergy(AbstractEnergy):
    r"""$(H(x) - \text{offset}) / \text{scale}$."""

    energy: AbstractEnergy
    offset: Float[Array, "*S"]
    scale: Float[Array, "*S"]

    @property
    def dimension(self) -> int:
        return self.energy.dimension

    def laid_out(self) -> "ShiftedEnergy":
        return ShiftedEnergy(self.energy.laid_out(), self.offset, self.scale)

    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        layers, value = self.energy.layers(x)
        return layers, (value - self.offset) / self.scale


def centred(
    energies: AbstractEnergy, *, key: Key[Array, ""], points: int = 2048, unit_variance: bool = False
) -> ShiftedEnergy:
    r"""Energies less their mean over the sphere, by uniform points and their opposites.

    The even part of an activation, as of ReLU, shifts all energies of a network by a random amount of order
    $\sqrt N$. It is in no Gibbs measure, and its noise hides the mean energy of few samples.

    **Arguments:**

    - `energies`: with a leading axis of samples.
    - `key`: of the points. - `points`: how many, each with its opposite.
    - `unit_variance`: whether to divide by the deviation over the sphere too, so that $H$ has the variance `N` there:
      networks of different scales, such as trained ones, are then compared at equal temperatures.

    **Returns:** energies with the same axis of samples.

    **Raises:** `ValueError` if `points` is below 1.
    """
    if points < 1:
        raise ValueError(f"`points` must be at least 1, got {points}.")
    offset, scale = _moments(energies, uniform_points(key, (points, energies.dimension)))
    return ShiftedEnergy(energies, offset, scale if unit_variance else jnp.ones_like(scale))


@compiled_once
def _moments(energies: AbstractEnergy, points: Array) -> tuple[Array, Array]:
    def moments(energy: AbstractEnergy) -> tuple[Array, Array]:
        values = jax.lax.map(energy, jnp.concatenate([points, -points]), batch_size=256)
        return values.mean(), values.std() / energy.dimension**0.5

    return eqx.filter_vmap(moments)(energies)


def sample_count(energies: AbstractEnergy) -> int:
    """The length of the leading axis of samples.

    **Raises:** `ValueError` if the arrays of `energies` have no common leading axis.
    """
    shapes = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(energies, eqx.is_array))]
    if not shapes or not all(shape and shape[0] == shapes[0][0] for shape in shapes) or shapes[0][0] == 0:
        raise ValueError(f"`energies` must have a leading axis of samples on all its arrays, got shapes {shapes}.")
    return shapes[0][0]
