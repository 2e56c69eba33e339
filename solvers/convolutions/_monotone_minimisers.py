r"""Which source wins: the minimisers of $g_j + C_{i-j}$ for every target `i` of a line, with a convex cost `C`.

Because `C` is convex the minimiser does not fall as `i` grows. So it is looked for among all shifts of a window at
every `B`-th target only; in between it lies between the two minimisers beside, and the runs of sources that this leaves
add up to at most twice the line, whatever the data. The work is $O(w/B + B)$ for each target, with a window of `w`
shifts.

??? cite "References"

    A. Aggarwal, M. M. Klawe, S. Moran, P. Shor and R. Wilber, *Geometric applications of a matrix-searching algorithm*,
    Algorithmica 2, 1987: totally monotone matrices.
"""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from hjpde._types import Scalar

Lines = Float[Array, "lines n"]
Whole = Int[Array, ""]

_UNROLLED = 4
"""Shifts that one turn of the loop over the window takes."""


@final
class ShiftCosts(eqx.Module):
    """The cost of a path over `k` spacings: `table[k - first]`, and the window of those that can win."""

    table: Float[Array, " shifts"]
    first: Whole
    lowest: Whole
    highest: Whole

    def at(self, k: Whole) -> Scalar:
        """The cost of one shift."""
        return self.table.at[k - self.first].get(mode="clip")


def run_length(n: int) -> int:
    """`B`, about the root of the window's width: targets from one that searches the whole window to the next."""
    return min(n, 16 if n < 1024 else 32)


def minimising_shifts(g: Lines, costs: ShiftCosts, periodic: bool) -> Int[Array, "lines n"]:
    """The shifts $i - j$ to the minimising sources `j`, the least one of equals.

    Sources of a periodic line are those of all its images; beyond the ends of another there are none. NaN never wins.

    **Arguments:**

    - `g`: values at the sources.
    - `costs`: of all shifts between two nodes, and between their runs.
    - `periodic`: whether the lines are periodic.
    """
    n, run = g.shape[1], run_length(g.shape[1])
    first = run * _count(-(-n // run))[None] - _search_window(g, costs, periodic, run)
    end = first[:, :1] + n if periodic else jnp.full_like(first[:, :1], n - 1)
    # Rounding may exchange two sources of equal cost.
    first = jnp.minimum(lax.cummax(first, axis=1), end)
    last = jnp.concatenate([first[:, 1:], end], axis=1)
    return _count(n)[None] - _search_between(g, costs, periodic, run, first, last)


def _search_window(g: Lines, costs: ShiftCosts, periodic: bool, run: int) -> Int[Array, "lines runs"]:
    """The minimising shifts of every `run`-th target."""
    lines, n = g.shape
    runs = -(-n // run)
    beyond = jnp.full((n, lines), jnp.inf, g.dtype)
    sources = [g.T, g.T] if periodic else [beyond, g.T, beyond]
    # By phases, so that the sources of all targets at one shift are a slice.
    length = -(-len(sources) * n // run) * run
    sources = jnp.pad(jnp.concatenate(sources), [(0, length - len(sources) * n), (0, 0)], constant_values=jnp.inf)
    phases = sources.reshape(-1, run, lines).transpose(1, 0, 2).reshape(length, lines)

    def search(turn: Whole, best: tuple[Array, Array]) -> tuple[Array, Array]:
        least, winner = best
        for step in range(_UNROLLED):
            k = jnp.minimum(costs.lowest + turn * _UNROLLED + step, costs.highest)
            start = (-k) % n if periodic else n - k
            value = lax.dynamic_slice_in_dim(phases, (start % run) * (length // run) + start // run, runs, axis=0)
            value = value + costs.at(k)
            winner = jnp.where(value < least, k, winner)
            least = jnp.minimum(value, least)
        return least, winner

    turns = (costs.highest - costs.lowest) // _UNROLLED + 1
    nothing = jnp.full((runs, lines), jnp.inf, g.dtype), jnp.full((runs, lines), costs.lowest)
    shifts = lax.fori_loop(0, turns, search, nothing)[1].T
    if periodic:
        return shifts
    targets = run * _count(runs)[None]
    return targets - jnp.clip(targets - shifts, 0, n - 1)


def _search_between(
    g: Lines,
    costs: ShiftCosts,
    periodic: bool,
    run: int,
    first: Int[Array, "lines runs"],
    last: Int[Array, "lines runs"],
) -> Int[Array, "lines n"]:
    """The minimising sources of all targets, between the `first` and the `last` of their run.

    Each run of targets meets every run of sources that it may have to look at: at most two a run, on the whole line.
    """
    (lines, n), runs = g.shape, first.shape[1]
    bottom = first // run
    ends = jnp.cumsum(last // run - bottom + 1, axis=1)
    slots = _count(2 * runs + 1)[None]
    targets = jnp.minimum(jnp.sum(slots[:, :, None] >= ends[:, None, :], axis=2, dtype=jnp.int32), runs - 1)
    before = ends - (last // run - bottom + 1)
    sources = slots + jnp.take_along_axis(bottom - before, targets, axis=1)
    sources = jnp.minimum(sources, jnp.take_along_axis(last // run, targets, axis=1))

    fill = g[:, :run] if periodic else jnp.full((lines, run), jnp.inf, g.dtype)
    values = _cut(jnp.concatenate([g, fill], axis=1), (sources * run) % n if periodic else sources * run, run)
    shifts = (targets - sources) * run - (run - 1)
    paths = _cut(costs.table[None], shifts - costs.first, 2 * run - 1)
    least = values[:, :, :1] + paths[:, :, run - 1 :]
    winner = jnp.zeros(least.shape, jnp.int32)
    for b in range(1, run):
        value = values[:, :, b : b + 1] + paths[:, :, run - 1 - b : 2 * run - 1 - b]
        winner = jnp.where(value <= least, b, winner)
        least = jnp.minimum(value, least)

    rows = targets + runs * _count(lines)[:, None]
    everywhere = {"indices_are_sorted": True, "mode": "promise_in_bounds"}
    best = jnp.full((lines * runs, run), jnp.inf, g.dtype).at[rows].min(least, **everywhere)
    ties = least <= best.at[rows].get(**everywhere)
    nowhere = jnp.iinfo(jnp.int32).min
    found = jnp.where(ties, sources[:, :, None] * run + winner, nowhere).astype(jnp.int32)
    found = jnp.full((lines * runs, run), nowhere, jnp.int32).at[rows].max(found, **everywhere)
    return found.reshape(lines, runs * run)[:, :n]


def _cut(rows: Float[Array, "rows _"], starts: Int[Array, "lines slots"], width: int) -> Float[Array, "lines slots _"]:
    """`width` entries of a row from each start on; one row stands for all lines."""
    line = jnp.broadcast_to(_count(rows.shape[0])[:, None], starts.shape)
    numbers = lax.GatherDimensionNumbers(offset_dims=(2,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
    indices = jnp.stack([line, starts], axis=-1)
    return lax.gather(rows, indices, numbers, (1, width), mode="clip")


def _count(n: int) -> Int[Array, " _"]:
    return jnp.arange(n, dtype=jnp.int32)
