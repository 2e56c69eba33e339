"""Maxima of planes: convex, piecewise affine initial data."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, as_float_array, require_finite

from ._abstract import AbstractInitialDatum
from ._affine import as_affine_functions


@final
class MaxPlanes(AbstractInitialDatum):
    r"""$g(x) = \max_i\, p_i \cdot x - \gamma_i$, a log-sum-exp layer at $\varepsilon = 0$ read as a datum.

    ??? cite "References"

        J. Darbon, G. P. Langlois and T. Meng, *Overcoming the curse of dimensionality for some Hamilton-Jacobi
        partial differential equations via neural network architectures*, Res. Math. Sci. 7:20, 2020.
    """

    slopes: Float[Array, "N d"]
    offsets: Float[Array, " N"]

    def __init__(self, slopes: ArrayInput, offsets: ArrayInput):
        r"""**Arguments:**

        - `slopes`: $p_i$, shape `(N, d)`, in units of `u` per unit of `x`.
        - `offsets`: $\gamma_i$, shape `(N,)`, in units of `u`.

        **Raises:** `ValueError` if the shapes disagree, there is no plane, or a number is not finite.
        """
        offsets = as_float_array(offsets, "offsets")
        require_finite(offsets, "offsets")
        self.slopes, self.offsets = as_affine_functions(slopes, offsets, ("slopes", "offsets"))

    @property
    def dim(self) -> int:
        return self.slopes.shape[1]

    def __call__(self, x: Point) -> Scalar:
        return jnp.max(self.slopes @ x - self.offsets)
