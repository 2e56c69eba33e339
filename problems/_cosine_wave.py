r"""One cosine under a quadratic Hamiltonian in one dimension, past its kinks, by Kepler's equation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar

Waves = Float[Array, "*waves"]


def cosine_wave(t: Scalar, s: Waves, amplitude: Waves, rate: Waves) -> Waves:
    r"""$w(t, s)$ with $w_t + \kappa w_s^2 = 0$ and $w(0, s) = a \cos s$, for $a, \kappa > 0$.

    The characteristic that starts from $y$ is $s = y - e \sin y$ with $e = 2 a \kappa t$: Kepler's equation, of
    one solution until $e = 1$, when a kink forms at $s = 0$. For every $e$ the minimiser of Lax's formula is, by
    symmetry in $s$, the largest root in $[s, \pi]$ for $0 \le s \le \pi$. There $y - e \sin y - s$ is convex, and
    Newton's iteration from $\pi$ descends to that root without overshooting.

    **Arguments:**

    - `t`: time, at least 0.
    - `s`: place, a scalar, or one place for each of several waves.
    - `amplitude`, `rate`: $a$ and $\kappa$, of the same shape.
    """
    s = jnp.abs(s - 2 * jnp.pi * jnp.round(s / (2 * jnp.pi)))
    e = 2 * amplitude * rate * t

    def newton(_, y):
        slope = 1 - e * jnp.cos(y)
        # Only at the birth of the kink, e = 1 and s = 0, does the slope vanish at the root itself.
        return y - (y - e * jnp.sin(y) - s) / jnp.where(slope > 0, slope, 1)

    start = jnp.full_like(s, jnp.pi)
    # 40 steps: at the triple root the iteration gains only a factor 2/3 a step.
    root = jax.lax.stop_gradient(jax.lax.fori_loop(0, 40, newton, start))
    y = newton(0, root)  # this step carries the derivatives
    return amplitude * jnp.cos(y) + rate * t * (amplitude * jnp.sin(y)) ** 2
