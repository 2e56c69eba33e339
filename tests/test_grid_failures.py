"""Grid solves that fail say when, where and what to change; those that are continued give the same bits."""

import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import RESULTS, solvers
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.stepping import _grid_run

CIRCLE = solvers.Grid((0.0,), (1.0,), (16,), True)
INTERVAL = solvers.Grid((-1.0,), (1.0,), (17,))
FIRST = solvers.FiniteDifference(CIRCLE, 1)
RIGHT = hjpde.Transport([1.0])


def wave(x):
    return jnp.sin(2 * jnp.pi * x[0])


def broken_wave(x):
    return jnp.where(jnp.abs(x[0] - 0.25) < 1e-6, jnp.nan, wave(x))


def late_velocity(t, x):
    return jnp.where((t > 0.3) & (jnp.abs(x - 0.5) < 1e-6), jnp.nan, 1.0)


def late_cost(t, x):
    return late_velocity(t, x)[0]


def cosh(p):
    return jnp.cosh(p[0])


def saved(solution):
    """The grid's evaluator behind a solution."""
    assert isinstance(solution.evaluator, GridEvaluator)
    return solution.evaluator


def fails(problem, t, solver, result, *words):
    with pytest.raises(hjpde.SolveError) as caught:
        hjpde.solve(problem, t, solver)
    message = str(caught.value)
    for word in ("FiniteDifference at step", "t = ", "x = (", RESULTS[result], *words):
        assert word in message, message
    solution = hjpde.solve(problem, t, solver, throw=False)
    assert solution.result == result
    assert np.isnan(np.asarray(saved(solution).us[-1])).all()
    assert np.isnan(float(solution.ts[-1]))
    assert caught.value.solution.result == result
    return solution


def test_nan_in_the_datum():
    solution = fails(
        hjpde.InitialValueProblem(broken_wave, RIGHT), 0.5, FIRST, RESULTS.not_finite, "step 0", "t = 0,", "x = (0.25)"
    )
    assert float(solution.stats["failure_time"]) == 0


def test_nan_from_the_hamiltonian_later_keeps_what_was_saved_before():
    problem = hjpde.InitialValueProblem(
        wave, hjpde.ControlAffine(lambda t, x: jnp.ones(1), running_cost=late_cost, dim=1)
    )
    solution = fails(problem, [0.2, 0.6, 0.9], FIRST, RESULTS.not_finite, "x = (0.5)")
    assert np.isfinite(np.asarray(saved(solution).us[:2])).all()
    assert np.isnan(np.asarray(saved(solution).us[2:])).all()
    assert 0.3 < float(solution.stats["failure_time"]) < 0.6


def test_what_was_saved_before_a_failure_can_be_evaluated():
    problem = hjpde.InitialValueProblem(
        wave, hjpde.ControlAffine(lambda t, x: jnp.ones(1), running_cost=late_cost, dim=1)
    )
    solution = hjpde.solve(problem, [0.2, 0.6, 0.9], FIRST, throw=False)
    assert np.isfinite(float(solution(0.1, [0.3])))


def test_nan_from_the_speeds():
    problem = hjpde.InitialValueProblem(wave, hjpde.Transport(late_velocity))
    fails(problem, 0.6, FIRST, RESULTS.not_finite, "x = (0.5)")


def test_a_speed_bound_that_is_too_small():
    # Without a dimension of its own the bound would be found by interval arithmetic: a given one is checked.
    problem = hjpde.InitialValueProblem(wave, hjpde.MomentumFunction(cosh, curvature="convex"))
    slow = solvers.FiniteDifference(CIRCLE, 1, speed_bound=[0.01])
    solution = fails(problem, 0.1, slow, RESULTS.unstable, "`speed_bound`")
    assert solution.stats["speed_bound"] == "user"


def test_too_few_steps():
    problem = hjpde.InitialValueProblem(wave, RIGHT)
    with pytest.raises(hjpde.SolveError, match=r"at step 3, t = .*`max_steps`"):
        hjpde.solve(problem, 1.0, solvers.FiniteDifference(CIRCLE, 1, max_steps=3))
    solution = hjpde.solve(problem, 1.0, solvers.FiniteDifference(CIRCLE, 1, max_steps=3), throw=False)
    assert solution.result == RESULTS.max_steps_reached
    assert 0 < float(solution.stats["failure_time"]) < 1


def test_a_front_that_leaves_the_domain():
    problem = hjpde.InitialValueProblem(lambda x: jnp.abs(x[0]) - 0.5, hjpde.Eikonal())
    fails(problem, 1.0, solvers.FiniteDifference(INTERVAL, 1, front=0.0), RESULTS.left_domain, "Enlarge the grid")
    inside = hjpde.solve(problem, 0.25, solvers.FiniteDifference(INTERVAL, 1, front=0.0))
    assert inside.result == RESULTS.successful


def test_evaluation_outside():
    solution = hjpde.solve(
        hjpde.InitialValueProblem(lambda x: x[0], RIGHT), 0.25, solvers.FiniteDifference(INTERVAL, 1)
    )
    with pytest.raises(ValueError, match="outside the grid's box"):
        solution(0.1, [1.5])
    with pytest.raises(ValueError, match=r"last saved time, 0\.25"):
        solution(0.5, [0.5])
    with pytest.raises(ValueError, match="between 0 and"):
        solution(-0.1, [0.5])


@pytest.mark.parametrize(
    "arguments, name",
    [
        (dict(order=2), "order"),
        (dict(time_order=4), "time_order"),
        (dict(flux="roe"), "flux"),
        (dict(max_steps=0), "max_steps"),
        (dict(max_steps=True), "max_steps"),
        (dict(diffusion_stages=2), "diffusion_stages"),
        (dict(cfl=0.0), "cfl"),
        (dict(cfl=1.5), "cfl"),
        (dict(front=np.nan), "front"),
        (dict(speed_bound=[-1.0]), "speed_bound"),
        (dict(speed_bound=[1.0, 1.0]), "speed_bound"),
        (dict(speed_bound=[np.inf]), "speed_bound"),
        (dict(interpolation="quintic"), "interpolation"),
    ],
)
def test_arguments_out_of_range(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        solvers.FiniteDifference(CIRCLE, **arguments)


def test_grids_that_do_not_fit():
    with pytest.raises(ValueError, match="needs at least 4"):
        solvers.FiniteDifference(solvers.Grid((0.0,), (1.0,), (3,), True), 5)
    with pytest.raises(ValueError, match="d = 1 and the problem d = 2"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Transport([1.0, 0.0])), 1.0, FIRST)
    with pytest.raises(ValueError, match="`initial_data` must return a scalar"):
        hjpde.solve(hjpde.InitialValueProblem(lambda x: x, RIGHT), 1.0, FIRST)


# Stop and continue

PROBLEM = hjpde.InitialValueProblem(wave, hjpde.Quadratic(), 0.01)
THIRD = solvers.FiniteDifference(CIRCLE, 3, cfl=0.4)
TIMES = [0.1, 0.25]


def same(one, other):
    for name in ("ts", "us", "rates"):
        assert np.array_equal(getattr(one.evaluator, name), getattr(other.evaluator, name)), name
    assert np.array_equal(one.ts, other.ts)
    for name in ("steps", "shortest_step", "longest_step", "interval_start"):
        assert np.array_equal(one.stats[name], other.stats[name]), name


@pytest.fixture(scope="module")
def whole():
    return hjpde.solve(PROBLEM, TIMES, THIRD)


def test_continuing_gives_the_same_bits(whole, tmp_path):
    first = hjpde.solve(PROBLEM, TIMES[0], THIRD)
    same(hjpde.solve(PROBLEM, TIMES[1], THIRD, start=first), whole)
    hjpde.save(tmp_path / "first", first)
    same(hjpde.solve(PROBLEM, TIMES[1], THIRD, start=hjpde.load(tmp_path / "first")), whole)


def test_chunks_give_the_same_bits(whole, monkeypatch):
    monkeypatch.setattr(_grid_run, "_CHUNK", 5)
    same(hjpde.solve(PROBLEM, TIMES, THIRD, progress=True), whole)


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_an_interrupted_solve_is_continued_to_the_same_bits(whole, monkeypatch, calls):
    monkeypatch.setattr(_grid_run, "_CHUNK", 5)
    advance, count = _grid_run._advance, iter(range(100))

    def interrupted(*arguments):
        if next(count) == calls:
            raise KeyboardInterrupt
        return advance(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_grid_run, "_advance", interrupted)
        part = hjpde.solve(PROBLEM, TIMES, THIRD, progress=True, throw=False)
    assert part.result == RESULTS.interrupted
    reached = float(saved(part).ts[-1])
    assert 0 < reached < TIMES[1]
    rest = [t for t in TIMES if t > reached]
    same(hjpde.solve(PROBLEM, rest, THIRD, start=part), whole)
    same(hjpde.solve(PROBLEM, rest, THIRD, start=part, progress=True), whole)


def test_an_interruption_raises_by_default(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_grid_run, "_advance", interrupted)
    with pytest.raises(hjpde.SolveError, match="start=solution"):
        hjpde.solve(PROBLEM, TIMES, THIRD, progress=True)


def test_starts_that_do_not_fit(whole):
    other = solvers.FiniteDifference(solvers.Grid((0.0,), (1.0,), (8,), True), 3)
    with pytest.raises(ValueError, match="`start` must be a solution on a grid"):
        hjpde.solve(PROBLEM, 1.0, other, start=whole)
    with pytest.raises(ValueError, match=r"`t` must lie beyond 0\.25"):
        hjpde.solve(PROBLEM, 0.25, THIRD, start=whole)
    with pytest.raises(ValueError, match="does not step through time"):
        hjpde.solve(hjpde.InitialValueProblem(hjpde.Norm(), hjpde.Eikonal()), 1.0, solvers.HopfLax(), start=whole)
