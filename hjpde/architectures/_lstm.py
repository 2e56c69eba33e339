"""A long short-term memory on sequences."""

from collections.abc import Callable
from typing import Literal, TypeAlias, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import require_choice, require_positive
from ._architecture import AbstractArchitecture
from ._as_hamiltonian import as_hamiltonian
from ._depth_flow import DepthFlow
from ._fixed_point import fixed_point, inverse
from ._linear_recurrence import phi1
from ._recurrent import all_states, driven, last_state, read_out, sequence, with_cell

Closure = Literal["algebraic", "relaxed"]
_Pair: TypeAlias = tuple[Float[Array, " hidden"], Float[Array, " hidden"]]

_NO_CLOSURE = (
    '`LSTM(closure="algebraic")`: iterating h = o(h) tanh(c) does not settle, so that refining the network does not '
    'lead to a flow of this kind. Use `closure="relaxed"`.'
)


@final
class LSTM(AbstractArchitecture):
    r"""A long short-term memory, read out after the last element of the sequence:

    $$c_{k+1} = f \odot c_k + i \odot g, \qquad h_{k+1} = o \odot \tanh c_{k+1}, \qquad
    \text{output} = R\,h_L + r,$$

    with the gates $i, f, o$ and the candidate $g$ of `equinox.nn.LSTMCell`, functions of $h_k$ and of the element,
    and $h_0 = c_0 = 0$. The state is the pair $(h, c)$, and one element a unit of time.

    The cell state is the exact flow over that time of

    $$\dot c = a \odot (c^* - c), \qquad a = -\log f, \qquad c^* = i \odot g / (1 - f),$$

    with the gates frozen at the start of the step (exponential Euler). A part $\Delta$ of it multiplies `c` by
    $f^\Delta$ and adds $\Delta\,\varphi_1(-a\Delta) / \varphi_1(-a)\; i \odot g$, which stays finite as $f \to 1$. What
    `h` does meanwhile is not determined by the network; `closure` chooses:

    - `"algebraic"`: $h = o(h) \odot \tanh c$ at all times, a differential-algebraic equation of index 1. It needs
      $|\partial(o \odot \tanh c)/\partial h| < 1$, as holds for weights that are not large. Inside a layer `h` moves
      by the derivative of the constraint, and jumps where the element changes. Nearer to the network.
    - `"relaxed"`: $\dot h = o \odot \tanh c - h$, by explicit Euler with the step 1, the new `c` and the old `o`
      (Lie splitting).

    Either is approached with order 1 as the steps are refined.

    ??? cite "References"

        S. Hochreiter and J. Schmidhuber, *Long Short-Term Memory*, Neural Computation 9 (1997). F. A. Gers,
        J. Schmidhuber and F. Cummins, *Learning to Forget*, Neural Computation 12 (2000). E. Hairer and G. Wanner,
        *Solving Ordinary Differential Equations II*, Springer, 1996, Chapter VI.
    """

    cell: eqx.nn.LSTMCell
    readout: eqx.nn.Linear | None
    closure: Closure = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        out_size: int | None = None,
        *,
        closure: str = "algebraic",
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_size`: the features of one element of the sequence.
        - `hidden_size`: the length of `h` and of `c`.
        - `out_size`: the length of the output; `None` for the last `h` itself.
        - `closure`: `"algebraic"` or `"relaxed"`; the network itself is the same.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, or the name is not known.
        """
        require_positive(in_size=in_size, hidden_size=hidden_size, out_size=1 if out_size is None else out_size)
        require_choice("closure", closure, get_args(Closure))
        cell_key, readout_key = jax.random.split(key)
        self.cell = eqx.nn.LSTMCell(in_size, hidden_size, key=cell_key)
        self.readout = None if out_size is None else eqx.nn.Linear(hidden_size, out_size, key=readout_key)
        self.closure = closure  # pyright: ignore[reportAttributeAccessIssue]

    @classmethod
    def from_cell(
        cls, cell: eqx.nn.LSTMCell, readout: eqx.nn.Linear | None = None, *, closure: str = "algebraic"
    ) -> "LSTM":
        """The network that applies `cell` in turn.

        **Arguments:**

        - `cell`: the cell, with or without biases.
        - `readout`: an affine map of the last `h`, which by default is the output itself.
        - `closure`: `"algebraic"` or `"relaxed"`.

        **Raises:** `ValueError` if the name is not known.
        """
        return with_cell(lambda key: cls(cell.input_size, cell.hidden_size, closure=closure, key=key), cell, readout)

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
        if self.closure == "algebraic":
            return "exponential Euler with frozen gates, h held algebraically"
        return "Lie splitting: exponential Euler with frozen gates in c, then explicit Euler in h"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, "n in_size"]) -> Float[Array, " out"]:
        """The output of one sequence."""
        return self.finish(last_state(self._applied, self.start(x), sequence(x, self.cell.input_size)))

    def states(self, x: Float[Array, "n in_size"]) -> Float[Array, "n hidden"]:
        """The hidden states `h` after each element."""
        return all_states(self._applied, self.start(x), sequence(x, self.cell.input_size))[0]

    def start(self, x: Float[Array, "n in_size"]) -> _Pair:
        zero = jnp.zeros(self.cell.hidden_size, jnp.result_type(x, self.cell.weight_hh))
        return zero, zero

    def layers(self, x: Float[Array, "n in_size"] | None) -> Float[Array, "n gates"]:
        return driven(sequence(x, self.cell.input_size), self.cell.weight_ih, self.cell.bias)

    def velocity(self, s: ScalarLike, z: _Pair, layer: Float[Array, " gates"]) -> _Pair:
        del s
        h, c = z
        drive, decay, output = self._frozen(h, layer)
        c_rate = drive / phi1(-decay) - decay * c
        exposed = jnp.tanh(c)
        if self.closure == "relaxed":
            return output * exposed - h, c_rate
        # The constraint's derivative: (I - J) h' = o (1 - tanh(c)^2) c' with J = diag(o (1 - o) tanh(c)) W_o.
        slope = output * (1 - output) * exposed
        weights = self._output_weights
        h_rate = inverse(lambda v: v - slope * (weights @ v), output * (1 - exposed**2) * c_rate)
        return h_rate, c_rate

    def step(self, s: ScalarLike, z: _Pair, h: ScalarLike, layer: Float[Array, " gates"]) -> _Pair:
        del s
        hidden, c = z
        h = jnp.asarray(h, c.dtype)
        drive, decay, output = self._frozen(hidden, layer)
        c = jnp.exp(-h * decay) * c + h * phi1(-h * decay) / phi1(-decay) * drive
        new = output * jnp.tanh(c)
        return new if self.closure == "algebraic" else (1 - h) * hidden + h * new, c

    def settle(self, z: _Pair, layer: Float[Array, " gates"]) -> _Pair:
        if self.closure == "relaxed":
            return z
        h, c = z
        row, exposed, weights = jnp.split(layer, 4)[3], jnp.tanh(c), self._output_weights
        return fixed_point(lambda h: jax.nn.sigmoid(row + weights @ h) * exposed, h, _NO_CLOSURE), c

    def finish(self, z: _Pair) -> Float[Array, " out"]:
        return read_out(self.readout, z[0])

    @property
    def _output_weights(self) -> Float[Array, "hidden hidden"]:
        return self.cell.weight_hh[3 * self.cell.hidden_size :]

    def _applied(self, z: _Pair, x: Float[Array, " in_size"]) -> _Pair:
        """The cell itself."""
        h, c = z
        row = driven(x, self.cell.weight_ih, self.cell.bias)
        i, f, g, o = jnp.split(row + h @ self.cell.weight_hh.T, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def _frozen(self, h: Float[Array, " hidden"], row: Float[Array, " gates"]) -> tuple[Array, Array, Array]:
        r"""The drive $i \odot g$, the rate $a = -\log f$ and the output gate."""
        i, f, g, o = jnp.split(row + self.cell.weight_hh @ h, 4)
        return jax.nn.sigmoid(i) * jnp.tanh(g), jax.nn.softplus(-f), jax.nn.sigmoid(o)


@as_hamiltonian.register
def _(architecture: eqx.nn.LSTMCell, readout: Callable | None = None) -> DepthFlow:
    return DepthFlow(LSTM.from_cell(architecture), readout)
