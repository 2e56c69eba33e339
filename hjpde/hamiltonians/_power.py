"""Powers of the co-state's length."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike, is_concrete, positive_scalar

from ._abstract import AbstractConvexHamiltonian, Curvature


@final
class Power(AbstractConvexHamiltonian):
    r"""$H(p) = |p|^q/q$ with $q > 1$; $L(v) = |v|^r/r$ with $1/q + 1/r = 1$."""

    exponent: Scalar

    def __init__(self, exponent: ScalarLike):
        """**Arguments:**

        - `exponent`: $q > 1$.

        **Raises:** `ValueError` if `exponent` is known now and is not above 1 and finite.
        """
        self.exponent = positive_scalar(exponent, "exponent", jnp.result_type(float))
        if is_concrete(exponent) and not float(np.asarray(exponent)) > 1:
            raise ValueError(f"`exponent` must be above 1, got {float(np.asarray(exponent)):g}.")

    @property
    def dim(self) -> None:
        return None

    @property
    def curvature(self) -> Curvature:
        return "convex"

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        del t, x
        return _power_of_length(p, self.exponent.astype(p.dtype))

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        exponent = self.exponent.astype(v.dtype)
        return _power_of_length(v, exponent / (exponent - 1))


def _power_of_length(v: Float[Array, " d"], exponent: Scalar) -> Scalar:
    squared = v @ v
    zero = squared == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, squared) ** (exponent / 2) / exponent)
