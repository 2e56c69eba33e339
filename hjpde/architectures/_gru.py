"""A gated recurrent unit on sequences."""

from collections.abc import Callable
from typing import Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import require_choice, require_positive
from ._architecture import AbstractArchitecture
from ._as_hamiltonian import as_hamiltonian
from ._depth_flow import DepthFlow
from ._recurrent import all_states, driven, last_state, read_out, sequence, with_cell

Reading = Literal["exponential", "euler"]


@final
class GRU(AbstractArchitecture):
    r"""A gated recurrent unit, read out by an affine map after the last element of the sequence:

    $$h_{k+1} = (1 - z) \odot n + z \odot h_k, \qquad \text{output} = R\,h_L + r,$$

    with the gates $z$, $r$ and the candidate $n$ of `equinox.nn.GRUCell`, and $h_0 = 0$.

    One element is a unit of time. The same network is one step of either of two equations, as `reading` says:

    - `"exponential"`: $\dot h = a \odot (n - h)$ with $a = -\log z$, by exponential Euler, which is exact while the
      gates are frozen at the start of the step;
    - `"euler"`: $\dot h = (1 - z) \odot (n - h)$, by explicit Euler.

    Their flows differ: no network determines its equation. The first lies nearer to the network.

    ??? cite "References"

        K. Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation*, EMNLP 2014. M. Hochbruck and A. Ostermann, *Exponential integrators*, Acta Numerica 19 (2010).
    """

    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear | None
    reading: Reading = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        out_size: int | None = None,
        *,
        reading: str = "exponential",
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_size`: the features of one element of the sequence.
        - `hidden_size`: the length of the hidden state.
        - `out_size`: the number of logits; `None` for the last hidden state itself.
        - `reading`: `"exponential"` or `"euler"`; the network itself is the same.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, or the name is not known.
        """
        require_positive(in_size=in_size, hidden_size=hidden_size, out_size=1 if out_size is None else out_size)
        require_choice("reading", reading, get_args(Reading))
        cell_key, readout_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(in_size, hidden_size, key=cell_key)
        self.readout = None if out_size is None else eqx.nn.Linear(hidden_size, out_size, key=readout_key)
        self.reading = reading  # pyright: ignore[reportAttributeAccessIssue]

    @classmethod
    def from_cell(
        cls, cell: eqx.nn.GRUCell, readout: eqx.nn.Linear | None = None, *, reading: str = "exponential"
    ) -> "GRU":
        """The network that applies `cell` in turn.

        **Arguments:**

        - `cell`: the cell, with or without biases.
        - `readout`: an affine map of the last hidden state, which by default is the output itself.
        - `reading`: `"exponential"` or `"euler"`.

        **Raises:** `ValueError` if the name is not known.
        """
        return with_cell(lambda key: cls(cell.input_size, cell.hidden_size, reading=reading, key=key), cell, readout)

    @property
    def layer_count(self) -> None:
        return None

    @property
    def layer_time(self) -> float:
        return 1.0

    @property
    def input_ndim(self) -> int:
        return 2

    @property
    def scheme(self) -> str:
        if self.reading == "exponential":
            return "exponential Euler with frozen gates"
        return "explicit Euler with the step 1"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, "rows in_size"]) -> Float[Array, " out"]:
        """The logits of one sequence."""
        return self.finish(last_state(self._applied, self.start(x), sequence(x, self.cell.input_size)))

    def states(self, x: Float[Array, "rows in_size"]) -> Float[Array, "rows hidden"]:
        """The hidden states after each element."""
        return all_states(self._applied, self.start(x), sequence(x, self.cell.input_size))

    def start(self, x: Float[Array, "rows in_size"]) -> Float[Array, " hidden"]:
        return jnp.zeros(self.cell.hidden_size, jnp.result_type(x, self.cell.weight_hh))

    def layers(self, x: Float[Array, "rows in_size"] | None) -> Float[Array, "rows gates"]:
        return driven(sequence(x, self.cell.input_size), self.cell.weight_ih, self.cell.bias)

    def velocity(self, s: ScalarLike, z: Float[Array, " hidden"], layer: Array) -> Float[Array, " hidden"]:
        del s
        update, candidate = self._gates(z, layer)
        rate = jax.nn.softplus(-update) if self.reading == "exponential" else jax.nn.sigmoid(-update)
        return rate * (candidate - z)

    def step(self, s: ScalarLike, z: Float[Array, " hidden"], h: ScalarLike, layer: Array) -> Float[Array, " hidden"]:
        del s
        h = jnp.asarray(h, z.dtype)
        update, candidate = self._gates(z, layer)
        if self.reading == "exponential":
            return candidate + jnp.exp(-h * jax.nn.softplus(-update)) * (z - candidate)
        return z + h * jax.nn.sigmoid(-update) * (candidate - z)

    def settle(self, z: Float[Array, " hidden"], layer: Array) -> Float[Array, " hidden"]:
        return z

    def finish(self, z: Float[Array, " hidden"]) -> Float[Array, " out"]:
        return read_out(self.readout, z)

    def _applied(self, z: Float[Array, " hidden"], x: Float[Array, " in_size"]) -> Float[Array, " hidden"]:
        """The cell itself."""
        update, candidate = self._gates(z, driven(x, self.cell.weight_ih, self.cell.bias))
        return candidate + jax.nn.sigmoid(update) * (z - candidate)

    def _gates(self, z: Float[Array, " hidden"], row: Float[Array, " gates"]) -> tuple[Array, Array]:
        """The logit of the update gate, and the candidate."""
        recurrent = self.cell.weight_hh @ z
        reset, update, candidate = jnp.split(row, 3)
        reset_state, update_state, candidate_state = jnp.split(recurrent, 3)
        if self.cell.bias_n is not None:
            candidate_state = candidate_state + self.cell.bias_n
        reset = jax.nn.sigmoid(reset + reset_state)
        return update + update_state, jnp.tanh(candidate + reset * candidate_state)


@as_hamiltonian.register
def _(architecture: eqx.nn.GRUCell, readout: Callable | None = None) -> DepthFlow:
    return DepthFlow(GRU.from_cell(architecture), readout)
