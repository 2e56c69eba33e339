r"""The sum of a Gaussian over the integers, a theta function of Jacobi's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar


def log_gaussian_sum(q: Scalar, offset: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\log \sum_{k \in \mathbb{Z}} e^{-q(k + o)^2}$, to rounding for every $q > 0$; differentiable in both.

    Three terms on either side of the largest, or, where $q < \pi$, three terms of Poisson's formula

    $$\sum_k e^{-q(k + o)^2} = \sqrt{\pi/q}\,\Bigl(1 + 2 \sum_{k \ge 1} e^{-\pi^2 k^2/q} \cos 2\pi k o\Bigr).$$

    **Arguments:**

    - `q`: the Gaussian's sharpness.
    - `offset`: `o`, of any shape, in $[-1/2, 1/2]$.

    ??? cite "References"

        E. T. Whittaker and G. N. Watson, *A Course of Modern Analysis*, 4th ed., Cambridge, 1927, Section 21.51.
    """
    return jnp.where(q > math.pi, _direct(q, offset), _poisson(q, offset))


def _direct(q: Scalar, offset: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    k = np.arange(-3, 4).reshape(-1, *[1] * offset.ndim).astype(offset.dtype)
    return jax.nn.logsumexp(-q * (k + offset[None]) ** 2, axis=0)


def _poisson(q: Scalar, offset: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    # Below 0.1 the terms are less than rounding, and above pi the other sum is taken: no derivative overflows.
    decay = math.pi**2 / jnp.clip(q, 0.1, math.pi)
    waves = sum(jnp.exp(-(k**2) * decay) * jnp.cos(2 * math.pi * k * offset) for k in (1, 2, 3))
    return (math.log(math.pi) - jnp.log(q)) / 2 + jnp.log1p(2 * waves)
