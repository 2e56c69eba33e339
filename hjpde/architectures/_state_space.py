"""A diagonal linear state-space model on sequences."""

import math
from typing import TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import affine, along_last, require_positive
from ._architecture import AbstractArchitecture
from ._linear_recurrence import as_complex, as_pair, phi1, recurrence
from ._recurrent import sequence

_Pair: TypeAlias = tuple[Float[Array, "2 n"], Float[Array, " w"]]
_Held: TypeAlias = tuple[Array, Array, Array]


@final
class DiagonalStateSpace(AbstractArchitecture):
    r"""A diagonal state-space model with zero-order hold, between affine maps:

    $$v_k = E\,u_k + e, \quad s_{k+1} = \bar A s_k + \bar B v_k, \quad y_k = \mathrm{Re}(C s_{k+1}) + D \odot v_k,
    \quad \text{logits} = R \bar m + r, \quad m_k = v_k + a_k \odot \mathrm{sigmoid}(b_k),$$

    where $\bar A = e^{\Delta A}$ and $\bar B = A^{-1}(\bar A - 1) B$ hold $v_k$ constant over a learnt step
    $\Delta$, one a state; $A$ is diagonal with negative real part; $(a_k, b_k) = G\,\mathrm{gelu}(y_k) + g$ is
    the gate, and $\bar m$ the mean over the sequence. All parameters are real arrays.

    With one element a unit of time this is $\dot s = \Delta (A s + B v)$, which zero-order hold solves exactly. The
    mean is carried along with the state: with $m(s, v)$ for what the gate lets through,

    $$\dot M = \tfrac1L\, m(s, v_k), \qquad M(0) = 0, \qquad \text{logits} = R\,M(L) + r,$$

    is taken by the rectangle rule at the right end of a step, after the state: one step an element adds
    $m_k / L$ and gives the network. Refined steps keep the states at the elements as they are, and lead to the
    mean over all times instead of the ends of the elements, with order 1. The state of the flow is the pair
    $(s, M)$, with a leading axis for the real and the imaginary part of $s$.

    ??? cite "References"

        A. Gupta, A. Gu and J. Berant, *Diagonal State Spaces are as Effective as Structured State Spaces*,
        NeurIPS 2022. J. T. H. Smith, A. Warrington and S. Linderman, *Simplified State Space Layers for
        Sequence Modeling*, ICLR 2023.
    """

    embed: eqx.nn.Linear
    log_decay: Float[Array, " n"]
    frequency: Float[Array, " n"]
    log_step: Float[Array, " n"]
    input_weights: Float[Array, "2 n w"]
    output_weights: Float[Array, "2 w n"]
    skip: Float[Array, " w"]
    gate: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, in_size: int, state_size: int, out_size: int, width: int, *, key: PRNGKeyArray):
        r"""**Arguments:**

        - `in_size`: the features of one element of the sequence.
        - `state_size`: the number of complex states.
        - `out_size`: the number of logits.
        - `width`: the length of $v_k$.
        - `key`: draws the weights. $A$ starts at $-0.1 + i \omega$, the frequencies equally spaced from 0 to
            $\pi$, and the steps log-uniform in [0.2, 1]: no state turns by more than $\pi$ an element, and
            all remember ten elements or more, as suits sequences of tens.

        **Raises:** `ValueError` if a size is not positive.
        """
        require_positive(in_size=in_size, state_size=state_size, out_size=out_size, width=width)
        keys = jax.random.split(key, 6)
        self.embed = eqx.nn.Linear(in_size, width, key=keys[0])
        self.log_decay = jnp.full(state_size, math.log(0.1))
        self.frequency = jnp.linspace(0.0, math.pi, state_size)
        self.log_step = jax.random.uniform(keys[1], (state_size,), minval=math.log(0.2), maxval=0.0)
        self.input_weights = jax.random.normal(keys[2], (2, state_size, width)) / math.sqrt(2 * width)
        self.output_weights = jax.random.normal(keys[3], (2, width, state_size)) / math.sqrt(state_size)
        self.skip = jnp.ones(width)
        self.gate = eqx.nn.Linear(width, 2 * width, key=keys[4])
        self.readout = eqx.nn.Linear(width, out_size, key=keys[5])

    def discretised(self) -> tuple[Complex[Array, " n"], Complex[Array, " n"]]:
        r"""The diagonals of $\bar A$ and of $A^{-1}(\bar A - 1)$."""
        generator = self._generator
        exponent = generator * jnp.exp(self.log_step)
        return jnp.exp(exponent), jnp.expm1(exponent) / generator

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
        return "zero-order hold, exact, in the state; rectangle rule in the mean of the outputs"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, "rows in_size"]) -> Float[Array, " out_size"]:
        """The logits of one sequence."""
        transition, held = self.discretised()
        v = affine(self.embed, x)
        real, imaginary = self.input_weights
        drive = jax.lax.complex(v @ real.T, v @ imaginary.T)
        states = recurrence(transition, along_last(held, drive) * drive)
        return affine(self.readout, jnp.mean(self._gated(states, v), axis=0))

    def start(self, x: Float[Array, "rows in_size"]) -> _Pair:
        dtype = jnp.result_type(x, self.skip)
        return jnp.zeros((2, self.log_decay.size), dtype), jnp.zeros(self.skip.shape, dtype)

    def layers(self, x: Float[Array, "rows in_size"] | None) -> _Held:
        """What drives the states, $B v_k$; $v_k$; and the share $1/L$ of an element in the mean."""
        x = sequence(x, self.embed.weight.shape[1])
        v = affine(self.embed, x)
        real, imaginary = self.input_weights
        share = jnp.full(x.shape[0], 1 / x.shape[0], v.dtype)
        return jnp.stack([v @ real.T, v @ imaginary.T], axis=1), v, share

    def velocity(self, s: ScalarLike, z: _Pair, layer: _Held) -> _Pair:
        del s
        state, (drive, v, share) = as_complex(z[0]), layer
        rate = jnp.exp(self.log_step) * (self._generator * state + as_complex(drive))
        return as_pair(rate), share * self._gated(state, v)

    def step(self, s: ScalarLike, z: _Pair, h: ScalarLike, layer: _Held) -> _Pair:
        del s
        drive, v, share = layer
        h = jnp.asarray(h, v.dtype)
        steps = h * jnp.exp(self.log_step)
        exponent = steps * self._generator
        state = jnp.exp(exponent) * as_complex(z[0]) + steps * phi1(exponent) * as_complex(drive)
        return as_pair(state), z[1] + h * share * self._gated(state, v)

    def settle(self, z: _Pair, layer: _Held) -> _Pair:
        return z

    def finish(self, z: _Pair) -> Float[Array, " out_size"]:
        return affine(self.readout, z[1])

    @property
    def _generator(self) -> Complex[Array, " n"]:
        return jax.lax.complex(-jnp.exp(self.log_decay), self.frequency)

    def _gated(self, state: Complex[Array, "*rows n"], v: Float[Array, "*rows w"]) -> Float[Array, "*rows w"]:
        """$m$, what the gate lets through, of a state and the element that it has read."""
        real, imaginary = self.output_weights
        y = state.real @ real.T - state.imag @ imaginary.T + along_last(self.skip, v) * v
        content, gate = jnp.split(affine(self.gate, jax.nn.gelu(y)), 2, axis=-1)
        return v + content * jax.nn.sigmoid(gate)
