"""A viscosity that depends on the place."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_viscosity
from hjpde.hamiltonians import Transport

from ._abstract import AbstractExactProblem


@final
class VariableDiffusion(AbstractExactProblem):
    r"""$u_t + v(x)\,u_x = N(x)\,u_{xx}$ on $[0, 2\pi)$, periodic, by a change of coordinate from the heat equation.

    With $\psi(x) = x + \beta\sin x$, $\beta = \tfrac12$, the function $u = e^{-\varepsilon t}\cos\psi(x)$ solves it for
    $N = \varepsilon/\psi'^2$ and $v = \varepsilon\psi''/\psi'^3$: the viscosity varies by a factor of nine.
    """

    viscosity: Scalar

    def __init__(self, viscosity: ScalarLike = 0.5):
        r"""**Arguments:**

        - `viscosity`: $\varepsilon > 0$.

        **Raises:** `ValueError` if it is not positive and finite.
        """
        self.viscosity = positive_viscosity(viscosity, jnp.result_type(float))

    @property
    def problem(self) -> InitialValueProblem:
        domain = Domain([0.0], [2 * jnp.pi], periodic=True)
        return InitialValueProblem(_datum, Transport(self.velocity), self.diffusion, domain=domain)

    def velocity(self, t: ScalarLike, x: Point) -> Float[Array, "1"]:
        """$v$ at one point."""
        del t
        return -self.viscosity.astype(x.dtype) * jnp.sin(x) / 2 / (1 + jnp.cos(x) / 2) ** 3

    def diffusion(self, t: ScalarLike, x: Point) -> Float[Array, "1 1"]:
        """$N$ at one point."""
        del t
        return (self.viscosity.astype(x.dtype) / (1 + jnp.cos(x) / 2) ** 2)[:, None]

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        return jnp.exp(-self.viscosity.astype(x.dtype) * jnp.asarray(t, x.dtype)) * _datum(x)


def _datum(x: Point) -> Scalar:
    return jnp.cos(x[0] + jnp.sin(x[0]) / 2)
