"""A kinematic bicycle in four dimensions."""

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
class Bicycle(AbstractProblem):
    r"""Place, heading and speed, $\dot x = v\cos\theta$, $\dot y = v\sin\theta$, $\dot\theta = vs$, $\dot v = a$.

    The rear wheel's place is $(x, y)$; the wheelbase is 1, $s = \tan\delta$ for the steering angle $\delta$, with
    $|s| \le 1$, and $|a| \le 1$. $u(t, x) \le 0$ where the disk $x^2 + y^2 \le 0.5^2$ can be reached within the time
    $t$. There is no reference on the whole domain; $u$ is symmetric under $(y, \theta) \to (-y, -\theta)$ and under
    $(x, \theta, v) \to (x, \theta + \pi, -v)$.

    ??? cite "References"

        R. Rajamani, *Vehicle Dynamics and Control*, 2nd ed., Springer, 2012, Section 2.2.
    """

    @property
    def problem(self) -> InitialValueProblem:
        H = ControlAffine(_drift, _control_matrix, controls=Box([-1.0, -1.0], [1.0, 1.0]), dim=4)
        domain = Domain([-3.0, -3.0, 0.0, -2.0], [3.0, 3.0, 2 * jnp.pi, 2.0], periodic=(False, False, True, False))
        return InitialValueProblem(_disk, H, domain=domain, constraint=Constraint(monotone="decreasing"))


def _drift(t: ScalarLike, x: Point) -> Float[Array, "4"]:
    del t
    zero = jnp.zeros_like(x[3])
    return jnp.stack([x[3] * jnp.cos(x[2]), x[3] * jnp.sin(x[2]), zero, zero])


def _control_matrix(t: ScalarLike, x: Point) -> Float[Array, "4 2"]:
    del t
    zero, one = jnp.zeros_like(x[3]), jnp.ones_like(x[3])
    steering, throttle = [zero, zero, x[3], zero], [zero, zero, zero, one]
    return jnp.stack([jnp.stack(steering), jnp.stack(throttle)], axis=1)


def _disk(x: Point) -> Scalar:
    return jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 0.5
