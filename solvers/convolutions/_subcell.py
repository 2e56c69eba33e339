r"""Where a datum's minimisers lie between the nodes: at every node two parabolas that meet.

Where the datum is smooth both are the parabola through the node and its neighbours. Beside a convex kink they are the
parabolas of either side, each through three nodes that lie wholly on its side, extended to the place where they meet:
with the second differences $D_j = g_{j-1} - 2g_j + g_{j+1}$, a kink at the part $\tau$ of the interval $[x_0, x_1]$ has

$$(D_2 - D_1) + (D_1 - D_2 + D_0 - D_{-1} - A)\,\tau + A\tau^2 = 0, \qquad A = \tfrac12 (D_2 - D_{-1}).$$

There is a kink where $D_0 + D_1$ is many times what is left and right of it. A concave kink needs no care: no minimiser
of $g(y) + tL((x - y)/t)$ lies there.

??? cite "References"

    A. Harten, *ENO schemes with subcell resolution*, J. Comput. Phys. 83, 1989.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from hjpde._types import Scalar

Lines = Float[Array, "lines n"]

GHOSTS = 3
"""How many nodes beyond each end the rule for kinks reads."""

_DOMINANCE = 8
"""A kink is where second differences are so many times those beside: a smooth datum's do not change so fast."""


class Parabolas(NamedTuple):
    r"""$m + s_\mp e + \tfrac12 b_\mp e^2$ at the distance `e` to the left and to the right of a meeting point.

    - `offset`: of the meeting point from the node. - `value`: `m`, the datum there.
    - `left_slope`, `left_bend`, `right_slope`, `right_bend`: its one-sided first and second derivatives there.
    """

    offset: Array
    value: Array
    left_slope: Array
    left_bend: Array
    right_slope: Array
    right_bend: Array


def parabolas(g: Lines, spacing: Scalar, periodic: bool) -> Parabolas:
    """The parabolas at every node of every line; beyond an end that is not periodic the last one is continued."""
    n = g.shape[1]
    padded = lax.optimization_barrier(_with_ghosts(g, periodic))
    values = [lax.slice_in_dim(padded, k, k + n, axis=1) for k in range(2 * GHOSTS + 1)]
    right, is_right = _kink_to_the_right(values)
    mirrored, is_left = _kink_to_the_right(values[::-1])
    left = Parabolas(
        -mirrored.offset,
        mirrored.value,
        -mirrored.right_slope,
        mirrored.right_bend,
        -mirrored.left_slope,
        mirrored.left_bend,
    )
    before, here, after = values[GHOSTS - 1 : GHOSTS + 2]
    slope, bend = (after - before) / 2, before - 2 * here + after
    smooth = Parabolas(jnp.zeros_like(here), here, slope, bend, slope, bend)
    found = (jnp.where(is_right, a, jnp.where(is_left, b, c)) for a, b, c in zip(right, left, smooth, strict=True))
    unit, rise, bow = spacing, 1 / spacing, 1 / spacing**2
    scales = (unit, None, rise, bow, rise, bow)
    return Parabolas(*(part if scale is None else part * scale for part, scale in zip(found, scales, strict=True)))


def _kink_to_the_right(values: list[Lines]) -> tuple[Parabolas, Array]:
    """A kink between the middle one of seven nodes and the next, in units of the spacing, and whether there is one."""
    here, after, second = values[GHOSTS : GHOSTS + 3]
    bends = [a - 2 * b + c for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    # At the nodes -1, 0, 1 and 2.
    outer_left, near_left, near_right, outer_right = bends[1:]
    rounding = 64 * float(jnp.finfo(here.dtype).eps) * jnp.abs(here)
    before, beyond = near_left - outer_left, near_right - outer_right
    both = near_left + near_right
    there = both > _DOMINANCE * (jnp.abs(outer_left) + jnp.abs(outer_right)) + rounding
    # Errors of the values put a kink that lies on a node a little outside of the interval: it is taken for its end.
    there = there & (before >= -both / _DOMINANCE) & (beyond >= -both / _DOMINANCE)
    A = (outer_right - outer_left) / 2
    B = before + beyond - A
    B = jnp.where(there, B, 1)
    root = jnp.sqrt(jnp.where(there, jnp.maximum(B**2 + 4 * A * beyond, 0), 1))
    tau = jnp.clip(2 * beyond / (B + root), 0, 1)
    slope = here - values[GHOSTS - 1] + outer_left / 2
    return (
        Parabolas(
            tau,
            here + tau * (slope + tau * outer_left / 2),
            slope + tau * outer_left,
            outer_left,
            second - after - outer_right / 2 + (tau - 1) * outer_right,
            outer_right,
        ),
        there,
    )


def _with_ghosts(g: Lines, periodic: bool) -> Float[Array, "lines padded"]:
    if periodic:
        return jnp.concatenate([g[:, -GHOSTS:], g, g[:, :GHOSTS]], axis=1)
    lower = _continued(g[:, :3])
    upper = _continued(g[:, :-4:-1])
    return jnp.concatenate([lower[:, ::-1], g, upper], axis=1)


def _continued(last: Float[Array, "lines 3"]) -> Float[Array, "lines 3"]:
    """The parabola through the last three nodes, from the end inwards, at the next nodes outwards."""
    a, b, c = (last[:, k : k + 1] for k in range(3))
    steps = jnp.arange(1, GHOSTS + 1, dtype=last.dtype)[None]
    return a + steps * (a - b) + steps * (steps + 1) / 2 * (a - 2 * b + c)
