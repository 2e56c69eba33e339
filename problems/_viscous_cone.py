"""The viscous solution of a cone in one dimension, with its kink."""

from typing import final

import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_scalar
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import Norm

from ._abstract import AbstractExactProblem


@final
class ViscousCone(AbstractExactProblem):
    r"""$g = |x|$ in one dimension under $H = p^2$ and $N = \varepsilon$: each half-line gives a Gaussian tail,

    $$e^{-u/\varepsilon} = \sum_\pm e^{(t \mp x)/\varepsilon}\,
    \Phi\Bigl(\frac{\pm x - 2t}{\sqrt{2\varepsilon t}}\Bigr).$$

    As $\varepsilon \to 0$ it tends to Huber's function, the Hopf-Lax solution; the datum's kink makes it the hard
    case for a quadrature.
    """

    viscosity: Scalar

    def __init__(self, viscosity: ScalarLike = 0.1):
        r"""**Arguments:**

        - `viscosity`: $\varepsilon > 0$.

        **Raises:** `ValueError` if it is not positive and finite.
        """
        self.viscosity = positive_scalar(viscosity, "viscosity", jnp.result_type(float))

    @property
    def problem(self) -> InitialValueProblem:
        return InitialValueProblem(Norm(2), Quadratic(), self.viscosity, domain=Domain([-4.0], [4.0]))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t, epsilon = jnp.asarray(t, x.dtype), self.viscosity.astype(x.dtype)
        started = t > 0
        t = jnp.where(started, t, 1)
        signs = jnp.asarray([1.0, -1.0], x.dtype)
        tails = log_ndtr((signs * x[0] - 2 * t) / jnp.sqrt(2 * epsilon * t))
        u = -epsilon * jnp.logaddexp(*((t - signs * x[0]) / epsilon + tails))
        return jnp.where(started, u, jnp.abs(x[0]))
