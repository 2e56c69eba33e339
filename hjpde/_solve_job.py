"""The work of `hjpde solve`: a worked problem on three grids, its errors, and what they fall by."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Literal, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hjpde._convergence import order_of_differences
from hjpde._memory import resident_growth
from hjpde._problem import InitialValueProblem
from hjpde._solution import RESULTS, SavedOnGrid, Solution
from hjpde._solve import SolveError, solve
from hjpde._solvers_by_name import CLOSED_FORMS, ON_GRIDS, require_known
from hjpde._types import Scalar
from hjpde.problems import AbstractExactProblem, AbstractProblem, Entry, find
from hjpde.solvers import AbstractSolver, FiniteDifference, Grid, Spectral

LEAST_N = 16
Norm = Literal["l1", "linf"]
_MOST_STEPS = 1_000_000
_WARM_UP = 1e-3


@final
@dataclasses.dataclass(frozen=True)
class SolveSettings:
    """What the user may choose; `None` leaves it to the catalogue's entry, or to the solver."""

    solver: str | None = None
    n: int | None = None
    t: float | None = None
    viscosity: float | None = None
    order: int | None = None
    flux: str | None = None
    cfl: float | None = None


@final
@dataclasses.dataclass(frozen=True)
class GridRun:
    """One grid: the values at the final time, the exact ones where they are known, and what it took.

    - `l1`, `linf`: mean and largest absolute error over the nodes where `mask` holds; `None` without a reference.
    - `difference_l1`, `difference_linf`: the same against the finest grid, only where there is no reference.
    - `seconds`: of the solve, without compilation. - `compile_seconds`: of a solve to a thousandth of the time.
    - `array_bytes`: of one array of values. - `peak_bytes`: by how much the process' resident memory rose above what
      it held when the timed solve began; `None` where the system does not tell.
    - `resolved`: whether the solver is content with the grid.
    """

    n: int
    grid: Grid
    solution: Solution
    values: np.ndarray
    exact: np.ndarray | None
    mask: np.ndarray
    l1: float | None
    linf: float | None
    difference_l1: float | None
    difference_linf: float | None
    seconds: float
    compile_seconds: float
    array_bytes: int
    peak_bytes: int | None
    resolved: bool

    @property
    def width(self) -> float:
        """The distance of two nodes along the first axis."""
        return float(self.grid.spacing[0])


@final
@dataclasses.dataclass(frozen=True)
class SolveJob:
    """What was asked, and the runs from the coarsest grid to the finest."""

    entry: Entry
    settings: SolveSettings
    worked: AbstractProblem
    solver: str
    t: float
    runs: tuple[GridRun, ...]

    @property
    def finest(self) -> GridRun:
        """The run on the finest grid."""
        return self.runs[-1]

    @property
    def has_reference(self) -> bool:
        """Whether errors are known."""
        return self.finest.exact is not None

    def orders(self, norm: Norm) -> list[float | None]:
        """The observed order from each grid to the next; none for the first, nor from an error at its floor."""
        pairs = self._pairs(norm)
        orders: list[float | None] = [None] * len(self.runs)
        for i in range(1, len(pairs)):
            (coarse_width, coarse), (fine_width, fine) = pairs[i - 1 : i + 1]
            orders[i] = math.log(coarse / fine) / math.log(coarse_width / fine_width)
        return orders

    def order(self, norm: Norm) -> float | None:
        """The slope of a line through the logarithms of errors and widths, up to the first error at its floor."""
        pairs = self._pairs(norm)
        if len(pairs) < 2:
            return None
        widths, errors = np.log(np.asarray(pairs)).T
        return float(np.polyfit(widths, errors, 1)[0])

    def self_order(self, norm: Literal["difference_l1", "difference_linf"]) -> float | None:
        """The order that the differences to the finest of three grids tell."""
        coarse, fine = (getattr(run, norm) for run in self.runs[:2])
        if coarse is None or fine is None or min(coarse, fine) <= self._floor():
            return None
        return order_of_differences([run.width for run in self.runs], coarse, fine)

    def _pairs(self, norm: str) -> list[tuple[float, float]]:
        """Widths and errors from the coarsest grid to the first whose error no finer grid can lower."""
        if self.solver in CLOSED_FORMS:
            return []
        pairs = []
        for run in self.runs:
            error = getattr(run, norm)
            if error is None or error == 0:
                break
            pairs.append((run.width, error))
            if error <= self._floor():
                break
        return pairs

    def _floor(self) -> float:
        """The size of rounding, or of the tolerance of the time steps."""
        values = self.finest.values
        relative = 20 * float(np.finfo(values.dtype).eps)
        solver = make_solver(self.solver, self.finest.grid, self.settings)
        if isinstance(solver, Spectral):
            # What the tolerance lets through at each step adds up.
            relative = float(solver.rtol) * int(self.finest.solution.stats["steps"])
        return relative * max(1.0, float(np.max(np.abs(values))))


def prepare(name: str, settings: SolveSettings) -> tuple[Entry, AbstractProblem, str]:
    """The catalogue's entry, its problem and the solver's name.

    **Raises:** `ValueError` that names the option at fault, and for a name those that come close.
    """
    entry = find(name)
    solver = entry.solver if settings.solver is None else settings.solver
    require_known(solver)
    check_size_and_time(settings)
    if solver != "FiniteDifference":
        for option in ("order", "flux", "cfl"):
            if getattr(settings, option) is not None:
                raise ValueError(f"`{option}` is an option of FiniteDifference, and the solver is {solver}.")
    return entry, entry.build(settings.viscosity), solver


def check_size_and_time(settings: SolveSettings) -> None:
    """**Raises:** `ValueError` if `n` or `t` is out of range."""
    if settings.n is not None and settings.n < LEAST_N:
        raise ValueError(f"`n` must be at least {LEAST_N}, as n/4 and n/2 are solved too, got {settings.n}.")
    if settings.t is not None and not (math.isfinite(settings.t) and settings.t > 0):
        raise ValueError(f"`t` must be positive and finite, got {settings.t:g}.")


def run_job(name: str, settings: SolveSettings, progress: bool, say: Callable[[str], None]) -> SolveJob:
    """Solves the problem on three grids.

    **Raises:** `ValueError` for a mistake in the settings; `hjpde.SolveError` if a solve fails; `KeyboardInterrupt` if
    the user stops it.
    """
    entry, worked, solver = prepare(name, settings)
    if solver == "FiniteDifference" and settings.cfl is None:
        settings = dataclasses.replace(settings, cfl=entry.cfl)
    t = entry.time if settings.t is None else settings.t
    sizes = entry.sizes if settings.n is None else (settings.n // 4, settings.n // 2, settings.n)
    grids = [Grid.over(_domain(worked.problem), entry.shape(n)) for n in sizes]
    for grid in grids:
        make_solver(solver, grid, settings)  # a mistake is found before any work
    runs = []
    for n, grid in zip(sizes, grids, strict=True):
        runs.append(_run(entry, worked, make_solver(solver, grid, settings), (n, grid), t, progress, n == sizes[-1]))
        say(f"{name}: {' × '.join(map(str, grid.shape))} nodes in {runs[-1].seconds:.2f} s")
    job = SolveJob(entry, settings, worked, solver, t, tuple(runs))
    return job if job.has_reference else _against_the_finest(job)


def make_solver(name: str, grid: Grid, settings: SolveSettings) -> AbstractSolver:
    """The solver on one grid; a closed form needs none."""
    if name == "FiniteDifference":
        chosen = {"flux": settings.flux, "cfl": settings.cfl, "order": settings.order}
        given = {option: value for option, value in chosen.items() if value is not None}
        return FiniteDifference(grid, max_steps=_MOST_STEPS, **given)
    return ON_GRIDS[name](grid) if name in ON_GRIDS else CLOSED_FORMS[name]()


def history(job: SolveJob, run: GridRun, times: int, progress: bool) -> tuple[np.ndarray, np.ndarray, Solution]:
    """The solution at equidistant times from 0 to the last: times `(K,)`, values `(K, *shape)`, and all of it."""
    dtype = jnp.result_type(float)
    ts = np.linspace(0, job.t, times)
    solution = _solved(job.worked.problem, ts[1:], make_solver(job.solver, run.grid, job.settings), progress)
    evaluator = solution.evaluator
    if isinstance(evaluator, SavedOnGrid):
        return np.asarray(evaluator.ts), np.asarray(evaluator.us), solution
    first = _datum_values(job.worked.problem, run.grid)
    us = [first, *(_batch(solution, jnp.asarray(t, dtype), run.grid) for t in ts[1:])]
    return ts, np.stack([np.asarray(u) for u in us]), solution


def exact_values(worked: AbstractProblem, grid: Grid, t: float) -> np.ndarray | None:
    """The reference at the nodes, or `None` where there is none."""
    if not isinstance(worked, AbstractExactProblem):
        return None
    return np.asarray(_exact_values(worked, jnp.asarray(t, grid.lower.dtype), grid))


def summary(job: SolveJob) -> dict[str, Any]:
    """The fields of `hjpde solve --json`, the path of the report excepted."""
    finest = job.finest
    return {
        "problem": job.entry.name,
        "solver": job.solver,
        "linf": finest.linf,
        "l1": finest.l1,
        "order": job.order("l1"),
        "order_l1": job.order("l1"),
        "order_linf": job.order("linf"),
        "seconds": finest.seconds,
        "convergence": rows(job),
        "self_convergence": None
        if job.has_reference
        else {
            "against": finest.n,
            "order_l1": job.self_order("difference_l1"),
            "order_linf": job.self_order("difference_linf"),
        },
        "title": job.entry.title,
        "equation": job.entry.equation,
        "source": job.entry.source,
        "reference": job.entry.reference,
        "viscosity": job.settings.viscosity,
        "t": job.t,
        "dimension": finest.grid.dim,
        "grid": list(finest.grid.shape),
        "measured_share": float(np.mean(finest.mask)),
        "precision": str(finest.values.dtype),
        "compile_seconds": finest.compile_seconds,
        "stats": {name: plain(value) for name, value in finest.solution.stats.items()},
    }


def rows(job: SolveJob) -> list[dict[str, Any]]:
    """The table of convergence, coarse to fine."""
    return [
        {
            "n": run.n,
            "shape": list(run.grid.shape),
            "linf": run.linf,
            "l1": run.l1,
            "order_linf": order_linf,
            "order_l1": order_l1,
            "difference_linf": run.difference_linf,
            "difference_l1": run.difference_l1,
            "steps": plain(run.solution.stats.get("steps")),
            "seconds": run.seconds,
            "compile_seconds": run.compile_seconds,
            "array_bytes": run.array_bytes,
            "peak_bytes": run.peak_bytes,
            "resolved": run.resolved,
        }
        for run, order_l1, order_linf in zip(job.runs, job.orders("l1"), job.orders("linf"), strict=True)
    ]


def _run(
    entry: Entry,
    worked: AbstractProblem,
    solver: AbstractSolver,
    size: tuple[int, Grid],
    t: float,
    progress: bool,
    must_be_resolved: bool,
) -> GridRun:
    n, grid = size
    problem = worked.problem

    def timed(end: float, progress: bool) -> tuple[Solution, np.ndarray, float]:
        start = time.perf_counter()
        solution = _solved(problem, np.asarray([end]), solver, progress, must_be_resolved)
        evaluator = solution.evaluator
        at_end = jnp.asarray(end, grid.lower.dtype)
        values = evaluator.us[-1] if isinstance(evaluator, SavedOnGrid) else _batch(solution, at_end, grid)
        values = np.asarray(jax.block_until_ready(values))
        return solution, values, time.perf_counter() - start

    compile_seconds = timed(_WARM_UP * t, progress)[2]
    with resident_growth() as peak:
        solution, values, seconds = timed(t, progress)
    exact = exact_values(worked, grid, t)
    mask = np.asarray(entry.mask(jnp.asarray(t, grid.lower.dtype), grid.points))
    l1, linf = (None, None) if exact is None else _norms(values - exact, mask, t)
    return GridRun(
        n=n,
        grid=grid,
        solution=solution,
        values=values,
        exact=exact,
        mask=mask,
        l1=l1,
        linf=linf,
        difference_l1=None,
        difference_linf=None,
        seconds=seconds,
        compile_seconds=compile_seconds,
        array_bytes=values.nbytes,
        peak_bytes=peak[0] if peak else None,
        resolved=bool(solution.result == RESULTS.successful),
    )


def _against_the_finest(job: SolveJob) -> SolveJob:
    """With the differences of the coarser grids to the finest, at their own nodes."""
    finest, runs = job.finest, []
    for run in job.runs[:-1]:
        at_end = jnp.asarray(job.t, run.grid.lower.dtype)
        reference = np.asarray(_batch(finest.solution, at_end, run.grid))
        l1, linf = _norms(run.values - reference, run.mask, job.t)
        runs.append(dataclasses.replace(run, difference_l1=l1, difference_linf=linf))
    return dataclasses.replace(job, runs=(*runs, finest))


def _solved(
    problem: InitialValueProblem, ts: np.ndarray, solver: AbstractSolver, progress: bool, must_be_resolved: bool = False
) -> Solution:
    try:
        return solve(problem, ts, solver, progress=progress)
    except SolveError as error:
        if bool(error.solution.result == RESULTS.interrupted):
            raise KeyboardInterrupt from error
        # A grid that is too coarse has its place in a table of convergence.
        if not must_be_resolved and bool(error.solution.result == RESULTS.under_resolved):
            return error.solution
        raise


def _domain(problem: InitialValueProblem):
    assert problem.domain is not None
    return problem.domain


def _norms(error: np.ndarray, mask: np.ndarray, t: float) -> tuple[float, float]:
    """Mean and largest absolute value where `mask` holds."""
    if not np.any(mask):
        raise ValueError(f"`t` = {t:g} is too late: the domain's sides have reached every node by then.")
    size = np.abs(error[mask])
    return float(np.mean(size)), float(np.max(size))


@eqx.filter_jit
def _exact_values(worked: AbstractExactProblem, t: Scalar, grid: Grid):
    return grid.sample(lambda x: worked(t, x))


@eqx.filter_jit
def _datum_values(problem: InitialValueProblem, grid: Grid):
    return grid.sample(problem.initial_data)


@eqx.filter_jit
def _batch(solution: Solution, t: Scalar, grid: Grid):
    return solution.batch(t, grid.points)


def plain(value: Any) -> Any:
    """Fit for JSON."""
    if value is None or isinstance(value, str):
        return value
    return np.asarray(value).tolist()
