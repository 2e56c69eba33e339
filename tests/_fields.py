"""Velocity fields of networks with random weights, for tests of depth flows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class SmoothField(eqx.Module):
    r"""$C(s) \tanh(A(s) x + b)$ with weights that vary smoothly with the depth `s`, or not at all.

    With `norm`, `x` is first brought to mean 0 and variance 1, nearly.
    """

    A: Float[Array, "2 m d"]
    b: Float[Array, " m"]
    C: Float[Array, "2 d m"]
    norm: bool = eqx.field(static=True)

    def __init__(self, d: int = 4, m: int = 16, seed: int = 0, moving: bool = True, norm: bool = False):
        rng = np.random.default_rng(seed)
        rate = 1.0 if moving else 0.0
        self.A = jnp.asarray(np.stack([0.8 * rng.normal(size=(m, d)), rate * 0.4 * rng.normal(size=(m, d))]))
        self.b = jnp.asarray(0.3 * rng.normal(size=m))
        self.C = jnp.asarray(np.stack([rng.normal(size=(d, m)), rate * 0.5 * rng.normal(size=(d, m))]) / np.sqrt(m))
        self.norm = norm

    def __call__(self, s, x):
        if self.norm:
            x = (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-2)
        A, C = self.A[0] + jnp.sin(2 * s) * self.A[1], self.C[0] + s * self.C[1]
        return C @ jnp.tanh(A @ x + self.b)


class TorusField(eqx.Module):
    r"""$C(s) \tanh(A(s) (\sin x, \cos x) + b)$, of period $2\pi$ in every entry of `x`."""

    A: Float[Array, "2 m d2"]
    b: Float[Array, " m"]
    C: Float[Array, "2 d m"]

    def __init__(self, d: int, m: int = 8, seed: int = 0, moving: bool = True, speed: float = 1.0):
        rng = np.random.default_rng(seed)
        rate = 0.5 if moving else 0.0
        self.A = jnp.asarray(np.stack([0.7 * rng.normal(size=(m, 2 * d)), rate * rng.normal(size=(m, 2 * d))]))
        self.b = jnp.asarray(0.5 * rng.normal(size=m))
        first, second = rng.normal(size=(d, m)), rng.normal(size=(d, m))
        self.C = jnp.asarray(np.stack([first, rate * second]) * speed / np.sqrt(m))

    def __call__(self, s, x):
        features = jnp.concatenate([jnp.sin(x), jnp.cos(x)])
        A, C = self.A[0] + jnp.sin(2 * s) * self.A[1], self.C[0] + s * self.C[1]
        return C @ jnp.tanh(A @ features + self.b)


def bent(x):
    """A smooth scalar readout of at least two outputs."""
    return jnp.sum(jnp.sin(x)) + 0.5 * x[0] * x[1]


def slope(errors):
    """The order over errors of which each has half the step of the one before."""
    return float(-np.polyfit(range(len(errors)), np.log2(np.asarray(errors, float)), 1)[0])


def largest_difference(one, other):
    """Over all arrays of two trees alike, relative to the largest entry of the second."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    scale = max(float(jnp.max(jnp.abs(b))) for _, b in pairs)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs) / scale
