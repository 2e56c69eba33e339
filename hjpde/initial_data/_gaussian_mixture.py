"""Gaussian mixtures as initial data: soft minima of quadratic functions."""

from typing import final

import equinox as eqx
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

from ._abstract import AbstractSoftMinimum
from ._soft_minimum import as_temperature, require_temperature, soft_minimum


@final
class GaussianMixture(AbstractSoftMinimum):
    r"""A soft minimum of quadratic functions, $e^{-g/\varepsilon} = \sum_j e^{-q_j/\varepsilon}$,

    $$q_j(x) = g_j + s_j \cdot (x - y_j) + \tfrac12 (x - y_j)^\top P_j (x - y_j).$$

    $e^{-g/\varepsilon}$ is a mixture of Gaussians of mean $y_j - P_j^{-1}s_j$ and covariance
    $\varepsilon P_j^{-1}$. With $P_j = 0$ these are planes, as $P_j \to \infty$ point masses. The family is
    closed under every linear-quadratic Hamiltonian with matched viscosity, by a Riccati equation for each
    $P_j$. At $\varepsilon = 0$ it is a minimum of paraboloids.
    """

    positions: Float[Array, "N d"]
    heights: Float[Array, " N"]
    precisions: Float[Array, "N d d"]
    slopes: Float[Array, "N d"]
    viscosity: Scalar | None
    hard: bool = eqx.field(static=True)

    def __init__(
        self,
        positions: ArrayInput,
        heights: ArrayInput,
        precisions: ArrayInput,
        slopes: ArrayInput | None = None,
        viscosity: ScalarLike | None = None,
    ):
        r"""**Arguments:**

        - `positions`: the points $y_j$, shape `(N, d)`, in units of `x`.
        - `heights`: the values $g_j$, shape `(N,)`, in units of `u`; `+inf` drops a component.
        - `precisions`: the second derivatives $P_j$, in units of `u` per squared unit of `x`: symmetric
          matrices of shape `(N, d, d)`, or `(d, d)` for all, or numbers $c_j$ of shape `(N,)` or `()` for
          $P_j = c_j I$. An indefinite $P_j$ is allowed; its solution may end in a finite time.
        - `slopes`: the gradients $s_j$ at $y_j$, shape `(N, d)`; by default 0.
        - `viscosity`: the temperature $\varepsilon \ge 0$; `None` takes that of the problem.

        **Raises:**

        `ValueError` if the shapes disagree, there is no component, a precision is not symmetric, a number is
        not finite (heights may be $+\infty$), or `viscosity` is negative.
        """
        positions = as_float_array(positions, "positions", 2)
        dtype, (n, d) = positions.dtype, positions.shape
        heights = as_float_array(heights, "heights", 1).astype(dtype)
        slopes = jnp.zeros_like(positions) if slopes is None else as_float_array(slopes, "slopes", 2).astype(dtype)
        if n < 1 or d < 1 or heights.shape != (n,) or slopes.shape != (n, d):
            raise ValueError(
                "`positions` and `slopes` must have shape (N, d) and `heights` (N,) with N, d >= 1, got "
                f"{positions.shape}, {slopes.shape} and {heights.shape}."
            )
        require_finite(positions, "positions")
        require_finite(slopes, "slopes")
        require_finite(jnp.where(heights == jnp.inf, 0, heights), "heights")
        self.positions, self.heights, self.slopes = positions, heights, slopes
        self.precisions = _precision_matrices(precisions, n, d).astype(dtype)
        self.viscosity, self.hard = as_temperature(viscosity, "viscosity", dtype)

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    def __call__(self, x: Point) -> Scalar:
        viscosity = require_temperature(self.viscosity, "GaussianMixture")
        offsets = x[None] - self.positions
        bends = jnp.einsum("nd,nde,ne->n", offsets, self.precisions, offsets)
        return soft_minimum(self.heights + jnp.sum(self.slopes * offsets, axis=1) + bends / 2, viscosity)

    def at_viscosity(self, viscosity: ScalarLike) -> "GaussianMixture":
        return GaussianMixture(self.positions, self.heights, self.precisions, self.slopes, viscosity)


def _precision_matrices(precisions: ArrayInput, n: int, d: int) -> Float[Array, "N d d"]:
    matrices = as_float_array(precisions, "precisions")
    if matrices.shape in ((), (n,)):
        matrices = jnp.broadcast_to(matrices, (n,))[:, None, None] * jnp.eye(d, dtype=matrices.dtype)[None]
    elif matrices.shape == (d, d):
        matrices = jnp.broadcast_to(matrices, (n, d, d))
    elif matrices.shape != (n, d, d):
        raise ValueError(
            f"`precisions` must have shape ({n}, {d}, {d}), ({d}, {d}), ({n},) or (), got {matrices.shape}."
        )
    require_finite(matrices, "precisions")
    require_symmetric(matrices, "precisions")
    return matrices
