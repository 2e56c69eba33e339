"""A transformer encoder on sequences."""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import affine, layer_norm, require_positive
from ._architecture import AbstractArchitecture
from ._self_attention import gibbs_entropy
from ._transformer_block import TransformerBlock, draw_blocks


@final
class Transformer(AbstractArchitecture):
    r"""A transformer encoder with learnt positions; the mean over the tokens is read out.

    The tokens $X = (x_1, \ldots, x_n)$ are interacting particles,

    $$\dot x_i = A_i(X) + B(x_i), \qquad A = \mathrm{Attn} \circ \mathrm{LN}, \quad
    B = V\,\sigma(W\,\mathrm{LN}(\cdot) + b) + c,$$

    where attention moves a token towards a mean of what the others hold, and the perceptron moves it by itself; the
    value function lives on $\mathbb R^{nw}$. A block is a step of size $h = T/L$ (by default 1, so that it adds its
    whole update) of a splitting method, as `order` says:

    - `"sequential"`: $X \leftarrow X + hA(X)$, then $X \leftarrow X + hB(X)$: Lie-Trotter, order 1, the usual block;
    - `"parallel"`: $X + h(A + B)(X)$: explicit Euler, order 1;
    - `"strang"`: half a step of `B`, one of `A`, half a one of `B`, each by Heun's method: order 2.

    With `norm="post"` the norm follows each sum, $\mathrm{LN}(X + hA(X))$. With weights in the norm that is no small
    step of anything: it is then read as explicit Euler of $\dot X = (\Phi(X) - X)/h$ with the block $\Phi$, whose
    step is as long as the time in which it relaxes. With `norm="sphere"` the norms have no weights and keep every
    token on the sphere of mean 0 and variance 1: Euler steps with retraction, whose flow has the velocity's tangential
    part.

    ??? cite "References"

        A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017. R. Xiong et al., *On Layer
        Normalization in the Transformer Architecture*, ICML 2020. B. Geshkovski, C. Letrouit, Y. Polyanskiy and P.
        Rigollet, *A Mathematical Perspective on Transformers*, Bulletin of the AMS 62 (2025).
    """

    embed: eqx.nn.Linear
    positions: Float[Array, "n w"]
    blocks: TransformerBlock
    norm: eqx.nn.LayerNorm
    readout: eqx.nn.Linear
    depth: int = eqx.field(static=True)
    horizon: float = eqx.field(static=True)

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
        order: str = "sequential",
        norm: str = "pre",
        activation: str = "gelu",
        causal: bool = False,
        horizon: float | None = None,
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
        - `order`: `"sequential"`, `"parallel"` or `"strang"`, as above.
        - `norm`: `"pre"`, or with the sequential order `"post"` or `"sphere"`.
        - `activation`: `"gelu"` (the tanh form), `"exact-gelu"`, `"relu"`, `"silu"` or `"tanh"`.
        - `causal`: whether a token sees only those before it and itself.
        - `horizon`: $T$, by default `depth`. A block adds $T/L$ times its update.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, `heads` does not divide `width`, a name is not known, or
        `order` and `norm` do not go together.
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
        horizon = float(depth if horizon is None else horizon)
        if not (math.isfinite(horizon) and horizon > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {horizon!r}.")
        embed_key, positions_key, blocks_key, readout_key = jax.random.split(key, 4)
        self.embed = eqx.nn.Linear(in_size, width, key=embed_key)
        self.positions = 0.1 * jax.random.normal(positions_key, (n_tokens, width))
        self.blocks = draw_blocks(
            width, heads, hidden, depth, activation=activation, order=order, norm=norm, causal=causal, key=blocks_key
        )
        self.norm = eqx.nn.LayerNorm(width)
        self.readout = eqx.nn.Linear(width, out_size, key=readout_key)
        self.depth, self.horizon = depth, horizon

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
        return self.blocks.scheme

    @property
    def expected_order(self) -> float:
        return self.blocks.expected_order

    def __call__(self, x: Float[Array, "n in_size"]) -> Float[Array, " out_size"]:
        """The logits of one sequence of `n_tokens` elements."""

        def layer(z, weights):
            return self.block(weights).whole(z, self.layer_time), None

        return self.finish(jax.lax.scan(layer, self.start(x), self.layers(x))[0])

    def start(self, x: Float[Array, "n in_size"]) -> Float[Array, "n w"]:
        return self.blocks.settle(affine(self.embed, x) + self.positions)

    def layers(self, x: Float[Array, "n in_size"] | None) -> Any:
        return eqx.filter(self.blocks, eqx.is_array)

    def block(self, layer: Any) -> TransformerBlock:
        """One layer."""
        return eqx.combine(layer, eqx.filter(self.blocks, eqx.is_array, inverse=True))

    def velocity(self, s: ScalarLike, z: Float[Array, "n w"], layer: Any) -> Float[Array, "n w"]:
        return self.block(layer).velocity(z, self.layer_time)

    def step(self, s: ScalarLike, z: Float[Array, "n w"], h: ScalarLike, layer: Any) -> Float[Array, "n w"]:
        return self.block(layer).step(z, h, self.layer_time)

    def settle(self, z: Float[Array, "n w"], layer: Any) -> Float[Array, "n w"]:
        return self.blocks.settle(z)

    def finish(self, z: Float[Array, "n w"]) -> Float[Array, " out_size"]:
        return affine(self.readout, jnp.mean(layer_norm(self.norm, z), axis=0))

    def head_entropies(self, x: Float[Array, "n in_size"]) -> Float[Array, "depth heads"]:
        r"""The entropy of each head as a Gibbs measure over the tokens, in nats, the mean over the tokens that read.

        From 0, where every token reads a single one, to $\log n$, where all read the plain mean.
        """

        def layer(z, weights):
            block = self.block(weights)
            entropies = jnp.mean(gibbs_entropy(block.attention.gibbs(block.attention_input(z))), axis=-1)
            return block.whole(z, self.layer_time), entropies

        return jax.lax.scan(layer, self.start(x), self.layers(x))[1]
