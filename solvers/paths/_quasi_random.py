"""Points that fill a cube evenly, in any number and dimension, without a random key."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def kronecker_points(n: int, d: int, dtype: jnp.dtype) -> Float[Array, "n d"]:
    r"""The first `n` points of the sequence $\{\tfrac12 + k\alpha\}$ in $[0, 1)^d$.

    $\alpha_i = \varphi^{-i}$ with $\varphi^{d+1} = \varphi + 1$, which for `d = 1` is the golden section.

    ??? cite "References"

        H. Niederreiter, *Random Number Generation and Quasi-Monte Carlo Methods*, SIAM, 1992, Chapter 3, for
        sequences of this kind.
    """
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (d + 1))
    alpha = ratio ** -np.arange(1.0, d + 1)
    return jnp.asarray((0.5 + np.arange(1, n + 1)[:, None] * alpha[None]) % 1, dtype)
