r"""The infimal convolution along one axis, $u(x) = \min_y g(y) + t\,L((x - y)/t)$, of values on a grid.

The minimiser among the nodes is found first, exactly. It then moves between the nodes, on the datum's parabola with
slope `s` and curvature `b`, to where a characteristic starts that arrives at `x`. One step of Newton's for either side
of Legendre's duality,

$$e = t\,\frac{v - h'(s)}{1 + t\,b\,h''(s)} \quad\text{or}\quad e = \frac{L'(v) - s}{b + L''(v)/t}, \qquad
v = \frac{x - y}{t},$$

is exact for quadratic `h`, and where one of `h` and `L` has a kink the other is smooth; the better of the two is taken.
From a kink of the datum all velocities between $h'(s_-)$ and $h'(s_+)$ start: a rarefaction. The value is that of the
formula itself at the point found.

Only which node wins is not differentiated: the value is an expression in the winner's parabolas, so that the reverse
mode is one scatter.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from hjpde._streaming import over_rows
from hjpde._types import Scalar
from hjpde.hamiltonians import HasSeparableLagrangian

from ._monotone_minimisers import ShiftCosts, minimising_shifts, run_length
from ._subcell import Parabolas, parabolas

Lines = Float[Array, "lines n"]

_NODES_AT_ONCE = 1 << 17
"""So many nodes, in whole lines, are worked on at once: with all that is gathered for them they fill the caches."""


class Search(NamedTuple):
    """What a minimisation along one axis did.

    - `window`: how many shifts a minimiser may have. - `from_beyond`: at how many nodes the minimiser was held by a
      border that is not periodic, beyond which it would lie.
    """

    window: Int[Array, ""]
    from_beyond: Int[Array, ""]


@final
class AlongAxis(eqx.Module):
    """A separable Hamiltonian along one axis of a grid.

    - `spacing`, `periodic`: of the axis.
    """

    hamiltonian: HasSeparableLagrangian
    axis: int = eqx.field(static=True)
    spacing: Scalar
    periodic: bool = eqx.field(static=True)

    def energy(self, p: Float[Array, "..."]) -> Float[Array, "..."]:
        """$h_i(p)$, elementwise."""
        return self.hamiltonian.hamiltonian_along(self.axis, p)

    def lagrangian(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """$L_i(v)$, elementwise."""
        return self.hamiltonian.lagrangian_along(self.axis, v)


def infimal_convolution(g: Float[Array, "..."], t: Scalar, along: AlongAxis) -> tuple[Float[Array, "..."], Search]:
    """The values at all nodes at time `t` > 0, and how the minimisers were found.

    **Arguments:**

    - `g`: values at the nodes of a grid, convolved along the axis of `along`.
    - `t`: time.
    - `along`: the Hamiltonian along that axis.
    """
    moved = jnp.moveaxis(g, along.axis, -1)
    n = moved.shape[-1]
    lines = moved.reshape(-1, n)
    # Also with respect to what the Hamiltonian holds.
    parameters, rest = eqx.partition((lines, t, along), eqx.is_array)
    held_lines, held_t, held = eqx.combine(lax.stop_gradient(parameters), rest)
    costs = _costs(held_lines, held_t, held)
    rows = max(1, _NODES_AT_ONCE // n)
    shifts = over_rows(lambda block: minimising_shifts(block, costs, along.periodic), rows, held_lines)
    # In reverse mode what was gathered is gathered again, as it is many times the values.
    at_winners = jax.checkpoint(lambda block: _values(block[0], block[1], t, along))
    values, held_back = over_rows(at_winners, rows, (lines, shifts))
    search = Search(costs.highest - costs.lowest + 1, jnp.sum(held_back, dtype=jnp.int32))
    return jnp.moveaxis(values.reshape(moved.shape), -1, along.axis), search


def _costs(g: Lines, t: Scalar, along: AlongAxis) -> ShiftCosts:
    r"""$t\,L(k\,\Delta x/t)$, and the window of the velocities at which the slopes of `g` let information travel."""
    n, dx = g.shape[1], along.spacing
    slopes = jnp.diff(g, axis=1, append=g[:, :1]) if along.periodic else jnp.diff(g, axis=1)
    slopes = jnp.where(jnp.isfinite(slopes), slopes / dx, 0)
    ends = _derivative(along.energy, jnp.stack([jnp.min(slopes), jnp.max(slopes), jnp.zeros_like(t)])) * t / dx
    # Of what lies beyond every node, no more than its sign is needed.
    farthest = jnp.asarray(1 << 24, g.dtype)
    slowest, fastest, still = (jnp.clip(end, -farthest, farthest) for end in ends)
    centre = jnp.round(still).astype(jnp.int32) if along.periodic else jnp.zeros((), jnp.int32)
    reach = n + 2 * run_length(n)
    first = centre - reach
    table = t * along.lagrangian((first + jnp.arange(2 * reach + 1, dtype=jnp.int32)).astype(g.dtype) * dx / t)
    # A node of slack, as the slopes between neighbours bound those of a minimiser from one side only.
    lowest, highest = jnp.floor(slowest).astype(jnp.int32) - 1, jnp.ceil(fastest).astype(jnp.int32) + 1
    if not along.periodic:
        # At the border stand minimisers from which anything slower starts.
        lowest, highest = jnp.minimum(lowest, 0), jnp.maximum(highest, 0)
        return ShiftCosts(table, first, jnp.maximum(lowest, 1 - n), jnp.minimum(highest, n - 1))
    # Of the images of one node the cheapest will do.
    middle = table[reach : reach + n + 1], table[reach - n : reach + 1]
    highest = jnp.minimum(highest, centre + jnp.sum(middle[0] <= middle[1], dtype=jnp.int32) - 1)
    lowest = jnp.maximum(lowest, centre + 1 - jnp.sum(middle[1] <= middle[0], dtype=jnp.int32))
    return ShiftCosts(table, first, jnp.minimum(lowest, highest), highest)


def _values(g: Lines, shifts: Int[Array, "lines n"], t: Scalar, along: AlongAxis) -> tuple[Lines, Array]:
    """The values at the winning nodes' minimisers, and where a border holds one back."""
    lines, n = g.shape
    sources = jnp.arange(n, dtype=jnp.int32)[None] - shifts
    sources = sources % n if along.periodic else sources
    table = jnp.stack(parabolas(g, along.spacing, along.periodic), axis=-1).reshape(lines * n, len(Parabolas._fields))
    positions = sources + n * jnp.arange(lines, dtype=jnp.int32)[:, None]
    gathered = table.at[positions].get(mode="promise_in_bounds")
    here = Parabolas(*(gathered[..., k] for k in range(gathered.shape[-1])))

    dx = along.spacing
    v = (shifts.astype(g.dtype) * dx - here.offset) / t
    to_the_left, to_the_right = (
        v < _derivative(along.energy, here.left_slope),
        v > _derivative(along.energy, here.right_slope),
    )
    slope = jnp.where(to_the_left, here.left_slope, here.right_slope)
    bend = jnp.where(to_the_left, here.left_bend, here.right_bend)
    lower, upper = -dx, dx
    if not along.periodic:
        lower, upper = jnp.where(sources == 0, 0, lower), jnp.where(sources == n - 1, 0, upper)
    lower, upper = lower - here.offset, upper - here.offset
    # The kink stays the meeting point of its two sides.
    lower, upper = jnp.where(to_the_left, lower, 0), jnp.where(to_the_right, upper, 0)
    # No farther than the Lagrangian is finite.
    slowest, fastest = (jnp.asarray(end, g.dtype) for end in along.hamiltonian.velocities_along(along.axis))

    def value_at(distance: Lines) -> Lines:
        arriving = jnp.clip(v - jnp.clip(distance, lower, upper) / t, slowest, fastest)
        distance = t * (v - arriving)
        return here.value + distance * (slope + bend * distance / 2) + t * along.lagrangian(arriving)

    by_velocity = _quotient(t * (v - _derivative(along.energy, slope)), 1 + t * bend * _second(along.energy, slope))
    by_momentum = _quotient(_derivative(along.lagrangian, v) - slope, bend + _second(along.lagrangian, v) / t)
    unmoved = here.value + t * along.lagrangian(v)
    values = jnp.minimum(jnp.minimum(value_at(by_velocity), value_at(by_momentum)), unmoved)
    if along.periodic:
        return values, jnp.zeros(g.shape, bool)
    room = math.sqrt(float(jnp.finfo(g.dtype).eps)) * dx
    held_back = ((sources == 0) & (by_velocity < lower - room)) | ((sources == n - 1) & (by_velocity > upper + room))
    return values, held_back


def _derivative(function: Callable, at: Float[Array, "..."]) -> Float[Array, "..."]:
    """Of a function that acts elementwise."""
    return jax.jvp(function, (at,), (jnp.ones_like(at),))[1]


def _second(function: Callable, at: Float[Array, "..."]) -> Float[Array, "..."]:
    return _derivative(lambda at: _derivative(function, at), at)


def _quotient(a: Lines, b: Lines) -> Lines:
    """`a / b`, and 0 where `b` is not positive: there the objective is not convex."""
    convex = b > 0
    return jnp.where(convex, a / jnp.where(convex, b, 1), 0)
