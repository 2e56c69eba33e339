"""The double integrator: a car on a line, with bounded acceleration."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import ControlAffine

from ._abstract import AbstractExactProblem
from ._convex_distance import distance_to_convex


@final
class DoubleIntegrator(AbstractExactProblem):
    r"""$\dot x_1 = x_2$, $\dot x_2 = a$, $|a| \le 1$: $H = -p_1 x_2 + |p_2|$, from $g = |x|$.

    $u(t, x)$ is the least distance to the origin that can be reached at time $t$, and vanishes exactly where the
    minimum time to the origin is at most $t$. By Hopf's formula it is the distance from $e^{Ft} x = (x_1 + t x_2,
    x_2)$ to the convex set with the support function $h(q) = \int_0^t |q_1 s + q_2|\,ds$, computed by a maximum over
    one angle. With more than one axis there are as many independent cars, and `g` is the sum of their distances: near
    hovering, a planar quadrotor is two of them, in four dimensions.

    ??? cite "References"

        M. Athans and P. L. Falb, *Optimal Control*, McGraw-Hill, 1966, Section 7-2.
        J. Darbon and S. Osher, *Algorithms for overcoming the curse of dimensionality for certain Hamilton-Jacobi
        equations arising in control theory and elsewhere*, Res. Math. Sci. 3, 2016.
    """

    axes: int = eqx.field(static=True)

    def __init__(self, axes: int = 1):
        """**Arguments:**

        - `axes`: the number of cars, at least 1; $d$ is twice that, place and speed of each in turn.

        **Raises:** `ValueError` if it is smaller.
        """
        if axes < 1:
            raise ValueError(f"`axes` must be at least 1, got {axes}.")
        self.axes = axes

    @property
    def problem(self) -> InitialValueProblem:
        ends, ones = np.tile([4.0, 3.0], self.axes), np.ones(self.axes)
        thrust = np.kron(np.eye(self.axes), [[0.0], [1.0]])
        H = ControlAffine(_coasting, thrust, controls=Box(-ones, ones), dim=2 * self.axes)
        return InitialValueProblem(eqx.Partial(self, 0.0), H, domain=Domain(-ends, ends))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t = jnp.asarray(t, x.dtype)
        return jnp.sum(jax.vmap(lambda car: _miss(t, car))(x.reshape(self.axes, 2)))


def minimum_time(x: Float[Array, "2"]) -> Scalar:
    r"""The least time in which one car comes to rest at the origin.

    Full deceleration, then full acceleration, or the reverse; they change on the curve $x_1 = -x_2|x_2|/2$. To the
    right of it $T = x_2 + 2\sqrt{x_1 + x_2^2/2}$; to the left by symmetry.

    **Arguments:**

    - `x`: place and speed.
    """
    side = jnp.where(x[0] + x[1] * jnp.abs(x[1]) / 2 >= 0, 1.0, -1.0).astype(x.dtype)
    return side * x[1] + 2 * jnp.sqrt(jnp.maximum(side * x[0] + x[1] ** 2 / 2, 0))


def _coasting(t: ScalarLike, x: Point) -> Float[Array, " d"]:
    del t
    return jnp.stack([x[1::2], jnp.zeros_like(x[1::2])], axis=1).reshape(-1)


def _miss(t: Scalar, x: Float[Array, "2"]) -> Scalar:
    def support(q: Float[Array, "2"]) -> Scalar:
        # The integrand is the modulus of an affine function with these two end values. The second form has the
        # right derivative where one of them is 0, which the modulus's own, taken to be 0 there, has not.
        first, last = q[1], q[1] + q[0] * t
        same_sign, gap = first * last > 0, last - first
        twice_mean = jnp.where(
            same_sign,
            jnp.abs(first + last),
            (last * jnp.abs(last) - first * jnp.abs(first)) / jnp.where(same_sign | (gap == 0), 1, gap),
        )
        return t * twice_mean / 2

    return distance_to_convex(jnp.stack([x[0] + t * x[1], x[1]]), support)
