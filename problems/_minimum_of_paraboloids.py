"""A non-convex datum in many dimensions: the minimum of paraboloids under a quadratic Hamiltonian."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import GaussianMixture

from ._abstract import AbstractExactProblem


@final
class MinimumOfParaboloids(AbstractExactProblem):
    r"""$H = p^\top A p$ with a dense `A` and $g = \min_k b_k + \tfrac12 (x - c_k)^\top P_k (x - c_k)$.

    Hopf and Lax's formula commutes with minima. A paraboloid's infimal convolution with
    $(x - y)^\top A^{-1} (x - y)/4t$ is another one, whose inverse matrices add up, so

    $$u(t, x) = \min_k\; b_k + \tfrac12 (x - c_k)^\top (P_k^{-1} + 2tA)^{-1} (x - c_k).$$

    With $A = RR^\top$ and $R^\top P_k R = Q_k \Lambda_k Q_k^\top$ each is diagonal in $z = Q_k^\top R^{-1}(x - c_k)$ at
    all times, $b_k + \tfrac12 \sum_i \lambda_i z_i^2/(1 + 2t\lambda_i)$. Where two meet there are concave kinks, and
    Hopf's formula, which needs a convex datum, does not hold.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 3.3.2, Theorem 4.

        W. M. McEneaney, *A curse-of-dimensionality-free numerical method for solution of certain HJB PDEs*, SIAM J.
        Control Optim. 46, 2007.
    """

    A: Float[Array, "d d"]
    centres: Float[Array, "K d"]
    offsets: Float[Array, " K"]
    precisions: Float[Array, "K d d"]
    modes: Float[Array, "K d d"]
    curvatures: Float[Array, "K d"]
    structured: bool = eqx.field(static=True)

    def __init__(self, dim: int = 10, paraboloids: int = 5, structured: bool = True):
        """**Arguments:**

        - `dim`: $d \\ge 1$.
        - `paraboloids`: their number, at least 1; centres in $[-1, 1]^d$, offsets in [0, 0.5], curvatures in [0.5, 4].
        - `structured`: whether the datum says what it is, a `hjpde.GaussianMixture` at temperature 0, or is a plain
          function of which a solver knows nothing.

        **Raises:** `ValueError` if a count is too small.
        """
        if dim < 1 or paraboloids < 1:
            raise ValueError(f"`dim` and `paraboloids` must be at least 1, got {dim} and {paraboloids}.")
        dtype, random = jnp.result_type(float), np.random.default_rng(7)
        A = _random_matrix(random, dim, 0.3, 1.5)
        centres, offsets = random.uniform(-1, 1, (paraboloids, dim)), random.uniform(0, 0.5, paraboloids)
        precisions = np.stack([_random_matrix(random, dim, 0.5, 4.0) for _ in range(paraboloids)])
        root = np.linalg.cholesky(A)
        curvatures, axes = np.linalg.eigh(root.T @ precisions @ root)
        modes = np.swapaxes(axes, 1, 2) @ np.linalg.inv(root)
        self.A, self.centres, self.offsets = (jnp.asarray(array, dtype) for array in (A, centres, offsets))
        self.precisions, self.modes, self.curvatures = (
            jnp.asarray(array, dtype) for array in (precisions, modes, curvatures)
        )
        self.structured = structured

    @property
    def problem(self) -> InitialValueProblem:
        return InitialValueProblem(self.datum, Quadratic(self.A))

    @property
    def datum(self) -> Callable:
        """`g`, as `structured` asks."""
        if self.structured:
            return GaussianMixture(self.centres, self.offsets, self.precisions, viscosity=0.0)
        return eqx.Partial(self, 0.0)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t, curvatures = jnp.asarray(t, x.dtype), self.curvatures.astype(x.dtype)
        z = jnp.einsum("kij,kj->ki", self.modes.astype(x.dtype), x[None, :] - self.centres.astype(x.dtype))
        bends = jnp.sum(curvatures * z**2 / (1 + 2 * t * curvatures), axis=1)
        return jnp.min(self.offsets.astype(x.dtype) + bends / 2)


def _random_matrix(random: np.random.Generator, dim: int, least: float, largest: float) -> np.ndarray:
    """Symmetric, with random axes and eigenvalues between the two."""
    axes, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    matrix = (axes * random.uniform(least, largest, dim)) @ axes.T
    return (matrix + matrix.T) / 2
