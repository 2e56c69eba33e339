"""A function of one point, evaluated at all points of a grid."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Field = Float[Array, "..."]


def over_grid(function: Callable[..., Any], axes: Sequence[Float[Array, " _"]], *vectors: Sequence[Field]) -> Any:
    """`function(x, *vectors)` at every point, the grid's axes leading in what it returns.

    Vectors are given by their components, each a field of the grid's shape or a scalar that holds everywhere, and a
    coordinate is mapped along its own axis only: XLA then evaluates what depends on one coordinate once a row, and
    fuses the rest into the loop that reads the components. (A stacked array of points costs twice as much.)
    """

    def at_point(coordinates: tuple[Array, ...], components: tuple[tuple[Array, ...], ...]) -> Any:
        return function(jnp.stack(coordinates), *(jnp.stack(vector) for vector in components))

    components = tuple(tuple(vector) for vector in vectors)
    mapped = jax.tree.map(lambda field: None if jnp.ndim(field) == 0 else 0, components)
    call = at_point
    # The innermost map is the last axis.
    for axis in range(len(axes) - 1, -1, -1):
        own = tuple(0 if i == axis else None for i in range(len(axes)))
        call = jax.vmap(call, in_axes=(own, mapped))
    return call(tuple(axes), components)
