"""Minima of cones as initial data."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, as_float_array, require_finite

from ._abstract import AbstractInitialDatum
from ._norm import safe_length


@final
class Cones(AbstractInitialDatum):
    r"""$g(x) = \min_j\, g_j + c_j\,|x - y_j|$: concave kinks between the cones, a convex one at each tip."""

    positions: Float[Array, "N d"]
    heights: Float[Array, " N"]
    slopes: Float[Array, " N"]

    def __init__(
        self,
        positions: ArrayInput,
        heights: ArrayInput,
        slopes: ArrayInput = 1.0,
    ):
        r"""**Arguments:**

        - `positions`: the tips $y_j$, shape `(N, d)`.
        - `heights`: the values $g_j$ at the tips, shape `(N,)`.
        - `slopes`: $c_j$, shape `(N,)` or `()`, in units of `u` per unit of `x`; a negative one points upwards.

        **Raises:** `ValueError` if the shapes disagree, there is no cone, or a number is not finite.
        """
        positions = as_float_array(positions, "positions", 2)
        heights = as_float_array(heights, "heights", 1).astype(positions.dtype)
        slopes = as_float_array(slopes, "slopes").astype(positions.dtype)
        n = positions.shape[0]
        if n < 1 or positions.shape[1] < 1 or heights.shape != (n,) or slopes.shape not in ((), (n,)):
            raise ValueError(
                "`positions` must have shape (N, d), `heights` (N,) and `slopes` (N,) or () with N, d >= 1, got "
                f"{positions.shape}, {heights.shape} and {slopes.shape}."
            )
        for array, name in ((positions, "positions"), (heights, "heights"), (slopes, "slopes")):
            require_finite(array, name)
        self.positions, self.heights, self.slopes = positions, heights, jnp.broadcast_to(slopes, (n,))

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    def __call__(self, x: Point) -> Scalar:
        return jnp.min(self.heights + self.slopes * safe_length(x[None] - self.positions))
