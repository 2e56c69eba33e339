"""Functions on a torus, written on the whole space."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def nearest_image(offset: Float[Array, "*shape"], period: float) -> Float[Array, "*shape"]:
    """The shortest of the offsets that agree up to multiples of `period`, in every component."""
    return offset - period * jnp.round(offset / period)
