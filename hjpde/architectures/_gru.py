"""A gated recurrent unit on sequences."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._abstract import affine, along_last, require_positive


@final
class GRU(eqx.Module):
    r"""A gated recurrent unit, read out by an affine map after the last element of the sequence:

    $$h_{k+1} = (1 - z) \odot n + z \odot h_k, \qquad \text{logits} = R\,h_T + r,$$

    with the gates $z$, $r$ and the candidate $n$ of `equinox.nn.GRUCell`, and $h_0 = 0$.

    ??? cite "References"

        K. Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation*, EMNLP 2014.
    """

    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(self, in_size: int, hidden_size: int, out_size: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `in_size`: the features of one element of the sequence.
        - `hidden_size`: the length of the hidden state.
        - `out_size`: the number of logits.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive.
        """
        require_positive(in_size=in_size, hidden_size=hidden_size, out_size=out_size)
        cell_key, readout_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(in_size, hidden_size, key=cell_key)
        self.readout = eqx.nn.Linear(hidden_size, out_size, key=readout_key)

    def __call__(self, x: Float[Array, "rows in_size"]) -> Float[Array, " out_size"]:
        """The logits of one sequence."""
        cell = self.cell
        bias, candidate_bias = cell.bias, cell.bias_n
        assert bias is not None
        assert candidate_bias is not None
        # The input's share of the gates is one product for the whole sequence.
        driven = x @ cell.weight_ih.T
        driven = driven + along_last(bias, driven)

        def step(state, row):
            recurrent = state @ cell.weight_hh.T
            reset, update, candidate = jnp.split(row, 3)
            reset_state, update_state, candidate_state = jnp.split(recurrent, 3)
            reset = jax.nn.sigmoid(reset + reset_state)
            update = jax.nn.sigmoid(update + update_state)
            candidate = jnp.tanh(candidate + reset * (candidate_state + candidate_bias))
            return candidate + update * (state - candidate), None

        state, _ = jax.lax.scan(step, jnp.zeros(cell.hidden_size, driven.dtype), driven)
        return affine(self.readout, state)
