r"""The sphere $|x|^2 = N$ in $\mathbb R^N$: uniform points, tangents, great circles."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def to_sphere(x: Float[Array, "*batch N"]) -> Float[Array, "*batch N"]:
    r"""The point of the sphere $|x|^2 = N$ in the direction of `x`."""
    return x * jnp.sqrt(x.shape[-1] / jnp.sum(x**2, axis=-1, keepdims=True))


def uniform_points(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Points uniform on the sphere; the last of `shape` is `N`."""
    return to_sphere(jax.random.normal(key, shape))


def tangent(x: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, " N"]:
    """The part of `v` along the sphere at `x`."""
    return v - x * (x @ v / x.shape[0])


def along_circle(
    x: Float[Array, " N"], v: Float[Array, " N"], time: Float[Array, ""]
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Point and velocity after some time on the great circle that leaves `x` with the tangent velocity `v`."""
    radius, speed = x.shape[0] ** 0.5, jnp.maximum(jnp.linalg.norm(v), jnp.finfo(x.dtype).tiny)
    angle = time * speed / radius
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * x + (radius / speed) * sin * v, cos * v - (speed / radius) * sin * x
