"""The blocks of a transformer alone: tokens in, tokens out."""

import math
from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from hjpde._types import ScalarLike

from ._abstract import layer_norm
from ._architecture import AbstractArchitecture
from ._transformer_block import TransformerBlock


@final
class TransformerEncoder(AbstractArchitecture):
    """The flow of tokens through the blocks of a transformer, without what reads them in and out.

    It is what `from_torch` makes of an encoder, and what the `blocks` of a `Transformer` are by themselves; see there
    for the ways in which a block is a step.
    """

    blocks: TransformerBlock
    norm: eqx.nn.LayerNorm | None
    horizon: float = eqx.field(static=True)

    def __init__(self, blocks: TransformerBlock, norm: eqx.nn.LayerNorm | None = None, horizon: float | None = None):
        """**Arguments:**

        - `blocks`: the layers, stacked on a leading axis.
        - `norm`: a layer norm of the final tokens.
        - `horizon`: $T$, by default the number of blocks, so that each adds its whole update.

        **Raises:** `ValueError` if `blocks` are of another type or not stacked, or `horizon` is not positive.
        """
        if not isinstance(blocks, TransformerBlock) or blocks.inner.weight.ndim != 3:
            raise ValueError("`blocks` must be a `TransformerBlock` with a leading axis, as a `Transformer` holds it.")
        horizon = float(blocks.inner.weight.shape[0] if horizon is None else horizon)
        if not (math.isfinite(horizon) and horizon > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {horizon!r}.")
        self.blocks, self.norm, self.horizon = blocks, norm, horizon

    @property
    def layer_count(self) -> int:
        return self.blocks.inner.weight.shape[0]

    @property
    def layer_time(self) -> float:
        return self.horizon / self.layer_count

    @property
    def input_ndim(self) -> int:
        return 2

    @property
    def scheme(self) -> str:
        return self.blocks.scheme

    @property
    def expected_order(self) -> float:
        return self.blocks.expected_order

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        """The tokens after the last block."""

        def layer(z, weights):
            return self.block(weights).whole(z, self.layer_time), None

        return self.finish(jax.lax.scan(layer, self.start(x), self.layers(x))[0])

    def start(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        return self.blocks.settle(x)

    def layers(self, x: Float[Array, "n w"] | None) -> Any:
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

    def finish(self, z: Float[Array, "n w"]) -> Float[Array, "n w"]:
        return z if self.norm is None else layer_norm(self.norm, z)
