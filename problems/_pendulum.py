"""A pendulum with a weak motor."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import ControlAffine

from ._abstract import AbstractProblem

_TORQUE = 0.4


@final
class Pendulum(AbstractProblem):
    r"""$\dot\theta = \omega$, $\dot\omega = \sin\theta + a$, $|a| \le 0.4$, with $\theta = 0$ upright:
    $H = -p_\theta\,\omega - p_\omega \sin\theta + 0.4\,|p_\omega|$.

    The motor is too weak to hold the pendulum level, so it has to swing. $u(t, x)$ is the least value of
    $g = 1 - \cos\theta + \tfrac12\omega^2$, which vanishes at rest in the upright position only, that can be had at
    time $t$. There is no reference; $u$ is symmetric under $(\theta, \omega) \to (-\theta, -\omega)$, and lies
    between 0 and the value along any trajectory, such as the one without torque.

    ??? cite "References"

        K. J. Åström and K. Furuta, *Swinging up a pendulum by energy control*, Automatica 36, 2000.
    """

    @property
    def problem(self) -> InitialValueProblem:
        H = ControlAffine(_drift, [[0.0], [1.0]], controls=Box([-_TORQUE], [_TORQUE]))
        domain = Domain([-jnp.pi, -4.0], [jnp.pi, 4.0], periodic=(True, False))
        return InitialValueProblem(_height_and_motion, H, domain=domain)


def _drift(t: ScalarLike, x: Point) -> Float[Array, "2"]:
    del t
    return jnp.stack([x[1], jnp.sin(x[0])])


def _height_and_motion(x: Point) -> Scalar:
    return 1 - jnp.cos(x[0]) + x[1] ** 2 / 2
