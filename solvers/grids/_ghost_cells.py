r"""Ghost cells: values beyond a grid's borders, from the boundary conditions.

With border node $v_0$, its neighbour $v_1$ inwards and so on, the ghost at `k` steps outwards is

- periodic: the node at the other end;
- extrapolation: $v_0 + k (v_0 - v_1)$;
- extrapolation away from zero: $v_0 + k \operatorname{sign}(v_0) |v_0 - v_1|$;
- Dirichlet, value `b`: $2b - v_k$, and the border node itself is `b`;
- Neumann, outward slope `s`: $v_k + 2 k \Delta x\, s$.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import (
    AbstractBoundaryCondition,
    Dirichlet,
    Domain,
    Extrapolation,
    ExtrapolationAwayFromZero,
    Neumann,
    Sides,
)
from hjpde._types import ScalarLike, is_concrete

from ._grid import Grid

Boundary = tuple[Sides | None, ...]
Field = Float[Array, "..."]


def boundary_of(grid: Grid, domain: Domain | None) -> Boundary:
    """The conditions on a grid's sides, by axis: a domain's, or linear extrapolation; `None` where it is periodic."""
    if domain is not None:
        return domain.boundary
    return tuple(None if wraps else (Extrapolation(), Extrapolation()) for wraps in grid.periodic)


def why_not_over(grid: Grid, domain: Domain | None) -> str | None:
    """Why a grid does not fit a domain, in a sentence, or `None` where it does; traced ends are taken to agree."""
    if domain is None:
        return None
    if grid.dim != domain.dim:
        return f"the grid has d = {grid.dim} and the problem's domain d = {domain.dim}."
    if grid.periodic != domain.periodic:
        return f"the grid is periodic along {grid.periodic} and the problem's domain along {domain.periodic}."
    ends = (grid.lower, grid.upper, domain.lower, domain.upper)
    if is_concrete(ends):
        low, high, domain_low, domain_high = (np.asarray(end) for end in ends)
        room = 1e-5 * (high - low)
        if np.any(np.abs(low - domain_low) > room) or np.any(np.abs(high - domain_high) > room):
            return (
                f"the grid runs from {low.tolist()} to {high.tolist()} and the problem's domain from "
                f"{domain_low.tolist()} to {domain_high.tolist()}; take `Grid.over(domain, shape)`."
            )
    return None


def pad(v: Field, axis: int, width: int, grid: Grid, boundary: Boundary, t: ScalarLike) -> Field:
    """The field with `width` ghost cells at both ends of one axis.

    **Arguments:**

    - `v`: values at the nodes, shape `(n1, ..., nd)`.
    - `axis`: the axis to extend.
    - `width`: the number of ghost cells a side, less than the nodes of the axis.
    - `grid`: the grid.
    - `boundary`: the conditions by axis, as `boundary_of` gives them.
    - `t`: the time at which boundary values are taken.

    **Raises:** `ValueError` if the axis has too few nodes.
    """
    n = v.shape[axis]
    if width >= n:
        raise ValueError(f"`shape` must be above {width} for axis {axis} to have {width} ghost cells, got {n}.")
    sides = boundary[axis]
    if sides is None:
        return jnp.concatenate([_cut(v, axis, n - width, n), v, _cut(v, axis, 0, width)], axis)
    lower, v = _side(v, axis, width, grid, sides[0], t, upper=False)
    upper, v = _side(v, axis, width, grid, sides[1], t, upper=True)
    return jnp.concatenate([lower, v, upper], axis)


def impose(v: Field, grid: Grid, boundary: Boundary, t: ScalarLike) -> Field:
    """The field with its border nodes set where a Dirichlet condition holds."""
    for axis, sides in enumerate(boundary):
        for upper, condition in enumerate(sides or ()):
            if isinstance(condition, Dirichlet):
                v = _with_border(v, axis, _on_side(condition.at, grid, axis, bool(upper), t, v.dtype), bool(upper))
    return v


def _side(
    v: Field, axis: int, width: int, grid: Grid, condition: AbstractBoundaryCondition, t: ScalarLike, *, upper: bool
) -> tuple[Field, Field]:
    """The ghost cells of one side, in the order of the axis, and the field, whose border may be set."""
    n = v.shape[axis]
    steps = jnp.arange(1, width + 1, dtype=v.dtype) if upper else jnp.arange(width, 0, -1, dtype=v.dtype)
    steps = steps.reshape([width if k == axis else 1 for k in range(v.ndim)])
    end, inner = (
        (_cut(v, axis, n - 1, n), _cut(v, axis, n - 2, n - 1))
        if upper
        else (
            _cut(v, axis, 0, 1),
            _cut(v, axis, 1, 2),
        )
    )
    if isinstance(condition, Extrapolation):
        return end + (end - inner) * steps, v
    if isinstance(condition, ExtrapolationAwayFromZero):
        return end + jnp.sign(end) * jnp.abs(end - inner) * steps, v
    mirror = jnp.flip(_cut(v, axis, n - 1 - width, n - 1) if upper else _cut(v, axis, 1, width + 1), axis)
    if isinstance(condition, Dirichlet):
        value = _on_side(condition.at, grid, axis, upper, t, v.dtype)
        return 2 * value - mirror, _with_border(v, axis, value, upper)
    if isinstance(condition, Neumann):
        slope = _on_side(condition.at, grid, axis, upper, t, v.dtype)
        return mirror + 2 * grid.spacing[axis].astype(v.dtype) * slope * steps, v
    raise ValueError(f"`boundary` holds a {type(condition).__name__}, for which no ghost cells are known.")


def _cut(v: Field, axis: int, start: int, stop: int) -> Field:
    return jax.lax.slice_in_dim(v, start, stop, axis=axis)


def _with_border(v: Field, axis: int, value: Field, upper: bool) -> Field:
    n = v.shape[axis]
    inner = _cut(v, axis, 0, n - 1) if upper else _cut(v, axis, 1, n)
    return jnp.concatenate([inner, value] if upper else [value, inner], axis)


def _on_side(function: Callable, grid: Grid, axis: int, upper: bool, t: ScalarLike, dtype: jnp.dtype) -> Field:
    """A function of `(t, x)` at the nodes of one side, with an axis of length 1 in place of the one that ends."""
    ends = grid.upper if upper else grid.lower
    axes = [ends[k : k + 1] if k == axis else nodes for k, nodes in enumerate(grid.axes)]
    points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
    values = jax.vmap(lambda x: function(t, x))(points.reshape(-1, grid.dim))
    return values.reshape(points.shape[:-1]).astype(dtype)
