"""Cholesky's factor of a matrix that may be singular."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def semidefinite_root(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    r"""A lower triangular `L` with $LL^\top$ the symmetric positive semidefinite matrix.

    A pivot that is 0 to rounding gives a column of zeros; elsewhere `L` is differentiable.
    """
    d = matrix.shape[0]
    rounding = d * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(jnp.diagonal(matrix)))

    def column(j: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        root, rest = state
        pivot = rest[j, j]
        regular = pivot > rounding
        scale = jnp.sqrt(jnp.where(regular, pivot, 1))
        entries = jnp.where(regular & (jnp.arange(d) >= j), rest[:, j] / scale, 0)
        return root.at[:, j].set(entries), rest - entries[:, None] * entries[None, :]

    return jax.lax.fori_loop(0, d, column, (jnp.zeros_like(matrix), matrix))[0]
