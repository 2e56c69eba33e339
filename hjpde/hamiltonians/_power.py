"""Powers of the co-state's length."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike, dot, is_concrete, positive_scalar

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

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$\max_p |p|^{q-2} |p_i|$ over the box, attained: see `HasSpeedBound`.

        It grows with $|p_i|$; with the other entries it grows for $q > 2$ and falls for $q < 2$.
        """
        del t, x
        exponent, largest = self.exponent.astype(box.lower.dtype), box.largest
        others = jnp.square(jnp.where(exponent >= 2, largest, box.smallest))
        squared = jnp.sum(jnp.where(jnp.eye(box.dim, dtype=bool), jnp.square(largest), others), axis=1)
        return jnp.where(largest == 0, 0, largest * jnp.where(largest == 0, 1, squared) ** (exponent / 2 - 1))

    def why_not_godunov(self) -> None:
        return None

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""$H(m)$ with $m_i = \max(p_i^-, -p_i^+, 0)$, as `H` grows with every $|p_i|$: see `HasGodunov`."""
        return self(t, x, jnp.maximum(jnp.maximum(left, -right), 0))

    def why_not_separable(self, dim: int) -> str | None:
        if dim == 1:
            return None
        if not is_concrete(self.exponent):
            return "`exponent` is traced, so that it is not known to be 2."
        if float(np.asarray(self.exponent)) != 2:
            return "a power of the length is a sum over the axes only for `exponent` 2, or in one dimension."
        return None

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$|p|^q/q$: see `HasSeparableLagrangian`."""
        del axis
        return _power(p**2, self.exponent.astype(p.dtype))

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$|v|^r/r$: see `HasSeparableLagrangian`."""
        del axis
        exponent = self.exponent.astype(v.dtype)
        return _power(v**2, exponent / (exponent - 1))

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        del axis
        return -jnp.inf, jnp.inf


def _power_of_length(v: Float[Array, " d"], exponent: Scalar) -> Scalar:
    return _power(dot(v, v), exponent)


def _power(squared: Float[Array, "..."], exponent: Scalar) -> Float[Array, "..."]:
    zero = squared == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, squared) ** (exponent / 2) / exponent)
