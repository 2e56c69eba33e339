"""Tiles of the query-by-neuron table: their size, the loop over them, and the two primitives inside a tile.

Nothing here knows of derivatives beyond that of `exp2`; the rules are in `_log_sum_exp.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

# A tile that stays in the cores' caches beats a larger one by 2 on a CPU; a GPU wants few large launches.
_TILE_ELEMENTS = {"cpu": 5 << 18}
_TILE_ELEMENTS_ELSEWHERE = 1 << 26
# Fewer rows than this starve the matrix product once it costs more than the exponentials.
_MIN_ROWS_WIDE = 256
_WIDE = 64
# Tables below this size are kept for the backward pass, which is then faster than recomputing them.
_KEEP_BYTES = 1 << 27
# The bias rides in the matrix product as one more column up to this dimension; above, that copies `W`.
_FOLD_BIAS = 32

# 2^f on |f| <= 1/2 (interpolation in Chebyshev nodes, relative error 2.5e-9 and 4.2e-18), low order first.
_EXP2_FLOAT32 = (1.0, 0.6931472067, 0.2402265092, 0.05550327227, 0.009618056679, 0.001340042818, 0.000154614447)
_EXP2_FLOAT64 = (
    *(1.0, 0.693147180559945309, 0.240226506959101596, 0.055504108664821627),
    *(0.00961812910758725667, 0.00133335581464064707, 0.000154035304637243542, 0.0000152527338415567726),
    *(1.32154325359123762e-6, 1.01780570877339411e-7, 7.07419429728852101e-9, 4.45581790833606449e-10),
)
# Per dtype: bits of the mantissa, the integers of the same width, the exponent of zero, the polynomial.
_EXP2 = {
    "float32": (23, jnp.int32, -127.0, _EXP2_FLOAT32),
    "float64": (52, jnp.int64, -1023.0, _EXP2_FLOAT64),
}


def matmul(a: Shaped[Array, "m k"], b: Shaped[Array, "k n"]) -> Shaped[Array, "m n"]:
    """`a @ b` in the full precision of its dtype: a GPU would silently round float32 to TF32."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _exp2_polynomial(t: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    # t = n + f, and adding 1.5 * 2^mantissa to n brings it to the low bits. At the lowest t the polynomial is 1 and
    # the bits of 2^n are 0, so that all smaller t give exactly 0. Power and scale are multiplied, not their bits
    # added, because jax drops `custom_jvp` rules in the backward pass of a loop: what is below must have the right
    # derivative by itself.
    mantissa, integer, lowest, coefficients = _EXP2[t.dtype.name]
    clamped = jnp.maximum(t, lowest)
    whole = jax.lax.round(clamped, jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    fraction = clamped - whole
    power = jnp.full_like(t, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        power = power * fraction + coefficient
    bits = jax.lax.bitcast_convert_type(whole + (1.5 * 2.0**mantissa - lowest), integer) << mantissa
    return power * jax.lax.bitcast_convert_type(bits, t.dtype)


@jax.custom_jvp
def exp2(t: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """$2^t$ for $t \\le 0$ (at most a few units above); exactly 0 where the result would be subnormal.

    On a CPU XLA's own exponential costs more than the rest of a tile, and this polynomial a third of it.
    """
    if t.dtype.name not in _EXP2:
        return jnp.exp2(t)
    return jax.lax.platform_dependent(t, cpu=_exp2_polynomial, default=jnp.exp2)


@exp2.defjvp
def _exp2_jvp(primals, tangents):
    (t,), (dt,) = primals, tangents
    out = exp2(t)
    return out, out * dt * math.log(2.0)


def row_max(z: Shaped[Array, "m n"]) -> Shaped[Array, " m"]:
    """The maximum of each row; the first halvings are elementwise, as a reduction vectorises badly on a CPU."""
    width, parts = z.shape[1], 8
    if width < 64 * parts:
        return z.max(1)
    part = -(-width // parts)
    folded = z[:, :part]
    for k in range(1, parts):
        start = min(k * part, width - part)
        folded = jnp.maximum(folded, z[:, start : start + part])
    return folded.max(1)


def logits(X: Float[Array, "m d"], weights: Float[Array, "N d"], biases: Float[Array, " N"]) -> Float[Array, "m N"]:
    """$X W^\\top + b$."""
    if weights.shape[1] > _FOLD_BIAS:
        return matmul(X, weights.T) + biases[None, :]
    ones = jnp.ones((X.shape[0], 1), X.dtype)
    folded = jnp.concatenate([weights, biases[:, None]], axis=1)
    return matmul(jnp.concatenate([X, ones], axis=1), folded.T)


def keeps_table(n_queries: int, n_neurons: int, dtype: Any) -> bool:
    """Whether the whole query-by-neuron table is small enough to be kept for a backward pass."""
    return n_queries * n_neurons * jnp.dtype(dtype).itemsize <= _KEEP_BYTES


def tile_rows(n_queries: int, weights_shape: tuple[int, ...], dtype: Any, lanes: int = 1) -> int:
    """Queries in a tile, at least 1: as many as fit the cache, more where the matrix product needs them.

    `lanes` is the number of tiles that live at once, under `jax.vmap`.
    """
    n_neurons, dimension = weights_shape
    elements = _TILE_ELEMENTS.get(jax.default_backend(), _TILE_ELEMENTS_ELSEWHERE)
    elements = elements * 4 // max(4, jnp.dtype(dtype).itemsize)
    rows = max(4, elements // (n_neurons * lanes))
    if dimension >= _WIDE:
        rows = max(rows, min(_MIN_ROWS_WIDE, 4 * elements // (n_neurons * lanes)))
    tiles = -(-n_queries // rows)
    even = -(-n_queries // tiles)
    return min(n_queries, -(-even // 8) * 8)


def over_rows(tile: Callable, rows: int, arrays: Any) -> Any:
    """`tile` over blocks of `rows` leading entries of all `arrays`, results joined; one call if all fit one.

    The last block is filled up with zeros, whose results are dropped.
    """
    n_queries = jax.tree.leaves(arrays)[0].shape[0]
    n_tiles = -(-n_queries // rows)
    if n_tiles == 1:
        return tile(arrays)

    def split(array):
        fill = [(0, n_tiles * rows - n_queries)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, fill).reshape(n_tiles, rows, *array.shape[1:])

    def join(array):
        return array.reshape(n_tiles * rows, *array.shape[2:])[:n_queries]

    return jax.tree.map(join, jax.lax.map(tile, jax.tree.map(split, arrays)))
