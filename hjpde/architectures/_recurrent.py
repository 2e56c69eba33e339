"""What the recurrent networks share."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ._abstract import affine, along_last
from ._architecture import State


def driven(
    x: Float[Array, "..."] | None, weight: Float[Array, "gates in_size"], bias: Float[Array, " gates"] | None
) -> Float[Array, "L gates"]:
    """The input's share of all gates: one product for the whole sequence.

    **Raises:** `ValueError` if there is no sequence, or its rows have another length.
    """
    x = sequence(x, weight.shape[1])
    rows = x @ weight.T
    return rows if bias is None else rows + along_last(bias, rows)


def sequence(x: Float[Array, "..."] | None, in_size: int) -> Float[Array, "L in_size"]:
    """`x` itself.

    **Raises:** `ValueError` if it is missing, or not a sequence of rows of that length.
    """
    if x is None:
        raise ValueError("`x` must be given: the layers read the elements of the input sequence.")
    if x.ndim != 2 or x.shape[1] != in_size:
        raise ValueError(f"`x` must have shape (n, {in_size}), got {x.shape}; batch with `jax.vmap`.")
    return x


def last_state(cell: Callable[[State, Array], State], state: State, rows: Float[Array, "L gates"]) -> State:
    """The state after all rows."""
    return jax.lax.scan(lambda state, row: (cell(state, row), None), state, rows)[0]


def all_states(cell: Callable[[State, Array], State], state: State, rows: Float[Array, "L gates"]) -> State:
    """The states after each row, along a leading axis."""

    def step(state, row):
        state = cell(state, row)
        return state, state

    return jax.lax.scan(step, state, rows)[1]


def read_out(readout: eqx.nn.Linear | None, state: Float[Array, " hidden"]) -> Float[Array, " out"]:
    """The affine readout, or the state itself where there is none."""
    return state if readout is None else affine(readout, state)
