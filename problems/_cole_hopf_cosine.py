"""A periodic viscous solution: one decaying cosine behind the Hopf-Cole transform."""

from typing import final

import jax.numpy as jnp

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
        return InitialValueProblem(lambda x: self(0.0, x), Quadratic(), self.viscosity)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        decayed = self.amplitude * jnp.exp(-self.viscosity * jnp.asarray(t))
        return -self.viscosity * jnp.log1p(decayed * jnp.cos(x[0]))
