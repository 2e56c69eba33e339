"""A star-shaped front that moves along its normal."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Eikonal

from ._abstract import AbstractExactProblem

_POINTS = 5
_AMPLITUDE = 0.3
_DEPTH = 0.1
_SAMPLES = 24
_NEWTON_STEPS = 10


@final
class StarFront(AbstractExactProblem):
    r"""$H = |p|$ and $g = \max(d(x), -0.1)$ with $d$ the signed distance to the star $r(\phi) = 1 + 0.3\cos 5\phi$.

    A disk of radius 0.1 rolls inside of the star without getting stuck (its tips' radius of curvature is 0.19), so
    growing the star by $t$ undoes cutting off its depth: $u = \max(d(x) - t, -0.1)$ everywhere. The front's five
    valleys close to concave kinks. By symmetry the nearest point of the curve is looked for in one tenth of it only;
    its angle is computed by Newton's iteration to rounding.

    ??? cite "References"

        J. A. Sethian, *Level Set Methods and Fast Marching Methods*, 2nd ed., Cambridge, 1999, Section 2.
    """

    @property
    def problem(self) -> InitialValueProblem:
        return InitialValueProblem(eqx.Partial(self, 0.0), Eikonal(), domain=Domain([-2.5, -2.5], [2.5, 2.5]))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        return jnp.maximum(star_distance(x) - jnp.asarray(t, x.dtype), -_DEPTH)


def star_distance(x: Point) -> Scalar:
    """The signed distance to the star's curve, negative inside; exact up to a depth of 0.19."""
    # Turned and reflected into the sector between a tip and a valley, where the nearest point lies too.
    sector = jnp.pi / _POINTS
    r2 = x[0] ** 2 + x[1] ** 2
    at_origin = r2 == 0
    r = jnp.sqrt(jnp.where(at_origin, 1, r2))
    angle = jnp.arctan2(jnp.where(at_origin, 0, x[1]), jnp.where(at_origin, 1, x[0]))
    r = jnp.where(at_origin, 0, r)
    angle = jnp.abs(angle - 2 * sector * jnp.round(angle / (2 * sector)))
    place = r * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def squared(phi: Scalar) -> Scalar:
        return jnp.sum((place - _curve(phi)) ** 2)

    samples = sector * jnp.linspace(0, 1, _SAMPLES, dtype=x.dtype)
    start = samples[jnp.argmin(jax.vmap(squared)(samples))]
    slope, bend = jax.grad(squared), jax.grad(jax.grad(squared))

    def newton(_, phi: Scalar) -> Scalar:
        curvature = bend(phi)
        step = jnp.where(curvature > 0, slope(phi) / jnp.where(curvature > 0, curvature, 1), 0)
        return jnp.clip(phi - step, 0, sector)

    # The distance does not change with the nearest point's angle: derivatives are those at a fixed angle.
    phi = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NEWTON_STEPS, newton, start))
    gap = squared(phi)
    on_curve = gap == 0
    distance = jnp.where(on_curve, 0, jnp.sqrt(jnp.where(on_curve, 1, gap)))
    return jnp.where(r < _radius(angle), -distance, distance)


def _radius(phi: Scalar) -> Scalar:
    return 1 + _AMPLITUDE * jnp.cos(_POINTS * phi)


def _curve(phi: Scalar) -> Float[Array, "2"]:
    return _radius(phi) * jnp.stack([jnp.cos(phi), jnp.sin(phi)])
