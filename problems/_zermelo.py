"""Zermelo's navigation problem: a boat in a current."""

from collections.abc import Sequence
from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._sets import Ball
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import ControlAffine

from ._abstract import AbstractExactProblem
from ._convex_distance import distance_to_convex


@final
class Zermelo(AbstractExactProblem):
    r"""A boat of speed 1 in the current $c(x) = (c_1 + \gamma x_2,\ c_2)$: $H = -c(x) \cdot p + |p|$, $g = |x| - r$.

    $u(t, x) \le 0$ where the boat can be in the harbour, the disk of radius $r$, at time $t$. By Hopf's formula
    $u + r$ is the distance from where the boat would drift to the convex set with the support function
    $h(q) = \int_0^t |(q_1,\ q_2 + \gamma s q_1)|\,ds$, computed by Gauss-Legendre quadrature and a maximum over one
    angle, to rounding for $|\gamma| t \le 1$. Without shear $u = \max(|x + ct| - t, 0) - r$.

    ??? cite "References"

        E. Zermelo, *Über das Navigationsproblem bei ruhender oder veränderlicher Windverteilung*, Z. Angew. Math.
        Mech. 11, 1931.
        A. E. Bryson and Y.-C. Ho, *Applied Optimal Control*, 1975, Section 2.7, for the linear current.
    """

    current: Float[Array, "2"]
    shear: Scalar
    radius: Scalar

    def __init__(self, current: Sequence[float] = (0.3, 0.2), shear: float = 1.0, radius: float = 0.25):
        r"""**Arguments:**

        - `current`: $(c_1, c_2)$ at the origin, in units of the boat's speed.
        - `shear`: $\gamma$, per unit of time.
        - `radius`: $r \ge 0$.

        **Raises:** `ValueError` if the current has no two components or the radius is negative.
        """
        if len(current) != 2 or radius < 0:
            raise ValueError(
                f"`current` must have two components and `radius` be at least 0, got {current} and {radius}."
            )
        dtype = jnp.result_type(float)
        self.current = jnp.asarray(current, dtype)
        self.shear, self.radius = jnp.asarray(shear, dtype), jnp.asarray(radius, dtype)

    @property
    def problem(self) -> InitialValueProblem:
        H = ControlAffine(self.drift, np.eye(2), controls=Ball(1.0, 2))
        return InitialValueProblem(self.datum, H, domain=Domain([-4.0, -4.0], [4.0, 4.0]))

    def drift(self, t: ScalarLike, x: Point) -> Float[Array, "2"]:
        """The current at one point `x`."""
        del t
        current = self.current.astype(x.dtype)
        return jnp.stack([current[0] + self.shear.astype(x.dtype) * x[1], current[1]])

    def datum(self, x: Point) -> Scalar:
        """The signed distance to the harbour."""
        return self(0.0, x)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t = jnp.asarray(t, x.dtype)
        c, shear = self.current.astype(x.dtype), self.shear.astype(x.dtype)
        drifted = x + t * self.drift(t, x) + jnp.stack([shear * t**2 / 2 * c[1], jnp.zeros_like(t)])
        nodes, weights = (jnp.asarray(values, x.dtype) for values in np.polynomial.legendre.leggauss(12))
        times = t * (1 + nodes) / 2

        def support(q: Float[Array, "2"]) -> Scalar:
            return t / 2 * jnp.sum(weights * jnp.sqrt(q[0] ** 2 + (q[1] + shear * times * q[0]) ** 2))

        return distance_to_convex(drifted, support) - self.radius.astype(x.dtype)
