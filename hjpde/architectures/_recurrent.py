"""What the recurrent networks share."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ._abstract import affine, along_last
from ._architecture import State

Network = TypeVar("Network")


def driven(
    x: Float[Array, "*L in_size"], weight: Float[Array, "gates in_size"], bias: Float[Array, " gates"] | None
) -> Float[Array, "*L gates"]:
    """The input's share of all gates, of one element or of all of a sequence."""
    rows = x @ weight.T
    return rows if bias is None else rows + along_last(bias, rows)


def with_cell(draw: Callable[[PRNGKeyArray], Network], cell: eqx.Module, readout: eqx.nn.Linear | None) -> Network:
    """The network that `draw` makes of a key, with this `cell` and `readout` in place of its own; none are drawn."""
    empty = eqx.filter_eval_shape(lambda: draw(jax.random.key(0)))
    return eqx.tree_at(lambda m: (m.cell, m.readout), empty, (cell, readout), is_leaf=lambda leaf: leaf is None)


def sequence(x: Float[Array, "..."] | None, in_size: int) -> Float[Array, "L in_size"]:
    """`x` itself.

    **Raises:** `ValueError` if it is missing, or not a sequence of rows of that length.
    """
    if x is None:
        raise ValueError("`x` must be given: the layers read the elements of the input sequence.")
    if x.ndim != 2 or x.shape[1] != in_size:
        raise ValueError(f"`x` must have shape (n, {in_size}), got {x.shape}; batch with `jax.vmap`.")
    return x


# One product for a whole sequence would be written out and transposed under `jax.vmap`, which on a CPU takes longer
# than all the rest: the network multiplies element by element. Recurrent weights stand on the left of the state, so
# that the products in the gradient of one sequence are not transposed, which would take several times as long.


def last_state(cell: Callable[[State, Array], State], state: State, x: Float[Array, "L in_size"]) -> State:
    """The state after all elements."""
    return jax.lax.scan(lambda state, element: (cell(state, element), None), state, x)[0]


def all_states(cell: Callable[[State, Array], State], state: State, x: Float[Array, "L in_size"]) -> State:
    """The states after each element, along a leading axis."""

    def step(state, element):
        state = cell(state, element)
        return state, state

    return jax.lax.scan(step, state, x)[1]


def read_out(readout: eqx.nn.Linear | None, state: Float[Array, " hidden"]) -> Float[Array, " out"]:
    """The affine readout, or the state itself where there is none."""
    return state if readout is None else affine(readout, state)
