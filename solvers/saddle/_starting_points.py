"""Where a search of which nothing is known begins, and what a function shows of itself there."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._types import Point, Scalar

_RAYS = 64
_SAMPLES = 32
_FURTHEST = 4.0
"""The length of a ray, in reaches."""


def starting_points(x: Point, foot: Point, reach: Scalar) -> Float[Array, "K d"]:
    """The foot of the characteristic that leaves with the slope at `x`, `x` itself, and a point on each ray from `x`.

    Their distances go from a tenth of the reach to the whole length, and are the same in every run.
    """
    lengths = _FURTHEST * 40.0 ** -np.random.default_rng(2).permutation(np.linspace(0, 1, _RAYS))
    offsets = jnp.asarray(_rays(x.shape[0]) * lengths[:, None], x.dtype)
    return jnp.concatenate([foot[None], x[None], x[None] + reach * offsets])


def seems_separable(f: Callable[[Point], Scalar], x: Point, reach: Scalar) -> Bool[Array, ""]:
    r"""Whether each $\partial f/\partial y_i$ depends on $y_i$ alone, tried by exchanging the other coordinates.

    Each exchange takes half of the coordinates at random, so that every pair is parted by half of the exchanges.
    """
    masks = np.random.default_rng(3).random((_RAYS, x.shape[0])) < 0.5
    ends = jnp.asarray(np.random.default_rng(1).normal(size=(2, *masks.shape)), x.dtype)
    first, second = x[None] + reach * ends[0], x[None] + reach * ends[1]
    slope = jax.vmap(jax.grad(f))
    mixed, expected = slope(jnp.where(masks, first, second)), jnp.where(masks, slope(first), slope(second))
    return jnp.all(jnp.abs(mixed - expected) <= 1e2 * jnp.finfo(x.dtype).eps * (1 + jnp.abs(expected)))


def seems_convex(f: Callable[[Point], Scalar], x: Point, reach: Scalar) -> Bool[Array, ""]:
    """Whether the slope never falls along the rays from `x`, as far as samples tell."""

    def along(direction: Point) -> Bool[Array, ""]:
        lengths = jnp.asarray(np.linspace(0, _FURTHEST, _SAMPLES + 1), x.dtype)
        slopes = jax.vmap(lambda length: jax.grad(f)(x + length * reach * direction))(lengths) @ direction
        return _never_falls(slopes)

    return jnp.all(jax.lax.map(along, jnp.asarray(_rays(x.shape[0]), x.dtype)))


def seems_convex_by_coordinates(f: Callable[[Point], Scalar], x: Point, reach: Scalar) -> Bool[Array, ""]:
    """The same of a function that is a sum over the coordinates: all are tried along one line."""
    lengths = jnp.asarray(np.linspace(-_FURTHEST, _FURTHEST, 8 * _SAMPLES + 1), x.dtype)
    slopes = jax.vmap(lambda length: jax.grad(f)(x + length * reach))(lengths)
    return jnp.all(jax.vmap(_never_falls, in_axes=1)(slopes))


def _never_falls(slopes: Float[Array, " K"]) -> Bool[Array, ""]:
    rounding = 1e2 * jnp.finfo(slopes.dtype).eps * (1 + jnp.max(jnp.abs(slopes)))
    return jnp.all(jnp.diff(slopes) >= -rounding)


def _rays(d: int) -> Float[np.ndarray, "K d"]:
    """Unit vectors: half of them along the axes, as far as they go, the others anywhere; the same in every run."""
    axes = np.concatenate([np.eye(d), -np.eye(d)])[: _RAYS // 2]
    others = np.random.default_rng(0).normal(size=(_RAYS - len(axes), d))
    return np.concatenate([axes, others / np.linalg.norm(others, axis=1, keepdims=True)])
