"""Newton's method for a residual that has a fixed-point iteration and a measure of descent beside it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hjpde._types import Point, Scalar

_LONG, _HALVINGS = 4, 12
"""Newton's step and its halvings are tried, but after the first few the whole residual: where Newton's direction holds
for a short way only, a nonexpansive map crosses faster."""
_TRIALS = (
    *((True, 0.5**k) for k in range(_LONG)),
    (False, 1.0),
    *((True, 0.5**k) for k in range(_LONG, _HALVINGS)),
    *((False, 0.5**k) for k in range(1, _HALVINGS)),
)


def newton_descent(
    evaluate: Callable[[Point], tuple[Float[Array, " d"], Scalar]],
    start: Point,
    *,
    scale: Scalar,
    max_steps: int,
    needed: Bool[Array, ""],
    nonexpansive: bool = False,
) -> Point:
    r"""Semismooth Newton steps that lower a merit; where none does, a step along the residual.

    A step is taken if it lowers the merit, or keeps it to rounding and lowers the residual. It ends where no step is
    taken, or the residual is rounding.

    **Arguments:**

    - `evaluate`: the residual $r(z)$ and the merit at a point. $z - \lambda r$ must be a descent for small $\lambda$.
    - `start`: the first point, shape `(d,)`.
    - `scale`: the size of what cancels in the residual, which says what rounding is.
    - `max_steps`: the largest number of steps.
    - `needed`: no step is made where this is false, so that a batch waits for none that has ended.
    - `nonexpansive`: whether the merit is the residual's size, and $z - r$ a map that does not raise it. It is then
      followed where Newton's step does not lower the size by a quarter of what it promises, also on the level.

    **Returns:** the last point.

    ??? cite "References"

        L. Qi and J. Sun, *A nonsmooth version of Newton's method*, Math. Program. 58, 1993.
    """
    eps = jnp.finfo(start.dtype).eps
    is_newton = jnp.asarray([trial[0] for trial in _TRIALS])
    lengths = jnp.asarray([trial[1] for trial in _TRIALS], start.dtype)

    def advance(state):
        z, k, _ = state
        residual, tangent, merit = jax.linearize(evaluate, z, has_aux=True)
        jacobian = jax.vmap(tangent, out_axes=1)(jnp.eye(z.shape[0], dtype=z.dtype))
        newton = jnp.linalg.solve(jacobian, residual)
        newton = jnp.where(jnp.all(jnp.isfinite(newton)), newton, residual)
        left = _length(residual)

        def search(trying):
            j, *_ = trying
            new = z - lengths[j] * jnp.where(is_newton[j], newton, residual)
            new_residual, value = evaluate(new)
            new_left, rounding = _length(new_residual), 4 * eps * jnp.abs(merit)
            enough = lengths[j] * merit / 4 if nonexpansive else 0
            lower = value < merit - rounding - jnp.where(is_newton[j], enough, 0)
            level = (value <= merit + 2 * rounding) & (new_left < 0.9 * left)
            if nonexpansive:
                across = (j == _LONG) & (value <= (1 + eps**0.5) * merit) & (left > 1e6 * eps * scale)
                level = level | across
            return j + 1, new, (lower | level) & jnp.isfinite(new_left)

        def refused(trying):
            j, _, accepted = trying
            return ~accepted & (j < len(_TRIALS)) & jnp.isfinite(left) & (left > 4 * eps * scale)

        _, new, accepted = jax.lax.while_loop(refused, search, (0, z, jnp.asarray(False)))
        return jnp.where(accepted, new, z), k + 1, accepted

    def unfinished(state):
        _, k, moving = state
        return moving & (k < max_steps)

    z, *_ = jax.lax.while_loop(unfinished, advance, (start, 0, needed))
    return z


def _length(v: Float[Array, " d"]) -> Scalar:
    return jnp.sqrt(jnp.sum(v * v))
