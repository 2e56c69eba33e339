"""The value at a point from the characteristic that arrives there."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar, ScalarLike, is_concrete
from hjpde.hamiltonians._abstract import Curvature

from ._canonical_equations import Spread, Strip, Strips, constant
from ._quasi_random import kronecker_points


class Arrival(eqx.Module):
    r"""The characteristic that arrives at a point.

    - `start`: $y$, where it starts.
    - `residual`: $x - x(t; y)$, what is left between the point and its end.
    - `determinant`: $\det \partial x/\partial y$, 0 where neighbours cross.
    - `found`: whether it does arrive, with a positive determinant; otherwise the value is NaN.
    """

    start: Point
    residual: Point
    determinant: Scalar
    found: Bool[Array, ""]


@final
class CharacteristicEvaluator(AbstractEvaluator):
    r"""$u = z + p \cdot r + \tfrac12 r^\top D^2u\,r$ with $r = x - x(t; y)$, the jet that a characteristic carries.

    The start `y` stands still when this is differentiated: as $\partial z/\partial y = p \cdot \partial x/\partial y$,
    first derivatives in `t`, `x` and the parameters are right without its own, and the second-order term,
    $D^2 u = \partial p/\partial y\,(\partial x/\partial y)^{-1}$, makes second derivatives right too.
    """

    strips: Strips
    first_crossing: Scalar
    speed: Float[Array, " d"] | None
    curvature: Curvature = eqx.field(static=True)
    n_starts: int = eqx.field(static=True)
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        if t < 0:
            return "take `t` >= 0"
        known = self.curvature == "unknown" and is_concrete(self.first_crossing)
        if known and t >= float(self.first_crossing):
            return (
                f"characteristics cross from t = {float(self.first_crossing):.6g} on, and the Hamiltonian is not known "
                "to be convex or concave in the co-state"
            )
        return None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        arrival, spread = self._arrival(t, x)
        now, y = jax.lax.stop_gradient((t, arrival.start))
        strip = self.strips.continued(self.strips(now, y), now, t)
        bend = jnp.linalg.solve(spread.x.T, spread.p.T).T
        bend = jax.lax.stop_gradient(jnp.where(arrival.found, (bend + bend.T) / 2, 0))
        r = x - strip.x
        # A factor, so that the gradient is NaN as well.
        return (strip.u + strip.p @ r + r @ bend @ r / 2) * jnp.where(arrival.found, 1, jnp.nan).astype(x.dtype)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=64)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """What the residual may change, and the tolerance of the integration; NaN where nothing is found."""
        arrival, _ = self._arrival(t, x)
        strip = self.strips(t, arrival.start)
        error = jnp.linalg.norm(arrival.residual) * jnp.linalg.norm(strip.p)
        if not self.strips.straight:
            error = error + self.strips.atol + self.strips.rtol * jnp.abs(strip.u)
        return jnp.where(arrival.found, error, jnp.nan)

    def arrival(self, t: ScalarLike, x: Point) -> Arrival:
        """The characteristic that the value at `(t, x)` comes from."""
        x = jnp.asarray(x)
        return eqx.filter_jit(CharacteristicEvaluator._arrival)(self, jnp.asarray(t, x.dtype), x)[0]

    def _arrival(self, t: Scalar, x: Point) -> tuple[Arrival, Spread]:
        """One guess after the other: until one arrives before the first crossing, all of them after it."""
        strips, first_crossing, speed, t, x = constant((self.strips, self.first_crossing, self.speed, t, x))
        guesses = self._guesses(strips, speed, t, x)
        before = jnp.asarray(self.curvature == "linear") | (t < first_crossing)
        n = jnp.where(before | jnp.asarray(self.curvature != "unknown"), guesses.shape[0], 0)
        sign = -1 if self.curvature == "concave" else 1
        nowhere = jnp.full_like(x, jnp.nan)
        d = x.shape[0]
        none = Arrival(x, nowhere, jnp.full_like(t, jnp.nan), jnp.asarray(False))
        zeros = jnp.zeros((d, d), x.dtype)
        initial = (jnp.asarray(0), jnp.full_like(t, jnp.inf), none, Spread(zeros, zeros))

        def goes_on(state) -> Bool[Array, ""]:
            k, _, best, _ = state
            return (k < n) & ~(before & best.found)

        def try_next(state):
            k, least, best, spread = state
            value, arrival, its_spread = _arrive(strips, t, x, guesses[k])
            better = arrival.found & (sign * value < least)
            chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), (arrival, its_spread), (best, spread))
            return k + 1, jnp.where(better, sign * value, least), *chosen

        _, _, best, spread = jax.lax.while_loop(goes_on, try_next, initial)
        return best, spread

    def _guesses(self, strips: Strips, speed: Float[Array, " d"] | None, t: Scalar, x: Point) -> Float[Array, "n d"]:
        """The point traced back with the datum's slope there, itself, and points as far about as paths run."""
        near = jnp.stack([strips.traced_back(t, x), x])
        near = jnp.where(jnp.isfinite(near), near, x[None])
        if speed is None:
            return near
        unit = 2 * kronecker_points(self.n_starts - 2, x.shape[0], x.dtype) - 1
        return jnp.concatenate([near, x[None] + t * speed.astype(x.dtype)[None] * unit])


def _arrive(strips: Strips, t: Scalar, x: Point, guess: Point) -> tuple[Scalar, Arrival, Spread]:
    """Newton's iteration for $x(t; y) = x$ from one guess.

    In the classical region $|x(t; y) - x|^2$ has no other stationary point than its root, as $\\partial x/\\partial y$
    is regular there, so that a trust region leads to it.
    """
    scale = jnp.maximum(jnp.max(jnp.abs(x)), jnp.max(jnp.abs(guess - x)))
    scale = jnp.where(scale > 0, scale, 1)

    def missed(y: Point, args: None) -> tuple[Point, tuple[Strip, Spread]]:
        del args
        strip, spread = strips.with_spread(t, jax.lax.stop_gradient(y))
        step = y - jax.lax.stop_gradient(y)
        return (strip.x + spread.x @ step - x) / scale, (strip, spread)

    found = optx.root_find(
        missed,
        optx.Dogleg(rtol=strips.rtol, atol=strips.rtol),
        guess,
        has_aux=True,
        max_steps=48,
        throw=False,
    )
    y, (strip, spread) = found.value, found.aux
    r, determinant = x - strip.x, jnp.linalg.det(spread.x)
    arrives = jnp.max(jnp.abs(r)) <= 100 * strips.rtol * scale
    finite = jnp.all(jnp.isfinite(y)) & jnp.isfinite(strip.u) & jnp.all(jnp.isfinite(strip.p))
    ok = arrives & finite & (determinant > 0)
    return strip.u + strip.p @ r, Arrival(jnp.where(ok, y, x), r, determinant, ok), spread
