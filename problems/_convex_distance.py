r"""The distance from a point of the plane to a convex set that is known by its support function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar

_DIRECTIONS = 32
_BISECTIONS = 44


def distance_to_convex(z: Float[Array, "2"], support: Callable[[Float[Array, "2"]], Scalar]) -> Scalar:
    r"""$\max\bigl(0, \max_{|q| = 1} q \cdot z - h(q)\bigr)$, where $h(q) = \max_{k \in K} q \cdot k$.

    This is Hopf's formula for linear dynamics from the datum $g = |x|$: with $\dot x = Fx + Ga$, $K$ is what the
    control can subtract from $z = e^{Ft}x$. Where it is positive the function under the maximum has one peak on the
    circle, so the best of a few directions brackets it, and its derivative's sign bisects it to rounding.

    **Arguments:**

    - `z`: a point of the plane.
    - `support`: $h$, differentiable away from 0.
    """

    def gain(q: Float[Array, "2"]) -> Scalar:
        return q[0] * z[0] + q[1] * z[1] - support(q)

    angles = 2 * np.pi / _DIRECTIONS * np.arange(-1, _DIRECTIONS + 1)
    circle = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), z.dtype)
    best = 1 + jnp.argmax(jax.vmap(gain)(circle[1:-1]))

    def halve(_, bracket):
        low, high = bracket
        q = low + high
        q = q / jnp.sqrt(q[0] ** 2 + q[1] ** 2)
        slope = jax.grad(gain)(q)
        rising = slope[1] * q[0] - slope[0] * q[1] > 0
        return jnp.where(rising, q, low), jnp.where(rising, high, q)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (circle[best - 1], circle[best + 1]))
    # At the peak the value does not change with the direction: derivatives are those at a fixed direction.
    q = jax.lax.stop_gradient((low + high) / 2)
    return jnp.maximum(gain(q), 0)
