"""A quadratic function as initial datum."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    require_finite,
    require_symmetric,
)

from ._abstract import AbstractInitialDatum
from ._gaussian_mixture import GaussianMixture


@final
class QuadraticForm(AbstractInitialDatum):
    r"""$g(x) = \tfrac12 x^\top P x + s \cdot x + c$: one Gaussian, at every temperature."""

    matrix: Float[Array, "d d"]
    slope: Float[Array, " d"]
    constant: Scalar

    def __init__(
        self,
        matrix: ArrayInput,
        slope: ArrayInput | None = None,
        constant: ScalarLike = 0.0,
    ):
        r"""**Arguments:**

        - `matrix`: the second derivative $P$, shape `(d, d)`, symmetric, in units of `u` per squared unit of `x`.
        - `slope`: the gradient $s$ at the origin, shape `(d,)`; by default 0.
        - `constant`: the value $c$ at the origin.

        **Raises:**

        `ValueError` if the shapes disagree, `matrix` is not symmetric, or a number is not finite.
        """
        matrix = as_float_array(matrix, "matrix", 2)
        d = matrix.shape[0]
        slope = jnp.zeros(d, matrix.dtype) if slope is None else as_float_array(slope, "slope", 1).astype(matrix.dtype)
        if matrix.shape != (d, d) or d < 1 or slope.shape != (d,):
            raise ValueError(f"`matrix` must have shape (d, d) and `slope` (d,), got {matrix.shape} and {slope.shape}.")
        require_finite(matrix, "matrix")
        require_finite(slope, "slope")
        require_symmetric(matrix, "matrix")
        self.matrix, self.slope, self.constant = matrix, slope, jnp.asarray(constant, matrix.dtype)
        require_finite(self.constant, "constant")

    @property
    def dim(self) -> int:
        return self.matrix.shape[0]

    def __call__(self, x: Point) -> Scalar:
        return x @ self.matrix @ x / 2 + self.slope @ x + self.constant

    def mixture(self, viscosity: ScalarLike | None = None) -> GaussianMixture:
        """The same function as a mixture of one component."""
        origin = jnp.zeros_like(self.slope)[None]
        return GaussianMixture(origin, self.constant[None], self.matrix[None], self.slope[None], viscosity)
