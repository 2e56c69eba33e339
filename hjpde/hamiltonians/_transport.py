"""Transport along a velocity field."""

from collections.abc import Callable
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, dot, require_finite

from ._abstract import AbstractHamiltonian


@final
class Transport(AbstractHamiltonian):
    r"""$H(t, x, p) = v(t, x) \cdot p$, linear in the co-state.

    Characteristics follow $\dot x = v$, and `u` is constant along them where there is no viscosity. A network
    $\dot x = F(s, x)$ of depth `T` has the velocity $v(t, x) = -F(T - t, x)$: layers in reverse order.
    """

    velocity: Float[Array, " d"] | Callable

    def __init__(self, velocity: ArrayInput | Callable):
        """**Arguments:**

        - `velocity`: shape `(d,)`, in units of `x` per unit of time, or a function of `t` and one point `x`.

        **Raises:** `ValueError` if a constant velocity is not a finite vector.
        """
        if callable(velocity):
            self.velocity = velocity
            return
        self.velocity = as_float_array(velocity, "velocity", 1)
        require_finite(self.velocity, "velocity")

    @property
    def dim(self) -> int | None:
        return None if callable(self.velocity) else self.velocity.shape[0]

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        return dot(self.at(t, x).astype(p.dtype), p)

    def at(self, t: ScalarLike, x: Point) -> Float[Array, " d"]:
        """The velocity $v(t, x)$, shape `(d,)`."""
        return self.velocity(jnp.asarray(t), x) if callable(self.velocity) else self.velocity

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$|v_i(t, x)|$, whatever the box: see `HasSpeedBound`."""
        return jnp.abs(self.at(t, x)).astype(box.lower.dtype)

    def why_not_godunov(self) -> None:
        return None

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""Upwind: $v_i p_i^-$ where $v_i > 0$, and $v_i p_i^+$ elsewhere, summed: see `HasGodunov`."""
        velocity = self.at(t, x).astype(left.dtype)
        return dot(velocity, jnp.where(velocity > 0, left, right))
