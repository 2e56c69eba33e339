"""The eikonal Hamiltonian."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike, dot, positive_scalar

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
        squared = dot(p, p)
        zero = squared == 0  # the subgradient 0 at the tip of the cone, not NaN
        return self.speed.astype(p.dtype) * jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return jnp.where(v @ v <= self.speed.astype(v.dtype) ** 2, 0.0, jnp.inf).astype(v.dtype)

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$c \max_p |p_i|/|p|$ over the box, attained: `c` unless the box stays off the other axes.

        The largest $|p_i|$ meets the smallest of the others. See `HasSpeedBound`.
        """
        del t, x
        largest, smallest = box.largest, box.smallest
        still = largest == 0
        others = jnp.square(smallest[None, :] / jnp.where(still, 1, largest)[:, None])
        others = jnp.sum(jnp.where(jnp.eye(box.dim, dtype=bool), 0, others), axis=1)
        return jnp.where(still, 0, self.speed.astype(largest.dtype) / jnp.sqrt(1 + others))

    def why_not_godunov(self) -> None:
        return None

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""$H(m)$ with $m_i = \max(p_i^-, -p_i^+, 0)$, as `H` grows with every $|p_i|$: see `HasGodunov`."""
        return self(t, x, jnp.maximum(jnp.maximum(left, -right), 0))

    def why_not_separable(self, dim: int) -> str | None:
        return None if dim == 1 else "the length of the co-state is a sum over the axes only in one dimension."

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$c\,|p|$: see `HasSeparableLagrangian`."""
        del axis
        return self.speed.astype(p.dtype) * jnp.abs(p)

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""0 for $|v| \le c$ and $+\infty$ beyond: see `HasSeparableLagrangian`."""
        del axis
        return jnp.where(jnp.abs(v) <= self.speed.astype(v.dtype), 0.0, jnp.inf).astype(v.dtype)

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        del axis
        return -self.speed, self.speed
