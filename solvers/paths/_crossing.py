r"""When characteristics cross first: the least time at which $\partial x/\partial y$ is singular for some start `y`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float

from hjpde._types import Point, Scalar

from ._canonical_equations import Spread, Strip, Strips

_TIMES = 96
"""Saved times in which a characteristic is searched: two singular times within one interval are taken for none."""

_REFINED = 4
"""So many of the earliest starts of the scan are improved."""


class Survey(eqx.Module):
    """What the characteristics from a set of starts do up to a horizon.

    - `crossing_time`: when the first two cross, infinity if none do, and `crossing_start` and `crossing_point` are
      where that characteristic started and has come to; NaN if there is none.
    - `speed`: the largest mean speed along each axis.
    - `finite`: whether all of them reach the horizon; `lost_time` and `lost_point` are where one does not.
    """

    crossing_time: Scalar
    crossing_start: Point
    crossing_point: Point
    speed: Float[Array, " d"]
    finite: Bool[Array, ""]
    lost_time: Scalar
    lost_point: Point


@eqx.filter_jit
def survey(strips_of: Strips, starts: Float[Array, "S d"], horizon: Scalar) -> Survey:
    """Follows the characteristics from all `starts`, and looks for the start from which one crosses first.

    The earliest of them are the first guesses of a minimisation of the crossing time over the start.
    """
    ts = horizon * jnp.linspace(0, 1, _TIMES + 1, dtype=starts.dtype)

    def followed(y: Point) -> tuple[Scalar, Float[Array, " d"], Scalar]:
        strips, spreads = _paths(strips_of, ts, y)
        moved = jnp.abs(strips.x - y[None])[1:] / ts[1:, None]
        reached = jnp.all(jnp.isfinite(strips.x), axis=1) & jnp.isfinite(strips.u)
        lost = jnp.where(jnp.all(reached), jnp.inf, ts[jnp.argmin(reached)])
        return _guess(ts, spreads.x), jnp.max(jnp.where(jnp.isfinite(moved), moved, 0), axis=0), lost

    guesses, speeds, lost = jax.lax.map(followed, starts, batch_size=64)
    earliest = starts[jnp.argsort(guesses)[:_REFINED]]
    times, ys, places = jax.lax.map(lambda y: _least_time(strips_of, ts, y), earliest)
    best, worst = jnp.argmin(times), jnp.argmin(lost)
    crosses, loses = jnp.isfinite(times[best]), jnp.isfinite(lost[worst])
    return Survey(
        crossing_time=times[best],
        crossing_start=jnp.where(crosses, ys[best], jnp.nan),
        crossing_point=jnp.where(crosses, places[best], jnp.nan),
        speed=jnp.max(speeds, axis=0),
        finite=~loses,
        lost_time=jnp.where(loses, lost[worst], jnp.nan),
        lost_point=jnp.where(loses, starts[worst], jnp.nan),
    )


def _paths(strips_of: Strips, ts: Float[Array, " T"], y: Point) -> tuple[Strip, Spread]:
    def strips_and_themselves(y: Point) -> tuple[Strip, Strip]:
        strips = strips_of.path(ts, y)
        return strips, strips

    derivative, strips = jax.jacfwd(strips_and_themselves, has_aux=True)(y)
    return strips, Spread(derivative.x, derivative.p)


def _guess(ts: Float[Array, " T"], spreads: Float[Array, "T d d"]) -> Scalar:
    """The first time at which the determinant changes sign or, for an even number of directions at once, touches 0."""
    det = jnp.linalg.det(spreads)
    here, there = det[:-1], det[1:]
    changes = here * there <= 0
    by_sign = ts[:-1] + (ts[1:] - ts[:-1]) * here / jnp.where(changes, here - there, 1)
    # The parabola through three values, in units of the interval.
    before, middle, after = jnp.abs(det[:-2]), jnp.abs(det[1:-1]), jnp.abs(det[2:])
    bend = before - 2 * middle + after
    shift = (before - after) / (2 * jnp.where(bend > 0, bend, 1))
    lowest = middle - bend * shift**2 / 2
    touches = (bend > 0) & (middle <= before) & (middle <= after) & (lowest < 0.1 * jnp.maximum(before, after))
    by_touch = ts[1:-1] + shift * (ts[2] - ts[1])
    found = jnp.concatenate([jnp.where(changes, by_sign, jnp.inf), jnp.where(touches, by_touch, jnp.inf)])
    return jnp.min(jnp.where(jnp.isfinite(found), found, jnp.inf))


def _between(strips_of: Strips, ts: Float[Array, " T"], strips: Strip, spreads: Spread):
    """Hermite's cubic interpolant of the strips and spreads: the canonical equations give the derivatives."""

    def rates(t: Scalar, strip: Strip, spread: Spread) -> tuple[Strip, Spread]:
        def along(dx: Point, dp: Point) -> tuple[Strip, Strip]:
            direction = Strip(dx, dp, jnp.zeros_like(strip.u))
            return jax.jvp(lambda s: strips_of.velocity(t, s), (strip,), (direction,))

        rate, moved = jax.vmap(along, in_axes=1, out_axes=(None, -1))(spread.x, spread.p)
        return rate, Spread(moved.x, moved.p)

    def interpolant(t: Scalar) -> tuple[Strip, Spread]:
        k = jnp.clip(jnp.searchsorted(ts, t) - 1, 0, ts.shape[0] - 2)
        width = ts[k + 1] - ts[k]
        s = (t - ts[k]) / width
        ends = [jax.tree.map(lambda leaf: leaf[j], (strips, spreads)) for j in (k, k + 1)]  # noqa: B023
        slopes = [rates(ts[j], *end) for j, end in zip((k, k + 1), ends, strict=True)]

        def cubic(a: Array, b: Array, da: Array, db: Array) -> Array:
            rise = b - a
            return a + s * (rise + (1 - s) * ((1 - s) * (width * da - rise) - s * (width * db - rise)))

        return jax.tree.map(cubic, *ends, *slopes)

    return interpolant


def _singular_time(strips_of: Strips, ts: Float[Array, " T"], y: Point) -> tuple[Scalar, Point]:
    r"""The first time at which the least singular value of $\partial x/\partial y$ is 0, or infinity, and the place.

    However many directions are lost at once, each singular value has a simple zero. Differentiable forward in `y`.
    """
    strips, spreads = _paths(strips_of, ts, y)
    interpolant = _between(strips_of, ts, strips, spreads)
    guess = jax.lax.stop_gradient(_guess(ts, spreads.x))

    def least(t: Scalar, args: None = None) -> Scalar:
        del args
        return jnp.linalg.svd(interpolant(t)[1].x, compute_uv=False)[-1]

    exists = jnp.isfinite(guess)
    tolerance = float(jnp.finfo(ts.dtype).eps) ** 0.75
    found = optx.root_find(
        least,
        optx.Newton(rtol=tolerance, atol=tolerance),
        jnp.where(exists, guess, ts[-1] / 2),
        options={"lower": ts[0], "upper": ts[-1]},
        max_steps=32,
        throw=False,
    ).value
    time = jax.lax.stop_gradient(found)
    value, rate = jax.jvp(least, (time,), (jnp.ones_like(time),))
    is_zero = jnp.abs(value) <= 1e-3 * jnp.abs(rate) * (ts[1] - ts[0])
    # A last step of Newton's, which carries the derivative in `y`.
    time = time - value / jnp.where(rate == 0, 1, jax.lax.stop_gradient(rate))
    return jnp.where(exists & is_zero, time, jnp.inf), interpolant(time)[0].x


def _least_time(strips_of: Strips, ts: Float[Array, " T"], start: Point) -> tuple[Scalar, Point, Point]:
    """The least crossing time near a start, where that one starts, and where it has come to."""
    late = 2 * ts[-1]

    def crossing_time(y: Point, args: None) -> tuple[Scalar, tuple[Scalar, Point]]:
        del args
        time, place = _singular_time(strips_of, ts, y)
        return jnp.minimum(time, late), (time, place)

    tolerance = float(jnp.finfo(ts.dtype).eps) ** 0.6
    found = optx.minimise(
        crossing_time,
        optx.BFGS(rtol=tolerance, atol=tolerance),
        start,
        has_aux=True,
        options={"autodiff_mode": "fwd"},
        max_steps=64,
        throw=False,
    )
    time, place = found.aux
    return time, found.value, place
