"""The quadratic Hamiltonian."""

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
    require_positive_definite,
)

from ._abstract import AbstractConvexHamiltonian, Curvature


@final
class Quadratic(AbstractConvexHamiltonian):
    r"""The quadratic Hamiltonian $H(p) = p^\top A p$, without 1/2; $A$ symmetric positive definite.

    Its Lagrangian is $L(v) = v^\top A^{-1} v / 4$. With viscosity $N = \varepsilon A$ the Hopf-Cole transform
    $\varphi = e^{-u/\varepsilon}$ makes the equation linear: $\varphi_t = \varepsilon\,\mathrm{tr}(A D^2\varphi)$.
    """

    A: Float[Array, "d d"] | None

    def __init__(self, A: ArrayInput | None = None):
        r"""**Arguments:**

        - `A`: shape `(d, d)`, symmetric positive definite, in units of squared `x` per unit of `u` and of time;
          `None` is the identity in any dimension, $H = |p|^2$.

        **Raises:** `ValueError` if `A` is not a square matrix, or is known now and not symmetric positive definite.
        """
        if A is None:
            self.A = None
            return
        matrix = as_float_array(A, "A", 2)
        if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 1:
            raise ValueError(f"`A` must be a square matrix, got shape {matrix.shape}.")
        require_finite(matrix, "A")
        require_positive_definite(matrix, "A")
        self.A = matrix

    @property
    def dim(self) -> int | None:
        return None if self.A is None else self.A.shape[0]

    @property
    def curvature(self) -> Curvature:
        return "convex"

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        del t, x
        return p @ p if self.A is None else p @ self.A @ p

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return v @ v / 4 if self.A is None else v @ jnp.linalg.solve(self.A, v) / 4
