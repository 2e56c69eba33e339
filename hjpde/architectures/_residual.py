"""A residual network on vectors."""

from typing import final

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ._abstract import affine, layer_norm, require_positive


class _Block(eqx.Module):
    """The increment $W_2 \\tanh(W_1 \\mathrm{LN}(x) + b_1) + b_2$ of one layer."""

    norm: eqx.nn.LayerNorm
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, width: int, key: PRNGKeyArray):
        inner_key, outer_key = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(width)
        self.inner = eqx.nn.Linear(width, width, key=inner_key)
        self.outer = eqx.nn.Linear(width, width, key=outer_key)

    def __call__(self, x: Float[Array, " w"]) -> Float[Array, " w"]:
        return affine(self.outer, jax.nn.gelu(affine(self.inner, layer_norm(self.norm, x))))


@final
class ResidualNetwork(eqx.Module):
    r"""A residual network, read in and out by affine maps:

    $$x_0 = E\,z + e, \qquad x_{k+1} = x_k + \tfrac1L\bigl(V_k\,\sigma(W_k\,\mathrm{LN}(x_k) + b_k) + c_k\bigr),
    \qquad \text{logits} = R\,x_L + r,$$

    with $L$ = `depth` layers and $\sigma$ = GELU: Euler steps of size $1/L$.

    ??? cite "References"

        K. He, X. Zhang, S. Ren and J. Sun, *Identity Mappings in Deep Residual Networks*, ECCV 2016.
    """

    embed: eqx.nn.Linear
    blocks: _Block
    readout: eqx.nn.Linear
    depth: int = eqx.field(static=True)

    def __init__(self, in_size: int, out_size: int, width: int, depth: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `in_size`, `out_size`: the lengths of the input and of the logits.
        - `width`: the length of the state $x_k$.
        - `depth`: the number of layers; their weights are stacked on a leading axis of `blocks`.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive.
        """
        require_positive(in_size=in_size, out_size=out_size, width=width, depth=depth)
        embed_key, blocks_key, readout_key = jax.random.split(key, 3)
        self.embed = eqx.nn.Linear(in_size, width, key=embed_key)
        self.blocks = eqx.filter_vmap(lambda k: _Block(width, k))(jax.random.split(blocks_key, depth))
        self.readout = eqx.nn.Linear(width, out_size, key=readout_key)
        self.depth = depth

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        """The logits of one vector."""
        arrays, static = eqx.partition(self.blocks, eqx.is_array)

        def layer(state, weights):
            return state + eqx.combine(weights, static)(state) / self.depth, None

        state, _ = jax.lax.scan(layer, affine(self.embed, x), arrays)
        return affine(self.readout, state)
