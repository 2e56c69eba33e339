r"""The streaming kernel: the log-sum-exp of `N` affine functions at `M` points, its gradient, curvature, entropy.

Memory is `O((M + N) d)`: the `M x N` table is walked in tiles whose size follows from shapes and dtype, unless it is
small. All functions are differentiable to any order, in every argument, under `jax.jit` and `jax.vmap`. The rules are
in `_log_sum_exp_rules.py`.

Throughout, $z_j = W_j \cdot x + b_j$ and $\pi_j = \exp(z_j / \varepsilon) / \sum_k \exp(z_k / \varepsilon)$, the Gibbs
weights. A neuron with bias `-inf` is masked: its weight is exactly 0, in all derivatives too.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ._log_sum_exp_rules import (
    batched_over_queries,
    covariance_product,
    stream_entropy,
    stream_mean,
    stream_value,
)
from ._streaming import logits, over_rows, tile_rows
from ._types import ScalarLike, as_float_array, is_concrete

_covariance_product = jax.jit(covariance_product)


def _checked(
    X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike
) -> tuple[Array, Array, Array, Array]:
    """The four arguments as arrays of one dtype, or a `ValueError` that names the wrong one."""
    X, weights = as_float_array(X, "X", 2), as_float_array(weights, "weights", 2)
    biases, viscosity = as_float_array(biases, "biases", 1), as_float_array(viscosity, "viscosity")
    if weights.shape[0] < 1:
        raise ValueError(f"`weights` must have shape (N, d) with N >= 1, got {weights.shape}.")
    if biases.shape != weights.shape[:1]:
        raise ValueError(f"`biases` must have shape {weights.shape[:1]} as `weights`, got {biases.shape}.")
    if X.shape[1] != weights.shape[1]:
        raise ValueError(f"`X` must have shape (M, {weights.shape[1]}) as `weights`, got {X.shape}.")
    if viscosity.shape != ():
        raise ValueError(f"`viscosity` must be a scalar, got shape {viscosity.shape}.")
    dtype = jnp.result_type(X, weights, biases)
    viscosity = viscosity.astype(dtype)
    if is_concrete(viscosity) and not float(viscosity) > 0:
        raise ValueError(f"`viscosity` must be positive in {dtype.name}, got {viscosity}; at 0 use `maximum`.")
    return X.astype(dtype), weights.astype(dtype), biases.astype(dtype), viscosity


def _per_query(vectors: ArrayLike, X: Array) -> Array:
    vectors = as_float_array(vectors, "vectors", 2)
    if vectors.shape != X.shape:
        raise ValueError(f"`vectors` must have shape {X.shape} as `X`, got {vectors.shape}.")
    return vectors.astype(X.dtype)


def log_sum_exp(X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike) -> Float[Array, " M"]:
    r"""The log-sum-exp layer at `M` points,

    $$f(x) = \varepsilon \log \sum_{j=1}^{N} \exp\bigl((W_j \cdot x + b_j) / \varepsilon\bigr).$$

    Its gradient in `X` costs one pass together with the value, its Hessian-vector product one more. The rounding
    error is a few units in the last place of $\max_j(\sum_k |W_{jk} x_k| + |b_j|) + \varepsilon\log N$.

    One limit: calls with at most 32 points and more than 256 neurons cannot be differentiated twice in reverse mode, in
    `X`, through a `jax.lax.scan` around them (jax drops the derivative rule there and raises a `ValueError`). Forward
    over reverse mode (`jax.jvp` of `jax.grad`) works.

    **Arguments:**

    - `X`: points, shape `(M, d)`.
    - `weights`: slopes $W$, shape `(N, d)`, in units of `f` per unit of `x`; finite.
    - `biases`: offsets $b$, shape `(N,)`, in units of `f`; `-inf` masks a neuron.
    - `viscosity`: $\varepsilon > 0$, in units of `f`; may be traced. From 1e-6 to 1e3 nothing overflows, in float32
        either.

    **Returns:** shape `(M,)`, in the common dtype of `X`, `weights` and `biases`; `-inf` if all neurons are masked.

    **Raises:** `ValueError` if shapes disagree, there is no neuron, or `viscosity` is known and not positive.

    ??? cite "References"

        S. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge University Press, 2004, Section 3.1.5.
        Tiles and recomputation: T. Dao et al., *FlashAttention*, NeurIPS 2022, Section 3.
    """
    X, *parameters = _checked(X, weights, biases, viscosity)
    if X.shape[0] == 0:
        return jnp.zeros(0, X.dtype)
    return stream_value(X, *parameters)


def gibbs_mean(
    X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike, values: ArrayLike
) -> Float[Array, "M k"]:
    r"""The mean of a per-neuron vector under the Gibbs weights, $\sum_j \pi_j(x) V_j$: an attention read.

    With `values = weights` it is the gradient of `log_sum_exp` in `X`.

    **Arguments:**

    - `X`, `weights`, `biases`, `viscosity`: as for `log_sum_exp`.
    - `values`: one vector a neuron, shape `(N, k)`, in any unit, which is the result's; finite.

    **Returns:** shape `(M, k)`; 0 if all neurons are masked.

    **Raises:** `ValueError` as `log_sum_exp`, or if `values` has another shape.
    """
    X, weights, *rest = _checked(X, weights, biases, viscosity)
    values = as_float_array(values, "values", 2)
    if values.shape[0] != weights.shape[0]:
        raise ValueError(f"`values` must have shape ({weights.shape[0]}, k) as `weights`, got {values.shape}.")
    if X.shape[0] == 0:
        return jnp.zeros((0, values.shape[1]), X.dtype)
    return stream_mean(X, weights, *rest, values.astype(X.dtype))


def gibbs_entropy(X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike) -> Float[Array, " M"]:
    r"""The entropy of the Gibbs weights, $-\sum_j \pi_j \log \pi_j = \partial f / \partial \varepsilon$, in nats.

    It lies in $[0, \log N]$; its exponential counts the neurons that share a point.

    **Arguments:**

    - `X`, `weights`, `biases`, `viscosity`: as for `log_sum_exp`.

    **Returns:** shape `(M,)`; 0 if all neurons are masked.

    **Raises:** `ValueError` as `log_sum_exp`.
    """
    X, *parameters = _checked(X, weights, biases, viscosity)
    if X.shape[0] == 0:
        return jnp.zeros(0, X.dtype)
    return stream_entropy(X, *parameters)


def covariance_vector_product(
    X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike, vectors: ArrayLike
) -> Float[Array, "M d"]:
    r"""The covariance of the slopes under the Gibbs weights, times a vector a point,

    $$\mathrm{Cov}_\pi(W)\, v = \sum_j \pi_j (W_j - \bar W)\,\bigl((W_j - \bar W) \cdot v\bigr),
    \qquad \bar W = \nabla f.$$

    No `d x d` array is formed when `d` is large.

    **Arguments:**

    - `X`, `weights`, `biases`, `viscosity`: as for `log_sum_exp`.
    - `vectors`: one vector a point, shape `(M, d)`.

    **Returns:** shape `(M, d)`, in units of `weights`, squared, times those of `vectors`.

    **Raises:** `ValueError` as `log_sum_exp`, or if `vectors` has another shape than `X`.
    """
    X, *parameters = _checked(X, weights, biases, viscosity)
    vectors = _per_query(vectors, X)
    if X.shape[0] == 0:
        return jnp.zeros_like(X)
    return _covariance_product(X, *parameters, vectors)


def hessian_vector_product(
    X: ArrayLike, weights: ArrayLike, biases: ArrayLike, viscosity: ScalarLike, vectors: ArrayLike
) -> Float[Array, "M d"]:
    r"""$\nabla^2 f(x)\, v = \mathrm{Cov}_\pi(W)\, v / \varepsilon$, one vector a point, in one pass.

    **Arguments:**

    - `X`, `weights`, `biases`, `viscosity`: as for `log_sum_exp`.
    - `vectors`: one vector a point, shape `(M, d)`.

    **Returns:** shape `(M, d)`.

    **Raises:** `ValueError` as `log_sum_exp`, or if `vectors` has another shape than `X`.
    """
    X, weights, biases, viscosity = _checked(X, weights, biases, viscosity)
    return covariance_vector_product(X, weights, biases, viscosity, vectors) / viscosity


@partial(jax.jit, static_argnames="steps")
def _spectral_norm(X, weights, biases, viscosity, key, steps):
    """Lanczos' tridiagonal matrices, one a query, and their largest eigenvalues."""

    def normalised(vector):
        size = jnp.sqrt((vector**2).sum(1, keepdims=True))
        return jnp.where(size > 0, vector / jnp.where(size > 0, size, 1.0), 0.0), size

    start, _ = normalised(jax.random.normal(key, X.shape, X.dtype))

    def step(carry, _):
        previous, current, beta = carry
        image = covariance_product(X, weights, biases, viscosity, current)
        alpha = (image * current).sum(1, keepdims=True)
        following, size = normalised(image - alpha * current - beta * previous)
        return (current, following, size), (alpha[:, 0], size[:, 0])

    initial = (jnp.zeros_like(X), start, jnp.zeros((X.shape[0], 1), X.dtype))
    _, (alphas, betas) = jax.lax.scan(step, initial, length=steps)
    if steps == 1:
        return alphas[0] / viscosity
    largest = partial(
        jax.scipy.linalg.eigh_tridiagonal, eigvals_only=True, select="i", select_range=(steps - 1, steps - 1)
    )
    return jax.vmap(largest, in_axes=(1, 1))(alphas, betas[:-1])[:, 0] / viscosity


def hessian_spectral_norm(
    X: ArrayLike,
    weights: ArrayLike,
    biases: ArrayLike,
    viscosity: ScalarLike,
    *,
    key: PRNGKeyArray,
    steps: int = 48,
) -> Float[Array, " M"]:
    r"""The largest eigenvalue of $\nabla^2 f(x)$, by Lanczos iteration on `covariance_vector_product`.

    Matrix-free, with memory `O(M (d + steps) + N d)`. The estimate never exceeds the true value but for rounding. It
    is exact to rounding when `steps` reaches `d`; else its mean relative error over the random start is at most
    `0.103 (log(d (steps - 1)^2) / (steps - 1))^2` (0.9 % for `d = 784` and the default), and in practice far less.

    **Arguments:**

    - `X`, `weights`, `biases`, `viscosity`: as for `log_sum_exp`.
    - `key`: a jax key, for the start vectors.
    - `steps`: number of Hessian-vector products, at most; no more than `d` are made.

    **Returns:** shape `(M,)`, in units of `f` per squared unit of `x`.

    **Raises:** `ValueError` as `log_sum_exp`, or if `steps < 1`.

    ??? cite "References"

        J. Kuczynski and H. Wozniakowski, *Estimating the largest eigenvalue by the power and Lanczos algorithms with
        a random start*, SIAM J. Matrix Anal. Appl. 13 (1992), Theorem 3.2.
    """
    X, *parameters = _checked(X, weights, biases, viscosity)
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    if 0 in X.shape:
        return jnp.zeros(X.shape[0], X.dtype)
    return _spectral_norm(X, *parameters, key, min(steps, X.shape[1]))


@jax.jit
@batched_over_queries
def _winners(X, weights, biases, *, lanes):
    def tile(x):
        return jnp.argmax(logits(x, weights, biases), axis=1)

    return over_rows(tile, tile_rows(X.shape[0], weights.shape, X.dtype, lanes), X)


def maximum(X: ArrayLike, weights: ArrayLike, biases: ArrayLike) -> tuple[Float[Array, " M"], Int[Array, " M"]]:
    r"""$\max_j (W_j \cdot x + b_j)$ and the first $j$ that attains it: the layer at $\varepsilon = 0$.

    The value is differentiable; its gradient in `X` is the winner's slope.

    **Arguments:**

    - `X`, `weights`, `biases`: as for `log_sum_exp`.

    **Returns:** the values and the indices, both of shape `(M,)`.

    **Raises:** `ValueError` if shapes disagree or there is no neuron.
    """
    X, weights, biases, _ = _checked(X, weights, biases, 1.0)
    if X.shape[0] == 0:
        return jnp.zeros(0, X.dtype), jnp.zeros(0, jnp.int32)
    winners = jax.lax.stop_gradient(_winners(*jax.lax.stop_gradient((X, weights, biases))))
    return (X * weights[winners]).sum(1) + biases[winners], winners
