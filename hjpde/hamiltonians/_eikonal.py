"""The eikonal Hamiltonian."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike, positive_scalar

from ._abstract import AbstractConvexHamiltonian, Curvature


@final
class Eikonal(AbstractConvexHamiltonian):
    r"""$H(p) = c\,|p|$: fronts move along their normal at speed `c`.

    $L(v)$ is 0 for $|v| \le c$ and $+\infty$ beyond: $u(t, x)$ is the least value of `g` within a distance $ct$.
    """

    speed: Scalar

    def __init__(self, speed: ScalarLike = 1.0):
        """**Arguments:**

        - `speed`: $c > 0$, in units of `x` per unit of time.

        **Raises:** `ValueError` if `speed` is known now and not positive and finite.
        """
        self.speed = positive_scalar(speed, "speed", jnp.result_type(float))

    @property
    def dim(self) -> None:
        return None

    @property
    def curvature(self) -> Curvature:
        return "convex"

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        del t, x
        squared = p @ p
        zero = squared == 0  # the subgradient 0 at the tip of the cone, not NaN
        return self.speed.astype(p.dtype) * jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return jnp.where(v @ v <= self.speed.astype(v.dtype) ** 2, 0.0, jnp.inf).astype(v.dtype)
