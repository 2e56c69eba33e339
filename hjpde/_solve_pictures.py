"""What of a solved problem is drawn: profiles, fields with characteristics, sections, the frames of an animation."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._animation import Scene, plane_scene, profile_scene
from hjpde._plotting_solution import (
    Plane,
    convergence_figure,
    fields_figure,
    level_sets_figure,
    profiles_figure,
    times_figure,
)
from hjpde._problem import InitialValueProblem
from hjpde._report import Picture
from hjpde._solution import Solution
from hjpde._solve_job import GridRun, Norm, SolveJob, exact_values, history
from hjpde._solvers_by_name import CLOSED_FORMS
from hjpde._types import Point, Scalar
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import ControlAffine, Eikonal, Transport
from hjpde.solvers import Grid

_PROFILE_TIMES = 5
_FIELD_TIMES = 10
_SHOWN_TIMES = (0, 3, 6, 9)
_CURVES = 7
_CURVE_STEPS = 60
_SECTIONS = 6
_FRAMES = 41
_NAMES = {
    "pendulum": ("θ [rad]", "ω [1]"),
    "dubins-car": ("x [1]", "y [1]", "θ [rad]"),
    "air3d": ("x [1]", "y [1]", "ψ [rad]"),
    "bicycle": ("x [1]", "y [1]", "θ [rad]", "v [1]"),
    "double-integrator": ("place [1]", "speed [1]"),
    "hovering-quadrotor": ("place 1 [1]", "speed 1 [1]", "place 2 [1]", "speed 2 [1]"),
}


def pictures(job: SolveJob, progress: bool) -> list[Picture]:
    """The figures of the page, the most telling first."""
    shown = {1: _profiles, 2: _fields}.get(job.finest.grid.dim, _sections)(job, progress)
    return [*shown, *_convergence(job)]


def scene(job: SolveJob, progress: bool) -> tuple[Scene, int]:
    """The animation, and the size of its grid: the finest in one dimension, else the middle one."""
    run = job.finest if job.finest.grid.dim == 1 else job.runs[1]
    ts, us, _ = history(job, run, _FRAMES, progress)
    names = axis_names(job)
    if run.grid.dim == 1:
        exacts = _exacts(job, run, ts)
        x, us = _closed_line(run.grid, us)
        exacts = None if exacts is None else _closed_line(run.grid, exacts)[1]
        return profile_scene(x, ts, us, exacts, names[0]), run.n
    return plane_scene(ts, [_planes(run.grid, u, names) for u in us], has_front(job)), run.n


def has_front(job: SolveJob) -> bool:
    """Whether the zero level set is what the problem is about."""
    problem = job.worked.problem
    moving = isinstance(problem.hamiltonian, Eikonal | Transport | ControlAffine)
    return moving and isinstance(problem.viscosity, NoViscosity)


def axis_names(job: SolveJob) -> tuple[str, ...]:
    """With units, `[1]` where there is none."""
    dim = job.finest.grid.dim
    letters = "xyz" if dim <= 3 else "xyzw"
    return _NAMES.get(job.entry.name) or tuple(f"{letters[i]} [1]" for i in range(dim))


def _profiles(job: SolveJob, progress: bool) -> list[Picture]:
    run = job.finest
    ts, us, _ = history(job, run, _PROFILE_TIMES, progress)
    exacts = _exacts(job, run, ts)
    x, us = _closed_line(run.grid, us)
    if exacts is None:
        mask = None
        caption = "The solution on the finest grid over time, early times dark."
    else:
        mask, exacts = _closed_line(run.grid, run.mask[None])[1][0], _closed_line(run.grid, exacts)[1]
        caption = (
            "The solution on the finest grid over time, early times dark; the dashed lines are the exact values. "
            "Below, the difference of the two at the last time."
        )
    figure = profiles_figure(x, ts, us, exacts, axis_names(job)[0], mask)
    return [Picture("solution", figure, f"Profiles of u at {len(ts)} times.", caption)]


def _fields(job: SolveJob, progress: bool) -> list[Picture]:
    run, names, front = job.finest, axis_names(job), has_front(job)
    ts, us, solution = history(job, run, _FIELD_TIMES, progress)
    problem = job.worked.problem
    curves = None
    if isinstance(problem.viscosity, NoViscosity) and problem.constraint is None:
        curves = _characteristics(problem, solution, run.grid, job.t)
    plane = _plane(run.grid, run.values, names, (0, 1), f"u at t = {job.t:.3g}")
    errors = _errors(job, [(0, 1)])
    caption = f"The solution at t = {job.t:.3g} on the finest grid as colour, with level lines"
    if front:
        caption += " and, in orange, the set $u = 0$"
    if curves is not None:
        caption += (
            ". Black lines are characteristics: from the dots, a regular lattice at the last time, they lead back to "
            "where the value there came from. Where they part, a kink lies between"
        )
    caption += _error_words(job, "On the right")
    alternative = "Filled contours of u at the final time" + (" beside its error." if errors is not None else ".")
    figure = fields_figure([plane], errors, curves=curves, front=front)
    planes = [_plane(run.grid, us[k], names, (0, 1), f"t = {ts[k]:.3g}") for k in _SHOWN_TIMES]
    return [
        Picture("solution", figure, alternative, caption + "."),
        Picture(
            "times",
            times_figure(planes, front),
            f"Filled contours of u at {len(planes)} times.",
            "The way there, in the same colours at every time"
            + (", with the set $u = 0$ in orange." if front else "."),
        ),
    ]


def _sections(job: SolveJob, progress: bool) -> list[Picture]:
    del progress
    run, names = job.finest, axis_names(job)
    found = []
    if has_front(job) and job.worked.problem.constraint is not None:
        found.append(_level_sets(job))
    pairs = _pairs(run.grid.dim)
    errors = _errors(job, pairs)
    figure = fields_figure(_planes(run.grid, run.values, names), errors, front=has_front(job))
    caption = f"The solution at t = {job.t:.3g} on three planes through the middle of the box"
    caption += ", the set $u = 0$ in orange" if has_front(job) else ""
    caption += _error_words(job, "Below")
    return [*found, Picture("solution", figure, "Filled contours of u on three planes.", caption + ".")]


def _level_sets(job: SolveJob) -> Picture:
    run, names = job.finest, axis_names(job)
    grid, along = run.grid, 2
    n = grid.shape[along]
    places = np.linspace(0, n - 1, _SECTIONS + 1)[:-1] if grid.periodic[along] else np.linspace(0, n - 1, _SECTIONS)
    start = _started(job.worked.problem, grid)
    planes, targets = [], []
    for k in np.round(places).astype(int):
        name, _, unit = names[along].rpartition(" ")
        title = f"{name} = {float(grid.axes[along][k]):.2f} {unit.strip('[]').replace('1', '')}".strip()
        planes.append(_plane(grid, run.values, names, (0, 1), title, {along: int(k)}))
        targets.append(_plane(grid, start, names, (0, 1), title, {along: int(k)}).values)
    others = " and ".join(names[i].partition(" [")[0] for i in range(3, grid.dim))
    caption = (
        f"Sections of the set $u ≤ 0$, from which the target is reached within t = {job.t:.3g}, for six values of "
        f"{names[along].partition(' [')[0]}" + (f"; {others} in the middle of its range" if others else "")
    )
    return Picture(
        "level-sets",
        level_sets_figure(planes, targets),
        "Six sections of the set u ≤ 0 with the target.",
        caption + ". Dashed is the target's border.",
    )


def _convergence(job: SolveJob) -> list[Picture]:
    runs = job.runs if job.has_reference else job.runs[:-1]
    words, caption = "error of u [1]", "Errors at the final time. Dashed: the nearest whole order."
    if job.solver in CLOSED_FORMS:
        caption = "Errors at the final time: those of a closed form do not depend on the grid."
    if not job.has_reference:
        words = f"difference of u to n = {job.finest.n} [1]"
        caption = "Differences to the finest grid, not errors: no exact solution is known."
    prefix = "" if job.has_reference else "difference_"
    curves = {}
    norms: dict[Norm, str] = {"l1": "mean (L1)", "linf": "largest"}
    for norm, name in norms.items():
        errors = [getattr(run, prefix + norm) or 0.0 for run in runs]
        curves[name] = errors, job.order(norm) if job.has_reference else None
    figure = convergence_figure([run.n for run in runs], curves, words)
    return [Picture("convergence", figure, f"{words} by size of the grid.", caption)]


def _error_words(job: SolveJob, where: str) -> str:
    if not job.has_reference:
        return ""
    masked = ", where the box's sides have not spoilt the solution" if not job.finest.mask.all() else ""
    return (
        f". {where}, the error{masked}: white is none, and the scale is logarithmic beyond a hundredth of the largest"
    )


def _exacts(job: SolveJob, run: GridRun, ts: np.ndarray) -> np.ndarray | None:
    if not job.has_reference:
        return None
    found = [exact_values(job.worked, run.grid, float(t)) for t in ts]
    return np.stack([values for values in found if values is not None])


def _errors(job: SolveJob, pairs: list[tuple[int, int]]) -> list[np.ndarray] | None:
    run = job.finest
    if run.exact is None:
        return None
    error, names = np.where(run.mask, run.values - run.exact, np.nan), axis_names(job)
    return [_plane(run.grid, error, names, pair).values for pair in pairs]


def _pairs(dim: int) -> list[tuple[int, int]]:
    """Of the first three axes."""
    return list(itertools.combinations(range(min(dim, 3)), 2))


def _planes(grid: Grid, values: np.ndarray, names: tuple[str, ...]) -> list[Plane]:
    """The plane itself in two dimensions, else three through the middle."""
    if grid.dim == 2:
        return [_plane(grid, values, names, (0, 1))]
    return [_plane(grid, values, names, pair) for pair in _pairs(grid.dim)]


def _plane(
    grid: Grid,
    values: np.ndarray,
    names: tuple[str, ...],
    pair: tuple[int, int],
    title: str = "",
    at: dict[int, int] | None = None,
) -> Plane:
    """The section along two axes, the others in the middle or `at` an index."""
    chosen: list[int | slice] = [(at or {}).get(i, n // 2) for i, n in enumerate(grid.shape)]
    for axis in pair:
        chosen[axis] = slice(None)
    section = values[tuple(chosen)]
    lines = []
    for k, axis in enumerate(pair):
        line, section = _closed_axis(grid, axis, section, k)
        lines.append(line)
    return Plane(lines[0], lines[1], section, (names[pair[0]], names[pair[1]]), title)


def _closed_line(grid: Grid, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes of a line and values of shape `(K, n)`."""
    return _closed_axis(grid, 0, values, 1)


def _closed_axis(grid: Grid, axis: int, values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes along `axis` and the values, whose axis `k` it is; a periodic one gets its upper end back."""
    line = np.asarray(grid.axes[axis])
    if not grid.periodic[axis]:
        return line, values
    return np.append(line, np.asarray(grid.upper)[axis]), np.concatenate([values, values.take([0], k)], axis=k)


def _characteristics(problem: InitialValueProblem, solution: Solution, grid: Grid, t: float) -> np.ndarray:
    """A few dozen curves, shape `(curves, points, 2)`, cut where they pass through a periodic side."""
    lower, upper = np.asarray(grid.lower), np.asarray(grid.upper)
    middle = (np.arange(_CURVES) + 0.5) / _CURVES
    ends = np.stack(np.meshgrid(*(low + (high - low) * middle for low, high in zip(lower, upper, strict=True))), -1)
    X = jnp.asarray(ends.reshape(-1, 2), grid.lower.dtype)
    curves = np.asarray(_back_in_time(problem, solution, X, jnp.asarray(t, X.dtype))).transpose(1, 0, 2)
    periodic = np.asarray(grid.periodic)
    turns = np.floor((curves - lower) / (upper - lower)) * periodic
    curves = curves - turns * (upper - lower)
    jumps = np.any(np.diff(turns, axis=1, prepend=turns[:, :1]) != 0, axis=2)
    return np.where(jumps[:, :, None], np.nan, curves)


@eqx.filter_jit
def _back_in_time(
    problem: InitialValueProblem, solution: Solution, X: Float[Array, "M 2"], t: Scalar
) -> Float[Array, "steps M 2"]:
    r"""The curves $\dot x = \partial H/\partial p(s, x, \nabla u(s, x))$ through `X` at `t`, by the midpoint rule."""
    H, evaluator = problem.hamiltonian, solution.evaluator
    h = t / _CURVE_STEPS

    def velocity(s: Scalar, x: Point) -> Point:
        return jax.grad(H, argnums=2)(s, x, jax.grad(evaluator, argnums=1)(s, x))

    def step(x: Float[Array, "M 2"], s: Scalar) -> tuple[Float[Array, "M 2"], Float[Array, "M 2"]]:
        v = jax.vmap(velocity, in_axes=(None, 0))
        middle = x - h / 2 * v(s, x)
        x = x - h * v(s - h / 2, middle)
        return x, x

    times = t - h * jnp.arange(_CURVE_STEPS, dtype=X.dtype)
    return jnp.concatenate([X[None], jax.lax.scan(step, X, times)[1]])


def _started(problem: InitialValueProblem, grid: Grid) -> np.ndarray:
    return np.asarray(grid.sample(problem.initial_data))
