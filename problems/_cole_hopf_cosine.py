"""A periodic viscous solution: one decaying cosine behind the Hopf-Cole transform."""

from typing import final

import equinox as eqx
import jax.numpy as jnp

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_scalar
from hjpde.hamiltonians import Quadratic

from ._abstract import AbstractExactProblem


@final
class ColeHopfCosine(AbstractExactProblem):
    r"""$u = -\varepsilon \log(1 + a\,e^{-\varepsilon t} \cos x)$ in one dimension, with $H = p^2$, $N = \varepsilon$.

    Smooth and $2\pi$-periodic at all times; for `a` near 1 the datum has steep, narrow peaks.

    ??? cite "References"

        J. D. Cole, *On a quasi-linear parabolic equation occurring in aerodynamics*, Quart. Appl. Math. 9, 1951.
    """

    viscosity: Scalar
    amplitude: Scalar

    def __init__(self, viscosity: ScalarLike = 0.1, amplitude: ScalarLike = 0.5):
        r"""**Arguments:**

        - `viscosity`: $\varepsilon > 0$.
        - `amplitude`: $a$ in $(0, 1)$.

        **Raises:** `ValueError` if one is outside of its range.
        """
        dtype = jnp.result_type(float)
        self.viscosity = positive_scalar(viscosity, "viscosity", dtype)
        self.amplitude = positive_scalar(amplitude, "amplitude", dtype)
        if not float(self.amplitude) < 1:
            raise ValueError(f"`amplitude` must lie in (0, 1), got {float(self.amplitude):g}.")

    @property
    def problem(self) -> InitialValueProblem:
        domain = Domain([0.0], [2 * jnp.pi], periodic=True)
        return InitialValueProblem(eqx.Partial(self, 0.0), Quadratic(), self.viscosity, domain=domain)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        epsilon = self.viscosity.astype(x.dtype)
        decayed = self.amplitude.astype(x.dtype) * jnp.exp(-epsilon * jnp.asarray(t, x.dtype))
        return -epsilon * jnp.log1p(decayed * jnp.cos(x[0]))
