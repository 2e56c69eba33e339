"""Characteristics against exact solutions, the formula of the first crossing, and the minimum of Hopf and Lax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import hjpde
from hjpde import problems, solvers
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.paths._curvature import curvature_of

DOUBLE = jnp.result_type(float) == jnp.float64
ERROR = 1e-9 if DOUBLE else 2e-3
needs_digits = pytest.mark.skipif(not DOUBLE, reason="measures errors below the roundoff of float32")


class Oscillator(AbstractHamiltonian):
    """A pendulum, half a square of the co-state plus a potential: convex, and not known to be."""

    strength: jax.Array

    @property
    def dim(self):
        return 1

    def __call__(self, t, x, p):
        return p[0] ** 2 / 2 - self.strength * jnp.cos(x[0])


def wave(x):
    return jnp.cos(x[0])


def line(n=65, low=-4.0, high=4.0):
    return solvers.Grid((low,), (high,), (n,))


def solve(datum, H, t, starts=None, **options):
    throw = options.pop("throw", True)
    problem = hjpde.InitialValueProblem(datum, H)
    return hjpde.solve(
        problem, t, solvers.Characteristics(line() if starts is None else starts, **options), throw=throw
    )


@pytest.fixture(scope="module")
def burgers():
    exact = problems.BurgersPotential()
    return exact, hjpde.solve(exact.problem, 2.0, solvers.Characteristics())


@pytest.fixture(scope="module")
def pendulum():
    H = Oscillator(jnp.asarray(0.8))
    starts = jnp.linspace(-3.0, 3.0, 16)[:, None]
    return H, solve(wave, H, 0.5, starts)


@pytest.mark.slow
@needs_digits
def test_the_first_crossing_is_that_of_the_formula(burgers):
    # -1 / min H''(g') g'': 1 for Burgers, and for p^4/4 the greatest of 3 sin^2 cos is 2/sqrt 3.
    _, solution = burgers
    assert float(solution.stats["first_crossing"]) == pytest.approx(1, abs=1e-8)
    quartic = hjpde.MomentumFunction(lambda p: p[0] ** 4 / 4, "convex")
    stats = solve(wave, quartic, 1.5, line(200, 0.0, 6.0)).stats
    assert float(stats["first_crossing"]) == pytest.approx(np.sqrt(3) / 2, abs=1e-8)
    y, tau = float(stats["first_crossing_start"][0]), np.sqrt(3) / 2
    assert abs(np.cos(y)) == pytest.approx(1 / np.sqrt(3), abs=1e-4)
    assert float(stats["first_crossing_point"][0]) == pytest.approx(y - tau * np.sin(y) ** 3, abs=1e-6)


@pytest.mark.slow
@needs_digits
def test_an_even_number_of_directions_lost_at_once_is_seen():
    X = np.random.default_rng(0).normal(size=(40, 2))
    solution = solve(lambda x: -x @ x / 2, hjpde.Quadratic(jnp.eye(2) / 2), 1.7, X)
    assert float(solution.stats["first_crossing"]) == pytest.approx(1, abs=1e-8)


def test_burgers_before_and_after_the_shock(burgers):
    exact, solution = burgers
    X = jnp.linspace(-3.0, 9.0, 41)[:, None]
    for t in (0.6, 2.0):
        expected = jax.vmap(lambda x: exact(t, x))(X)  # noqa: B023
        np.testing.assert_allclose(solution.batch(t, X), expected, rtol=0, atol=1e-12 if DOUBLE else 1e-5)


@pytest.mark.slow
@needs_digits
def test_derivatives_at_one_point(burgers):
    exact, solution = burgers
    t, x, h = 0.6, jnp.array([1.3]), 1e-4
    p = solution.gradient(t, x)
    y = float(brentq(lambda y: y - t * np.sin(y) - 1.3, -3, 5, xtol=1e-14))  # pyright: ignore
    np.testing.assert_allclose(p, [-np.sin(y)], rtol=1e-12)
    np.testing.assert_allclose(p, jax.grad(lambda x: exact(t, x))(x), rtol=1e-10)
    assert float(solution.time_derivative(t, x)) == pytest.approx(-(float(p[0]) ** 2) / 2, rel=1e-10)
    np.testing.assert_allclose(solution.hessian(t, x), [[-np.cos(y) / (1 - t * np.cos(y))]], rtol=1e-9)
    forward = jax.jvp(lambda x: solution.evaluator(jnp.asarray(t), x), (x,), (jnp.ones(1),))[1]
    np.testing.assert_allclose(forward, p[0], rtol=1e-12)
    difference = (solution(t, x + h) - solution(t, x - h)) / (2 * h)
    np.testing.assert_allclose(difference, p[0], rtol=1e-6)
    assert float(solution.standard_error(t, x)) < 1e-9


@pytest.mark.slow
def test_smooth_kinks_in_two_dimensions():
    exact = problems.SmoothKinks(2)
    t = 0.8 * float(exact.kink_time)
    starts = solvers.Grid((-2.0, -2.0), (2.0, 2.0), (12, 12), periodic=True)
    solution = hjpde.solve(exact.problem, t, solvers.Characteristics(starts))
    assert not np.isfinite(float(solution.stats["first_crossing"]))
    X = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (16, 2)))
    expected = eqx.filter_jit(jax.vmap(lambda x: exact(t, x)))(X)
    np.testing.assert_allclose(solution.batch(t, X), expected, atol=1e-10 if DOUBLE else 1e-4)


@needs_digits
@pytest.mark.slow
def test_a_pendulum_against_another_integrator(pendulum):
    H, solution = pendulum
    t, y = 0.5, 0.7

    def velocity(s, state):
        x, p, _ = state
        return [p, -0.8 * np.sin(x), p**2 / 2 + 0.8 * np.cos(x)]

    x, p, u = solve_ivp(velocity, (0, t), [y, -np.sin(y), np.cos(y)], rtol=1e-12, atol=1e-13).y[:, -1]
    point = jnp.array([x])
    assert float(solution(t, point)) == pytest.approx(u, abs=ERROR)
    np.testing.assert_allclose(solution.gradient(t, point), [p], atol=ERROR)
    slope = float(solution.time_derivative(t, point))
    assert slope == pytest.approx(-float(H(t, point, jnp.array([p]))), abs=1e-7)
    assert float(solution.stats["first_crossing"]) > 0.5


@pytest.mark.slow
@needs_digits
def test_parameters_of_the_datum_and_of_the_hamiltonian():
    starts = jnp.linspace(-3.0, 3.0, 16)[:, None]

    @jax.jit
    def value(parameters):
        datum = jax.tree_util.Partial(lambda b, x: b * jnp.cos(x[0]), parameters[1])
        H = hjpde.MomentumFunction(jax.tree_util.Partial(lambda a, p: a * p[0] ** 2 + p[0] ** 4 / 10, parameters[0]))
        return solve(datum, H, 0.3, starts, throw=False)(0.3, jnp.array([1.0]))

    at, h = jnp.array([0.6, 0.9]), 1e-5
    steps = h * jnp.eye(2)
    differences = jnp.stack([(value(at + step) - value(at - step)) / (2 * h) for step in steps])
    np.testing.assert_allclose(jax.jit(jax.grad(value))(at), differences, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(value))(at), differences, rtol=1e-6)


@needs_digits
@pytest.mark.slow
def test_parameters_of_an_integrated_characteristic():
    # Reverse mode through the adaptive integration takes long to compile.
    starts = jnp.linspace(-3.0, 3.0, 8)[:, None]

    @jax.jit
    def value(strength):
        return solve(wave, Oscillator(strength), 0.5, starts, throw=False)(0.5, jnp.array([1.0]))

    at, h = jnp.asarray(0.8), 1e-4
    difference = (value(at + h) - value(at - h)) / (2 * h)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(at), difference, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(value))(at), difference, rtol=1e-6)


@needs_digits
@pytest.mark.slow
def test_a_linear_quadratic_regulator():
    exact = problems.LinearQuadraticRegulator()
    problem = hjpde.InitialValueProblem(exact.problem.initial_data, exact.problem.hamiltonian)
    grid = solvers.Grid((-2.0, -2.0), (2.0, 2.0), (4, 4))
    solution = hjpde.solve(problem, 1.0, solvers.Characteristics(grid))
    X = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (8, 2)))
    np.testing.assert_allclose(solution.batch(1.0, X), jax.vmap(lambda x: exact(1.0, x))(X), rtol=1e-8)
    np.testing.assert_allclose(solution.hessian(1.0, X[0]), exact.riccati(jnp.asarray(1.0))[0], rtol=1e-6)


@pytest.mark.slow
@needs_digits
def test_transport_by_a_network_is_its_readout_at_the_end():
    problem = hjpde.InitialValueProblem(wave, hjpde.Transport(lambda t, x: -jnp.sin(x) * (1 + t)))
    solution = hjpde.solve(problem, 1.0, solvers.Characteristics())
    # x' = sin(x)(2 - s) from x: tan(x/2) grows by exp(3/2).
    end = 2 * np.arctan(np.tan(0.4) * np.exp(1.5))
    assert float(solution(1.0, [0.8])) == pytest.approx(np.cos(end), abs=1e-8)


@pytest.mark.slow
@needs_digits
def test_the_minimum_after_the_crossing_is_that_of_hopf_and_lax():
    # -log cosh(x - 1) - log cosh(x + 1) focuses: a shock forms under p^2 between its two slopes.
    def datum(x):
        return -jnp.log(2 * jnp.cosh(x[0])) + 0.1 * jnp.sin(3 * x[0])

    solution = solve(datum, hjpde.Quadratic(), 1.2, line(129, -6.0, 6.0), n_starts=64)
    assert float(solution.stats["first_crossing"]) < 1.2
    Y = np.linspace(-12, 12, 240_001)
    G = -np.log(2 * np.cosh(Y)) + 0.1 * np.sin(3 * Y)
    for x in np.linspace(-1.9, 2.1, 9):
        least = np.min(G + (x - Y) ** 2 / (4 * 1.2))
        assert float(solution(1.2, [x])) == pytest.approx(least, abs=1e-8)


def test_curvature_is_told_by_the_hamiltonian():
    box = hjpde.Box([-1.0], [1.0])
    move, game = (
        hjpde.ControlAffine([0.0], [[1.0]], controls=box),
        hjpde.ControlAffine([0.0], [[1.0]], [[1.0]], controls=box, disturbances=box),
    )
    assert curvature_of(move) == "convex"
    assert curvature_of(hjpde.ControlAffine([0.0], [[1.0]], controls=box, control="max")) == "concave"
    assert curvature_of(game) == "unknown"
    assert curvature_of(hjpde.ControlAffine([0.0])) == "linear"
    assert curvature_of(hjpde.TimeReversed(hjpde.Quadratic(), 1.0)) == "concave"
    assert curvature_of(hjpde.Transport([1.0])) == "linear"
    assert curvature_of(hjpde.LinearQuadratic([[1.0]])) == "convex"
    assert curvature_of(Oscillator(jnp.asarray(1.0))) == "unknown"


@pytest.mark.slow
def test_no_number_after_the_crossing_where_the_curvature_is_unknown():
    H = hjpde.MomentumFunction(lambda p: p[0] ** 2 / 2)
    with pytest.raises(hjpde.SolveError, match="characteristics cross before the last saved time"):
        solve(wave, H, 1.5)
    solution = solve(wave, H, 1.5, throw=False)
    with pytest.raises(ValueError, match="characteristics cross from t = 1 on"):
        solution(1.2, [0.5])
    assert np.isnan(jax.jit(lambda t: solution(t, jnp.array([0.5])))(1.2))
    assert np.isfinite(solution(0.5, [0.5]))
    vouched = solve(wave, H, 1.5, curvature="convex")
    np.testing.assert_allclose(vouched(1.2, [0.5]), problems.BurgersPotential()(1.2, jnp.array([0.5])), atol=ERROR)


@pytest.mark.slow
def test_a_fan_is_not_reached_and_says_so():
    solution = solve(lambda x: jnp.abs(x[0]), hjpde.Quadratic(), 1.0, line(64))
    assert np.isnan(solution(0.5, [0.3]))
    assert np.isnan(solution.gradient(0.5, [0.3])[0])
    assert np.isnan(solution.standard_error(0.5, [0.3]))
    assert not bool(solution.evaluator.arrival(0.5, jnp.array([0.3])).found)
    assert bool(solution.evaluator.arrival(0.5, jnp.array([2.3])).found)
    assert float(solution(0.5, [2.3])) == pytest.approx(1.8, abs=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="there is viscosity"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Quadratic(), 0.1), 1.0, solvers.Characteristics(line()))
    with pytest.raises(ValueError, match="pass `starts`"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Quadratic()), 1.0, solvers.Characteristics())
    walls = hjpde.Domain([0.0], [1.0], boundary=hjpde.Neumann())
    with pytest.raises(ValueError, match="has a Neumann condition"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Quadratic(), domain=walls), 1.0, solvers.Characteristics())
    problem = hjpde.InitialValueProblem(wave, hjpde.Quadratic(), constraint=hjpde.Constraint(upper=1.0))
    with pytest.raises(ValueError, match="`constraint`"):
        hjpde.solve(problem, 1.0, solvers.Characteristics(line()))
    torus = hjpde.Domain([0.0], [1.0], periodic=True)
    with pytest.raises(ValueError, match="other values one period further"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Quadratic(), domain=torus), 1.0, solvers.Characteristics())
    with pytest.raises(ValueError, match="point masses have no slope"):
        hjpde.solve(
            hjpde.InitialValueProblem(hjpde.Atoms([[0.0]], [0.0]), hjpde.Quadratic()),
            1.0,
            solvers.Characteristics(line()),
        )
    plane = hjpde.InitialValueProblem(wave, hjpde.Quadratic(jnp.eye(2)))
    with pytest.raises(ValueError, match="`starts` has dimension 1, the problem 2"):
        hjpde.solve(plane, 1.0, solvers.Characteristics(line()))
    for options, match in [
        ({"starts": [1.0, 2.0]}, "`starts` must have 2 axes"),
        ({"curvature": "round"}, "`curvature` must be one of"),
        ({"n_starts": 1}, "`n_starts` must be an integer of at least 2"),
        ({"rtol": 0.0}, "`rtol` must be positive"),
        ({"max_steps": 0}, "`max_steps`"),
    ]:
        with pytest.raises(ValueError, match=match):
            solvers.Characteristics(**options)
