r"""The inviscid inverse problem on a grid, solved by going backwards and forwards.

Every datum that gives the values `w` at time `T` lies above

$$S_T^- w\,(y) = \max_x\, w(x) - T\,L\Bigl(\frac{x - y}{T}\Bigr),$$

which gives them too if any does. If none does, the solution that starts from it is the least one above `w` that can be
reached: for $H = |p|^2$ its semiconcave envelope, the least function above `w` with $D^2 \le I/2T$.

C. Esteve and E. Zuazua, *The inverse problem for Hamilton-Jacobi equations and semiconcave envelopes*, SIAM J. Math.
Anal. 52, 2020.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Int

from hjpde._problem import InitialValueProblem
from hjpde._types import is_concrete
from hjpde.hamiltonians import AbstractConvexHamiltonian, Reflected
from hjpde.solvers import Grid, GridHopfLax, GridValues

from ._forward_map import ForwardMap


def applies_backwards(forward: ForwardMap) -> bool:
    """Whether values on a grid are sought, and were observed at all of its nodes at one time, without viscosity."""
    unknowns, solver = forward.unknowns, forward.solver
    datum = unknowns.start.initial_data
    return (
        isinstance(solver, GridHopfLax)
        and isinstance(datum, GridValues)
        and unknowns.parts == ("initial_data",)
        and len(forward.counts) == 1
        and _is_same(solver.grid, datum.grid)
        and _nodes(forward, datum.grid) is not None
    )


def backwards(forward: ForwardMap) -> ForwardMap:
    """The forward map whose start is the least datum that gives what was observed."""
    unknowns, solver = forward.unknowns, forward.solver
    start = unknowns.start
    datum, H = start.initial_data, start.hamiltonian
    assert isinstance(datum, GridValues)
    assert isinstance(H, AbstractConvexHamiltonian)
    nodes = _nodes(forward, datum.grid)
    observed = np.empty(datum.grid.shape, np.asarray(forward.u).dtype)
    observed.reshape(-1)[nodes] = np.asarray(forward.u)
    reversed_time = InitialValueProblem(GridValues(datum.grid, -observed), Reflected(H), domain=start.domain)
    solution = solver.solve(reversed_time, forward.ts, progress=False)
    least = eqx.tree_at(lambda d: d.values, datum, -solution.evaluator.us[-1])
    return eqx.tree_at(lambda f: f.unknowns.start.initial_data, forward, least)


def _is_same(one: Grid, other: Grid) -> bool:
    if one.shape != other.shape or one.periodic != other.periodic:
        return False
    ends = (one.lower, other.lower), (one.upper, other.upper)
    return all(is_concrete(a, b) and np.array_equal(np.asarray(a), np.asarray(b)) for a, b in ends)


def _nodes(forward: ForwardMap, grid: Grid) -> Int[np.ndarray, " n"] | None:
    """The position in the flattened grid of each sample, if together they are all of its nodes."""
    offsets = (np.asarray(forward.x) - np.asarray(grid.lower)) / np.asarray(grid.spacing)
    indices = np.rint(offsets).astype(int)
    inside = np.all((indices >= 0) & (indices < np.asarray(grid.shape)))
    if not inside or np.any(np.abs(offsets - indices) > 1e-3):
        return None
    nodes = np.asarray(np.ravel_multi_index(tuple(indices.T), grid.shape))
    return nodes if np.array_equal(np.sort(nodes), np.arange(np.prod(grid.shape))) else None
