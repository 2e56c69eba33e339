"""One line of the catalogue: a problem, and how it is most usefully solved, measured and drawn."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from hjpde._types import Point, ScalarLike

from ._abstract import AbstractProblem

Reference = Literal["exact", "computed", "none"]
Plot = Literal["profiles", "contours", "slices"]
Solver = Literal["FiniteDifference", "Spectral"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A problem of the catalogue, with what the command line needs to solve it and to measure the error.

    **Arguments:**

    - `name`: the name on the command line.
    - `title`, `equation`, `source`: for people, one line each.
    - `reference`: "exact" for a closed form, "computed" for a root, quadrature or maximum found to rounding,
      "none" where nothing but symmetries is known.
    - `make`: the problem's class, called with `viscosity` if one is given.
    - `time`: the time up to which it is solved, in the problem's units.
    - `sizes`: points an axis of three grids, coarse to fine, for the table of convergence.
    - `order`: what order of convergence to expect, and why.
    - `solver`: the solver in `hjpde.solvers` that suits it.
    - `plot`: how it is best drawn: profiles in 1-D, contours in 2-D, slices in 3-D and more.
    - `proportions`: the axes' numbers of points relative to `n`; `None` for `n` on every axis.
    - `measured`: tells of `(t, x)` whether errors are measured there, where the domain's artificial sides spoil a
      part of it; `None` for everywhere.
    - `cfl`: the part of the stable step with which finite differences are to be run, so short that the error in space
      is seen; `None` for the solver's own.
    - `viscous`: whether the reference holds for any positive viscosity, or only for the problem's own.
    """

    name: str
    title: str
    equation: str
    source: str
    reference: Reference
    make: Callable[..., AbstractProblem]
    time: float
    sizes: tuple[int, int, int]
    order: str
    solver: Solver = "FiniteDifference"
    plot: Plot = "contours"
    proportions: tuple[float, ...] | None = None
    measured: Callable[[ScalarLike, Point], Bool[Array, ""]] | None = None
    cfl: float | None = None
    viscous: bool = False

    def build(self, viscosity: float | None = None) -> AbstractProblem:
        """The problem.

        **Arguments:**

        - `viscosity`: in place of the problem's own; `None` for that.

        **Raises:** `ValueError` if the problem has no viscosity to choose, or it is not positive.
        """
        if viscosity is None:
            return self.make()
        if not self.viscous:
            raise ValueError(f"`viscosity` cannot be chosen for {self.name!r}: its reference holds for its own only.")
        return self.make(viscosity=viscosity)

    def shape(self, n: int) -> tuple[int, ...]:
        """The shape of a grid with `n` points on the reference axis."""
        domain = self.build().problem.domain
        assert domain is not None
        proportions = self.proportions or (1.0,) * domain.dim
        return tuple(round(n * proportion) for proportion in proportions)

    def mask(self, t: ScalarLike, points: Array) -> Bool[Array, " *shape"]:
        """Where errors are measured at time `t`, for points of shape `(..., d)`."""
        shape, measured = points.shape[:-1], self.measured
        if measured is None:
            return jnp.ones(shape, bool)
        return jax.vmap(lambda x: measured(t, x))(points.reshape(-1, points.shape[-1])).reshape(shape)
