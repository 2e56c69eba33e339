"""Whether a viscosity can be followed exactly on a grid, and how."""

from typing import Any

import numpy as np

from hjpde._domain import Dirichlet, Neumann, Sides
from hjpde._types import is_concrete
from hjpde._viscosity import AbstractViscosity, MatrixViscosity, ScalarViscosity
from hjpde.solvers.grids._ghost_cells import Boundary
from hjpde.solvers.grids._grid import Grid

from ._heat import HeatFlow, Reflection


def exact_heat(grid: Grid, boundary: Boundary, viscosity: AbstractViscosity) -> HeatFlow | None:
    """The exact heat flow of a constant viscosity between sides that a Fourier, cosine or sine transform knows:
    periodic, Neumann with slope 0, Dirichlet with one constant. `None` where there is none."""
    if isinstance(viscosity, ScalarViscosity):
        N = viscosity.epsilon
    elif isinstance(viscosity, MatrixViscosity):
        N = viscosity.constant
    else:
        return None
    kinds, constants = [], set()
    for sides in boundary:
        kind, constant = _kind(sides)
        if kind is None:
            return None
        kinds.append(kind)
        constants |= constant
    if len(constants) > 1:
        return None
    if N.ndim == 2 and any(kind != "periodic" for kind in kinds) and not _is_diagonal(N):
        return None
    return HeatFlow(grid.shape, grid.spacing, kinds, N, next(iter(constants), 0.0))


def _kind(sides: Sides | None) -> tuple[Reflection | None, set[float]]:
    """How values continue beyond both ends of an axis, and the constants given there."""
    if sides is None:
        return "periodic", set()
    if all(isinstance(side, Neumann) and _constant(side.slope) == 0 for side in sides):
        return "neumann", set()
    if all(isinstance(side, Dirichlet) for side in sides):
        constants = {_constant(side.value) for side in sides if isinstance(side, Dirichlet)}
        known = {constant for constant in constants if constant is not None}
        if len(known) == len(constants):
            return "dirichlet", known
    return None, set()


def _constant(value: Any) -> float | None:
    return None if callable(value) or not is_concrete(value) else float(value)


def _is_diagonal(N: Any) -> bool:
    return is_concrete(N) and not np.any(np.asarray(N) - np.diag(np.diag(np.asarray(N))))
