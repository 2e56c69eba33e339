"""Hopf-Cole on a grid: the Gaussian convolution of any datum, axis by axis, without a step in time."""

import warnings
from functools import partial
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hjpde._domain import Domain, Extrapolation, ExtrapolationAwayFromZero
from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, Solution
from hjpde._types import Scalar, is_concrete
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import LinearQuadratic, Quadratic
from hjpde.solvers.convolutions._log_convolution import cut_off, log_convolution, sharpest, tile_sizes
from hjpde.solvers.convolutions._quadrature_error import quadrature_error
from hjpde.solvers.grids._ghost_cells import boundary_of, pad, why_not_over
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.grids._grid_values import datum_at_nodes

from ._abstract import AbstractSolver

Field = Float[Array, "..."]

_MOST_CUT_OFF = 1e-6
_MOST_RELATIVE_ERROR = 1e-2
_MOST_EXTRAPOLATED = 0.5


@final
class GridHopfCole(AbstractSolver):
    r"""The exact solution of a sampled datum under $H = p^\top A p$ with $N = \varepsilon A$ and a diagonal `A`,

    $$u(t, x_i) = -\varepsilon \log \frac{\sum_j e^{-(g_j + c_{ij})/\varepsilon}}{\sum_j e^{-c_{ij}/\varepsilon}},
      \qquad c_{ij} = \frac{(x_i - y_j)^\top A^{-1} (x_i - y_j)}{4t}.$$

    The trapezoidal rule for the Hopf-Cole integral, one axis after the other: there is no step in time, and every
    saved time comes from `g` itself. The sums run over all nodes of the space: a periodic axis wraps, and beyond a side
    that is not periodic the values go on with the slope that they have there, for as far as the axis is long. So affine
    data are exact up to the border; for others the box should hold where $x - 2tA\nabla u$ leads.

    All is done in the log domain and holds for $\varepsilon \to 0$, where it tends to $\min_j g_j + c_{ij}$. Where the
    datum and the kernel are wider than the spacing, the error falls exponentially with the grid; an estimate of it is
    `stats["quadrature_error"]`, and a grid too coarse for $\varepsilon$ gives a warning. The denominator is
    $\sqrt{\det(4\pi\varepsilon tA)}/\prod_i \Delta x_i$ to rounding where the kernel is resolved, and keeps constants
    and the bounds of `g` where it is not.

    With `n` nodes along every axis the work is of order $n^{d+1}$ and the memory of $n^d + n^2$. Solutions can be
    differentiated to any order in both modes, to the datum, $\varepsilon$, `A` and the times.

    ??? cite "References"

        E. Hopf, *The partial differential equation* $u_t + u u_x = \mu u_{xx}$, Comm. Pure Appl. Math. 3, 1950.

        L. N. Trefethen and J. A. C. Weideman, *The exponentially convergent trapezoidal rule*, SIAM Review 56, 2014.
    """

    grid: Grid

    def __init__(self, grid: Grid):
        """**Arguments:**

        - `grid`: the `solvers.Grid`, at least 3 nodes an axis; its spacing should resolve lengths of
          $\\sqrt{2\\varepsilon tA}$ and convex bends of the datum.

        **Raises:** `ValueError` if it is no grid, or an axis has fewer nodes.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"`grid` must be a `solvers.Grid`, got {type(grid).__name__}.")
        if min(grid.shape) < 3:
            raise ValueError(f"`grid` must have at least 3 nodes along every axis, got {grid.shape}.")
        self.grid = grid

    def why_not(self, problem: InitialValueProblem) -> str | None:
        if problem.dim is not None and problem.dim != self.grid.dim:
            return f"the grid has d = {self.grid.dim} and the problem d = {problem.dim}."
        if isinstance(problem.hamiltonian, LinearQuadratic):
            return "a `LinearQuadratic` Hamiltonian moves the kernel's centre; use `HopfCole`."
        if not isinstance(problem.hamiltonian, Quadratic):
            return "the Hamiltonian is not `Quadratic`."
        A = problem.hamiltonian.A
        if A is not None and is_concrete(A) and np.any(np.asarray(A) != np.diag(np.diag(np.asarray(A)))):
            return "`A` is not diagonal, so that the kernel is no product over the axes; use `HopfCole`."
        if isinstance(problem.viscosity, NoViscosity):
            return "there is no viscosity (Hopf-Cole needs N = eps A with eps > 0)."
        try:
            problem.temperature()
        except ValueError as error:
            return str(error)
        if problem.constraint is not None:
            return "the problem has a `constraint`, which the Hopf-Cole transform does not know."
        return why_not_over(self.grid, problem.domain) or _why_not_window(problem.domain)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        g = datum_at_nodes(problem.initial_data, self.grid)
        ts = ts.astype(g.dtype)
        flow = _flow_of(problem, self.grid, ts, g.dtype)
        run = _run(flow, g, ts)
        evaluator = GridEvaluator(self.grid, jnp.concatenate([jnp.zeros_like(ts[:1]), ts]), run.us, run.rates)
        result = RESULTS.where(run.cut_off > _MOST_CUT_OFF, RESULTS.box_too_small, RESULTS.successful)
        result = RESULTS.where(run.finite, result, RESULTS.not_finite)
        counts = {
            "tile": run.tiles,
            "quadrature_error": run.quadrature_error,
            "failure_time": jnp.where(run.finite, jnp.nan, jnp.zeros_like(ts[0])),
            "failure_point": jnp.where(run.finite, jnp.nan, run.worst_point),
        }
        if not all(self.grid.periodic):
            counts |= {"extrapolated": run.extrapolated, "cut_off": run.cut_off}
        _warn(run, flow.epsilon)
        return Solution(
            evaluator, ts, solver="GridHopfCole", result=result, counts=counts, notes={"method": flow.method}
        )


class _GaussianFlow(eqx.Module):
    """From the datum's values to those at a time, with the tiles that may be needed along each axis."""

    grid: Grid
    diagonal: Float[Array, " d"]
    epsilon: Scalar
    tiles: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @property
    def method(self) -> str:
        """How the sums are taken, as far as that is known now."""
        if any(len(choice) > 1 for choice in self.tiles):
            return "matrix products or tiles in the log domain, by `tile`"
        whole = [choice[0] == n for choice, n in zip(self.tiles, self.grid.shape, strict=True)]
        names = ["matrix products"] * any(whole) + ["tiles in the log domain"] * (not all(whole))
        return " and ".join(names)

    def strengths(self, t: Scalar) -> Float[Array, " d"]:
        r"""$\kappa_i = \Delta x_i^2 / 4 A_{ii} t$."""
        return self.grid.spacing.astype(t.dtype) ** 2 / (4 * self.diagonal * t)

    def __call__(self, t: Scalar, g: Field) -> tuple[Field, tuple[Int[Array, " d"], Scalar]]:
        """The values at `t`; the tiles that were taken, and the largest part of a sum that extrapolation leaves out."""
        kappas = self.strengths(t)
        u, used, left_out = g, [], jnp.zeros_like(t)
        for axis, n in enumerate(self.grid.shape):
            across = jnp.moveaxis(u, axis, 0)
            lines = across.reshape(n, -1)
            if not self.grid.periodic[axis]:
                left_out = jnp.maximum(left_out, cut_off(lines, kappas[axis], self.epsilon))
            lines, tile = self._along(axis, lines, kappas[axis])
            u = jnp.moveaxis(lines.reshape(across.shape), 0, axis)
            used.append(tile)
        return u, (jnp.stack(used), left_out)

    def _along(
        self, axis: int, lines: Float[Array, "n lines"], kappa: Scalar
    ) -> tuple[Float[Array, "n lines"], Int[Array, ""]]:
        """The lines convolved with the largest of the tiles that keeps all digits, and that tile."""
        choice, n, periodic = self.tiles[axis], self.grid.shape[axis], self.grid.periodic[axis]
        k = jnp.sum(kappa / self.epsilon > _limits(choice, n, periodic, lines.dtype))
        branches = [
            partial(log_convolution, kappa=kappa, epsilon=self.epsilon, tile=tile, periodic=periodic) for tile in choice
        ]
        return jax.lax.switch(k, branches, lines), jnp.asarray(choice)[k]


def _limits(tiles: tuple[int, ...], n: int, periodic: bool, dtype: jnp.dtype) -> Float[np.ndarray, " k"]:
    """Up to where each tile but the last holds."""
    return np.asarray([sharpest(n, tile, periodic, dtype) for tile in tiles[:-1]], dtype)


class _Run(NamedTuple):
    us: Field
    rates: Field
    tiles: Int[Array, "T d"]
    finite: Bool[Array, ""]
    worst_point: Float[Array, " d"]
    quadrature_error: Scalar
    extrapolated: Scalar
    cut_off: Scalar


@eqx.filter_jit
def _run(flow: _GaussianFlow, g: Field, ts: Float[Array, " T"]) -> _Run:
    def at(t: Scalar) -> tuple[Field, Field, tuple[Int[Array, " d"], Scalar]]:
        return jax.jvp(lambda t: flow(t, g), (t,), (jnp.ones_like(t),), has_aux=True)

    us, rates, (tiles, left_out) = jax.lax.map(at, ts)
    grid = flow.grid
    known = jnp.isfinite(g)
    finite = jnp.all(known) & jnp.all(jnp.isfinite(us))
    us = jnp.where(jnp.all(known), us, jnp.nan)
    errors = jax.vmap(lambda t: quadrature_error(g, flow.strengths(t), flow.epsilon, grid.periodic))(ts)
    worst = jnp.unravel_index(jnp.argmin(known), grid.shape)
    return _Run(
        us=jnp.concatenate([g[None], us]),
        rates=jnp.concatenate([_first_rate(flow, g)[None], rates]),
        tiles=tiles,
        finite=finite,
        worst_point=jnp.stack([axis[k] for axis, k in zip(grid.axes, worst, strict=True)]),
        quadrature_error=jnp.max(errors),
        extrapolated=_extrapolated(flow, ts[-1], us[-1]),
        cut_off=jnp.max(left_out),
    )


def _flow_of(problem: InitialValueProblem, grid: Grid, ts: Float[Array, " T"], dtype: jnp.dtype) -> _GaussianFlow:
    """The flow, with the tiles that its times ask for where these are known now, else with all."""
    assert isinstance(problem.hamiltonian, Quadratic)
    A, epsilon = problem.hamiltonian.A, problem.temperature().astype(dtype)
    diagonal = jnp.ones(grid.dim, dtype) if A is None else _diagonal_of(A).astype(dtype)
    every = tuple(tile_sizes(n) for n in grid.shape)
    flow = _GaussianFlow(grid, diagonal, epsilon, every)
    if not is_concrete(flow, ts):
        return flow
    with jax.ensure_compile_time_eval():  # constants inside a compiled function are known too
        sharpness = np.asarray(jax.vmap(flow.strengths)(ts) / epsilon)
    needed = []
    for axis, sizes in enumerate(every):
        limits = _limits(sizes, grid.shape[axis], grid.periodic[axis], dtype)
        chosen = set(np.sum(sharpness[:, axis, None] > limits, axis=1).tolist())
        needed.append(tuple(tile for k, tile in enumerate(sizes) if k in chosen))
    return _GaussianFlow(grid, diagonal, epsilon, tuple(needed))


def _diagonal_of(A: Float[Array, "d d"]) -> Float[Array, " d"]:
    diagonal = jnp.diagonal(A)
    if is_concrete(A):
        return diagonal
    others = jnp.any(jnp.diag(diagonal) != A)
    return eqx.error_if(diagonal, others, "`A` must be diagonal for `GridHopfCole`; use `HopfCole`.")


def _why_not_window(domain: Domain | None) -> str | None:
    """Why a domain's sides are no window on the whole space, in a sentence, or `None` where they are."""
    for sides in () if domain is None else domain.boundary:
        for condition in sides or ():
            if not isinstance(condition, Extrapolation | ExtrapolationAwayFromZero):
                name = type(condition).__name__
                return f"the problem's `domain` has a {name} condition; sides must be periodic or extrapolate."
    return None


def _first_rate(flow: _GaussianFlow, g: Field) -> Field:
    r"""$u_t = \varepsilon \operatorname{tr}(A D^2 g) - H(Dg)$ at 0, by differences of order 4."""
    grid, boundary = flow.grid, boundary_of(flow.grid, None)
    rate = jnp.zeros_like(g)
    for axis, (n, dx) in enumerate(zip(grid.shape, grid.spacing.astype(g.dtype), strict=True)):
        wide = pad(g, axis, 2, grid, boundary, 0.0)
        a, b, c, d, e = (jax.lax.slice_in_dim(wide, k, k + n, axis=axis) for k in range(5))
        slope = (8 * (d - b) - (e - a)) / (12 * dx)
        bend = (16 * (b + d) - (a + e) - 30 * c) / (12 * dx**2)
        rate = rate + flow.diagonal[axis] * (flow.epsilon * bend - slope**2)
    return rate


def _extrapolated(flow: _GaussianFlow, t: Scalar, u: Field) -> Scalar:
    r"""The part of the nodes whose integral lies beyond the box, or so near that more than 1/1000 of it does.

    Its weight is centred at $x - 2tA\nabla u$, exactly, and about as wide as the kernel, $\sqrt{2\varepsilon tA}$.
    """
    grid, outside = flow.grid, jnp.zeros(u.shape, bool)
    for axis, periodic in enumerate(grid.periodic):
        if periodic:
            continue
        a, x = flow.diagonal[axis], grid.axes[axis].astype(u.dtype)
        x = x.reshape([-1 if k == axis else 1 for k in range(grid.dim)])
        slopes = jnp.asarray(jnp.gradient(u, axis=axis)) / grid.spacing[axis].astype(u.dtype)
        foot, width = x - 2 * t * a * slopes, jnp.sqrt(2 * flow.epsilon * t * a)
        room = jnp.minimum(foot - x.min(), x.max() - foot)
        outside = outside | (room < 3 * width)
    return jnp.mean(outside.astype(u.dtype))


def _warn(run: _Run, epsilon: Scalar) -> None:
    """Says, where it is known now, that the grid is too coarse or the box too small for the temperature."""
    if not is_concrete(run, epsilon):
        return
    error, share = float(run.quadrature_error), float(run.extrapolated)
    if error > _MOST_RELATIVE_ERROR * float(epsilon):
        warnings.warn(
            f"the grid is too coarse for the temperature eps = {float(epsilon):.3g}: the sum over its nodes differs "
            f"from the Hopf-Cole integral by about {error:.1e}. Refine the grid.",
            stacklevel=5,
        )
    if share > _MOST_EXTRAPOLATED:
        warnings.warn(
            f"the box is small for the kernel: at {100 * share:.0f} % of the nodes more than 1/1000 of the integral "
            "lies beyond the border, where values are extrapolated. Enlarge the grid, or stop earlier.",
            stacklevel=5,
        )
