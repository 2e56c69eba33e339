"""Sums of one convex function of every component of the co-state."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, components, is_concrete

from ._abstract import AbstractConvexHamiltonian, Curvature

_MOST_DOUBLINGS = 60


@final
class Separable(AbstractConvexHamiltonian):
    r"""$H(p) = \sum_i h(p_i)$ with one convex function `h` of a number; $L(v) = \sum_i h^*(v_i)$.

    Where the conjugate is not given, $h^*(v) = pv - h(p)$ at the root `p` of $h'(p) = v$, found by bisection to
    rounding, and differentiable in `v` and in what `h` holds.

    ??? cite "References"

        R. T. Rockafellar, *Convex Analysis*, Princeton University Press, 1970, Section 12 (conjugates) and Theorem
        23.5 (where the supremum is attained).
    """

    function: Callable
    conjugate: Callable | None
    velocities: Float[Array, "2"] | None

    def __init__(self, function: Callable, lagrangian: Callable | None = None, velocities: ArrayInput | None = None):
        r"""**Arguments:**

        - `function`: `h`, maps a number to a number; convex, and differentiable by jax. That it is convex is the
          user's word.
        - `lagrangian`: its conjugate $h^*$, a function of a velocity in units of `x` per unit of time; by default
          found from `h`.
        - `velocities`: shape `(2,)`, the least and the greatest velocity $h'$, between which the conjugate is finite,
          as $(-1, 1)$ for $h = \sqrt{1 + p^2}$; by default unbounded.

        **Raises:** `ValueError` if a function cannot be called, or `velocities` are no two increasing numbers.
        """
        for name, given in (("function", function), ("lagrangian", lagrangian)):
            if not callable(given) and not (name == "lagrangian" and given is None):
                raise ValueError(f"`{name}` must be callable, got {type(given).__name__}.")
        self.function, self.conjugate, self.velocities = function, lagrangian, None
        if velocities is not None:
            self.velocities = as_float_array(velocities, "velocities", 1)
            if self.velocities.shape != (2,):
                raise ValueError(f"`velocities` must have shape (2,), got {self.velocities.shape}.")
            if is_concrete(self.velocities) and not np.diff(np.asarray(self.velocities))[0] > 0:
                raise ValueError(f"`velocities` must be increasing, got {self.velocities.tolist()}.")

    @property
    def dim(self) -> None:
        return None

    @property
    def curvature(self) -> Curvature:
        return "convex"

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        del t, x
        first, *rest = (self._energy(component) for component in components(p))
        return sum(rest, start=first)

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return jnp.sum(self.lagrangian_along(0, v))

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$\max\{|h'(\ell_i)|, |h'(u_i)|\}$ at the ends of the box, as $h'$ does not fall: see `HasSpeedBound`."""
        del t, x
        slope = jax.vmap(jax.grad(self._energy))
        return jnp.maximum(jnp.abs(slope(box.lower)), jnp.abs(slope(box.upper)))

    def why_not_godunov(self) -> None:
        return None

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""$\sum_i \max\{h(\max(p_i^-, p^*)),\ h(\min(p_i^+, p^*))\}$ with the minimiser $p^*$ of `h`: see
        `HasGodunov`."""
        del t, x
        least = jax.lax.stop_gradient(self._momentum(jnp.zeros((), left.dtype)))
        sides = (
            [jnp.maximum(minus, least) for minus in components(left)],
            [jnp.minimum(plus, least) for plus in components(right)],
        )
        first, *rest = (
            jnp.maximum(self._energy(minus), self._energy(plus)) for minus, plus in zip(*sides, strict=True)
        )
        return sum(rest, start=first)

    def why_not_separable(self, dim: int) -> None:
        del dim

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        """`h`, elementwise: see `HasSeparableLagrangian`."""
        del axis
        return _elementwise(self._energy, p)

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """`h`'s conjugate, elementwise: see `HasSeparableLagrangian`."""
        lower, upper = (jnp.asarray(end, v.dtype) for end in self.velocities_along(axis))
        inside = (v >= lower) & (v <= upper)
        value = _elementwise(self._conjugate, jnp.where(inside, v, jnp.clip(v, lower, upper)))
        return jnp.where(inside, value, jnp.inf)

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        del axis
        return (-jnp.inf, jnp.inf) if self.velocities is None else (self.velocities[0], self.velocities[1])

    def _energy(self, p: Scalar) -> Scalar:
        return jnp.asarray(self.function(p), p.dtype)

    def _conjugate(self, v: Scalar) -> Scalar:
        if self.conjugate is not None:
            return jnp.asarray(self.conjugate(v), v.dtype)
        p = self._momentum(v)
        return p * v - self._energy(p)

    def _momentum(self, v: Scalar) -> Scalar:
        """The root of $h'(p) = v$, or the end of the search where there is none."""
        slope = jax.grad(self._energy)
        doublings = _MOST_DOUBLINGS
        if self.velocities is not None:
            # At the ends the root is infinite, and `pv - h(p)` loses all digits before `p` comes near.
            doublings = jnp.finfo(v.dtype).nmant // 2
        # The search is not differentiated: one step of Newton's, 0 in value, carries the root's derivative.
        parameters, rest = eqx.partition(eqx.filter_closure_convert(lambda p: slope(p), v), eqx.is_array)
        held = eqx.combine(jax.lax.stop_gradient(parameters), rest)
        p = _increasing_root(held, jax.lax.stop_gradient(v), doublings)
        bend = jax.grad(slope)(p)
        step = (v - slope(p)) / jnp.where(bend > 0, bend, 1)
        return p + jnp.where(bend > 0, step - jax.lax.stop_gradient(step), 0)


def _elementwise(function: Callable, values: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.vmap(function)(values.reshape(-1)).reshape(values.shape)


def _increasing_root(slope: Callable, v: Scalar, doublings: int) -> Scalar:
    """The root of `slope(p) = v` for a function that does not fall: doubling until it is bracketed, then bisection."""
    sign = jnp.where(slope(jnp.zeros_like(v)) < v, 1, -1).astype(v.dtype)

    def excess(p: Scalar, _: None = None) -> Scalar:
        return sign * (slope(sign * p) - v)

    farthest = 2.0**doublings
    far = jax.lax.while_loop(lambda p: (excess(p) < 0) & (p < farthest), lambda p: 2 * p, jnp.ones_like(v))
    near = jnp.where(far > 1, far / 2, 0)
    found = optx.root_find(
        excess,
        optx.Bisection(rtol=0.0, atol=float(jnp.finfo(v.dtype).tiny), flip=False),
        (near + far) / 2,
        options={"lower": near, "upper": far},
        max_steps=jnp.finfo(v.dtype).nmant + 8,
        throw=False,
    )
    return sign * jnp.where(excess(far) < 0, far, found.value)
