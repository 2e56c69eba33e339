"""Burgers' equation through its potential."""

from typing import final

import jax
import jax.numpy as jnp

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_viscosity
from hjpde.hamiltonians import Quadratic

from ._abstract import AbstractExactProblem
from ._cosine_wave import cosine_wave

_NODES = 512


@final
class BurgersPotential(AbstractExactProblem):
    r"""$u_t + \tfrac12 u_x^2 = \nu u_{xx}$ on $[0, 2\pi)$, periodic, with $g = \cos x$; $v = u_x$ solves Burgers'
    $v_t + v v_x = \nu v_{xx}$ from $v = -\sin x$, whose shock stands at $x = 0$ from $t = 1$.

    Without viscosity the solution is found to rounding from Kepler's equation. With it, $H = p^\top A p$ has
    $A = \tfrac12$ and $N = \nu = 2\nu A$: the Hopf-Cole transform at the temperature $2\nu$ gives

    $$u = -2\nu \log \frac{1}{\sqrt\pi} \int e^{-\xi^2 - \cos(x + 2\sqrt{\nu t}\,\xi)/2\nu}\,d\xi,$$

    summed by the trapezoidal rule, which converges exponentially here; all terms are positive, so no viscosity is
    too small for the logarithm. It is accurate to rounding for $t \le 4$ and $\nu \ge 10^{-3}$.

    ??? cite "References"

        E. Hopf, *The partial differential equation $u_t + u u_x = \mu u_{xx}$*, Comm. Pure Appl. Math. 3, 1950.
    """

    viscosity: Scalar | None

    def __init__(self, viscosity: ScalarLike | None = None):
        r"""**Arguments:**

        - `viscosity`: $\nu > 0$, or `None` for none.

        **Raises:** `ValueError` if it is not positive and finite.
        """
        self.viscosity = None if viscosity is None else positive_viscosity(viscosity, jnp.result_type(float))

    @property
    def problem(self) -> InitialValueProblem:
        viscosity = 0.0 if self.viscosity is None else self.viscosity
        domain = Domain([0.0], [2 * jnp.pi], periodic=True)
        return InitialValueProblem(_cosine, Quadratic([[0.5]]), viscosity, domain=domain)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t = jnp.asarray(t, x.dtype)
        if self.viscosity is None:
            return cosine_wave(t, x[0], jnp.ones((), x.dtype), jnp.full((), 0.5, x.dtype))
        nu = self.viscosity.astype(x.dtype)
        root = jnp.sqrt(jnp.where(t > 0, nu * t, 1))
        # The minimiser of Lax's formula lies within t of x, and 7 is far in the tail of the Gaussian.
        reach = jax.lax.stop_gradient(t / (2 * root) + 7)
        xi = reach * jnp.linspace(-1, 1, _NODES, dtype=x.dtype)
        exponents = -(xi**2) - jnp.cos(x[0] + 2 * root * xi) / (2 * nu)
        weight = jnp.log(2 * reach / (_NODES - 1)) - jnp.log(jnp.pi) / 2
        u = -2 * nu * (jax.nn.logsumexp(exponents) + weight)
        return jnp.where(t > 0, u, jnp.cos(x[0]))


def _cosine(x: Point) -> Scalar:
    return jnp.cos(x[0])
