"""Recurrent networks on top of each other, and in both directions."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._as_hamiltonian import as_hamiltonian
from ._depth_flow import DepthFlow
from ._gru import GRU
from ._lstm import LSTM
from ._rnn import RNN


@final
class RecurrentStack(eqx.Module):
    """Recurrent networks in layers, each of which reads the hidden states of the layer below.

    With two directions a layer has a second network, which reads the sequence from its end; the hidden states of both
    at the same element lie side by side. Each part is a discretised flow. Together they are not one flow: what a layer
    reads depends on the layer below, and composition is not the semigroup of one equation. So
    `hjpde.as_hamiltonian` takes a part, with what it reads from `inputs`.

    `parts` holds the networks, layer after layer, and in a layer the forward one before the backward one.
    """

    parts: tuple[RNN | GRU | LSTM, ...]
    layers: int = eqx.field(static=True)
    directions: int = eqx.field(static=True)

    def __init__(self, parts: tuple[RNN | GRU | LSTM, ...], directions: int = 1):
        """**Arguments:**

        - `parts`: the networks, without readouts.
        - `directions`: 1, or 2 if each layer has a backward network too.

        **Raises:** `ValueError` if the parts do not fill the directions of each layer, or have readouts.
        """
        if directions not in (1, 2):
            raise ValueError(f"`directions` must be 1 or 2, got {directions!r}.")
        if not parts or len(parts) % directions:
            raise ValueError(f"`parts` must be a positive multiple of `directions` = {directions}, got {len(parts)}.")
        if any(part.readout is not None for part in parts):
            raise ValueError("`parts` must have no readout: a layer reads the hidden states of the layer below.")
        self.parts, self.layers, self.directions = tuple(parts), len(parts) // directions, directions

    def __call__(self, x: Float[Array, "n in_size"]) -> Float[Array, "n out"]:
        """The hidden states of the last layer, at all elements of one sequence."""
        return self._through(x)[1]

    def inputs(self, x: Float[Array, "n in_size"]) -> tuple[Float[Array, "n _"], ...]:
        """The sequence that each part reads, in the order in which it reads it."""
        return self._through(x)[0]

    def _through(self, x: Float[Array, "n in_size"]) -> tuple[tuple[Array, ...], Array]:
        """What each part reads, and the output."""
        read = []
        for k in range(self.layers):
            hidden = []
            for part, backward in zip(self.parts[k * self.directions :], range(self.directions), strict=False):
                read.append(x[::-1] if backward else x)
                states = part.states(read[-1])
                hidden.append(states[::-1] if backward else states)
            x = jnp.concatenate(hidden, axis=-1)
        return tuple(read), x


@as_hamiltonian.register
def _(architecture: RecurrentStack, readout: Callable | None = None) -> DepthFlow:
    if len(architecture.parts) != 1:
        raise ValueError(
            f"`architecture` is a stack of {len(architecture.parts)} networks, whose composition is not one flow: "
            "take each part with the sequence that it reads, `stack.parts[k]` and `stack.inputs(x)[k]`."
        )
    (only,) = architecture.parts
    return DepthFlow(only, readout)
