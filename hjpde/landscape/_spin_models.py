"""The pure p-spin model on the sphere, whose overlaps are known exactly: it tries samplers where networks cannot."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hjpde._types import Scalar

from ._draw_network import require_sizes
from ._energy import AbstractEnergy


@final
class SpinEnergy(AbstractEnergy):
    r"""$H(x) = N^{-(p-1)/2}\sum J_{i_1\dots i_p} x_{i_1}\cdots x_{i_p}$ with symmetric couplings.

    - `couplings`: $N^{-(p-1)/2} J$, shape `(N, ..., N)`.
    """

    couplings: Float[Array, "..."]
    order: int = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        return self.couplings.shape[-1]

    def laid_out(self) -> "SpinEnergy | _PairedSpins":
        if self.order < 3:
            return self
        rows, columns = np.triu_indices(self.dimension)
        twice = np.where(rows == columns, 1.0, 2.0).reshape(-1, *(1,) * (self.order - 2))
        return _PairedSpins(jnp.asarray(twice, self.couplings.dtype) * self.couplings[rows, columns], self.order)

    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        return (x,), _form(_field, self.order, self.couplings, x)


@final
class _PairedSpins(AbstractEnergy):
    """Spins with each pair of their first two indices once, by which a field is half the products.

    - `couplings`: of shape `(N (N + 1) / 2, N, ..., N)`.
    """

    couplings: Float[Array, "..."]
    order: int = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        return self.couplings.shape[-1]

    def layers(self, x: Float[Array, " N"]) -> tuple[tuple[Float[Array, "..."], ...], Scalar]:
        return (x,), _form(_paired_field, self.order, self.couplings, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _form(field: Callable[[int, Array, Array], Array], order: int, couplings: Array, x: Array) -> Array:
    return x @ field(order, couplings, x)


@_form.defjvp
def _form_jvp(
    field: Callable[[int, Array, Array], Array],
    order: int,
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    """As couplings are symmetric, the field is the gradient up to a factor; they themselves are constants."""
    (couplings, x), (_, dx) = primals, tangents
    at_x = field(order, couplings, x)
    return x @ at_x, order * (dx @ at_x)


def _field(order: int, couplings: Array, x: Array) -> Array:
    """The couplings contracted with `x` in all axes but one."""
    for _ in range(order - 1):
        couplings = couplings @ x
    return couplings


def _paired_field(order: int, couplings: Array, x: Array) -> Array:
    """The same of couplings of pairs."""
    for _ in range(order - 3):
        couplings = couplings @ x
    rows, columns = np.triu_indices(x.size)
    return (x[rows] * x[columns]) @ couplings


def draw_spins(order: int, dimension: int, samples: int = 16, *, key: Key[Array, ""]) -> SpinEnergy:
    r"""Independent samples of the pure model $E\,H(x)H(y) = N (x\cdot y/N)^p$, the Gaussian field of `pure`.

    **Arguments:**

    - `order`: $p \ge 1$. - `dimension`: `N`, at least 2. - `samples`: how many, at least 1.
    - `key`: of the couplings, of which there are $N^p$ a sample.

    **Returns:** the energies, with a leading axis of samples, in jax's default precision.

    **Raises:** `ValueError` if `order`, `dimension` or `samples` is too small.
    """
    require_sizes(dimension, samples)
    if order < 1:
        raise ValueError(f"`order` must be at least 1, got {order}.")
    J = jax.random.normal(key, (samples, *(dimension,) * order)) * dimension ** (-(order - 1) / 2)
    permutations = list(itertools.permutations(range(1, order + 1)))
    symmetric = sum((jnp.transpose(J, (0, *axes)) for axes in permutations), start=jnp.zeros_like(J))
    return SpinEnergy(symmetric / math.factorial(order), order)
