r"""Proximal maps $z \mapsto \mathrm{argmin}_y\, f(y) + |y - z|^2/(2\tau)$."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar
from hjpde.solvers.quadratics._simplex import project_onto_simplex


def proximal_map_of_norm(order: str, radius: Scalar, z: Point) -> Point:
    """Moreau's decomposition: `z` minus its projection onto the dual ball.

    ??? cite "References"

        N. Parikh and S. Boyd, *Proximal Algorithms*, Found. Trends Optim. 1(3), 2014, Section 6.5.
    """
    if order == "1":
        return z - jnp.clip(z, -radius, radius)
    if order == "inf":
        inside = jnp.sum(jnp.abs(z)) <= radius
        return jnp.where(inside, 0, z - jnp.sign(z) * project_onto_simplex(jnp.abs(z), radius))
    squared = z @ z
    inside = squared <= radius**2
    return jnp.where(inside, 0, z * (1 - radius / jnp.sqrt(jnp.where(inside, 1, squared))))


def proximal_map_of_separable(f: Callable[[Point], Scalar], step: Scalar, z: Point) -> tuple[Point, Float[Array, " d"]]:
    r"""The proximal map of $f(y) = \sum_i f_i(y_i)$ and the subgradient $(z - y)/\tau$ there, coordinate by coordinate.

    $y + \tau f'(y) - z$ rises at least as fast as `y`, so its value at one point bounds how far away the root is.
    Bisection needs no more of the derivative than its sign, and meets a jump as well as a zero.
    """
    slope = jax.grad(f)
    fixed = jax.lax.stop_gradient(z)
    move = step * slope(fixed)

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        beyond = middle + step * slope(middle) > fixed
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    bracket = (fixed - jnp.maximum(move, 0), fixed - jnp.minimum(move, 0))
    low, high = jax.lax.fori_loop(0, jnp.finfo(z.dtype).nmant + 8, halve, bracket)
    y = (low + high) / 2
    s_low, s_high = slope(low), slope(high)
    s = jnp.clip((fixed - y) / step, jnp.minimum(s_low, s_high), jnp.maximum(s_low, s_high))
    _, bend = jax.jvp(slope, (y,), (jnp.ones_like(y),))
    jump = s_high - s_low > jnp.finfo(z.dtype).eps ** 0.5 * (1 + jnp.abs(s_low) + jnp.abs(s_high))
    # How the point answers to z by the implicit function theorem: not at all in a kink.
    answer = jax.lax.stop_gradient(jnp.where(jump, 0, 1 / (1 + step * jnp.maximum(bend, 0))))
    y, s = jax.lax.stop_gradient((y, s))
    change = z - fixed
    return y + answer * change, s + (1 - answer) / step * change
