"""A problem on a grid with time left continuous: the rates of change, and what bounds the step."""

from collections.abc import Callable
from typing import final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from hjpde._constraint import Constraint
from hjpde._domain import Dirichlet
from hjpde._extremum import largest
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde._viscosity import AbstractViscosity, NoViscosity
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.grids._ghost_cells import Boundary, impose, pad
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._over_grid import over_grid

from ._cfl import CFLController
from ._diffusion import decay_rate, diffusion
from ._heat import HeatFlow
from ._numerical_hamiltonian import Flux, dissipation, numerical_hamiltonian, steady_dissipation
from ._one_sided import GHOST_CELLS, Order, one_sided_derivatives
from ._speed_bound import Source, SpeedBound, is_rigorous, speed_bound_of, speed_met
from ._strong_stability import IntegratingFactorRungeKutta, SSPRungeKutta, TimeOrder
from ._super_time_stepping import Strang, stable_interval
from ._time_loop import TimeLoop

Field = Float[Array, "..."]

NOT_FINITE, UNSTABLE, LEFT_DOMAIN = 1, 2, 3
"""What an inspection may find; 0 where all is well."""


@final
class SemiDiscretisation(eqx.Module):
    """The equation on a grid, `v_t = -H(t, x, D- v, D+ v) + tr(N D^2 v)`, and the checks of every step."""

    grid: Grid
    hamiltonian: AbstractHamiltonian
    viscosity: AbstractViscosity
    heat: HeatFlow | None
    boundary: Boundary
    constraint: Constraint | None
    user_bound: Callable | Float[Array, " d"] | None
    cfl: Scalar
    front: Scalar | None
    below_at_start: Bool[Array, "..."] | None
    steady: list[Field] | None
    order: Order = eqx.field(static=True)
    time_order: TimeOrder = eqx.field(static=True)
    flux: Flux = eqx.field(static=True)
    stages: int = eqx.field(static=True)

    def tabulated(self) -> "SemiDiscretisation":
        """The same with its speeds evaluated once and for all, where they depend on nothing but the place."""
        steady = steady_dissipation(self.speed_bound, self.grid.axes)
        return eqx.tree_at(lambda system: system.steady, self, steady, is_leaf=lambda leaf: leaf is None)

    def loop(self, longest: Scalar) -> TimeLoop:
        """What is stepped; no step is longer than `longest`."""
        if self.heat is not None:
            solver = IntegratingFactorRungeKutta(self.heat, self.time_order)
        else:
            solver = SSPRungeKutta(self.time_order)
            if not isinstance(self.viscosity, NoViscosity):
                solver = Strang(solver, self.diffusion, self.stages)
        controller = CFLController(self.step_rate, self.cfl, longest)
        term = diffrax.ODETerm(self.transport)
        return TimeLoop(term, solver, controller, self.inspect, self.project)

    def transport(self, t: ScalarLike, v: Field, args: None = None) -> Field:
        r"""$-\hat H$, with the sign that a tube allows; on Dirichlet sides the rate of the given value."""
        del args
        t = jnp.asarray(t, v.dtype)
        left, right = self._one_sided(t, v, self.order)
        # Each stage is a unit of its own: fused into the next, its stencils would be evaluated several times.
        rate = lax.optimization_barrier(
            -numerical_hamiltonian(
                self.flux, self.hamiltonian, self.speed_bound, t, self.grid.axes, left, right, self.steady
            )
        )
        if self.constraint is not None:
            rate = self.constraint.admissible_rate(rate)
        return self._on_sides(t, rate)

    def diffusion(self, t: Scalar, v: Field) -> Field:
        """The viscous term by central differences; nothing on Dirichlet sides."""
        out = diffusion(self.viscosity, self.grid, self.boundary, self.order, t, v)
        still = [
            None if sides is None else tuple(Dirichlet(0.0) if isinstance(side, Dirichlet) else side for side in sides)
            for sides in self.boundary
        ]
        return impose(out, self.grid, tuple(still), t)  # pyright: ignore

    def rate(self, t: Scalar, v: Field) -> Field:
        """$u_t$, all of it."""
        rate = self.transport(t, v)
        return rate if isinstance(self.viscosity, NoViscosity) else rate + self.diffusion(t, v)

    def project(self, t: Scalar, v: Field) -> Field:
        """The values with their Dirichlet sides set, between the obstacles."""
        v = impose(v, self.grid, self.boundary, t)
        constraint = self.constraint
        if constraint is None or (constraint.lower is None and constraint.upper is None):
            return v
        return over_grid(lambda x, u: constraint.project(t, x, u[0]), self.grid.axes, (v,))

    def step_rate(self, t: Scalar, v: Field) -> Scalar:
        r"""$\max_x \sum_i \alpha_i/\Delta x_i$ from first differences, and what explicit diffusion asks for.

        The same bound serves every order: a slope of a higher-order stencil exceeds the first differences around it
        by little, which the CFL number leaves room for.
        """
        alphas = self._speeds(t, v, 1)
        spacing = self.grid.spacing.astype(v.dtype)
        rate = largest(jnp.asarray(sum(alpha / spacing[i] for i, alpha in enumerate(alphas))))
        if self.heat is None and not isinstance(self.viscosity, NoViscosity):
            slow = decay_rate(self.viscosity, self.grid, self.order, t) / (2 * stable_interval(self.stages))
            # Each half step of Strang's splitting covers half of the time.
            rate = jnp.maximum(rate, self.cfl * slow / 2)
        return rate

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        """The bound on `|dH/dp_i|` over a box of co-states at one point."""
        return self._speed_bound[0](t, x, box)

    @property
    def _speed_bound(self) -> tuple[SpeedBound, Source]:
        return speed_bound_of(self.hamiltonian, self.user_bound, dim=self.grid.dim)

    def inspect(self, t: Scalar, v: Field) -> Int[Array, ""]:
        """The first of the codes whose trouble is met anywhere, or 0."""
        code = jnp.zeros((), jnp.int32)
        for found, where in reversed(self._troubles(t, v)):
            # Counted in floating point: newer XLA may run a loop without any such reduction on one thread only.
            code = jnp.where(jnp.sum(where, dtype=v.dtype) > 0, jnp.int32(found), code)
        return code

    def locate(self, t: Scalar, v: Field, code: Int[Array, ""]) -> Float[Array, " d"]:
        """A point where the trouble of a code is met; NaN where there is none."""
        point = jnp.full((self.grid.dim,), jnp.nan, v.dtype)
        for found, where in self._troubles(t, v):
            indices = jnp.unravel_index(jnp.argmax(where.reshape(-1)), self.grid.shape)
            place = jnp.stack([axis[index] for axis, index in zip(self.grid.axes, indices, strict=True)])
            point = jnp.where(code == found, place.astype(v.dtype), point)
        return point

    def _troubles(self, t: Scalar, v: Field) -> list[tuple[int, Bool[Array, "..."]]]:
        """Each kind of trouble and where it is met."""
        troubles = [(NOT_FINITE, ~jnp.isfinite(v))]
        if not is_rigorous(self._speed_bound[1]):
            troubles.append((UNSTABLE, self._too_fast(t, v)))
        if self.front is not None:
            crossed = (v < self.front.astype(v.dtype)) != self.below_at_start
            troubles.append((LEFT_DOMAIN, crossed & _on_border(self.grid)))
        return troubles

    def _speeds(self, t: Scalar, v: Field, order: Order) -> list[Field]:
        if self.steady is not None:
            return self.steady
        left, right = self._one_sided(t, v, order)
        return dissipation(self.flux, self.speed_bound, t, self.grid.axes, left, right)

    def _one_sided(self, t: ScalarLike, v: Field, order: Order) -> tuple[list[Field], list[Field]]:
        spacing = self.grid.spacing.astype(v.dtype)
        pairs = []
        for axis in range(self.grid.dim):
            padded = pad(v, axis, GHOST_CELLS[order], self.grid, self.boundary, t)
            pairs.append(one_sided_derivatives(padded, axis, spacing[axis], order))
        return [left for left, _ in pairs], [right for _, right in pairs]

    def _on_sides(self, t: Scalar, rate: Field) -> Field:
        """`rate`, but on Dirichlet sides the derivative in time of the value given there."""
        moving = [
            None
            if sides is None
            else tuple(Dirichlet(_RateOf(side)) if isinstance(side, Dirichlet) else side for side in sides)
            for sides in self.boundary
        ]
        return impose(rate, self.grid, tuple(moving), t)  # pyright: ignore

    def _too_fast(self, t: Scalar, v: Field) -> Bool[Array, "..."]:
        left, right = self._one_sided(t, v, self.order)
        alphas = self._speeds(t, v, self.order)

        def met(x: Point, left: Point, right: Point) -> tuple[Scalar, ...]:
            speeds = speed_met(self.hamiltonian, t, x, left, right)
            return tuple(speeds[i] for i in range(self.grid.dim))

        speeds = over_grid(met, self.grid.axes, left, right)
        room = 1 + 1e3 * float(jnp.finfo(v.dtype).eps)
        return jnp.any(jnp.stack([speed > room * alpha for speed, alpha in zip(speeds, alphas, strict=True)]), axis=0)


@final
class _RateOf(eqx.Module):
    """The derivative in time of a boundary value."""

    side: Dirichlet

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        return jax.jvp(lambda t: self.side.at(t, x), (t,), (jnp.ones_like(t),))[1]


def _on_border(grid: Grid) -> np.ndarray:
    """Which nodes lie on a side that is not periodic."""
    border = np.zeros(grid.shape, bool)
    for axis, wraps in enumerate(grid.periodic):
        if not wraps:
            np.moveaxis(border, axis, 0)[[0, -1]] = True
    return border
