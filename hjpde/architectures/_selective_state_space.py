"""A selective state-space model on sequences: the input sets the clock."""

import math
from typing import Literal, TypeAlias, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import affine, along_last, require_choice, require_positive
from ._architecture import AbstractArchitecture
from ._linear_recurrence import RecurrenceMethod, fastest_method, phi1, recurrence
from ._recurrent import all_states, last_state, read_out, sequence

InputRule = Literal["zoh", "euler"]
_Pair: TypeAlias = tuple[Float[Array, "d n"], Float[Array, " d"]]
_Held: TypeAlias = tuple[Array, Array, Array, Array]


@final
class SelectiveStateSpace(AbstractArchitecture):
    r"""A selective state-space model: `d` channels with `n` states each, in the time of one element

    $$\dot s = \Delta_k (A s + B_k w_k), \qquad y_k = C_k \cdot s_{k+1} + D w_k, \qquad
    \Delta_k = \mathrm{softplus}(W w_k + b), \quad B_k = W_B w_k, \quad C_k = W_C w_k,$$

    for each channel, whose input is $w_k$ on the right of the first two formulas, and with all channels in the others;
    the channels are the features of the element $x_k$, or affine maps of it, $w_k = E x_k + e$. `A` is diagonal, real
    and negative; $B_k$ and $C_k$ serve all channels. The step $\Delta_k$ depends on the input, so it is a clock, and
    the Hamiltonian is scaled by it. A part `h` of an element covers $h \Delta_k$:

    $$s(h) = e^{h \Delta_k A} s + h \Delta_k\,\beta\,B_k w_k, \qquad
    \beta = \varphi_1(h \Delta_k A) \ \text{or}\ 1,$$

    for `input_rule="zoh"`, the exact flow, or `"euler"`, what the usual kernels compute. At one step an element the
    second is the first with $B_k / \varphi_1(\Delta_k A)$ for $B_k$, an exact flow of another equation; with the same
    $B_k$ its refinements approach the flow above with order 1.

    The output is $y$ of the last element, read out by an affine map if there is one; `outputs` has all $y_k$. The
    state is the pair of $s$ and of $y$, which is held algebraically.

    ??? cite "References"

        A. Gu and T. Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces*, COLM 2024.
    """

    embed: eqx.nn.Linear | None
    log_decay: Float[Array, "d n"]
    clock: eqx.nn.Linear
    input_weights: Float[Array, "n d"]
    output_weights: Float[Array, "n d"]
    skip: Float[Array, " d"]
    readout: eqx.nn.Linear | None
    input_rule: InputRule = eqx.field(static=True)
    method: RecurrenceMethod | None = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        state_size: int,
        out_size: int | None = None,
        *,
        width: int | None = None,
        input_rule: str = "zoh",
        method: str | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `in_size`: the features of one element.
        - `state_size`: the states `n` of a channel.
        - `out_size`: the length of the output; `None` for the last $y$ itself.
        - `width`: the channels `d`, as many affine maps of the features; `None`: the features themselves.
        - `input_rule`: `"zoh"` or `"euler"`; they are different networks.
        - `method`: how a sequence is computed, `"scan"` or `"associative"`; by default the first on a CPU and the
            second elsewhere.
        - `key`: draws the weights. The decays start at $1, \ldots, n$, and the clock near log-uniform steps in
            [0.1, 1], as suits sequences of tens.

        **Raises:** `ValueError` if a size is not positive, or a name is not known.
        """
        channels = in_size if width is None else width
        require_positive(
            in_size=in_size, state_size=state_size, out_size=1 if out_size is None else out_size, width=channels
        )
        require_choice("input_rule", input_rule, get_args(InputRule))
        if method is not None:
            require_choice("method", method, get_args(RecurrenceMethod))
        keys = jax.random.split(key, 6)
        self.embed = None if width is None else eqx.nn.Linear(in_size, width, key=keys[5])
        decays = jnp.arange(1, state_size + 1).astype(jnp.result_type(float))
        self.log_decay = jnp.broadcast_to(jnp.log(decays), (channels, state_size))
        steps = jnp.exp(jax.random.uniform(keys[0], (channels,), minval=math.log(0.1), maxval=0.0))
        clock = eqx.nn.Linear(channels, channels, key=keys[1])
        # softplus of the bias is the step for the input 0.
        self.clock = eqx.tree_at(lambda linear: linear.bias, clock, jnp.log(jnp.expm1(steps)))
        bound = 1 / math.sqrt(channels)
        self.input_weights, self.output_weights = (
            jax.random.uniform(k, (state_size, channels), minval=-bound, maxval=bound) for k in keys[2:4]
        )
        self.skip = jnp.ones(channels)
        self.readout = None if out_size is None else eqx.nn.Linear(channels, out_size, key=keys[4])
        self.input_rule = input_rule  # pyright: ignore[reportAttributeAccessIssue]
        self.method = method  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def in_size(self) -> int:
        return self.skip.size if self.embed is None else self.embed.weight.shape[1]

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
        if self.input_rule == "zoh":
            return "zero-order hold on the input's clock, exact"
        return "exponential for the state and Euler for the input, on the input's clock"

    @property
    def expected_order(self) -> float:
        return math.inf if self.input_rule == "zoh" else 1.0

    def __call__(self, x: Float[Array, "L features"]) -> Float[Array, " out"]:
        """The output of one sequence."""
        if self._method != "scan":
            return read_out(self.readout, self.outputs(x)[-1])
        state, y = self.start(sequence(x, self.in_size))
        # Only the last output is needed.
        state = last_state(lambda state, element: self._applied((state, y), element)[0], state, x)
        return self.finish(self.settle((state, y), self._held(x[-1])))

    def outputs(self, x: Float[Array, "L features"]) -> Float[Array, "L d"]:
        """The $y_k$ at all elements, before the readout."""
        if self._method == "scan":
            return all_states(self._applied, self.start(x), sequence(x, self.in_size))[1]
        clock, drive, C, through = self.layers(x)
        states = recurrence(*self._discretised(1.0, clock, drive), self._method)
        return jnp.einsum("kdn,kn->kd", states, C) + through

    def start(self, x: Float[Array, "L features"]) -> _Pair:
        dtype = jnp.result_type(x, self.log_decay)
        return jnp.zeros(self.log_decay.shape, dtype), jnp.zeros(self.skip.shape, dtype)

    def layers(self, x: Float[Array, "L features"] | None) -> _Held:
        r"""The clock $\Delta_k$, the drive $B_k w_k$, $C_k$ and $D w_k$."""
        return self._held(sequence(x, self.in_size))

    def velocity(self, s: ScalarLike, z: _Pair, layer: _Held) -> _Pair:
        del s
        clock, drive, C, _ = layer
        rate = jnp.broadcast_to(clock[:, None], drive.shape) * (drive - jnp.exp(self.log_decay) * z[0])
        return rate, rate @ C

    def step(self, s: ScalarLike, z: _Pair, h: ScalarLike, layer: _Held) -> _Pair:
        del s
        clock, drive, C, through = layer
        transition, driven = self._discretised(h, clock, drive)
        state = transition * z[0] + driven
        return state, state @ C + through

    def settle(self, z: _Pair, layer: _Held) -> _Pair:
        return z[0], z[0] @ layer[2] + layer[3]

    def finish(self, z: _Pair) -> Float[Array, " out"]:
        return read_out(self.readout, z[1])

    @property
    def _method(self) -> RecurrenceMethod:
        return fastest_method() if self.method is None else self.method

    def _applied(self, z: _Pair, x: Float[Array, " features"]) -> _Pair:
        """The network's own map for one element: factors made where they are used need not go through memory."""
        return self.step(0.0, z, 1.0, self._held(x))

    def _held(self, x: Float[Array, "*L features"]) -> _Held:
        """What `layers` holds, of one element or of all."""
        x = x if self.embed is None else affine(self.embed, x)
        clock = jax.nn.softplus(affine(self.clock, x))
        drive = jnp.einsum("...d,...n->...dn", x, x @ self.input_weights.T)
        return clock, drive, x @ self.output_weights.T, along_last(self.skip, x) * x

    def _discretised(
        self, h: ScalarLike, clock: Float[Array, "*L d"], drive: Float[Array, "*L d n"]
    ) -> tuple[Float[Array, "*L d n"], Float[Array, "*L d n"]]:
        """The factor of the state and what is added to it, over the part `h` of an element."""
        steps = jnp.broadcast_to((h * clock)[..., None], drive.shape)
        exponent = -steps * jnp.broadcast_to(jnp.exp(self.log_decay), drive.shape)
        weight = steps * phi1(exponent) if self.input_rule == "zoh" else steps
        return jnp.exp(exponent), weight * drive
