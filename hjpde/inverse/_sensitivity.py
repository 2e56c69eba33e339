"""The derivative of the forward map: its two products, its singular values."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._forward_map import ForwardMap


@eqx.filter_jit
def observed(forward: ForwardMap, z: Float[Array, " P"]) -> Float[Array, " n"]:
    """$F(z)$."""
    return forward(z)


@eqx.filter_jit
def derivative(forward: ForwardMap, z: Float[Array, " P"], direction: Float[Array, " P"]) -> Float[Array, " n"]:
    """$F'(z)\\,h$ for a direction `h`."""
    return jax.jvp(forward, (z,), (direction,))[1]


@eqx.filter_jit
def adjoint(forward: ForwardMap, z: Float[Array, " P"], weights: Float[Array, " n"]) -> Float[Array, " P"]:
    """$F'(z)^\\top w$ for weights `w` of the samples."""
    return jax.vjp(forward, z)[1](weights)[0]


def linear_operator(forward: ForwardMap, z: Float[Array, " P"]) -> Any:
    """$F'(z)$ as a `scipy.sparse.linalg.LinearOperator`."""
    from scipy.sparse.linalg import LinearOperator

    dtype = np.dtype(z.dtype)
    return LinearOperator(
        (forward.u.shape[0], z.shape[0]),
        matvec=lambda h: np.asarray(derivative(forward, z, jnp.asarray(h, dtype).reshape(-1))),  # pyright: ignore
        rmatvec=lambda w: np.asarray(adjoint(forward, z, jnp.asarray(w, dtype).reshape(-1))),  # pyright: ignore
        dtype=dtype,  # pyright: ignore
    )


class Singular(NamedTuple):
    """The largest singular values of $F'(z)$, falling, with the directions of the unknowns, one a row."""

    values: Float[np.ndarray, " k"]
    directions: Float[np.ndarray, "k P"]


def singular_values(forward: ForwardMap, z: Float[Array, " P"], k: int) -> Singular:
    r"""The `k` largest, by Lanczos' method for $F'F'^\top$ (ARPACK): some `2k` products, no Jacobian.

    ??? cite "References"

        G. Golub and W. Kahan, *Calculating the singular values and pseudo-inverse of a matrix*, SIAM J. Numer.
        Anal. 2, 1965.
    """
    from scipy.sparse.linalg import svds

    n, p = forward.u.shape[0], z.shape[0]
    dtype = np.dtype(z.dtype)
    if k >= min(n, p):
        rows = np.stack([np.asarray(adjoint(forward, z, row)) for row in jnp.eye(n, dtype=z.dtype)])
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        return Singular(values[:k], directions[:k])
    operator = linear_operator(forward, z)
    # A start of its own, so that the result is a function of the arguments.
    start = np.random.default_rng(0).standard_normal(min(n, p)).astype(dtype)
    _, values, directions = svds(operator, k=k, v0=start)
    assert directions is not None
    order = np.argsort(values)[::-1]
    return Singular(values[order], directions[order])
