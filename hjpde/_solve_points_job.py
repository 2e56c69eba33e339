"""The work of `hjpde solve` in many dimensions: a worked problem at random points, its errors and its times."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._solution import Solution
from hjpde._solve import solve
from hjpde._solve_job import SolveSettings, check_size_and_time, plain
from hjpde._solvers_by_name import CLOSED_FORMS
from hjpde._types import Scalar
from hjpde.problems import POINTWISE, AbstractExactProblem, PointEntry

_BLOCK = 64
_SEGMENT_NODES = 256
_SEGMENT_TIMES = (0.25, 0.5, 1.0)


@final
@dataclasses.dataclass(frozen=True)
class PointRun:
    """So many points: the values at the final time, the exact ones, and what it took.

    - `gaps`: how far the solver says that it may be off, 0 for a closed form. - `closed`: whether it calls that little.
    - `l1`, `linf`: mean and largest absolute error.
    - `seconds`: of the evaluation of all points, certificates included, without compilation.
    """

    n: int
    values: np.ndarray
    gaps: np.ndarray
    closed: np.ndarray
    exact: np.ndarray
    seconds: float

    @property
    def errors(self) -> np.ndarray:
        """The differences to the exact values."""
        return self.values - self.exact

    @property
    def l1(self) -> float:
        return float(np.mean(np.abs(self.errors)))

    @property
    def linf(self) -> float:
        return float(np.max(np.abs(self.errors)))


@final
@dataclasses.dataclass(frozen=True)
class PointsJob:
    """What was asked, and the runs from few points to many.

    - `compile_seconds`: of `hjpde.solve` and of a first block of points, compilation included.
    """

    entry: PointEntry
    settings: SolveSettings
    worked: AbstractExactProblem
    solution: Solution
    t: float
    compile_seconds: float
    runs: tuple[PointRun, ...]

    @property
    def solver(self) -> str:
        """Its name, with what it did."""
        return self.solution.stats["solver"]

    @property
    def most(self) -> PointRun:
        """The run with the most points."""
        return self.runs[-1]


def run_points_job(name: str, settings: SolveSettings, progress: bool, say: Callable[[str], None]) -> PointsJob:
    """Solves a problem of `hjpde.problems.POINTWISE` at three numbers of points.

    **Raises:** `ValueError` for a mistake in the settings; `hjpde.SolveError` if the solve fails; `FloatingPointError`
    if a value is not finite.
    """
    entry = POINTWISE[name]
    _check(entry, settings)
    worked, t = entry.build(), entry.time if settings.t is None else settings.t
    solver = None if settings.solver is None else CLOSED_FORMS[settings.solver]()
    counts = entry.counts if settings.n is None else (settings.n // 4, settings.n // 2, settings.n)
    start = time.perf_counter()
    solution = solve(worked.problem, t, solver, progress=progress)
    _certified(solution, t, entry.points(_BLOCK))
    compile_seconds = time.perf_counter() - start
    runs = []
    for n in counts:
        runs.append(_run(entry, worked, solution, n, t))
        say(f"{name}: {n} points in {runs[-1].seconds:.2f} s")
    return PointsJob(entry, settings, worked, solution, t, compile_seconds, tuple(runs))


def along_a_line(job: PointsJob) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places on a line through the origin `(n,)`, times `(K,)`, the values there `(K, n)` and the exact ones."""
    places, X = job.entry.segment(_SEGMENT_NODES)
    ts = job.t * np.asarray(_SEGMENT_TIMES)
    us = np.stack([_certified(job.solution, t, X)[0] for t in ts])
    return places, ts, us, np.stack([np.asarray(_exact(job.worked, jnp.asarray(t, X.dtype), X)) for t in ts])


def points_summary(job: PointsJob) -> dict[str, Any]:
    """The fields of `hjpde solve --json`, the path of the report excepted."""
    most = job.most
    return {
        "problem": job.entry.name,
        "solver": job.solver,
        "linf": most.linf,
        "l1": most.l1,
        "order": None,
        "seconds": most.seconds,
        "convergence": point_rows(job),
        "largest_gap": float(np.max(most.gaps)),
        "certified_share": float(np.mean(most.closed)),
        "title": job.entry.title,
        "equation": job.entry.equation,
        "source": job.entry.source,
        "reference": job.entry.reference,
        "t": job.t,
        "dimension": job.entry.dim,
        "reach": job.entry.reach,
        "precision": str(most.values.dtype),
        "compile_seconds": job.compile_seconds,
        "stats": {name: plain(value) for name, value in job.solution.stats.items()},
    }


def point_rows(job: PointsJob) -> list[dict[str, Any]]:
    """The table, one row a number of points."""
    return [
        {
            "n": run.n,
            "linf": run.linf,
            "l1": run.l1,
            "seconds": run.seconds,
            "seconds_per_point": run.seconds / run.n,
            "largest_gap": float(np.max(run.gaps)),
        }
        for run in job.runs
    ]


def _check(entry: PointEntry, settings: SolveSettings) -> None:
    check_size_and_time(settings)
    if settings.viscosity is not None:
        raise ValueError(f"`viscosity` cannot be chosen for {entry.name!r}: its reference holds for its own only.")
    if settings.solver is not None and settings.solver not in CLOSED_FORMS:
        raise ValueError(
            f"`solver` {settings.solver!r}: {entry.name!r} is solved at points of {entry.dim} dimensions, without a "
            f"grid. Leave it out, or take one of {', '.join(CLOSED_FORMS)}."
        )
    for option in ("order", "flux", "cfl"):
        if getattr(settings, option) is not None:
            raise ValueError(f"`{option}` is an option of FiniteDifference, and {entry.name!r} is solved at points.")


def _run(entry: PointEntry, worked: AbstractExactProblem, solution: Solution, n: int, t: float) -> PointRun:
    X = entry.points(n)
    start = time.perf_counter()
    values, gaps, closed = _certified(solution, t, X)
    seconds = time.perf_counter() - start
    if not np.all(np.isfinite(values)):
        wrong = np.asarray(X)[~np.isfinite(values)][0]
        raise FloatingPointError(f"{entry.name}: the value at x = {np.array2string(wrong, precision=4)} is not finite.")
    return PointRun(n, values, gaps, closed, np.asarray(_exact(worked, jnp.asarray(t, X.dtype), X)), seconds)


def _certified(solution: Solution, t: float, X: Float[Array, "n d"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, gaps and whether they are closed, in blocks of one size, so that one compilation serves any number."""
    n = X.shape[0]
    padded = jnp.pad(X, ((0, -n % _BLOCK), (0, 0)), mode="edge")
    blocks = [solution.certificate(t, block) for block in jnp.split(padded, padded.shape[0] // _BLOCK)]
    value, gap, closed = (
        np.concatenate([np.asarray(part) for part in parts])[:n] for parts in zip(*blocks, strict=True)
    )
    return value, gap, closed


@eqx.filter_jit
def _exact(worked: AbstractExactProblem, t: Scalar, X: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jax.lax.map(lambda x: worked(t, x), X, batch_size=64)
