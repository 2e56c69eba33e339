"""Air3d: two aircraft at one height, one of which wants to collide."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._constraint import Constraint
from hjpde._domain import Domain, ExtrapolationAwayFromZero
from hjpde._problem import InitialValueProblem
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import ControlAffine

from ._abstract import AbstractProblem

_SPEED = 5.0
_TURN_RATE = 1.0
_COLLISION_RADIUS = 5.0


@final
class Air3d(AbstractProblem):
    r"""The pursuer's place and heading $(x, y, \psi)$ relative to the evader, both of speed $v = 5$ and turn rates
    $|a|, |b| \le 1$,

    $$\dot x = -v + v\cos\psi + ay,\qquad \dot y = v\sin\psi - ax,\qquad \dot\psi = b - a.$$

    `g` is the signed distance to the cylinder $x^2 + y^2 \le 5^2$; the evader's `a` maximises and the pursuer's `b`
    minimises, and $u$ may only decrease: $u(t, x) \le 0$ where the pursuer can force a collision within the time $t$,
    the backward reachable tube. No solution in closed form is known; it is symmetric under
    $(x, y, \psi) \to (x, -y, -\psi)$, and nested in time.

    ??? cite "References"

        I. M. Mitchell, A. M. Bayen and C. J. Tomlin, *A time-dependent Hamilton-Jacobi formulation of reachable sets
        for continuous dynamic games*, IEEE Trans. Automat. Control 50(7), 2005, Section V.
    """

    @property
    def problem(self) -> InitialValueProblem:
        bound = Box([-_TURN_RATE], [_TURN_RATE])
        H = ControlAffine(_drift, _evader, [[0.0], [0.0], [1.0]], controls=bound, disturbances=bound, control="max")
        domain = Domain(
            [-6.0, -10.0, 0.0],
            [20.0, 10.0, 2 * jnp.pi],
            periodic=(False, False, True),
            boundary=(ExtrapolationAwayFromZero(), ExtrapolationAwayFromZero(), None),
        )
        return InitialValueProblem(_separation, H, domain=domain, constraint=Constraint(monotone="decreasing"))


def _drift(t: ScalarLike, x: Point) -> Float[Array, "3"]:
    del t
    return jnp.stack([_SPEED * (jnp.cos(x[2]) - 1), _SPEED * jnp.sin(x[2]), jnp.zeros_like(x[2])])


def _evader(t: ScalarLike, x: Point) -> Float[Array, "3 1"]:
    del t
    return jnp.stack([x[1], -x[0], -jnp.ones_like(x[0])])[:, None]


def _separation(x: Point) -> Scalar:
    return jnp.sqrt(x[0] ** 2 + x[1] ** 2) - _COLLISION_RADIUS
