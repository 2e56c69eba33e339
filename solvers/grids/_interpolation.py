r"""Interpolation on a grid: tensor products of Lagrange polynomials, whole up to the border.

Along each axis the value is that of the polynomial through the `m` nodes about the point, two for linear and four for
cubic interpolation. Where an axis ends, the nodes are shifted to one side instead of made up, so that polynomials of
degree `m - 1` in each variable, and their gradients, are reproduced at the border too; a periodic axis wraps.
"""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._types import Point, Scalar

Order = Literal["linear", "cubic"]
WIDTHS = {"linear": 2, "cubic": 4}


class Stencil(NamedTuple):
    """The nodes about one point, as positions in the flattened array, and their weights by axis."""

    positions: Int[Array, "..."]
    weights: tuple[Float[Array, " m"], ...]


def stencil(
    lower: Float[Array, " d"],
    spacing: Float[Array, " d"],
    shape: tuple[int, ...],
    periodic: tuple[bool, ...],
    x: Point,
    order: Order,
) -> Stencil:
    """The stencil of one point `x` of shape `(d,)`; its weights are differentiable in `x` and in the bounds.

    An axis that is not periodic and has fewer nodes than the stencil is interpolated through all of them.
    """
    offsets = (x - lower) / spacing
    positions, weights = jnp.zeros((1,) * len(shape), int), []
    for axis, (n, wraps) in enumerate(zip(shape, periodic, strict=True)):
        m = WIDTHS[order] if wraps else min(WIDTHS[order], n)
        s = offsets[axis]
        s = s - n * jnp.floor(s / n) if wraps else s
        # Converted before it is clipped: the integer of a NaN is anything.
        first = jnp.floor(s).astype(int) - (m // 2 - 1)
        first = first if wraps else jnp.clip(first, 0, n - m)
        nodes = first + jnp.arange(m)
        nodes = nodes % n if wraps else nodes
        weights.append(_lagrange(s - first, m))
        along = nodes.reshape([m if k == axis else 1 for k in range(len(shape))])
        positions = positions + along * math.prod(shape[axis + 1 :])
    return Stencil(positions, tuple(weights))


def apply(stencil: Stencil, values: Float[Array, "..."]) -> Scalar:
    """The weighted sum of the values at a stencil's positions, shape `(m1, ..., md)`."""
    for weights in reversed(stencil.weights):
        values = sum(values[..., j] * weights[j] for j in range(weights.shape[0]))  # pyright: ignore
    return values


def rounding(*arrays: Array | np.ndarray) -> float:
    """The relative distance by which a point may leave the box: eight roundings of the coarsest dtype."""
    return 8 * max(float(jnp.finfo(array.dtype).eps) for array in arrays)


def _lagrange(r: Scalar, m: int) -> Float[Array, " m"]:
    """The weights at `r` of the polynomial through the nodes 0, ..., m - 1."""
    weights = []
    for j in range(m):
        others = [k for k in range(m) if k != j]
        scale = 1 / np.prod([j - k for k in others], dtype=float)
        weights.append(math.prod((r - k for k in others), start=float(scale)))
    return jnp.stack(weights)
