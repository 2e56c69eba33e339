"""The affine functions $W_j \\cdot x + b_j$ that layers and planes are made of."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, as_float_array, require_finite


def as_affine_functions(
    slopes: ArrayInput,
    offsets: ArrayInput,
    names: tuple[str, str] = ("weights", "biases"),
) -> tuple[Float[Array, "N d"], Float[Array, " N"]]:
    r"""Slopes and offsets as arrays of one dtype; an offset of $-\infty$ masks its function.

    **Raises:** `ValueError` if the shapes disagree, there is no function, a slope is not finite, or an offset
    is NaN or $+\infty$.
    """
    weights = as_float_array(slopes, names[0], 2)
    biases = as_float_array(offsets, names[1], 1).astype(weights.dtype)
    if weights.shape[0] < 1 or weights.shape[1] < 1 or weights.shape[:1] != biases.shape:
        raise ValueError(
            f"`{names[0]}` must have shape (N, d) and `{names[1]}` (N,) with N, d >= 1, got "
            f"{weights.shape} and {biases.shape}."
        )
    require_finite(weights, names[0])
    require_finite(jnp.where(biases == -jnp.inf, 0, biases), names[1])
    return weights, biases
