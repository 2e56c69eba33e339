"""Zalesak's notched disk, turned by a rotation."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Transport

from ._abstract import AbstractExactProblem


@final
class NotchedDisk(AbstractExactProblem):
    r"""$H = v(x) \cdot p$ with $v = 2\pi(-x_2, x_1)$, one turn in a unit of time, on $[-1, 1]^2$.

    `g` is negative in the disk of radius 0.3 about $(0, 0.5)$ less a slot of width 0.1, a maximum of two signed
    distances that is cut off at $\pm 0.1$: it is constant near the box's sides, which therefore do not matter.
    The solution is $g$, turned back: $u(t, x) = g(R_{-2\pi t}\,x)$.

    ??? cite "References"

        S. T. Zalesak, *Fully multidimensional flux-corrected transport algorithms for fluids*, J. Comput. Phys. 31,
        1979, Section 6.
    """

    @property
    def problem(self) -> InitialValueProblem:
        return InitialValueProblem(_notched_disk, Transport(_rotation), domain=Domain([-1.0, -1.0], [1.0, 1.0]))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        angle = 2 * jnp.pi * jnp.asarray(t, x.dtype)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return _notched_disk(jnp.stack([cos * x[0] + sin * x[1], cos * x[1] - sin * x[0]]))


def _rotation(t: ScalarLike, x: Point) -> Float[Array, " d"]:
    del t
    return 2 * jnp.pi * jnp.stack([-x[1], x[0]])


def _notched_disk(x: Point) -> Scalar:
    y = x - jnp.asarray([0.0, 0.5], x.dtype)
    disk = jnp.sqrt(y[0] ** 2 + y[1] ** 2) - 0.3
    # The slot |y_1| < 0.05, y_2 < 0.1 as a box: its interior is taken out of the disk.
    slot = jnp.maximum(jnp.abs(y[0]) - 0.05, y[1] - 0.1)
    return jnp.clip(jnp.maximum(disk, -slot), -0.1, 0.1)
