r"""The convolution with a Gaussian in the log domain: a soft (min,+) convolution with a parabola.

$$(g * \kappa)_i = -\varepsilon \log
  \frac{\sum_k \exp(-(g_{i+k} + \kappa k^2)/\varepsilon)}{\sum_k \exp(-\kappa k^2/\varepsilon)},
  \qquad k \in \mathbb{Z},$$

along one axis, beyond whose ends the values go on periodically or linearly. As $\varepsilon \to 0$ it tends to
$\min_k g_{i+k} + \kappa k^2$. The denominator keeps constants on the coarsest grid; where the Gaussian is wider than
the spacing it is $\sqrt{\pi\varepsilon/\kappa}$ to rounding.

**Tiles.** The shifts are cut into runs of `B`: $k = DB + b - a$ leads from place `a` of a tile to place `b` of the tile
that lies `D` further. As $k^2 = (DB)^2 + 2DB(b - a) + (b - a)^2$, the sum over `b` is a product with a small matrix:

$$e^{-\kappa((DB)^2 - 2DBa)/\varepsilon} \sum_b e^{-\kappa(a - b)^2/\varepsilon} \cdot
  e^{-(g_b + 2\kappa DBb)/\varepsilon}.$$

With the least of $g_b + 2\kappa DBb$ taken out, one factor on the right is 1 and so the sum at least
$e^{-\kappa(B-1)^2/\varepsilon}$: whether it underflows depends on `B` and $\kappa/\varepsilon$, never on the data. The
whole axis as one tile is a plain product with a matrix; `B = 1` holds for the sharpest Gaussian.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._types import Scalar

from ._gaussian_sum import log_gaussian_sum

Lines = Float[Array, "n lines"]


def tile_sizes(n: int) -> tuple[int, ...]:
    """The tiles to choose from, from the whole axis of `n` nodes down to 1."""
    return (n, *(tile for tile in (32, 8, 1) if 2 * tile <= n))


def sharpest(n: int, tile: int, periodic: bool, dtype: jnp.dtype) -> float:
    r"""The largest $\kappa/\varepsilon$ at which a tile keeps all digits of the dtype; infinite for a tile of 1."""
    if tile == 1:
        return np.inf
    info = jnp.finfo(dtype)
    exponents = float(-np.log(info.tiny) + np.log(info.eps)) - 10  # for the number of terms
    distance = tile - 1 if tile < n else n // 2 if periodic else 2 * n - 1
    return exponents / distance**2


def negligible(dtype: jnp.dtype) -> float:
    r"""The exponent below which a tail of a sum is less than its rounding."""
    return 2 - float(np.log(jnp.finfo(dtype).eps))


def log_convolution(g: Lines, kappa: Scalar, epsilon: Scalar, tile: int, periodic: bool) -> Lines:
    r"""$g * \kappa$ along the first axis, differentiable in all three to every order, in both modes.

    **Arguments:**

    - `g`: the values, shape `(n, lines)`.
    - `kappa`: the parabola's strength at the distance of one node, $\Delta x^2/(4At)$, in units of `g`.
    - `epsilon`: the temperature, in units of `g`.
    - `tile`: one of `tile_sizes(n)`; $\kappa/\varepsilon$ at most its `sharpest`.
    - `periodic`: whether the values wrap; else they go on beyond both ends with the slope that they have there, for as
      far as the axis is long.
    """
    convolve = _by_matrix if tile == g.shape[0] else _by_tiles
    return convolve(g, kappa, epsilon, tile, periodic) + epsilon * log_gaussian_sum(
        kappa / epsilon, jnp.zeros_like(kappa)
    )


def _by_matrix(g: Lines, kappa: Scalar, epsilon: Scalar, tile: int, periodic: bool) -> Lines:
    """The whole axis as one tile, of which a periodic one is summed over all its images."""
    n = tile
    sources = g if periodic else continued(g, n, n, periodic)
    least = jax.lax.stop_gradient(jnp.min(sources, axis=0, keepdims=True))
    if periodic:
        offsets = (np.arange(n) + n // 2) % n - n // 2
        kernel = jnp.exp(log_gaussian_sum(kappa / epsilon * n**2, jnp.asarray(offsets / n, g.dtype)))
    else:
        kernel = jnp.exp(-kappa / epsilon * np.arange(-2 * n, 2 * n).astype(g.dtype) ** 2)
    shifts = np.arange(len(sources))[None, :] - np.arange(n)[:, None]
    matrix = kernel[shifts % n if periodic else shifts + n]
    return least - epsilon * jnp.log(_product(matrix, jnp.exp((least - sources) / epsilon)))


def _by_tiles(g: Lines, kappa: Scalar, epsilon: Scalar, tile: int, periodic: bool) -> Lines:
    """Tile by tile, over the shifts that matter."""
    n, lines = g.shape
    count = -(-n // tile)
    sources = continued(g, count * tile, 2 * count * tile - n, periodic)
    # The place in the tile leads, so that the product is one of two matrices.
    sources = sources.reshape(3 * count, tile, lines).transpose(1, 0, 2)
    place = np.arange(tile).astype(g.dtype)[:, None, None]
    near = jnp.exp(-kappa / epsilon * (place[:, 0] - place[:, 0].T) ** 2)

    def lowered(sources: Array, kappa: Scalar, D: Int[Array, ""]) -> tuple[Array, Array]:
        """The tilted values of the tiles `D` further, above their least, and that least as the target sees it."""
        shift = kappa * (D * tile).astype(g.dtype)
        tilted = jax.lax.dynamic_slice_in_dim(sources, count + D, count, axis=1) + 2 * shift * place
        least = jax.lax.stop_gradient(jnp.min(tilted, axis=0, keepdims=True))
        return tilted - least, least + shift * ((D * tile).astype(g.dtype) - 2 * place)

    fixed = jax.lax.stop_gradient((sources, kappa))
    last = _tiles_that_matter(g, kappa, epsilon, tile, periodic)
    # The largest exponent, up to the small matrix: a reference, whose derivatives cancel.
    reference = jax.lax.fori_loop(
        -last,
        last + 1,
        lambda D, r: jnp.minimum(r, lowered(*fixed, D)[1]),
        jnp.full((tile, count, lines), jnp.inf, g.dtype),
    )

    @jax.checkpoint
    def part(D: Int[Array, ""]) -> Array:
        above, base = lowered(sources, kappa, D)
        weights = jnp.exp(-above / epsilon).reshape(tile, -1)
        return jnp.exp((reference - base) / epsilon) * _product(near, weights).reshape(reference.shape)

    def add(total: Array, D: Int[Array, ""]) -> tuple[Array, None]:
        return total + jax.lax.cond(abs(D) <= last, part, lambda D: jnp.zeros_like(reference), D), None

    total = jax.lax.scan(add, jnp.zeros_like(reference), jnp.arange(-count, count + 1))[0]
    convolved = reference - epsilon * jnp.log(total)
    return convolved.transpose(1, 0, 2).reshape(count * tile, lines)[:n]


def _tiles_that_matter(g: Lines, kappa: Scalar, epsilon: Scalar, tile: int, periodic: bool) -> Int[Array, ""]:
    r"""How many tiles away sources still count.

    With differences of `g` of at most $\ell$ the exponent grows from $|k_0| = \ell/2\kappa$ on at least as
    $\kappa(k - k_0)^2$. On a circle of `n` nodes the source at `k` is also one at $|k| - n$.
    """
    n, dtype = g.shape[0], g.dtype
    g, kappa, q = jax.lax.stop_gradient((g, kappa, kappa / epsilon))
    tail = negligible(dtype)
    reach = steepest(g, periodic) / (2 * kappa) + jnp.sqrt(tail / q) + 1
    if periodic:
        reach = jnp.minimum(reach, n / 2 + tail / (2 * q * n))
    tiles = (reach + tile - 1) / tile
    count = -(-n // tile)
    return jnp.where(tiles < count, tiles, count).astype(int)


def steepest(g: Lines, periodic: bool) -> Scalar:
    """The largest difference between neighbours."""
    differences = jnp.diff(g, axis=0, append=g[:1]) if periodic else jnp.diff(g, axis=0)
    return jnp.max(jnp.abs(differences))


def continued(g: Lines, before: int, after: int, periodic: bool) -> Float[Array, "m lines"]:
    """The values with so many more at either end."""
    if periodic:
        return jnp.pad(g, ((before, after), (0, 0)), mode="wrap")
    down = np.arange(before, 0, -1).astype(g.dtype)[:, None]
    up = np.arange(1, after + 1).astype(g.dtype)[:, None]
    return jnp.concatenate([g[:1] + down * (g[:1] - g[1:2]), g, g[-1:] + up * (g[-1:] - g[-2:-1])])


def cut_off(g: Lines, kappa: Scalar, epsilon: Scalar) -> Scalar:
    r"""What part of a sum lies further beyond an end than linear values go on, at most: 0 where none does.

    Beyond an end with outward slope $\alpha$ a node the exponent is $h(k) = \alpha k + \kappa k^2$; the first left out
    is at $k = n + 1$.
    """
    n = g.shape[0]
    slope = jnp.minimum(jnp.min(g[0] - g[1]), jnp.min(g[-1] - g[-2]))
    best = jnp.maximum(-slope / (2 * kappa), 0)
    h: Callable[[Scalar | float], Scalar] = lambda k: slope * k + kappa * k**2  # noqa: E731
    return jnp.where(best < n, jnp.exp((h(best) - h(n + 1.0)) / epsilon), 1)


def _product(A: Float[Array, "m k"], B: Float[Array, "k n"]) -> Float[Array, "m n"]:
    return jnp.matmul(A, B, precision=jax.lax.Precision.HIGHEST)
