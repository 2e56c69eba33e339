"""Dubins' car: constant speed, bounded turn rate."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._constraint import Constraint
from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import ControlAffine

from ._abstract import AbstractProblem


@final
class DubinsCar(AbstractProblem):
    r"""$\dot x = \cos\theta$, $\dot y = \sin\theta$, $\dot\theta = a$, $|a| \le 1$:
    $H = -p_x\cos\theta - p_y\sin\theta + |p_\theta|$, from the signed distance to the disk $x^2 + y^2 \le 0.5^2$.

    $u(t, x) \le 0$ where the car can reach the disk within the time $t$. There is no reference on the whole domain;
    $u$ is symmetric under the reflection $(y, \theta) \to (-y, -\theta)$ and under rotations by quarter turns, and
    where the car heads straight for the disk, $u = \max(|x| - t, 0) - 0.5$ exactly.

    ??? cite "References"

        L. E. Dubins, *On curves of minimal length with a constraint on average curvature*, Amer. J. Math. 79, 1957.
    """

    @property
    def problem(self) -> InitialValueProblem:
        H = ControlAffine(_drift, [[0.0], [0.0], [1.0]], controls=Box([-1.0], [1.0]))
        domain = Domain([-3.0, -3.0, 0.0], [3.0, 3.0, 2 * jnp.pi], periodic=(False, False, True))
        return InitialValueProblem(_disk, H, domain=domain, constraint=Constraint(monotone="decreasing"))


def _drift(t: ScalarLike, x: Point) -> Float[Array, "3"]:
    del t
    return jnp.stack([jnp.cos(x[2]), jnp.sin(x[2]), jnp.zeros_like(x[2])])


def _disk(x: Point) -> Scalar:
    return jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 0.5
