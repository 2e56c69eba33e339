"""A diagonal linear state-space model on sequences."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ._abstract import affine, along_last, require_positive


@final
class DiagonalStateSpace(eqx.Module):
    r"""A diagonal state-space model with zero-order hold, between affine maps:

    $$v_k = E\,u_k + e, \quad s_{k+1} = \bar A s_k + \bar B v_k, \quad y_k = \mathrm{Re}(C s_{k+1}) + D \odot v_k,
    \quad \text{logits} = R \bar m + r, \quad m_k = v_k + a_k \odot \mathrm{sigmoid}(b_k),$$

    where $\bar A = e^{\Delta A}$ and $\bar B = A^{-1}(\bar A - 1) B$ hold $v_k$ constant over a learnt step
    $\Delta$, one a state; $A$ is diagonal with negative real part; $(a_k, b_k) = G\,\mathrm{gelu}(y_k) + g$ is
    the gate, and $\bar m$ the mean over the sequence. All parameters are real arrays.

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
        generator = jax.lax.complex(-jnp.exp(self.log_decay), self.frequency)
        exponent = generator * jnp.exp(self.log_step)
        return jnp.exp(exponent), jnp.expm1(exponent) / generator

    def __call__(self, x: Float[Array, "rows in_size"]) -> Float[Array, " out_size"]:
        """The logits of one sequence."""
        transition, held = self.discretised()
        v = affine(self.embed, x)
        real, imaginary = self.input_weights
        drive = jax.lax.complex(v @ real.T, v @ imaginary.T)
        drive = along_last(held, drive) * drive

        def step(state, row):
            state = transition * state + row
            return state, state

        _, states = jax.lax.scan(step, jnp.zeros_like(held), drive)
        real, imaginary = self.output_weights
        y = states.real @ real.T - states.imag @ imaginary.T + along_last(self.skip, v) * v
        content, gate = jnp.split(affine(self.gate, jax.nn.gelu(y)), 2, axis=-1)
        return affine(self.readout, jnp.mean(v + content * jax.nn.sigmoid(gate), axis=0))
