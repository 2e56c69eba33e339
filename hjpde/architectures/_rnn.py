"""A simple recurrent network on sequences."""

import math
from typing import Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import activate, require_choice, require_positive
from ._architecture import AbstractArchitecture
from ._recurrent import all_states, driven, last_state, read_out, sequence

Nonlinearity = Literal["tanh", "relu"]


@final
class RNN(AbstractArchitecture):
    r"""A simple recurrent network, read out after the last element of the sequence:

    $$h_{k+1} = \phi(W h_k + U x_k + b), \qquad \text{output} = R\,h_L + r, \qquad h_0 = 0.$$

    With one element a unit of time this is explicit Euler for $\dot h = -h + \phi(W h + U x_k + b)$ with a step of
    exactly 1, as long as the time in which `h` relaxes: formally a discretisation, but of a step at which all memory
    but that in $\phi$ is gone. `n` steps an element converge to the flow with order 1.

    ??? cite "References"

        J. L. Elman, *Finding Structure in Time*, Cognitive Science 14 (1990). K. Funahashi and Y. Nakamura,
        *Approximation of dynamical systems by continuous time recurrent neural networks*, Neural Networks 6 (1993).
    """

    weight_ih: Float[Array, "hidden in_size"]
    weight_hh: Float[Array, "hidden hidden"]
    bias: Float[Array, " hidden"] | None
    readout: eqx.nn.Linear | None
    nonlinearity: Nonlinearity = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        out_size: int | None = None,
        *,
        nonlinearity: str = "tanh",
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `in_size`: the features of one element of the sequence.
        - `hidden_size`: the length of the hidden state.
        - `out_size`: the length of the output; `None` for the last hidden state itself.
        - `nonlinearity`: $\phi$, `"tanh"` or `"relu"`.
        - `key`: draws the weights, uniformly up to $1/\sqrt{\text{hidden size}}$ in size.

        **Raises:** `ValueError` if a size is not positive, or the name is not known.
        """
        require_positive(in_size=in_size, hidden_size=hidden_size, out_size=1 if out_size is None else out_size)
        require_choice("nonlinearity", nonlinearity, get_args(Nonlinearity))
        keys = jax.random.split(key, 4)
        bound = 1 / math.sqrt(hidden_size)
        shapes = ((hidden_size, in_size), (hidden_size, hidden_size), (hidden_size,))
        self.weight_ih, self.weight_hh, self.bias = (
            jax.random.uniform(k, shape, minval=-bound, maxval=bound) for k, shape in zip(keys[:3], shapes, strict=True)
        )
        self.readout = None if out_size is None else eqx.nn.Linear(hidden_size, out_size, key=keys[3])
        self.nonlinearity = nonlinearity  # pyright: ignore[reportAttributeAccessIssue]

    @classmethod
    def from_weights(
        cls,
        weight_ih: Float[Array, "..."],
        weight_hh: Float[Array, "..."],
        bias: Float[Array, "..."] | None = None,
        *,
        nonlinearity: str = "tanh",
        readout: eqx.nn.Linear | None = None,
    ) -> "RNN":
        """The network with the weights given, by default with its last hidden state as the output.

        **Arguments:**

        - `weight_ih`: $U$, shape `(hidden, in)`.
        - `weight_hh`: $W$, shape `(hidden, hidden)`.
        - `bias`: $b$, shape `(hidden,)`; `None` for 0.
        - `nonlinearity`: `"tanh"` or `"relu"`.
        - `readout`: an affine map of the last hidden state.

        **Raises:** `ValueError` if the shapes disagree, or the name is not known.
        """
        require_choice("nonlinearity", nonlinearity, get_args(Nonlinearity))
        hidden = weight_hh.shape[0] if weight_hh.ndim else 0
        if weight_hh.shape != (hidden, hidden) or weight_ih.ndim != 2 or weight_ih.shape[0] != hidden:
            raise ValueError(
                "`weight_ih` must have shape (hidden, in) and `weight_hh` (hidden, hidden), got "
                f"{weight_ih.shape} and {weight_hh.shape}."
            )
        if bias is not None and bias.shape != (hidden,):
            raise ValueError(f"`bias` must have shape ({hidden},), got {bias.shape}.")
        empty = eqx.filter_eval_shape(
            lambda: cls(weight_ih.shape[1], hidden, nonlinearity=nonlinearity, key=jax.random.key(0))
        )
        return eqx.tree_at(
            lambda m: (m.weight_ih, m.weight_hh, m.bias, m.readout),
            empty,
            (weight_ih, weight_hh, bias, readout),
            is_leaf=lambda leaf: leaf is None,
        )

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
        return "explicit Euler with the step 1"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, "n in_size"]) -> Float[Array, " out"]:
        """The output of one sequence."""
        return self.finish(last_state(self._applied, self.start(x), sequence(x, self.weight_ih.shape[1])))

    def states(self, x: Float[Array, "n in_size"]) -> Float[Array, "n hidden"]:
        """The hidden states after each element."""
        return all_states(self._applied, self.start(x), sequence(x, self.weight_ih.shape[1]))

    def start(self, x: Float[Array, "n in_size"]) -> Float[Array, " hidden"]:
        return jnp.zeros(self.weight_hh.shape[0], jnp.result_type(x, self.weight_hh))

    def layers(self, x: Float[Array, "n in_size"] | None) -> Float[Array, "n hidden"]:
        return driven(sequence(x, self.weight_ih.shape[1]), self.weight_ih, self.bias)

    def velocity(self, s: ScalarLike, z: Float[Array, " hidden"], layer: Array) -> Float[Array, " hidden"]:
        del s
        return self._excited(z, layer) - z

    def step(self, s: ScalarLike, z: Float[Array, " hidden"], h: ScalarLike, layer: Array) -> Float[Array, " hidden"]:
        del s
        h = jnp.asarray(h, z.dtype)
        return (1 - h) * z + h * self._excited(z, layer)

    def settle(self, z: Float[Array, " hidden"], layer: Array) -> Float[Array, " hidden"]:
        return z

    def finish(self, z: Float[Array, " hidden"]) -> Float[Array, " out"]:
        return read_out(self.readout, z)

    def _applied(self, z: Float[Array, " hidden"], x: Float[Array, " in_size"]) -> Float[Array, " hidden"]:
        """The network's own map for one element."""
        return self._excited(z, driven(x, self.weight_ih, self.bias))

    def _excited(self, z: Float[Array, " hidden"], row: Float[Array, " hidden"]) -> Float[Array, " hidden"]:
        return activate(row + self.weight_hh @ z, self.nonlinearity)
