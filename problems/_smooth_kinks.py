"""Smooth periodic data whose kinks form later."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Quadratic

from ._abstract import AbstractExactProblem
from ._cosine_wave import cosine_wave


@final
class SmoothKinks(AbstractExactProblem):
    r"""$H = |p|^2$ and $g = \sum_j a_j \cos(k_j \cdot x - \varphi_j)$ on the torus $[-2, 2)^d$, with orthogonal $k_j$.

    Pairs of axes carry the oblique waves $k = \tfrac\pi2(1, \pm 1)$, a last single axis $k = \tfrac\pi2$. As they
    are orthogonal the solution is a sum, $u = \sum_j w_j(t, k_j \cdot x - \varphi_j)$ with
    $\partial_t w_j + |k_j|^2 (w_j')^2 = 0$, each found to rounding from Kepler's equation. The first kink forms at
    the least of $1/(2 a_j |k_j|^2)$, which `kink_time` holds; kinks run across the grid, not along it.

    ??? cite "References"

        S. Osher and C.-W. Shu, *High-order essentially nonoscillatory schemes for Hamilton-Jacobi equations*, SIAM
        J. Numer. Anal. 28(4), 1991, Section 4, for the type of test.
    """

    waves: Float[Array, "d d"]
    amplitudes: Float[Array, " d"]
    phases: Float[Array, " d"]

    def __init__(self, dim: int = 2):
        """**Arguments:**

        - `dim`: $d \\ge 1$.

        **Raises:** `ValueError` if it is smaller.
        """
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}.")
        waves = np.eye(dim)
        for axis in range(0, dim - 1, 2):
            waves[axis : axis + 2, axis : axis + 2] = [[1, 1], [1, -1]]
        dtype, j = jnp.result_type(float), np.arange(dim)
        self.waves = jnp.asarray(np.pi / 2 * waves, dtype)
        self.amplitudes = jnp.asarray(0.5 / (1 + 0.4 * j), dtype)
        self.phases = jnp.asarray(0.7 + 1.1 * j, dtype)

    @property
    def kink_time(self) -> Scalar:
        """When the first kink forms."""
        return jnp.min(1 / (2 * self.amplitudes * jnp.sum(self.waves**2, axis=1)))

    @property
    def problem(self) -> InitialValueProblem:
        ends = np.full(self.phases.shape[0], 2.0)
        return InitialValueProblem(eqx.Partial(self, 0.0), Quadratic(), domain=Domain(-ends, ends, periodic=True))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t, waves = jnp.asarray(t, x.dtype), self.waves.astype(x.dtype)
        s = jnp.sum(waves * x[None, :], axis=1) - self.phases.astype(x.dtype)
        return jnp.sum(cosine_wave(t, s, self.amplitudes.astype(x.dtype), jnp.sum(waves**2, axis=1)))
