"""The quadratic Hamiltonian."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    components,
    dot,
    is_concrete,
    matvec,
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
        return dot(p, p) if self.A is None else dot(p, matvec(self.A.astype(p.dtype), p))

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return v @ v / 4 if self.A is None else v @ jnp.linalg.solve(self.A, v) / 4

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$\max_p |2(Ap)_i|$ over the box, attained: see `HasSpeedBound`."""
        del t, x
        return 2 * box.largest if self.A is None else linear_bound(2 * self.A, 0, box)

    def why_not_godunov(self) -> str | None:
        return why_not_diagonal(self.A)

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""$\sum_i A_{ii} \max(p_i^-, -p_i^+, 0)^2$ for a diagonal `A`: see `HasGodunov`."""
        del t, x
        # By components, which XLA fuses with the stencils that they come from; a vector it would write to memory.
        squares = [
            jnp.maximum(jnp.maximum(minus, -plus), 0) ** 2
            for minus, plus in zip(components(left), components(right), strict=True)
        ]
        if self.A is None:
            return sum(squares[1:], start=squares[0])
        return dot(jnp.diagonal(self.A).astype(left.dtype), jnp.stack(squares))

    def why_not_separable(self, dim: int) -> str | None:
        del dim
        return why_not_diagonal(self.A)

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$A_{ii}\,p^2$: see `HasSeparableLagrangian`."""
        return p**2 if self.A is None else self.A[axis, axis].astype(p.dtype) * p**2

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$v^2/(4A_{ii})$: see `HasSeparableLagrangian`."""
        return v**2 / 4 if self.A is None else v**2 / (4 * self.A[axis, axis].astype(v.dtype))

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        del axis
        return -jnp.inf, jnp.inf


def linear_bound(A: Float[Array, "d d"], b: Float[Array, " d"] | int, box: Box) -> Float[Array, " d"]:
    r"""$\max_p |(Ap + b)_i|$ over the co-states of a box, attained."""
    A = A.astype(box.lower.dtype)
    return jnp.abs(matvec(A, box.centre) + b) + matvec(jnp.abs(A), box.radii)


def why_not_diagonal(A: Float[Array, "d d"] | None) -> str | None:
    """Why a quadratic form is not known to be a sum over the axes, or `None`."""
    if A is None or A.shape[0] == 1:
        return None
    if not is_concrete(A):
        return "`A` is traced, so that it is not known to be diagonal."
    values = np.asarray(A)
    if np.any(values != np.diag(np.diag(values))):
        return "`A` is not diagonal, so that the Hamiltonian is no sum over the axes."
    return None
