"""A transformer encoder on sequences."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._abstract import affine, layer_norm, require_positive

# Up to this many tokens, sums over pairs are faster on a CPU than many tiny matrix products.
_FEW_TOKENS = 16


class _Attention(eqx.Module):
    r"""Self-attention with $h$ heads: $\mathrm{softmax}(Q K^\top / \sqrt{w/h})\,V$ for each, then a mix."""

    query: Float[Array, "w w"]
    key: Float[Array, "w w"]
    value: Float[Array, "w w"]
    output: Float[Array, "w w"]
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, key: PRNGKeyArray):
        bound = 1 / math.sqrt(width)
        weights = jax.random.uniform(key, (4, width, width), minval=-bound, maxval=bound)
        self.query, self.key, self.value, self.output = weights
        self.heads = heads

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        n, width = x.shape
        q, k, v = ((x @ weights.T).reshape(n, self.heads, -1) for weights in (self.query, self.key, self.value))
        q = q / math.sqrt(width / self.heads)
        if n <= _FEW_TOKENS:
            weights = jax.nn.softmax(jnp.sum(q[:, None] * k[None], axis=-1), axis=1)
            mixed = jnp.sum(weights[..., None] * v[None], axis=1)
        else:
            weights = jax.nn.softmax(jnp.einsum("ihd,jhd->hij", q, k))
            mixed = jnp.einsum("hij,jhd->ihd", weights, v)
        return mixed.reshape(n, width) @ self.output.T


class _Block(eqx.Module):
    """Attention, then a perceptron with one hidden layer, each added to its input behind a layer norm."""

    attention_norm: eqx.nn.LayerNorm
    attention: _Attention
    perceptron_norm: eqx.nn.LayerNorm
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, width: int, heads: int, hidden: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.attention_norm = eqx.nn.LayerNorm(width)
        self.attention = _Attention(width, heads, keys[0])
        self.perceptron_norm = eqx.nn.LayerNorm(width)
        self.inner = eqx.nn.Linear(width, hidden, key=keys[1])
        self.outer = eqx.nn.Linear(hidden, width, key=keys[2])

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        x = x + self.attention(layer_norm(self.attention_norm, x))
        hidden = jax.nn.gelu(affine(self.inner, layer_norm(self.perceptron_norm, x)))
        return x + affine(self.outer, hidden)


@final
class Transformer(eqx.Module):
    """A pre-norm transformer encoder with learnt positions; the mean over the tokens is read out.

    ??? cite "References"

        A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017. R. Xiong et al., *On Layer
        Normalization in the Transformer Architecture*, ICML 2020.
    """

    embed: eqx.nn.Linear
    positions: Float[Array, "n w"]
    blocks: _Block
    norm: eqx.nn.LayerNorm
    readout: eqx.nn.Linear
    depth: int = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        n_tokens: int,
        width: int,
        heads: int,
        hidden: int,
        depth: int = 1,
        out_size: int = 10,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_size`: the features of one token.
        - `n_tokens`: the length of the sequence.
        - `width`: the length of a token's state, a multiple of `heads`.
        - `heads`: the attention heads.
        - `hidden`: the hidden units of the perceptron.
        - `depth`: the number of blocks; their weights are stacked on a leading axis of `blocks`.
        - `out_size`: the number of logits.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, or `heads` does not divide `width`.
        """
        require_positive(
            in_size=in_size,
            n_tokens=n_tokens,
            width=width,
            heads=heads,
            hidden=hidden,
            depth=depth,
            out_size=out_size,
        )
        if width % heads:
            raise ValueError(f"`width` must be a multiple of `heads`, got {width} and {heads}.")
        embed_key, positions_key, blocks_key, readout_key = jax.random.split(key, 4)
        self.embed = eqx.nn.Linear(in_size, width, key=embed_key)
        self.positions = 0.1 * jax.random.normal(positions_key, (n_tokens, width))
        build = eqx.filter_vmap(lambda k: _Block(width, heads, hidden, k))
        self.blocks = build(jax.random.split(blocks_key, depth))
        self.norm = eqx.nn.LayerNorm(width)
        self.readout = eqx.nn.Linear(width, out_size, key=readout_key)
        self.depth = depth

    def __call__(self, x: Float[Array, "n in_size"]) -> Float[Array, " out_size"]:
        """The logits of one sequence of `n_tokens` elements."""
        arrays, static = eqx.partition(self.blocks, eqx.is_array)

        def block(state, weights):
            return eqx.combine(weights, static)(state), None

        state, _ = jax.lax.scan(block, affine(self.embed, x) + self.positions, arrays)
        return affine(self.readout, jnp.mean(layer_norm(self.norm, state), axis=0))
