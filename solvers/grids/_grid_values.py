"""Values at the nodes of a grid as an initial datum."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, as_float_array, require_finite
from hjpde.initial_data import AbstractInitialDatum

from ._grid import Grid
from ._interpolation import Order


@final
class GridValues(AbstractInitialDatum):
    """An initial datum known at the nodes of a grid, and interpolated between them.

    At the nodes it is what was given; outside the box, along an axis that is not periodic, it is NaN. It is the datum
    to fit where nothing is known of its form.
    """

    grid: Grid
    values: Float[Array, "*n"]
    order: Order = eqx.field(static=True)

    def __init__(self, grid: Any, values: ArrayInput = 0.0, order: str = "cubic"):
        """**Arguments:**

        - `grid`: the `solvers.Grid`, of shape `(n1, ..., nd)`.
        - `values`: at the nodes, of the grid's shape, in units of `u`; one number for a constant.
        - `order`: `"cubic"` or `"linear"` interpolation, as in `Grid.interpolate`.

        **Raises:** `ValueError` if an argument is of another kind or shape, or a value is NaN or infinite.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a `solvers.Grid`, got {type(grid).__name__}.")
        words: dict[str, Order] = {"cubic": "cubic", "linear": "linear"}
        if order not in words:
            raise ValueError(f"`order` must be 'cubic' or 'linear', got {order!r}.")
        values = as_float_array(values, "values")
        if values.shape not in ((), grid.shape):
            raise ValueError(f"`values` must have the grid's shape {grid.shape}, got {values.shape}.")
        require_finite(values, "values")
        self.grid, self.order = grid, words[order]
        self.values = jnp.broadcast_to(values, grid.shape)

    @property
    def dim(self) -> int:
        return self.grid.dim

    def __call__(self, x: Point) -> Scalar:
        return self.grid.interpolate(self.values, x, self.order)


def datum_at_nodes(datum: Callable, grid: Grid) -> Float[Array, "..."]:
    """The values of an initial datum at the nodes, shape `(n1, ..., nd)`; those on this very grid are there already.

    **Raises:** `ValueError` if the datum is no scalar at one point.
    """
    values = datum.values if isinstance(datum, GridValues) and datum.grid is grid else grid.sample(datum)
    if values.shape != grid.shape:
        raise ValueError(f"`initial_data` must return a scalar at one point, got shape {values.shape[grid.dim :]}.")
    return values
