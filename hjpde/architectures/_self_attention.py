"""One multi-head read of all tokens by all tokens: the part that `Attention` and `Transformer` share."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._abstract import along_last
from ._positions import AbstractPositions

# Up to this many tokens, sums over pairs are faster on a CPU than many tiny matrix products.
_FEW_TOKENS = 16


@final
class SelfAttention(eqx.Module):
    r"""$\mathrm{softmax}(Q K^\top / \sqrt{k} + B)\,V$ for each head of query size `k`, then a mix of the heads.

    $Q, K, V$ are affine in the tokens; all maps are kept as (outputs, inputs), the heads one after the other.
    """

    query: Float[Array, "a w"]
    key: Float[Array, "a w"]
    value: Float[Array, "b w"]
    output: Float[Array, "w b"]
    heads: int = eqx.field(static=True)
    query_bias: Float[Array, " a"] | None = None
    key_bias: Float[Array, " a"] | None = None
    value_bias: Float[Array, " b"] | None = None
    output_bias: Float[Array, " w"] | None = None
    positions: AbstractPositions | None = None
    causal: bool = eqx.field(static=True, default=False)

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        q, k, v = self.projections(x)
        n = x.shape[0]
        q = q / math.sqrt(q.shape[-1])
        if n <= _FEW_TOKENS:
            scores = jnp.sum(q[:, None] * k[None], axis=-1)
            tilt = self._tilt(n, scores.dtype)
            weights = jax.nn.softmax(scores if tilt is None else scores + tilt.transpose(1, 2, 0), axis=1)
            mixed = jnp.sum(weights[..., None] * v[None], axis=1)
        else:
            scores = jnp.einsum("ihd,jhd->hij", q, k)
            tilt = self._tilt(n, scores.dtype)
            weights = jax.nn.softmax(scores if tilt is None else scores + tilt)
            mixed = jnp.einsum("hij,jhd->ihd", weights, v)
        return _mapped(mixed.reshape(n, -1), self.output, self.output_bias)

    def projections(
        self, x: Float[Array, "n w"]
    ) -> tuple[Float[Array, "n heads k"], Float[Array, "n heads k"], Float[Array, "n heads v"]]:
        """Queries and keys, both rotated by their places, and values."""
        q = self._split(_mapped(x, self.query, self.query_bias))
        k = self._split(_mapped(x, self.key, self.key_bias))
        v = self._split(_mapped(x, self.value, self.value_bias))
        if self.positions is None:
            return q, k, v
        return self.positions.rotate(q), self.positions.rotate(k), v

    def gibbs(self, x: Float[Array, "n w"]) -> Float[Array, "heads n n"]:
        """The weight that token `i` gives to token `j`, for each head."""
        q, k, _ = self.projections(x)
        scores = jnp.einsum("ihd,jhd->hij", q / math.sqrt(q.shape[-1]), k)
        return jax.nn.softmax(scores + self.tilt(x.shape[0], scores.dtype))

    def tilt(self, n: int, dtype: jnp.dtype) -> Float[Array, "heads n n"]:
        r"""$B$: the bias of the places, and $-\infty$ where the mask forbids to look."""
        tilt = self._tilt(n, dtype)
        return jnp.zeros((self.heads, n, n), dtype) if tilt is None else tilt

    def _tilt(self, n: int, dtype: jnp.dtype) -> Float[Array, "heads n n"] | None:
        tilt = None if self.positions is None else self.positions.bias(n, dtype)
        if not self.causal:
            return tilt
        shape = (self.heads, n, n)
        seen = jnp.broadcast_to(jnp.tril(jnp.ones((n, n), bool)), shape)
        return jnp.where(seen, jnp.zeros(shape, dtype) if tilt is None else tilt, -jnp.inf)

    def _split(self, rows: Float[Array, "n a"]) -> Float[Array, "n heads k"]:
        return rows.reshape(rows.shape[0], self.heads, -1)


def gibbs_entropy(weights: Float[Array, "*axes n"]) -> Float[Array, "*axes"]:
    r"""$-\sum_j \pi_j \log \pi_j$ along the last axis, in nats."""
    return jnp.sum(jax.scipy.special.entr(weights), axis=-1)


def _mapped(x: Float[Array, "n a"], weights: Float[Array, "b a"], bias: Float[Array, " b"] | None) -> Array:
    y = x @ weights.T
    return y if bias is None else y + along_last(bias, y)
