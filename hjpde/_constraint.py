"""Constraints that turn an initial-value problem into a variational inequality."""

from collections.abc import Callable
from typing import Literal, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, require_finite

Monotone = Literal["decreasing", "increasing"]
_WORDS: dict[str, Monotone] = {"decreasing": "decreasing", "increasing": "increasing"}


@final
class Constraint(eqx.Module):
    r"""Obstacles $\ell(t, x) \le u(t, x) \le \psi(t, x)$, and tubes: `u` monotone in time.

    With obstacles `u` solves the variational inequality $\max\{\ell - u, \min\{\psi - u, -(u_t + H)\}\} = 0$: where
    `u` touches an obstacle it may follow it. `monotone="decreasing"` replaces $u_t = -H$ by $u_t = \min(0, -H)$: with
    `g` the signed distance to a target, `u(t, .) <= 0` is then the set from which the target can be reached *within*
    the time `t`, the backward reachable tube, where without it is the set from which it is reached *at* `t`. The
    running minimum with the target is the same as `upper=g`.

    ??? cite "References"

        I. M. Mitchell, A. M. Bayen and C. J. Tomlin, *A time-dependent Hamilton-Jacobi formulation of reachable sets
        for continuous dynamic games*, IEEE Trans. Automat. Control 50(7), 2005, equation (9).
        J. F. Fisac et al., *Reach-avoid problems with time-varying dynamics, targets and constraints*, HSCC 2015.
    """

    lower: Scalar | Callable | None
    upper: Scalar | Callable | None
    monotone: Monotone | None = eqx.field(static=True)

    def __init__(
        self,
        lower: ArrayInput | Callable | None = None,
        upper: ArrayInput | Callable | None = None,
        monotone: str | None = None,
    ):
        r"""**Arguments:**

        - `lower`: $\ell$, a number or a function of `t` and one point `x`, in units of `u`; `None` for none.
        - `upper`: $\psi$, likewise; where both are given, $\ell \le \psi$, and `lower` wins where they cross.
        - `monotone`: "decreasing", "increasing" or `None`.

        **Raises:** `ValueError` if a number is not finite, `monotone` is another word, or nothing is constrained.
        """
        if monotone is not None and monotone not in _WORDS:
            raise ValueError(f"`monotone` must be 'decreasing', 'increasing' or None, got {monotone!r}.")
        if lower is None and upper is None and monotone is None:
            raise ValueError("`Constraint` needs `lower`, `upper` or `monotone`; for no constraint pass None.")
        self.lower, self.upper = _obstacle(lower, "lower"), _obstacle(upper, "upper")
        self.monotone = None if monotone is None else _WORDS[monotone]

    def project(self, t: ScalarLike, x: Point, u: Scalar) -> Scalar:
        """The admissible value nearest to `u` at one point."""
        if self.upper is not None:
            u = jnp.minimum(u, _value(self.upper, t, x))
        if self.lower is not None:
            u = jnp.maximum(u, _value(self.lower, t, x))
        return u

    def admissible_rate(self, rate: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """`rate` with the sign that `monotone` allows."""
        if self.monotone is None:
            return rate
        return jnp.minimum(rate, 0) if self.monotone == "decreasing" else jnp.maximum(rate, 0)


def _obstacle(value: ArrayInput | Callable | None, name: str) -> Scalar | Callable | None:
    if value is None or callable(value):
        return value
    array = as_float_array(value, name, 0)
    require_finite(array, name)
    return array


def _value(obstacle: Scalar | Callable, t: ScalarLike, x: Point) -> Scalar:
    if isinstance(obstacle, jax.Array):
        return obstacle.astype(x.dtype)
    assert callable(obstacle)
    return obstacle(jnp.asarray(t, x.dtype), x)
