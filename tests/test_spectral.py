"""The spectral solver against exact periodic solutions, and the laws that its time integrator obeys."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hjpde
from hjpde import problems, solvers
from hjpde._solution import RESULTS
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.stepping import _spectral_run
from hjpde.solvers.stepping._exponential_runge_kutta import ExponentialRungeKutta, phi_functions
from hjpde.solvers.stepping._heat import HeatFlow
from hjpde.solvers.stepping._pseudo_spectral import PseudoSpectral
from hjpde.solvers.stepping._spectral_evaluator import SpectralEvaluator

DOUBLE = jnp.result_type(float) == jnp.float64
ERROR = 1e-10 if DOUBLE else 2e-4
TWO_PI = 2 * np.pi
needs_digits = pytest.mark.skipif(not DOUBLE, reason="measures errors below the roundoff of float32")


def circle(n):
    return solvers.Grid((0.0,), (TWO_PI,), (n,), periodic=True)


def fields(solution):
    """The values at the nodes, at 0 and at the saved times."""
    return solution.evaluator.us


def distance(solution, exact, t):
    points = solution.evaluator.grid.points
    return float(jnp.abs(fields(solution)[-1] - eqx.filter_jit(_sample)(exact, t, points)).max())


def _sample(exact, t, points):
    values = jax.vmap(lambda x: exact(t, x))(points.reshape(-1, points.shape[-1]))
    return values.reshape(points.shape[:-1])


@pytest.mark.parametrize("viscosity, amplitude", [(0.1, 0.5), (0.1, 0.9), (0.02, 0.9), (1.0, 0.9)])
def test_defaults_find_the_cole_hopf_solution(viscosity, amplitude):
    exact = problems.ColeHopfCosine(viscosity, amplitude)
    solution = hjpde.solve(exact.problem, 1.0, solvers.Spectral(circle(128)))
    assert distance(solution, exact, 1.0) <= ERROR
    stats = solution.stats
    assert stats["steps"] == stats["accepted"] + stats["rejected"]
    assert 0 < stats["shortest_step"] <= stats["longest_step"] <= 1
    assert stats["tail"] < 1e-6


@pytest.mark.slow
@needs_digits
@pytest.mark.parametrize("dealias", [True, False])
def test_the_error_falls_exponentially_with_the_grid(dealias):
    exact = problems.ColeHopfCosine(0.1, 0.95)
    sizes = (16, 32, 64)
    errors = [
        distance(hjpde.solve(exact.problem, 0.5, _spectral(n, dealias=dealias, tail_limit=1.0)), exact, 0.5)
        for n in sizes
    ]
    # The modes of log(1 + a cos x) fall by this factor each, and the first that is left out sets the error.
    a = 0.95 * np.exp(-0.05)
    factor = (1 - np.sqrt(1 - a**2)) / a
    part = 1 / 3 if dealias else 1 / 2
    for (n, coarse), (m, fine) in zip(
        zip(sizes, errors, strict=True), list(zip(sizes, errors, strict=True))[1:], strict=False
    ):
        # On coarse grids it falls faster still.
        assert np.log(fine / coarse) / (part * (m - n)) <= 0.65 * np.log(factor)


def _spectral(n=32, **options):
    return solvers.Spectral(circle(n), **options)


@functools.cache
def kept_system():
    grid, exact = circle(32), problems.ColeHopfCosine(0.5, 0.5)
    flow = HeatFlow(grid.shape, grid.spacing, ("periodic",), exact.viscosity)
    return PseudoSpectral(grid, hjpde.Quadratic(), flow, False), exact


@eqx.filter_jit
def fixed_steps(system, u, t, h, n):
    method, term = ExponentialRungeKutta(system), diffrax.ODETerm(system)

    def step(u, i):
        start = t + i * h
        u, error, _, _, _ = method.step(term, start, start + h, u, None, None, False)
        return u, jnp.abs(error).max()

    return jax.lax.scan(step, u, jnp.arange(n))


@needs_digits
def test_the_time_integrator_is_of_order_four_and_its_estimate_of_order_three():
    system, exact = kept_system()
    u, points, counts, end = system.grid.sample(exact.problem.initial_data), system.grid.points, (16, 32, 64), 1.0
    errors, estimates = [], []
    for n in counts:
        v, estimate = fixed_steps(system, u, jnp.zeros(()), jnp.asarray(end / n), n)
        errors.append(float(jnp.abs(v - _sample(exact, end, points)).max()))
        estimates.append(float(estimate[0]))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-4, abs=0.3)
    # A local error: one order more.
    assert np.polyfit(np.log(counts), np.log(estimates), 1)[0] == pytest.approx(-4, abs=0.5)


def test_phi_functions():
    import mpmath

    z = np.array([0.0, -1e-12, -1e-3, -0.3, -0.999, -1.001, -4.0, -50.0, -1e8])
    found = phi_functions(jnp.asarray(z))
    with mpmath.workdps(60):
        for k, values in enumerate(found):
            exact = [
                mpmath.exp(x) if k == 0 else mpmath.hyp1f1(1, k + 1, x) / mpmath.factorial(k)
                for x in map(mpmath.mpf, np.asarray(jnp.asarray(z)).tolist())
            ]
            np.testing.assert_allclose(
                values, [float(mpmath.re(v)) for v in exact], rtol=30 * float(jnp.finfo(values.dtype).eps), atol=1e-30
            )


@needs_digits
def test_the_derivatives_of_phi_functions_are_finite_and_right():
    z = jnp.array([0.0, -0.5, -0.99, -1.01, -30.0])
    h = 1e-5
    for k in range(4):
        slope = jax.vmap(jax.grad(lambda z, k=k: phi_functions(z)[k]))(z)
        np.testing.assert_allclose(slope, (phi_functions(z + h)[k] - phi_functions(z - h)[k]) / (2 * h), atol=1e-9)


MATRIX = np.array([[0.7, 0.2], [0.2, 0.4]])
MODES = (np.array([1, 2]), np.array([2, -1]))


def two_waves(t, x, viscosity=0.3):
    """Hopf-Cole for `H = p'Ap` and `N = viscosity * A`: two modes of the heat equation behind a logarithm."""
    rates = [viscosity * k @ MATRIX @ k for k in MODES]
    phi = (
        1
        + 0.3 * jnp.exp(-rates[0] * t) * jnp.cos(x @ MODES[0])
        + 0.25 * jnp.exp(-rates[1] * t) * jnp.sin(x @ MODES[1] + 0.4)
    )
    return -viscosity * jnp.log(phi)


def matrix_problem():
    return hjpde.InitialValueProblem(functools.partial(two_waves, 0.0), hjpde.Quadratic(MATRIX), 0.3 * MATRIX)


@pytest.fixture(scope="module")
def plane():
    grid = solvers.Grid((0.0, -1.0), (TWO_PI, TWO_PI - 1), (64, 60), periodic=True)
    return hjpde.solve(matrix_problem(), jnp.array([0.3, 0.6]), solvers.Spectral(grid, dealias=False))


@pytest.mark.slow
def test_matrix_viscosity_in_the_plane(plane):
    assert distance(plane, two_waves, 0.6) <= ERROR


@pytest.mark.slow
def test_the_solution_between_the_nodes_and_its_derivatives(plane):
    X = jnp.array([[0.123, 1.7], [4.4, -0.9], [9.0, 20.0]])
    np.testing.assert_allclose(plane.batch(0.3, X), jax.vmap(lambda x: two_waves(0.3, x))(X), atol=ERROR)
    t, x = jnp.asarray(0.3), X[0]
    np.testing.assert_allclose(plane(t, x), two_waves(t, x), atol=ERROR)
    np.testing.assert_allclose(plane.gradient(t, x), jax.grad(two_waves, 1)(t, x), atol=30 * ERROR)
    np.testing.assert_allclose(plane.hessian(t, x), jax.hessian(two_waves, 1)(t, x), atol=1e3 * ERROR)
    np.testing.assert_allclose(plane.time_derivative(t, x), jax.grad(two_waves, 0)(t, x), atol=1e2 * ERROR)
    with pytest.raises(ValueError, match="last saved time"):
        plane(0.7, x)
    with pytest.raises(ValueError, match="no estimate"):
        plane.standard_error(0.3, x)


@pytest.mark.slow
@needs_digits
def test_between_saved_times_the_error_is_of_order_four():
    exact, x = problems.ColeHopfCosine(0.5, 0.5), jnp.array([0.7])
    gaps = []
    for count in (4, 8, 16):
        ts = jnp.linspace(0, 1, count + 1)[1:]
        solution = hjpde.solve(exact.problem, ts, _spectral(128, rtol=1e-12))
        middle = ts[-1] - 0.5 / count
        gaps.append(abs(float(solution(middle, x) - exact(middle, x))))
    assert np.polyfit(np.log([4, 8, 16]), np.log(gaps), 1)[0] == pytest.approx(-4, abs=0.5)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (4, 6), (7,), (6,)])
def test_the_fourier_sum_goes_through_any_values(shape):
    d = len(shape)
    grid = solvers.Grid((0.5,) * d, (2.0,) * d, shape, periodic=True)
    u = jnp.asarray(np.random.default_rng(0).normal(size=(1, *shape)))
    evaluator = SpectralEvaluator(GridEvaluator(grid, jnp.zeros(1), u, jnp.zeros_like(u)))
    values = eqx.filter_jit(evaluator.batch)(jnp.zeros(()), grid.points.reshape(-1, d))
    np.testing.assert_allclose(values.reshape(shape), u[0], atol=50 * float(jnp.finfo(u.dtype).eps))


class Travelling(AbstractHamiltonian):
    r"""$c(t)\,p^2 + V(t, x)$ with the potential under which $\sin(x - t) + t/2$ is the solution."""

    viscosity: float

    @property
    def dim(self):
        return 1

    def __call__(self, t, x, p):
        phase = x[0] - t
        strength = 1 + jnp.cos(3 * t) / 2
        potential = jnp.cos(phase) - 0.5 - strength * jnp.cos(phase) ** 2 - self.viscosity * jnp.sin(phase)
        return strength * p[0] ** 2 + potential


def travelling(t, x):
    return jnp.sin(x[0] - t) + t / 2


def test_a_hamiltonian_of_time_and_place_and_the_mean():
    problem = hjpde.InitialValueProblem(functools.partial(travelling, 0.0), Travelling(0.2), 0.2)
    solution = hjpde.solve(problem, 1.0, _spectral())
    assert distance(solution, travelling, 1.0) <= 2 * ERROR
    assert float(fields(solution)[-1].mean()) == pytest.approx(0.5, abs=ERROR)


@settings(max_examples=5)
@given(shift=st.integers(0, 31), constant=st.floats(-3, 3))
def test_translations_and_constants_pass_through(shift, constant):
    exact = problems.ColeHopfCosine(0.3, 0.4)
    usual = fields(hjpde.solve(exact.problem, 0.5, _spectral()))[-1]
    x0 = shift * TWO_PI / 32
    moved = hjpde.InitialValueProblem(lambda x: exact(0.0, x - x0) + constant, hjpde.Quadratic(), 0.3)
    found = fields(hjpde.solve(moved, 0.5, _spectral()))[-1]
    np.testing.assert_allclose(found, jnp.roll(usual, shift) + constant, atol=ERROR)


def test_one_saved_time_more_changes_nothing_beyond_the_tolerance():
    exact = problems.ColeHopfCosine(0.3, 0.4)
    once, twice = (fields(hjpde.solve(exact.problem, ts, _spectral()))[-1] for ts in (0.5, jnp.array([0.2, 0.5])))
    np.testing.assert_allclose(once, twice, atol=ERROR)


@pytest.mark.slow
def test_float32_is_kept():
    grid = solvers.Grid(np.zeros(1, np.float32), np.full(1, TWO_PI, np.float32), (32,), periodic=True)
    datum = lambda x: jnp.cos(x[0])  # noqa: E731
    problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), np.float32(0.3))
    solution = hjpde.solve(problem, np.float32(0.5), solvers.Spectral(grid))
    assert fields(solution).dtype == solution.stats["tail"].dtype == jnp.float32
    assert solution(np.float32(0.5), np.zeros(1, np.float32)).dtype == jnp.float32


@functools.cache
def loss():
    @jax.jit
    def loss(amplitude, A, viscosity):
        datum = lambda x: amplitude * jnp.cos(x[0]) + jnp.sin(2 * x[0]) / 3  # noqa: E731
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(A * jnp.eye(1)), viscosity)
        solution = hjpde.solve(problem, jnp.array([0.2, 0.4]), _spectral(max_steps=100, rtol=1e-10), throw=False)
        return jnp.sum(fields(solution)[1:] ** 3)

    return loss


@pytest.mark.slow
@needs_digits
def test_both_modes_of_differentiation_to_datum_hamiltonian_and_viscosity():
    point, along = tuple(map(jnp.asarray, (0.8, 0.7, 0.3))), tuple(map(jnp.asarray, (0.3, -0.5, 0.2)))
    forward = jax.jit(lambda p, a: jax.jvp(loss(), p, a)[1])(point, along)
    gradient = jax.jit(jax.grad(loss(), (0, 1, 2)))(*point)
    np.testing.assert_allclose(forward, sum(g * a for g, a in zip(gradient, along, strict=True)), rtol=1e-12)
    h = 1e-4
    ends = [loss()(*(p + e * a for p, a in zip(point, along, strict=True))) for e in (-h, h)]
    np.testing.assert_allclose(forward, (ends[1] - ends[0]) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_a_batch_of_problems():
    datum = problems.ColeHopfCosine(0.1, 0.5).problem.initial_data

    def end(viscosity):
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), viscosity)
        return hjpde.solve(problem, 0.5, _spectral(max_steps=400), throw=False)

    viscosities = jnp.array([0.1, 0.4])
    together = eqx.filter_jit(eqx.filter_vmap(end))(viscosities)
    for i in range(2):
        alone = end(viscosities[i])
        np.testing.assert_allclose(fields(together)[i], fields(alone), atol=ERROR)
    assert np.all(together.result == RESULTS.successful)


def usual_problem(viscosity=0.1):
    return problems.ColeHopfCosine(viscosity, 0.5).problem


def test_a_solve_can_be_continued_bit_for_bit():
    ts = jnp.array([0.2, 0.5, 0.7])
    whole = hjpde.solve(usual_problem(), ts, _spectral())
    half = hjpde.solve(usual_problem(), ts[:2], _spectral())
    both = hjpde.solve(usual_problem(), ts[2:], _spectral(), start=half)
    np.testing.assert_array_equal(fields(both), fields(whole))
    np.testing.assert_array_equal(both.ts, whole.ts)
    for name in ("steps", "rejected", "shortest_step", "longest_step", "tail"):
        assert both.stats[name] == whole.stats[name]
    with pytest.raises(ValueError, match=r"must lie beyond 0\.7"):
        hjpde.solve(usual_problem(), 0.6, _spectral(), start=both)
    with pytest.raises(ValueError, match="on a grid of shape"):
        hjpde.solve(usual_problem(), 1.0, _spectral(n=16), start=both)


def test_with_a_bar_the_same_and_interrupted_it_can_go_on(monkeypatch):
    ts = jnp.array([0.2, 0.5, 0.7])
    whole = hjpde.solve(usual_problem(), ts, _spectral())
    shown = hjpde.solve(usual_problem(), ts, _spectral(), progress=True)
    np.testing.assert_allclose(fields(shown), fields(whole), atol=ERROR)
    assert shown.stats["steps"] == whole.stats["steps"]

    advance, calls = _spectral_run._advance, []

    def interrupting(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(*arguments)

    monkeypatch.setattr(_spectral_run, "_advance", interrupting)
    stopped = hjpde.solve(usual_problem(), ts, _spectral(), progress=True, throw=False)
    assert stopped.result == RESULTS.interrupted
    np.testing.assert_array_equal(fields(stopped)[:2], fields(shown)[:2])
    monkeypatch.undo()
    continued = hjpde.solve(usual_problem(), ts[1:], _spectral(), start=stopped, progress=True)
    np.testing.assert_array_equal(fields(continued), fields(shown))
    np.testing.assert_array_equal(continued.ts, ts)


def test_too_coarse_a_grid_is_reported():
    problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), hjpde.Quadratic(), 0.002)
    with pytest.raises(hjpde.SolveError, match="does not resolve") as failure:
        hjpde.solve(problem, 1.0, _spectral())
    assert failure.value.solution.result == RESULTS.under_resolved
    assert float(failure.value.solution.stats["tail"]) > 1e-2
    assert np.all(np.isfinite(fields(failure.value.solution)))


@pytest.mark.parametrize("progress", [False, True])
def test_too_few_steps_are_reported(progress):
    ts = jnp.array([0.5, 1.0])
    with pytest.raises(hjpde.SolveError, match="Increase `max_steps`") as failure:
        hjpde.solve(usual_problem(1.0), ts, _spectral(max_steps=4), progress=progress)
    solution = failure.value.solution
    assert 0 < float(solution.stats["failure_time"]) < 0.5
    assert np.all(np.isnan(fields(solution)[1:]))


class Broken(AbstractHamiltonian):
    """NaN from a time on, at one place."""

    @property
    def dim(self):
        return 1

    def __call__(self, t, x, p):
        return p[0] ** 2 + jnp.where((jnp.asarray(t) > 0.3) & (jnp.abs(x[0] - 3 * TWO_PI / 32) < 0.01), jnp.nan, 0.0)


@pytest.mark.parametrize("progress", [False, True])
def test_a_value_that_is_not_finite_is_reported_with_its_time(progress):
    problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), Broken(), 0.3)
    with pytest.raises(hjpde.SolveError, match=r"t = 0\.3.*NaN") as failure:
        hjpde.solve(problem, jnp.array([0.2, 0.5, 0.8]), _spectral(), progress=progress)
    solution = failure.value.solution
    assert float(solution.stats["failure_time"]) == pytest.approx(0.3, abs=1e-3)
    np.testing.assert_array_equal(np.isfinite(fields(solution)[:, 0]), [True, True, False, False])


def test_a_datum_that_is_not_finite_is_reported():
    problem = hjpde.InitialValueProblem(lambda x: jnp.where(x[0] > 6, jnp.nan, 0.0), hjpde.Quadratic(), 0.3)
    with pytest.raises(hjpde.SolveError, match="NaN"):
        hjpde.solve(problem, 0.5, _spectral())


def test_why_not():
    periodic, datum = circle(8), lambda x: jnp.cos(x[0])
    solver = solvers.Spectral(periodic)

    def reason(solver=solver, **changes):
        arguments: dict = {"viscosity": 0.1} | changes
        return solver.why_not(hjpde.InitialValueProblem(datum, hjpde.Quadratic(), **arguments)) or "none"

    assert reason() == "none"
    assert "no viscosity" in reason(viscosity=0.0)
    assert "depends on time or place" in reason(viscosity=lambda t, x: jnp.eye(1))
    assert "problem d = 2" in reason(viscosity=0.1 * np.eye(2))
    assert "constraint" in reason(constraint=hjpde.Constraint(monotone="decreasing"))
    assert "periodic" in reason(solvers.Spectral(solvers.Grid((0.0,), (1.0,), (8,))))
    assert "Grid.over" in reason(domain=hjpde.Domain((0.0,), (1.0,), periodic=True))
    with pytest.raises(ValueError, match="Spectral does not apply: there is no viscosity"):
        hjpde.solve(hjpde.InitialValueProblem(datum, hjpde.Quadratic()), 1.0, solver)


@pytest.mark.parametrize("options", [{"rtol": 0.0}, {"atol": -1.0}, {"max_steps": 0}, {"tail_limit": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        _spectral(**options)


def test_a_datum_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match="`initial_data` must return a scalar"):
        hjpde.solve(hjpde.InitialValueProblem(jnp.cos, hjpde.Quadratic(), 0.1), 1.0, _spectral())
