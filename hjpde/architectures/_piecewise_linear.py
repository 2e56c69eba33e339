"""Layers of maxima with a scalar output, exactly as differences of maxima of planes."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, require_finite

from ._arrangement import cell_bound, cells
from ._difference_of_maxima import DifferenceOfMaxima, Planes

MAX_PLANES = 1 << 16


@final
class MaxoutLayer(eqx.Module):
    r"""$f(x) = \sum_{i=1}^N a_i \max_{k \le K}(w_{ik} \cdot x + b_{ik}) + c$ for `d` inputs.

    ??? cite "References"

        I. J. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville and Y. Bengio, *Maxout Networks*, ICML 2013.
    """

    weights: Float[Array, "N K d"]
    biases: Float[Array, "N K"]
    amplitudes: Float[Array, " N"]
    constant: Float[Array, ""]

    def __init__(self, weights: ArrayInput, biases: ArrayInput, amplitudes: ArrayInput, constant: ScalarLike = 0.0):
        """**Arguments:**

        - `weights`: $w$, shape `(N, K, d)`.
        - `biases`: $b$, shape `(N, K)`.
        - `amplitudes`: $a$, shape `(N,)`.
        - `constant`: $c$.

        **Raises:** `ValueError` if the shapes disagree, or an array is empty or not finite.
        """
        self.weights, self.biases, self.amplitudes, self.constant = checked_units(
            weights, biases, amplitudes, constant, pieces=True
        )

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        return self.amplitudes @ jnp.max(self.weights @ x + self.biases, axis=1) + self.constant

    def difference(self, max_planes: int = MAX_PLANES) -> DifferenceOfMaxima:
        r"""`P - Q` with the planes of those choices of pieces that are active somewhere.

        A sum of maxima is the maximum over all $K^N$ choices of one piece a unit, of which few are ever active: each
        belongs to a cell of the arrangement of the hyperplanes where a unit switches.

        **Arguments:**

        - `max_planes`: refuse an arrangement that may have more cells.

        **Raises:** `ValueError` if it may; the weights have to be known, not traced.
        """
        return _difference(self.weights, self.biases, self.amplitudes, self.constant, max_planes)


@final
class ReLULayer(eqx.Module):
    r"""$f(x) = \sum_{i=1}^N a_i \max(w_i \cdot x + b_i, 0) + c$ for `d` inputs, one hidden layer of a ReLU network.

    ??? cite "References"

        L. Zhang, G. Naitzat and L.-H. Lim, *Tropical Geometry of Deep Neural Networks*, ICML 2018.
    """

    weights: Float[Array, "N d"]
    biases: Float[Array, " N"]
    amplitudes: Float[Array, " N"]
    constant: Float[Array, ""]

    def __init__(self, weights: ArrayInput, biases: ArrayInput, amplitudes: ArrayInput, constant: ScalarLike = 0.0):
        """**Arguments:**

        - `weights`: $w$, shape `(N, d)`.
        - `biases`: $b$, shape `(N,)`.
        - `amplitudes`: $a$, shape `(N,)`.
        - `constant`: $c$.

        **Raises:** `ValueError` if the shapes disagree, or an array is empty or not finite.
        """
        self.weights, self.biases, self.amplitudes, self.constant = checked_units(weights, biases, amplitudes, constant)

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        return self.amplitudes @ jnp.maximum(self.weights @ x + self.biases, 0) + self.constant

    def difference(self, max_planes: int = MAX_PLANES) -> DifferenceOfMaxima:
        r"""`P - Q`, `P` from the units with $a_i > 0$ and `Q` from the others.

        The sum of `n` rectified units is the maximum over all $2^n$ sets of units of the sum over the set, but only
        the sets that are switched on together somewhere count: one a cell of the arrangement of their hyperplanes, at
        most $\sum_{k \le d} \binom nk$. For few inputs these are few; with as many inputs as units they are all $2^n$.

        **Arguments:**

        - `max_planes`: refuse an arrangement that may have more cells.

        **Raises:** `ValueError` if it may; the weights have to be known, not traced.
        """
        weights = jnp.stack([self.weights, jnp.zeros_like(self.weights)], axis=1)
        biases = jnp.stack([self.biases, jnp.zeros_like(self.biases)], axis=1)
        return _difference(weights, biases, self.amplitudes, self.constant, max_planes)


def checked_units(
    weights: ArrayInput, biases: ArrayInput, amplitudes: ArrayInput, constant: ScalarLike, pieces: bool = False
) -> tuple[Array, Array, Array, Array]:
    """The arrays of a layer of units, of one dtype.

    **Raises:** `ValueError` that names the one that is wrong.
    """
    W = as_float_array(weights, "weights", 3 if pieces else 2)
    if W.size == 0:
        raise ValueError(f"`weights` must not be empty, got shape {W.shape}.")
    b, a = as_float_array(biases, "biases", W.ndim - 1), as_float_array(amplitudes, "amplitudes", 1)
    c = as_float_array(constant, "constant", 0)
    if b.shape != W.shape[:-1] or a.shape != W.shape[:1]:
        raise ValueError(
            f"`biases` must have shape {W.shape[:-1]} and `amplitudes` {W.shape[:1]} as `weights`, got {b.shape} and "
            f"{a.shape}."
        )
    for name, array in (("weights", W), ("biases", b), ("amplitudes", a), ("constant", c)):
        require_finite(array, name)
    return W, b.astype(W.dtype), a.astype(W.dtype), c.astype(W.dtype)


def _difference(
    weights: Array, biases: Array, amplitudes: Array, constant: Array, max_planes: int
) -> DifferenceOfMaxima:
    a = np.asarray(amplitudes, np.float64)
    W, b = (np.asarray(array, np.float64) for array in (weights, biases))
    halves = []
    for units in (a > 0, a < 0):
        size = np.abs(a[units])
        slopes, offsets = _sum_of_maxima(size[:, None, None] * W[units], size[:, None] * b[units], max_planes)
        halves.append((slopes, offsets))
    (P_slopes, P_offsets), (Q_slopes, Q_offsets) = halves
    P_offsets = P_offsets + float(constant)
    dtype = weights.dtype
    zero = jnp.zeros((), dtype)
    return DifferenceOfMaxima(
        Planes(jnp.asarray(P_slopes, dtype), jnp.asarray(P_offsets, dtype), zero),
        Planes(jnp.asarray(Q_slopes, dtype), jnp.asarray(Q_offsets, dtype), zero),
    )


def _sum_of_maxima(weights: np.ndarray, biases: np.ndarray, max_planes: int) -> tuple[np.ndarray, np.ndarray]:
    """The planes whose maximum is the sum over `i` of the maxima over `k`."""
    N, K, d = weights.shape
    if N == 0:
        return np.zeros((1, d)), np.zeros(1)
    first, second = np.triu_indices(K, 1)
    borders = (weights[:, first] - weights[:, second]).reshape(-1, d)
    offsets = (biases[:, first] - biases[:, second]).reshape(-1)
    most = cell_bound(len(borders), min(d, len(borders)))
    if most > max_planes:
        raise ValueError(
            f"`max_planes` is {max_planes}, but {N} units of one sign that switch on {len(borders)} hyperplanes in {d} "
            f"dimensions may have {most} active cells: raise it, or take fewer units or inputs."
        )
    sides = cells(borders, offsets).reshape(-1, N, len(first))
    wins = np.zeros((len(sides), N, K), int)
    for pair, (j, k) in enumerate(zip(first, second, strict=True)):
        wins[:, :, j] += sides[:, :, pair] > 0
        wins[:, :, k] += sides[:, :, pair] < 0
    chosen = np.unique(wins.argmax(axis=2), axis=0)
    units = np.arange(N)
    return weights[units, chosen].sum(axis=1), biases[units, chosen].sum(axis=1)
