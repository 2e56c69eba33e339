"""The largest and the least entry of an array, with derivatives that are safe under fusion."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar


@jax.custom_jvp
def largest(values: Float[Array, "..."]) -> Scalar:
    """The largest entry; its derivative is that of the first entry that attains it.

    jax differentiates a maximum by looking for the entries that equal it. Where XLA evaluates what stands inside a
    second time, rounded in another way, it finds none, and the derivative is 0/0. The position of the maximum cannot
    be missed.
    """
    return jnp.max(values)


@largest.defjvp
def _largest_jvp(primals, tangents):
    (values,), (tangent,) = primals, tangents
    return jnp.max(values), tangent.ravel()[jnp.argmax(values.ravel())]


@jax.custom_jvp
def least(values: Float[Array, "..."]) -> Scalar:
    """The least entry; its derivative is that of the first entry that attains it."""
    return jnp.min(values)


@least.defjvp
def _least_jvp(primals, tangents):
    (values,), (tangent,) = primals, tangents
    return jnp.min(values), tangent.ravel()[jnp.argmin(values.ravel())]
