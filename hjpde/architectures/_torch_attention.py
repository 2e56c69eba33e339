"""Attention, encoder layers and encoders from the weights of torch's, by their names there."""

import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._abstract import Activation
from ._attention import Attention
from ._self_attention import SelfAttention
from ._torch_weights import TorchWeights
from ._transformer_block import TransformerBlock
from ._transformer_encoder import TransformerEncoder

_PROJECTIONS = ("query", "key", "value")


def attention_from_torch(weights: TorchWeights, heads: int, causal: bool) -> Attention:
    """The network $X \\mapsto \\mathrm{Attn}(X)$ of a `torch.nn.MultiheadAttention` that reads its own tokens."""
    read = _read(weights, "", heads, causal)
    weights.done()
    return Attention.of(read, residual=False)


def encoder_from_torch(
    weights: TorchWeights,
    prefixes: list[str],
    *,
    heads: int,
    norm_first: bool,
    activation: Activation,
    eps: float,
    final_eps: float,
    causal: bool,
) -> TransformerEncoder:
    """The encoder whose layers' entries start with these prefixes; those of its final norm, with `norm.`."""
    options: dict[str, Any] = {"norm": "pre" if norm_first else "post", "activation": activation}
    blocks = [_block(weights, prefix, heads, causal, eps, options) for prefix in prefixes]
    norm = None
    if any(name.startswith("norm.") for name in weights.arrays):
        norm = _norm(weights, "norm", blocks[0].attention.query.shape[1], final_eps, "norm.bias" in weights.arrays)
    weights.done()
    shapes = [[leaf.shape for leaf in jax.tree.leaves(block)] for block in blocks]
    for prefix, shape in zip(prefixes, shapes, strict=True):
        if shape != shapes[0]:
            raise ValueError(f"`{prefix}linear1.weight` and its layer must have the shapes of the first layer's.")
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
    return TransformerEncoder(stacked, norm)


def layer_prefixes(weights: TorchWeights) -> list[str]:
    """`layers.0.`, `layers.1.`, ... as far as there are entries of that name.

    **Raises:** `ValueError` that names the first layer that is missing.
    """
    numbers = {int(match[1]) for name in weights.arrays if (match := re.match(r"layers\.(\d+)\.", name))}
    for k in range(max(numbers, default=0) + 1):
        if k not in numbers:
            raise ValueError(f"`layers.{k}.self_attn.in_proj_weight` is missing among the weights.")
    return [f"layers.{k}." for k in sorted(numbers)]


def _block(
    weights: TorchWeights, prefix: str, heads: int, causal: bool, eps: float, options: dict[str, Any]
) -> TransformerBlock:
    read = _read(weights, f"{prefix}self_attn.", heads, causal)
    width = read.query.shape[1]
    inner = weights.take(f"{prefix}linear1.weight", None, width)
    outer = weights.take(f"{prefix}linear2.weight", width, inner.shape[0])
    biased = any(name.startswith(prefix) and name.endswith("bias") for name in weights.arrays)
    return TransformerBlock(
        attention_norm=_norm(weights, f"{prefix}norm1", width, eps, biased),
        attention=read,
        perceptron_norm=_norm(weights, f"{prefix}norm2", width, eps, biased),
        inner=_linear(inner, _bias(weights, f"{prefix}linear1.bias", inner, biased)),
        outer=_linear(outer, _bias(weights, f"{prefix}linear2.bias", outer, biased)),
        **options,
    )


def _read(weights: TorchWeights, prefix: str, heads: int, causal: bool) -> SelfAttention:
    stacked = weights.take(f"{prefix}in_proj_weight", None, None)
    width = stacked.shape[1]
    if stacked.shape[0] != 3 * width:
        raise ValueError(f"`{prefix}in_proj_weight` must have shape (3 d, d), got {stacked.shape}.")
    if heads < 1 or width % heads:
        raise ValueError(f"`heads` must divide the width {width} of `{prefix}in_proj_weight`, got {heads}.")
    biases: dict[str, Any] = {}
    if any(f"{prefix}{name}" in weights.arrays for name in ("in_proj_bias", "out_proj.bias")):
        parts = jnp.split(weights.take(f"{prefix}in_proj_bias", 3 * width), 3)
        biases = {f"{name}_bias": part for name, part in zip(_PROJECTIONS, parts, strict=True)}
        biases["output_bias"] = weights.take(f"{prefix}out_proj.bias", width)
    query, key, value = jnp.split(stacked, 3)
    output = weights.take(f"{prefix}out_proj.weight", width, width)
    return SelfAttention(query, key, value, output, heads=heads, causal=causal, **biases)


def _norm(weights: TorchWeights, name: str, width: int, eps: float, biased: bool) -> eqx.nn.LayerNorm:
    scale = weights.take(f"{name}.weight", width)
    empty = eqx.filter_eval_shape(eqx.nn.LayerNorm, width, eps)
    return eqx.tree_at(lambda n: (n.weight, n.bias), empty, (scale, _bias(weights, f"{name}.bias", scale, biased)))


def _bias(weights: TorchWeights, name: str, like: Array, biased: bool) -> Array:
    """Zeros stand for the biases that torch leaves out with `bias=False`."""
    return weights.take(name, like.shape[0]) if biased else jnp.zeros(like.shape[0], like.dtype)


def _linear(weight: Array, bias: Array) -> eqx.nn.Linear:
    rows, columns = weight.shape
    empty = eqx.filter_eval_shape(eqx.nn.Linear, columns, rows, key=jax.random.key(0))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), empty, (weight, bias))
