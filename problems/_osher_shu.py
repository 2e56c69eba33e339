"""Osher and Shu's problem with a Hamiltonian that is neither convex nor concave."""

from typing import final

import jax
import jax.numpy as jnp

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import MomentumFunction

from ._abstract import AbstractExactProblem

_CELLS = 96
_BISECTIONS = 48
_LAST_TIME = 1.6 / jnp.pi**2


@final
class OsherShu(AbstractExactProblem):
    r"""$H = -\cos(p + 1)$ and $g = -\cos \pi x$ on $[-1, 1)$, periodic.

    Along the characteristic $x = y + t \sin(p + 1)$ with $p = \pi\sin\pi y$ the value is
    $g(y) + t\,(p\sin(p + 1) + \cos(p + 1))$; $y$ is computed to rounding. A kink forms at $t = 1.049/\pi^2$ where `H`
    is convex in `p`, another at $t = 1.292/\pi^2$ where it is concave. As long as the jump of `p` across each stays
    within such a range, up to $t = 1.6/\pi^2$, the solution is the least, or the greatest, of the values that
    characteristics bring, as there `H` might as well be convex or concave everywhere. Later values are NaN.

    ??? cite "References"

        S. Osher and C.-W. Shu, *High-order essentially nonoscillatory schemes for Hamilton-Jacobi equations*, SIAM
        J. Numer. Anal. 28(4), 1991, Section 4.
    """

    @property
    def problem(self) -> InitialValueProblem:
        H = MomentumFunction(_hamiltonian)
        return InitialValueProblem(_datum, H, domain=Domain([-1.0], [1.0], periodic=True))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t, place = jnp.asarray(t, x.dtype), x[0]
        # Characteristics are no faster than 1. Leftmost and rightmost arrivals; both are the same without a fold.
        feet = place + 1.01 * (t + 1e-3) * jnp.linspace(-1, 1, _CELLS + 1, dtype=x.dtype)
        ahead = _arrival(t, feet) > place
        first = jnp.argmax(ahead)
        last = _CELLS - jnp.argmin(ahead[::-1]) + 1
        left = _foot(t, place, feet[first - 1], feet[first])
        right = _foot(t, place, feet[last - 1], feet[last])
        values = _value(t, left), _value(t, right)
        # Where H is convex the slope falls across a kink, and where it is concave it rises.
        u = jnp.where(_slope(left) >= _slope(right), jnp.minimum(*values), jnp.maximum(*values))
        return jnp.where(t <= _LAST_TIME, u, jnp.nan)


def _hamiltonian(p: Point) -> Scalar:
    return -jnp.cos(p[0] + 1)


def _datum(x: Point) -> Scalar:
    return -jnp.cos(jnp.pi * x[0])


def _slope(y: jax.Array) -> jax.Array:
    return jnp.pi * jnp.sin(jnp.pi * y)


def _arrival(t: Scalar, y: jax.Array) -> jax.Array:
    return y + t * jnp.sin(_slope(y) + 1)


def _value(t: Scalar, y: Scalar) -> Scalar:
    p = _slope(y)
    return -jnp.cos(jnp.pi * y) + t * (p * jnp.sin(p + 1) + jnp.cos(p + 1))


def _foot(t: Scalar, place: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """The foot in [low, high] of the characteristic that arrives at `place`."""

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        short = _arrival(t, middle) <= place
        return jnp.where(short, middle, low), jnp.where(short, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    y = jax.lax.stop_gradient((low + high) / 2)
    spread = 1 + t * jnp.cos(_slope(y) + 1) * jnp.pi**2 * jnp.cos(jnp.pi * y)
    # One step of Newton's iteration, for the derivatives.
    return y - (_arrival(t, y) - place) / jnp.where(spread == 0, 1, spread)
