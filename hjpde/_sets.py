"""Boxes and balls: where controls and disturbances live, and over which co-states a speed is bounded."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import (
    ArrayInput,
    Scalar,
    ScalarLike,
    as_float_array,
    components,
    dot,
    is_concrete,
    positive_scalar,
    require_finite,
)


@final
class Box(eqx.Module):
    r"""The box $\{a : \ell_k \le a_k \le h_k\}$."""

    lower: Float[Array, " k"]
    upper: Float[Array, " k"]

    def __init__(self, lower: ArrayInput, upper: ArrayInput):
        """**Arguments:**

        - `lower`, `upper`: shape `(k,)`, finite, `lower <= upper` in every entry.

        **Raises:** `ValueError` if the shapes are others or differ, or a bound that is known now is not finite
        or not in order.
        """
        lower, upper = as_float_array(lower, "lower", 1), as_float_array(upper, "upper", 1)
        if lower.shape != upper.shape or lower.shape[0] < 1:
            raise ValueError(f"`lower` and `upper` must have the same shape (k,), got {lower.shape} and {upper.shape}.")
        dtype = jnp.result_type(lower, upper)
        self.lower, self.upper = lower.astype(dtype), upper.astype(dtype)
        require_finite(self.lower, "lower")
        require_finite(self.upper, "upper")
        if is_concrete(self.lower, self.upper) and np.any(np.asarray(self.lower) > np.asarray(self.upper)):
            raise ValueError(f"`lower` must not exceed `upper`, got {self.lower.tolist()} and {self.upper.tolist()}.")

    @property
    def dim(self) -> int:
        """The number of axes."""
        return self.lower.shape[0]

    @property
    def centre(self) -> Float[Array, " k"]:
        """The middle, shape `(k,)`."""
        return (self.lower + self.upper) / 2

    @property
    def radii(self) -> Float[Array, " k"]:
        """Half the side lengths, shape `(k,)`."""
        return (self.upper - self.lower) / 2

    @property
    def largest(self) -> Float[Array, " k"]:
        """The largest $|a_k|$ on every axis, shape `(k,)`."""
        return jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper))

    @property
    def smallest(self) -> Float[Array, " k"]:
        """The smallest $|a_k|$ on every axis, shape `(k,)`: 0 where the box straddles 0."""
        return jnp.maximum(jnp.maximum(self.lower, -self.upper), 0)

    def support(self, q: Float[Array, " k"]) -> Scalar:
        r"""The support function $\max_a q \cdot a$."""
        lower, upper = self.lower.astype(q.dtype), self.upper.astype(q.dtype)
        first, *rest = components(jnp.maximum(q * lower, q * upper))
        return sum(rest, start=first)

    def maximiser(self, q: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""The vertex with the largest $q \cdot a$, shape `(k,)`; where $q_k = 0$ any $a_k$ will do, and it is the
        middle, as in the derivative of `support`."""
        lower, upper = self.lower.astype(q.dtype), self.upper.astype(q.dtype)
        return jnp.where(q > 0, upper, jnp.where(q < 0, lower, (lower + upper) / 2))


@final
class Ball(eqx.Module):
    r"""The ball $\{a : |a| \le r\}$ about the origin."""

    radius: Scalar
    dim: int = eqx.field(static=True)

    def __init__(self, radius: ScalarLike, dim: int):
        """**Arguments:**

        - `radius`: $r > 0$.
        - `dim`: the number of axes, at least 1.

        **Raises:** `ValueError` if `radius` is known now and not positive and finite, or `dim` is not a positive
        integer.
        """
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise ValueError(f"`dim` must be a positive integer, got {dim!r}.")
        self.radius = positive_scalar(radius, "radius", jnp.result_type(float))
        self.dim = dim

    def support(self, q: Float[Array, " k"]) -> Scalar:
        r"""The support function $\max_a q \cdot a = r|q|$; its derivative at $q = 0$ is taken to be 0."""
        return self.radius.astype(q.dtype) * _length(q)[0]

    def maximiser(self, q: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$r q/|q|$, shape `(k,)`; where $q = 0$ any point will do, and it is the origin."""
        length, zero = _length(q)
        return self.radius.astype(q.dtype) * q / jnp.where(zero, 1, length)


def _length(q: Float[Array, " k"]) -> tuple[Scalar, Array]:
    """$|q|$ with the derivative 0 at the origin, and whether `q` is there."""
    squared = dot(q, q)
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared))), zero
