"""The minimum of paraboloids and cones under a quadratic Hamiltonian."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data._norm import safe_length

from ._abstract import AbstractExactProblem
from ._periodic import nearest_image

_HALF_WIDTH = 2.0


@final
class QuadraticMinima(AbstractExactProblem):
    r"""$H = |p|^2$ and $g = \min\{b_k + \tfrac12 a_k r_k^2,\ \beta_j + m\rho_j\}$, with $r_k$ and $\rho_j$ the
    distances to random centres in $[-2, 2)^d$, through the box's sides where it is periodic.

    The Hopf-Lax formula commutes with minima, so

    $$u = \min\Bigl\{b_k + \frac{a_k r_k^2}{2(1 + 2 a_k t)},\ \beta_j + h_t(\rho_j)\Bigr\},\qquad
    h_t(\rho) = \begin{cases} \rho^2/4t & \rho \le 2mt, \\ m\rho - m^2 t & \text{beyond.}\end{cases}$$

    Where paraboloids meet there are concave kinks, which stay; a cone's tip is a convex kink, which opens at once
    into a rarefaction.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 3.3.2, Theorem 4.
    """

    centres: Float[Array, "K d"]
    curvatures: Float[Array, " K"]
    offsets: Float[Array, " K"]
    tips: Float[Array, "J d"]
    tip_offsets: Float[Array, " J"]
    slope: Scalar
    periodic: bool = eqx.field(static=True)

    def __init__(self, dim: int = 2, paraboloids: int = 6, cones: int = 0, periodic: bool = True):
        """**Arguments:**

        - `dim`: $d \\ge 1$.
        - `paraboloids`: their number, at least 1; curvatures in [2, 5], offsets in [0, 0.6].
        - `cones`: their number; slopes 1.5, offsets in [0, 0.6].
        - `periodic`: whether the box is a torus, or a window on the whole space.

        **Raises:** `ValueError` if a count is too small.
        """
        if dim < 1 or paraboloids < 1 or cones < 0:
            raise ValueError(
                f"`dim` and `paraboloids` must be at least 1 and `cones` at least 0, got {dim}, {paraboloids}, {cones}."
            )
        dtype = jnp.result_type(float)
        self.centres, self.curvatures, self.offsets = _draw(3, paraboloids, dim, dtype)
        self.tips, _, self.tip_offsets = _draw(11, cones, dim, dtype)
        self.slope = jnp.asarray(1.5, dtype)
        self.periodic = periodic

    @property
    def problem(self) -> InitialValueProblem:
        ends = np.full(self.centres.shape[1], _HALF_WIDTH)
        return InitialValueProblem(
            eqx.Partial(self, 0.0), Quadratic(), domain=Domain(-ends, ends, periodic=self.periodic)
        )

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t = jnp.asarray(t, x.dtype)
        a, b = self.curvatures.astype(x.dtype), self.offsets.astype(x.dtype)
        u = jnp.min(b + a * self._distances(self.centres, x) ** 2 / (2 + 4 * a * t))
        if self.tips.shape[0] == 0:
            return u
        rho, m = self._distances(self.tips, x), self.slope.astype(x.dtype)
        inside = rho < 2 * m * t
        h = jnp.where(inside, rho**2 / (4 * jnp.where(t > 0, t, 1)), m * rho - m**2 * t)
        return jnp.minimum(u, jnp.min(self.tip_offsets.astype(x.dtype) + h))

    def _distances(self, centres: Float[Array, "K d"], x: Point) -> Float[Array, " K"]:
        offset = x[None, :] - centres.astype(x.dtype)
        return safe_length(nearest_image(offset, 2 * _HALF_WIDTH) if self.periodic else offset)


def _draw(seed: int, count: int, dim: int, dtype) -> tuple[Array, Array, Array]:
    """Centres, curvatures and offsets: the same at any precision."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-_HALF_WIDTH, _HALF_WIDTH, (count, dim))
    curvatures, offsets = random.uniform(2.0, 5.0, count), random.uniform(0.0, 0.6, count)
    return jnp.asarray(centres, dtype), jnp.asarray(curvatures, dtype), jnp.asarray(offsets, dtype)
