"""What all networks share."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

Activation = Literal["gelu", "exact-gelu", "relu", "silu", "tanh"]
"""The activations by name; "gelu" is its tanh form, 1e-4 off the exact one."""


def parameter_count(module: Any) -> int:
    """The number of real parameters of a module: the entries of its floating-point arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))


def require_positive(**sizes: int) -> None:
    """Raises a `ValueError` that names the first size below one."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1, got {size}.")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises a `ValueError` that names the argument if `value` is none of the `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")


def activate(x: Float[Array, "..."], activation: Activation) -> Float[Array, "..."]:
    """The activation of that name, elementwise."""
    match activation:
        case "gelu":
            return jax.nn.gelu(x)
        case "exact-gelu":
            return jax.nn.gelu(x, approximate=False)
        case "relu":
            return jax.nn.relu(x)
        case "silu":
            return jax.nn.silu(x)
        case "tanh":
            return jnp.tanh(x)


def along_last(values: Inexact[Array, " a"], like: Array) -> Inexact[Array, "..."]:
    """`values` repeated along the leading axes of `like`; broadcasting is never left to chance."""
    return jnp.broadcast_to(values, like.shape)


def affine(layer: eqx.nn.Linear, x: Float[Array, "*rows a"]) -> Float[Array, "*rows b"]:
    """`layer` along the last axis of `x`; in this order, batches of small products need no transposes."""
    assert layer.bias is not None
    y = x @ layer.weight.T
    return y + along_last(layer.bias, y)


def layer_norm(norm: eqx.nn.LayerNorm, x: Float[Array, "*rows a"]) -> Float[Array, "*rows a"]:
    """`norm` along the last axis of `x`."""
    assert norm.weight is not None
    assert norm.bias is not None
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(variance + norm.eps)
    return scaled * along_last(norm.weight, x) + along_last(norm.bias, x)
