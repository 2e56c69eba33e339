"""Self-attention by itself, as a velocity of tokens and as reads of a Gibbs measure."""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import affine, layer_norm, require_positive
from ._architecture import AbstractArchitecture
from ._as_hamiltonian import as_hamiltonian
from ._attention_potential import attention_atoms
from ._depth_flow import DepthFlow
from ._positions import AbstractPositions
from ._score_geometry import ScoreGeometry
from ._self_attention import SelfAttention, gibbs_entropy


@final
class AttentionLayer(eqx.Module):
    """A read of the tokens, behind a layer norm if there is one."""

    norm: eqx.nn.LayerNorm | None
    attention: SelfAttention

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        return self.attention(self.normed(x))

    def normed(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        """What the attention reads."""
        return x if self.norm is None else layer_norm(self.norm, x)


@final
class Attention(AbstractArchitecture):
    r"""Tokens that move by multi-head self-attention, $X \leftarrow X + \frac TL\,\mathrm{Attn}_k(X)$, `L` = `depth`:

    $$\mathrm{Attn}(X)_i = \sum_h W_O^h \sum_j \pi^h_{ij}\,W_V^h x_j, \qquad
    \pi^h_{ij} \propto \exp\bigl(q^h_i \cdot k^h_j/\varepsilon + B^h_{ij}\bigr), \qquad \varepsilon = \sqrt k,$$

    with $q = W_Q x$ and $k = W_K x$ of length $k$ a head. Exact, whatever the weights are: each $\pi^h_i$ is a Gibbs
    measure of the temperature $\varepsilon$, its read is a gradient of a log-sum-exp (`lifted_potential`), and all
    heads together are one Gibbs measure, the product over $n^H$ composite atoms. $\varepsilon$ is the temperature of
    one read and no viscosity of the depth, which has none.

    With `residual=False` the network is $X \leftarrow \mathrm{Attn}(X)$ where a layer is of length 1: explicit Euler
    of $\dot X = \mathrm{Attn}(X) - X$, as in a `Hopfield` network, and far from its flow.

    ??? cite "References"

        A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017. B. Geshkovski, C. Letrouit, Y. Polyanskiy and P.
        Rigollet, *A Mathematical Perspective on Transformers*, Bulletin of the AMS 62 (2025).
    """

    blocks: AttentionLayer
    readout: eqx.nn.Linear | None
    depth: int = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    residual: bool = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        depth: int = 1,
        horizon: float = 1.0,
        head_size: int | None = None,
        biases: bool = False,
        causal: bool = False,
        positions: AbstractPositions | None = None,
        norm: bool = False,
        shared: bool = False,
        residual: bool = True,
        out_size: int | None = None,
        key: PRNGKeyArray,
    ):
        r"""**Arguments:**

        - `width`: the length of a token.
        - `heads`: the number of heads.
        - `depth`: the number of layers; their weights are stacked on a leading axis of `blocks`.
        - `horizon`: $T$, the depth at the end.
        - `head_size`: the length of a head's queries, keys and values, by default `width / heads`.
        - `biases`: whether queries, keys, values and output have offsets; they start at 0.
        - `causal`: whether a token reads only those before it and itself.
        - `positions`: a `RelativeBias`, a `DistanceBias` or a `Rotary`; by default the order of the tokens does not
          count.
        - `norm`: whether a layer norm stands before each read.
        - `shared`: whether all layers have the same weights.
        - `residual`: whether a read is added to the tokens, or replaces them.
        - `out_size`: the number of logits that the mean over the tokens is read out to; by default the tokens are the
          output.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, `heads` does not divide `width` where it must, `horizon` is
        not positive, or `positions` do not suit the heads.
        """
        require_positive(width=width, heads=heads, depth=depth)
        if head_size is None and width % heads:
            raise ValueError(f"`width` must be a multiple of `heads`, got {width} and {heads}; or give `head_size`.")
        head_size = width // heads if head_size is None else head_size
        require_positive(head_size=head_size, out_size=1 if out_size is None else out_size)
        if not (math.isfinite(horizon) and horizon > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {horizon!r}.")
        if positions is not None:
            positions.check(heads, head_size)
        inner = heads * head_size

        def draw(key: PRNGKeyArray) -> AttentionLayer:
            keys = jax.random.split(key, 4)
            query, key_map, value = (_uniform(k, (inner, width)) for k in keys[:3])
            attention = SelfAttention(
                query,
                key_map,
                value,
                _uniform(keys[3], (width, inner)),
                heads=heads,
                query_bias=jnp.zeros(inner) if biases else None,
                key_bias=jnp.zeros(inner) if biases else None,
                value_bias=jnp.zeros(inner) if biases else None,
                output_bias=jnp.zeros(width) if biases else None,
                positions=positions,
                causal=causal,
            )
            return AttentionLayer(eqx.nn.LayerNorm(width) if norm else None, attention)

        blocks_key, readout_key = jax.random.split(key)
        self.blocks = eqx.filter_vmap(draw)(jax.random.split(blocks_key, 1 if shared else depth))
        self.readout = None if out_size is None else eqx.nn.Linear(width, out_size, key=readout_key)
        self.depth, self.horizon, self.residual = depth, float(horizon), residual

    @classmethod
    def from_equinox(
        cls,
        attention: eqx.nn.MultiheadAttention,
        *,
        depth: int = 1,
        horizon: float = 1.0,
        causal: bool = False,
        residual: bool = True,
    ) -> "Attention":
        """A trained `equinox.nn.MultiheadAttention`, called with the same tokens three times; its dropout is left out.

        **Arguments:**

        - `attention`: of which queries, keys, values and output have one size.
        - `depth`, `horizon`, `causal`, `residual`: as of an `Attention`; all layers share the weights.

        **Raises:** `ValueError` if the sizes differ.
        """
        sizes = (attention.query_size, attention.key_size, attention.value_size, attention.output_size)
        if len(set(sizes)) > 1:
            raise ValueError(f"`attention` must map tokens to tokens of one size to be a velocity, got sizes {sizes}.")
        maps = (attention.query_proj, attention.key_proj, attention.value_proj, attention.output_proj)
        names = ("query_bias", "key_bias", "value_bias", "output_bias")
        read = SelfAttention(
            *(layer.weight for layer in maps),
            heads=attention.num_heads,
            **{name: layer.bias for name, layer in zip(names, maps, strict=True)},
            causal=causal,
        )
        return cls.of(read, depth=depth, horizon=horizon, residual=residual)

    @classmethod
    def of(
        cls, attention: SelfAttention, *, depth: int = 1, horizon: float = 1.0, residual: bool = True
    ) -> "Attention":
        """Layers that all are the given read.

        **Arguments:** as of an `Attention`.

        **Raises:** `ValueError` if `depth` or `horizon` is not positive.
        """

        def build(key: PRNGKeyArray) -> "Attention":
            return cls(attention.query.shape[1], 1, depth=depth, horizon=horizon, residual=residual, key=key)

        blocks = jax.tree.map(lambda leaf: leaf[None], AttentionLayer(None, attention))
        return eqx.tree_at(lambda a: a.blocks, eqx.filter_eval_shape(build, jax.random.key(0)), blocks)

    @property
    def layer_count(self) -> int:
        return self.depth

    @property
    def layer_time(self) -> float:
        return self.horizon / self.depth

    @property
    def input_ndim(self) -> int:
        return 2

    @property
    def scheme(self) -> str:
        return "explicit Euler" if self.residual else "explicit Euler of the relaxation towards the read"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "..."]:
        """The tokens after the last layer, or the logits."""

        def layer(z, weights):
            if not self.residual and self.layer_time == 1:
                return self.block(weights)(z), None
            return self.step(0.0, z, self.layer_time, weights), None

        return self.finish(jax.lax.scan(layer, self.start(x), self.layers(x))[0])

    def start(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        width = self.blocks.attention.query.shape[-1]
        if x.ndim != 2 or x.shape[1] != width:
            raise ValueError(f"`x` must have shape (n, {width}), got {x.shape}; batch with `jax.vmap`.")
        return x

    def layers(self, x: Float[Array, "n w"] | None) -> Any:
        arrays = eqx.filter(self.blocks, eqx.is_array)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.depth, *leaf.shape[1:])), arrays)

    def block(self, layer: Any) -> AttentionLayer:
        """One layer."""
        return eqx.combine(layer, eqx.filter(self.blocks, eqx.is_array, inverse=True))

    def velocity(self, s: ScalarLike, z: Float[Array, "n w"], layer: Any) -> Float[Array, "n w"]:
        read = self.block(layer)(z)
        return read if self.residual else read - z

    def step(self, s: ScalarLike, z: Float[Array, "n w"], h: ScalarLike, layer: Any) -> Float[Array, "n w"]:
        return z + h * self.velocity(s, z, layer)

    def settle(self, z: Float[Array, "n w"], layer: Any) -> Float[Array, "n w"]:
        return z

    def finish(self, z: Float[Array, "n w"]) -> Float[Array, "..."]:
        return z if self.readout is None else affine(self.readout, jnp.mean(z, axis=0))

    def gibbs(self, x: Float[Array, "n w"], layer: int = 0) -> Float[Array, "heads n n"]:
        r"""The Gibbs measures $\pi^h_{ij}$ over the tokens `j`, at the tokens `x` of the layer with that index."""
        block = self._layer(layer)
        return block.attention.gibbs(block.normed(x))

    def entropy(self, x: Float[Array, "n w"], layer: int = 0) -> Float[Array, "heads n"]:
        r"""The entropies of the Gibbs measures in nats, from 0 to the logarithm of the number of tokens seen."""
        return gibbs_entropy(self.gibbs(x, layer))

    def reads(
        self, x: Float[Array, "n w"], layer: int = 0
    ) -> tuple[
        Float[Array, "heads n k"], Float[Array, "heads n k"], Float[Array, "heads n v"], Float[Array, "heads n n"]
    ]:
        r"""What the heads read with: queries, keys, values and biases, for `attention_potential` and its lift.

        Queries and keys are those after their rotations. The bias of token `i` towards `j` is $\varepsilon B_{ij}$,
        and $-\infty$ where it is masked.
        """
        block = self._layer(layer)
        q, k, v = (rows.transpose(1, 0, 2) for rows in block.attention.projections(block.normed(x)))
        return q, k, v, math.sqrt(q.shape[-1]) * block.attention.tilt(x.shape[0], x.dtype)

    def atoms(
        self, x: Float[Array, "n w"], t: ScalarLike = 0.5, layer: int = 0
    ) -> tuple[Float[Array, "heads n k"], Float[Array, "heads n n"]]:
        r"""The atoms of `attention_atoms` for each head: positions $y_j$, and heights $g_{ij}$ as token `i` sees them.

        A masked token is an atom of infinite height.
        """
        _, keys, _, biases = self.reads(x, layer)
        positions, heights = jax.vmap(lambda keys: attention_atoms(keys, None, t))(keys)
        return positions, jnp.broadcast_to(heights[:, None], biases.shape) - biases

    def score_geometry(self, layer: int = 0) -> ScoreGeometry:
        r"""The forms $W_Q^\top W_K$ of the heads (of equal places, under rotations), and how far each is a metric."""
        attention = self._layer(layer).attention
        query, key = (
            weights.reshape(attention.heads, -1, weights.shape[1]) for weights in (attention.query, attention.key)
        )
        return ScoreGeometry(jnp.einsum("hka,hkb->hab", query, key))

    def _layer(self, index: int) -> AttentionLayer:
        if not -self.depth <= index < self.depth:
            raise ValueError(f"`layer` must be below the depth {self.depth}, got {index}.")
        return self.block(jax.tree.map(lambda leaf: leaf[index], self.layers(None)))


@as_hamiltonian.register
def _(architecture: eqx.nn.MultiheadAttention, readout: Callable | None = None) -> DepthFlow:
    return DepthFlow(Attention.from_equinox(architecture), readout)


def _uniform(key: PRNGKeyArray, shape: tuple[int, int]) -> Array:
    bound = 1 / math.sqrt(shape[1])
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
