"""Viscosity: none, a multiple of the identity, a matrix, or a matrix that depends on time and place."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    is_concrete,
    positive_viscosity,
    require_finite,
    require_symmetric,
)


class AbstractViscosity(eqx.Module):
    r"""The matrix $N(t, x) \ge 0$ in $u_t + H = \mathrm{tr}(N D^2 u)$, in units of squared `x` per unit of time."""

    @property
    @abc.abstractmethod
    def dim(self) -> int | None:
        """The dimension, or `None` where any dimension will do."""

    @abc.abstractmethod
    def matrix(self, t: ScalarLike, x: Point) -> Float[Array, "d d"]:
        """$N(t, x)$ at one point `x` of shape `(d,)`."""


@final
class NoViscosity(AbstractViscosity):
    """$N = 0$: `u` is the viscosity solution."""

    @property
    def dim(self) -> None:
        return None

    def matrix(self, t: ScalarLike, x: Point) -> Float[Array, "d d"]:
        del t
        return jnp.zeros((x.shape[0], x.shape[0]), x.dtype)


@final
class ScalarViscosity(AbstractViscosity):
    r"""$N = \varepsilon I$ with $\varepsilon > 0$."""

    epsilon: Scalar

    @property
    def dim(self) -> None:
        return None

    def matrix(self, t: ScalarLike, x: Point) -> Float[Array, "d d"]:
        del t
        return self.epsilon.astype(x.dtype) * jnp.eye(x.shape[0], dtype=x.dtype)


@final
class MatrixViscosity(AbstractViscosity):
    """A constant symmetric positive semidefinite `N`."""

    constant: Float[Array, "d d"]

    @property
    def dim(self) -> int:
        return self.constant.shape[0]

    def matrix(self, t: ScalarLike, x: Point) -> Float[Array, "d d"]:
        del t, x
        return self.constant


@final
class VariableViscosity(AbstractViscosity):
    """`N` as a function of time and one point, symmetric positive semidefinite."""

    function: Callable

    @property
    def dim(self) -> None:
        return None

    def matrix(self, t: ScalarLike, x: Point) -> Float[Array, "d d"]:
        return self.function(jnp.asarray(t, x.dtype), x)


def as_viscosity(value: ArrayInput | Callable | AbstractViscosity) -> AbstractViscosity:
    r"""The viscosity that a user means by a number, a matrix or a function.

    **Arguments:**

    - `value`: 0 for none; a number $\varepsilon > 0$ for $N = \varepsilon I$; a matrix of shape `(d, d)` for `N`
      itself; a function of `(t, x)` that returns one; or an `AbstractViscosity`.

    **Raises:** `ValueError` if a number known now is negative or not finite, or a matrix is not symmetric
    positive semidefinite.
    """
    if isinstance(value, AbstractViscosity):
        return value
    if callable(value):
        return VariableViscosity(value)
    array = as_float_array(value, "viscosity")
    if array.ndim == 0:
        # A constant inside a compiled function is traced as an array: the number itself is still known.
        if is_concrete(value) and float(np.asarray(value)) == 0:
            return NoViscosity()
        return ScalarViscosity(positive_viscosity(value, array.dtype))  # pyright: ignore[reportArgumentType]
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < 1:
        raise ValueError(f"`viscosity` must be a number, a square matrix or a function, got shape {array.shape}.")
    require_finite(array, "viscosity")
    require_symmetric(array, "viscosity")
    if is_concrete(array):
        least = float(np.linalg.eigvalsh(np.asarray(array)).min())
        if least < -1e3 * np.finfo(np.asarray(array).dtype).eps * float(np.abs(np.asarray(array)).max()):
            raise ValueError(f"`viscosity` must be positive semidefinite, got the eigenvalue {least:.3g}.")
        if not np.any(np.asarray(array)):
            return NoViscosity()
    return MatrixViscosity(array)
