"""A solution known on a grid at saved times, as a function of time and place."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar, is_concrete

from ._grid import Grid
from ._interpolation import WIDTHS, Order, apply, rounding, stencil

_MOST_NODES = 1 << 20


@final
class GridEvaluator(AbstractEvaluator):
    r"""`u` from its values and rates $u_t$ at the nodes of a grid, at the saved times.

    In time the cubic Hermite polynomial of values and rates, exact at the saved times; in space the interpolant of
    `Grid.interpolate`. Before 0, after the last saved time and outside the box `u` is NaN.
    """

    grid: Grid
    ts: Float[Array, " T"]
    us: Float[Array, "T *n"]
    rates: Float[Array, "T *n"]
    order: Order = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        ts: Float[Array, " T"],
        us: Float[Array, "T *n"],
        rates: Float[Array, "T *n"],
        order: Order = "cubic",
    ):
        """**Arguments:**

        - `grid`: the grid, of shape `(n1, ..., nd)`.
        - `ts`: the saved times, increasing from 0.
        - `us`: the values at the nodes, shape `(T, n1, ..., nd)`.
        - `rates`: the time derivatives there, in the same shape.
        - `order`: `"cubic"` or `"linear"` interpolation in space.

        **Raises:** `ValueError` if the shapes disagree or the order is another.
        """
        if order not in WIDTHS:
            raise ValueError(f'`order` must be "linear" or "cubic", got {order!r}.')
        expected = (ts.shape[0], *grid.shape)
        if us.shape != expected or rates.shape != expected:
            raise ValueError(f"`us` and `rates` must have shape {expected}, got {us.shape} and {rates.shape}.")
        self.grid, self.ts, self.us, self.rates, self.order = grid, ts, us, rates, order

    @property
    def twice_differentiable(self) -> bool:
        return self.order == "cubic"

    @property
    def dim(self) -> int:
        return self.grid.dim

    def invalid_time(self, t: float) -> str | None:
        if not is_concrete(self.ts):
            return None
        times = np.asarray(self.ts)
        last = times[np.isfinite(times)].max()
        room = rounding(times) * abs(last)
        if -room <= t <= last + room:
            return None
        return f"a grid solution holds between 0 and its last saved time, {last:g}; solve up to a later one"

    def invalid_point(self, X: Float[np.ndarray, "M d"]) -> str | None:
        """Why the points cannot all be evaluated, or `None`."""
        grid = self.grid
        if not is_concrete(grid.lower, grid.upper):
            return None
        lower, upper = np.asarray(grid.lower), np.asarray(grid.upper)
        room = rounding(X, lower) * np.maximum(np.abs(lower), np.abs(upper))
        outside = ~((np.clip(X, lower - room, upper + room) == X) | np.asarray(grid.periodic)).all(axis=1)
        if not outside.any():
            return None
        box = " x ".join(
            "R (periodic)" if wraps else f"[{low:g}, {high:g}]"
            for low, high, wraps in zip(lower, upper, grid.periodic, strict=True)
        )
        point = ", ".join(f"{coordinate:g}" for coordinate in X[np.argmax(outside)])
        return f"[{point}] lies outside the grid's box {box}; solve on a larger grid"

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        grid = self.grid
        nodes = stencil(grid.lower, grid.spacing, grid.shape, grid.periodic, x, self.order)
        u = self._blend(t, lambda fields, k: _pick(fields, k, nodes.positions))
        return apply(nodes, u) * jnp.where(grid.contains(x), 1, jnp.nan).astype(u.dtype)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        field = self._blend(t, lambda fields, k: fields[k])
        block = max(1, _MOST_NODES // WIDTHS[self.order] ** self.dim)
        if X.shape[0] <= block:
            return self.grid.interpolate(field, X, self.order)
        # Recomputed in reverse mode: the stencils of all points together are large.
        at = jax.checkpoint(lambda x: self.grid.interpolate(field, x, self.order))
        return jax.lax.map(at, X, batch_size=block)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        raise ValueError(
            "a grid solution carries no estimate of its discretisation error: solve on a finer grid and compare."
        )

    def _blend(self, t: Scalar, pick) -> Float[Array, "..."]:
        """The Hermite polynomial at `t` of what `pick` takes from the fields of two neighbouring times."""
        last = self.ts.shape[0] - 1
        now = jnp.asarray(t, self.ts.dtype)
        k = jnp.clip(jnp.searchsorted(self.ts, now, side="right") - 1, 0, max(last - 1, 0))
        then = jnp.minimum(k + 1, last)
        h = self.ts[then] - self.ts[k]
        s = (now - self.ts[k]) / jnp.where(h > 0, h, 1)
        # Of a solve that failed, the times that were not reached are NaN.
        end = jnp.nanmax(self.ts)
        room = rounding(t, self.ts) * jnp.abs(end)
        inside = (now >= -room) & (now <= end + room)
        factors = jnp.stack([(1 + 2 * s) * (1 - s) ** 2, s**2 * (3 - 2 * s), h * s * (1 - s) ** 2, h * s**2 * (s - 1)])
        factors = (factors * jnp.where(inside, 1, jnp.nan)).astype(self.us.dtype)
        parts = (pick(self.us, k), pick(self.us, then), pick(self.rates, k), pick(self.rates, then))
        return sum(factor * part for factor, part in zip(factors, parts, strict=True))  # pyright: ignore


def _pick(fields: Float[Array, "T *n"], k: Int[Array, ""], positions: Int[Array, "..."]) -> Float[Array, "..."]:
    flat = fields.reshape(fields.shape[0], -1)
    return flat.at[k, positions].get(mode="promise_in_bounds")
