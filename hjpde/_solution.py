"""A solution: an evaluator of `u(t, x)`, what was done to reach it, and how it ended."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._export import Lattice, as_dataset
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, is_concrete, known_number


class RESULTS(eqx.Enumeration):
    """How a solve ended; every message but the first says what to change."""

    successful = ""
    escaped = (
        "the solution blows up before the last saved time: a Riccati equation escapes to minus infinity, as "
        "`Q` or a datum's precision is too negative. Ask for times before `stats['escape_time']`, or make "
        "the datum's precision or `Q` larger."
    )
    unresolved = (
        "rounding has taken the digits before the last saved time: the flow of a linear-quadratic Hamiltonian with a "
        "running cost grows exponentially. Solve for an earlier time, or in float64."
    )
    not_converged = (
        "the optimisation did not close its duality gap; `stats['duality_gap']` says how far it came. Increase "
        "`max_steps`, or give what has kinks as a sum of parts that know theirs (`SumOfData`, `SumOfHamiltonians`)."
    )
    transport_not_converged = (
        "the potentials do not meet both marginals, or their costs differ by more than the tolerance. Increase "
        "`max_steps`, raise `viscosity` or `tolerance`, or work in float64."
    )
    crossed = (
        "characteristics cross before the last saved time, at `stats['first_crossing']`, and the Hamiltonian is not "
        "known to be convex or concave in the co-state. Ask for earlier times, take a grid solver, or vouch for the "
        "`curvature`."
    )
    not_finite = (
        "a value is NaN or infinite. Look for NaN in the datum, the Hamiltonian or the boundary values at that place "
        "and time; if the values grew first, lower `cfl`."
    )
    unstable = (
        "the one-sided derivatives that were met move faster than the bound on |dH/dp| allows, so the step and the "
        "dissipation were too small. Pass a larger `speed_bound`, or none."
    )
    max_steps_reached = (
        "the time integrator took `max_steps` steps before the next saved time. Increase `max_steps`, save more "
        "often, or coarsen the grid; a step that shrinks to nothing means that the slopes blow up."
    )
    left_domain = (
        "the front has reached a border of the grid that is not periodic, where the values are extrapolated. Enlarge "
        "the grid, or stop earlier."
    )
    under_resolved = (
        "the grid does not resolve the solution: the highest modes carry more than rounding. Refine the grid, or take "
        "`FiniteDifference`, which keeps kinks sharp."
    )
    box_too_small = (
        "the integral reaches further beyond a border of the grid than the grid is wide, which is as far as values are "
        "extrapolated. Enlarge the grid, or stop earlier."
    )
    interrupted = "interrupted; what was reached is kept. Continue with `hjpde.solve(..., start=solution)`."


class AbstractEvaluator(eqx.Module):
    """A function `u(t, x)` that knows for which times it holds."""

    @property
    @abc.abstractmethod
    def twice_differentiable(self) -> bool:
        """Whether automatic differentiation gives the right second derivatives in `x`."""

    @abc.abstractmethod
    def __call__(self, t: Scalar, x: Point) -> Scalar:
        """The value at one time and one point; differentiable in both."""

    @abc.abstractmethod
    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        """The values at one time and many points, without an array of `M` times the number of neurons."""

    @abc.abstractmethod
    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """An estimate of the error of the value where it is an approximation, 0 where it is exact to rounding."""

    @abc.abstractmethod
    def invalid_time(self, t: float) -> str | None:
        """Why the solution cannot be evaluated at this time, or `None`."""

    @property
    @abc.abstractmethod
    def dim(self) -> int | None:
        """The dimension of the points, or `None` where any dimension will do."""


@runtime_checkable
class HoldsInABox(Protocol):
    """An evaluator that does not hold everywhere."""

    def invalid_point(self, X: Float[np.ndarray, "M d"]) -> str | None:
        """Why not all of these points, known now, can be evaluated, or `None`."""
        ...


@runtime_checkable
class Certifies(Protocol):
    """An evaluator that finds values and how far they may be off in one search."""

    def certify(self, t: Scalar, X: Float[Array, "M d"]) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
        """The values at one time and many points, and the standard error of each."""
        ...


class Certificate(NamedTuple):
    """What `Solution.certificate` returns, of the shape of the points without their last axis.

    - `value`: $u(t, x)$.
    - `gap`: how far it may be off: the duality gap of an optimisation, else `Solution.standard_error`.
    - `closed`: whether the gap is below half the square root of the roundoff, relative to 1 or the value.
    """

    value: Float[Array, "*batch"]
    gap: Float[Array, "*batch"]
    closed: Bool[Array, "*batch"]


@runtime_checkable
class SavedOnGrid(Protocol):
    """An evaluator that goes through values on a grid: `us` at the times `ts`, shape `(T, n1, ..., nd)`."""

    grid: Any
    ts: Float[Array, " T"]
    us: Float[Array, "T *n"]


@final
class Solution(eqx.Module):
    """What `hjpde.solve` returns: `u`, its derivatives, and a report of the solve.

    All leaves are arrays, so that a jitted function may return a solution.
    """

    ts: Float[Array, " T"]
    result: RESULTS
    _arrays: Any
    _structure: Any = eqx.field(static=True)
    _solver: str = eqx.field(static=True)
    _counts: dict[str, Array]
    _notes: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def __init__(
        self,
        evaluator: AbstractEvaluator,
        ts: Float[Array, " T"],
        *,
        solver: str,
        result: RESULTS = RESULTS.successful,
        counts: dict[str, Any] | None = None,
        notes: dict[str, str] | None = None,
    ):
        self.ts, self.result, self._solver = ts, result, solver
        self._arrays, self._structure = eqx.partition(evaluator, eqx.is_array)
        self._counts = {name: jnp.asarray(value) for name, value in (counts or {}).items()}
        self._notes = tuple((notes or {}).items())

    @property
    def evaluator(self) -> Any:
        """The function behind the solution, an `AbstractEvaluator`; on a grid it also has `grid`, `ts`, `us`."""
        return eqx.combine(self._arrays, self._structure)

    @property
    def stats(self) -> dict[str, Any]:
        """The solver's name under `"solver"`, what it chose, and counts and measures of the solve by name."""
        return {"solver": self._solver, **dict(self._notes), **self._counts}

    def __call__(self, t: ScalarLike, x: ArrayInput) -> Scalar:
        """The value $u(t, x)$ at one time and one point.

        **Arguments:**

        - `t`: time, a scalar; a closed form takes every $t > 0$.
        - `x`: one point, shape `(d,)`; for many points use `Solution.batch`, or `jax.vmap`.

        **Raises:** `ValueError` if the shapes are others, or the solution does not hold at `t` or at `x`. What is
        only known at run time, and lies outside, gives NaN.
        """
        t, x = self._time_and_point(t, x)
        return _value(self.evaluator, t, x)

    def batch(self, t: ScalarLike, X: ArrayInput) -> Float[Array, "*batch"]:
        """The values at one time and many points of shape `(..., d)`, streamed."""
        X = self._points(X)
        t = self._time(t, X.dtype)
        return _values(self.evaluator, t, X.reshape(-1, X.shape[-1])).reshape(X.shape[:-1])

    def gradient(self, t: ScalarLike, x: ArrayInput) -> Float[Array, " d"]:
        r"""The co-state $\nabla u(t, x)$ at one point, shape `(d,)`."""
        t, x = self._time_and_point(t, x)
        return _gradient(self.evaluator, t, x)

    def batch_gradient(self, t: ScalarLike, X: ArrayInput) -> Float[Array, "*batch d"]:
        r"""The co-states at one time and many points of shape `(..., d)`, streamed."""
        X = self._points(X)
        t = self._time(t, X.dtype)
        return _gradients(self.evaluator, t, X.reshape(-1, X.shape[-1])).reshape(X.shape)

    def time_derivative(self, t: ScalarLike, x: ArrayInput) -> Scalar:
        r"""$u_t(t, x)$ at one point."""
        t, x = self._time_and_point(t, x)
        return _time_derivative(self.evaluator, t, x)

    def hessian(self, t: ScalarLike, x: ArrayInput) -> Float[Array, "d d"]:
        """$D^2 u(t, x)$ at one point, shape `(d, d)`.

        **Raises:** `ValueError` if the value comes from a maximisation, whose second derivative is not computed.
        """
        if not self.evaluator.twice_differentiable:
            raise ValueError(
                f"the solver {self._solver} gives the value and its gradient only; differentiate `gradient` by "
                "finite differences, or take another solver."
            )
        t, x = self._time_and_point(t, x)
        return _hessian(self.evaluator, t, x)

    def laplacian(self, t: ScalarLike, x: ArrayInput) -> Scalar:
        r"""$\Delta u(t, x)$ at one point."""
        return jnp.trace(self.hessian(t, x))

    def standard_error(self, t: ScalarLike, x: ArrayInput) -> Scalar:
        """The standard error of a sampled value, the error estimate of a quadrature, and 0 for a closed form.

        **Raises:** `ValueError` for a grid solution, which carries no estimate.
        """
        t, x = self._time_and_point(t, x)
        return _standard_error(self.evaluator, t, x)

    def certificate(self, t: ScalarLike, X: ArrayInput) -> Certificate:
        """The values at one time and many points of shape `(..., d)`, streamed, with a certificate for each.

        The `gap` of `solvers.HopfLax` and `solvers.Hopf` is that between the two formulas, which bounds the error from
        above where the datum and the Hamiltonian are convex; for a datum of which that is not known, it is open where
        the points that were tried show that it is not. Other solvers give their standard error.

        **Raises:** `ValueError` as `batch`, and for a grid solution, which carries no estimate.
        """
        X = self._points(X)
        t = self._time(t, X.dtype)
        value, gap = _certified(self.evaluator, t, X.reshape(-1, X.shape[-1]))
        value, gap = value.reshape(X.shape[:-1]), gap.reshape(X.shape[:-1])
        tolerance = 0.5 * jnp.finfo(X.dtype).eps ** 0.5
        return Certificate(value, gap, gap <= tolerance * jnp.maximum(1, jnp.abs(value)))

    def to_xarray(
        self,
        grid: Lattice | None = None,
        *,
        names: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Any:
        """The solution as an `xarray.Dataset`, which writes netCDF (`.to_netcdf`) and zarr (`.to_zarr`).

        Its variable `u` has the axes `time`, `x0`, `x1`, ...; the solver's name, how the solve ended and `stats` are
        attributes.

        **Arguments:**

        - `grid`: a `hjpde.solvers.Grid` to sample the solution on at `ts`. `None` takes the values that a grid
          solution holds itself, `t = 0` included.
        - `names`: names of the axes instead of `x0`, `x1`, ...
        - `units`: units by name, such as `{"time": "s", "x0": "m", "u": "m"}`; `"1"` where none is given.

        **Raises:** `ValueError` if there is no grid, or one of another dimension, or names and units do not fit;
        `ImportError` without the extra `io`.
        """
        evaluator = self.evaluator
        if grid is not None:
            points = grid.points
            ts, us = self.ts, jnp.stack([self.batch(t, points) for t in self.ts])
        elif isinstance(evaluator, SavedOnGrid):
            grid, ts, us = evaluator.grid, evaluator.ts, evaluator.us
            assert grid is not None
        else:
            raise ValueError(
                f"`grid` is needed: the solver {self._solver} gives a closed form. Pass a `hjpde.solvers.Grid` to "
                "sample it on."
            )
        ended = "successful" if self.result == RESULTS.successful else RESULTS[self.result]
        attributes = {"solver": self._solver, "result": ended, **self._counts}
        return as_dataset(np.asarray(ts), np.asarray(us), grid, names=names, units=units, attributes=attributes)

    def _time(self, t: ScalarLike, dtype: jnp.dtype) -> Scalar:
        if np.ndim(t) != 0:
            raise ValueError(f"`t` must be one time, a scalar, got shape {np.shape(t)}; use `jax.vmap` over times.")
        if is_concrete(t):
            number = known_number(t, "t")
            reason = self.evaluator.invalid_time(number)
            if reason is not None or number != number:
                raise ValueError(f"`t` = {number:g} cannot be evaluated: {reason or 'it is NaN'}.")
        return jnp.asarray(t, dtype)

    def _points(self, X: ArrayInput) -> Float[Array, "*batch d"]:
        X = as_float_array(X, "X")
        dim = self.evaluator.dim
        if X.ndim < 1 or (dim is not None and X.shape[-1] != dim) or X.shape[-1] < 1:
            raise ValueError(f"`X` must have shape (..., {'d' if dim is None else dim}), got {X.shape}.")
        self._require_valid(X.reshape(-1, X.shape[-1]), "X")
        return X

    def _time_and_point(self, t: ScalarLike, x: ArrayInput) -> tuple[Scalar, Point]:
        x = as_float_array(x, "x")
        dim = self.evaluator.dim
        if x.ndim != 1 or (dim is not None and x.shape[0] != dim) or x.shape[0] < 1:
            raise ValueError(
                f"`x` must be one point of shape ({'d' if dim is None else dim},), got {x.shape}; "
                "for many points use `.batch`."
            )
        self._require_valid(x[None], "x")
        return self._time(t, x.dtype), x

    def _require_valid(self, X: Float[Array, "M d"], name: str) -> None:
        evaluator = self.evaluator
        if isinstance(evaluator, HoldsInABox) and is_concrete(X):
            reason = evaluator.invalid_point(np.asarray(X))
            if reason is not None:
                raise ValueError(f"`{name}` cannot be evaluated: {reason}.")


# Compiled once for each kind of evaluator: operation by operation a quadrature takes many times longer to begin with.


@eqx.filter_jit
def _value(evaluator: AbstractEvaluator, t: Scalar, x: Point) -> Scalar:
    return evaluator(t, x)


@eqx.filter_jit
def _values(evaluator: AbstractEvaluator, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
    return evaluator.batch(t, X)


@eqx.filter_jit
def _gradient(evaluator: AbstractEvaluator, t: Scalar, x: Point) -> Float[Array, " d"]:
    return jax.grad(evaluator, argnums=1)(t, x)


@eqx.filter_jit
def _gradients(evaluator: AbstractEvaluator, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, "M d"]:
    return jax.grad(lambda X: jnp.sum(evaluator.batch(t, X)))(X)


@eqx.filter_jit
def _time_derivative(evaluator: AbstractEvaluator, t: Scalar, x: Point) -> Scalar:
    return jax.grad(evaluator, argnums=0)(t, x)


@eqx.filter_jit
def _hessian(evaluator: AbstractEvaluator, t: Scalar, x: Point) -> Float[Array, "d d"]:
    return jax.hessian(evaluator, argnums=1)(t, x)


@eqx.filter_jit
def _standard_error(evaluator: AbstractEvaluator, t: Scalar, x: Point) -> Scalar:
    return evaluator.standard_error(t, x)


@eqx.filter_jit
def _certified(
    evaluator: AbstractEvaluator, t: Scalar, X: Float[Array, "M d"]
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    if isinstance(evaluator, Certifies):
        return evaluator.certify(t, X)
    return evaluator.batch(t, X), jax.lax.map(lambda x: evaluator.standard_error(t, x), X)
