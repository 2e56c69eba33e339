"""Hopf-Cole on a grid against exact mixtures, direct sums in many digits, closed forms and the limit eps = 0."""

import functools
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.special import logsumexp

import hjpde
from hjpde import problems, solvers
from hjpde._solution import RESULTS

DOUBLE = jnp.result_type(float) == jnp.float64
ERROR = 1e-11 if DOUBLE else 2e-5
TWO_PI = 2 * np.pi
needs_digits = pytest.mark.skipif(not DOUBLE, reason="measures errors below the roundoff of float32")

at_nodes = eqx.filter_jit(lambda exact, t, grid: grid.sample(lambda x: exact(t, x)))


def fields(solution):
    """The values at the nodes, at 0 and at the saved times."""
    return np.asarray(solution.evaluator.us)


def solved(problem, grid, t, **options):
    return hjpde.solve(problem, t, solvers.GridHopfCole(grid), **options)


def quietly(problem, grid, t, **options):
    """Where the grid is too coarse, and the test knows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return solved(problem, grid, t, **options)


def box_of(exact, shape):
    return solvers.Grid.over(exact.problem.domain, shape)


def circle(n):
    return solvers.Grid((0.0,), (TWO_PI,), (n,), periodic=True)


# ---- Accuracy -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    """A mixture on 256 x 256 nodes: matrix products."""
    exact = problems.ViscousMixture(0.05)
    grid = box_of(exact, (256, 256))
    return exact, solved(exact.problem, grid, jnp.array([0.25, 0.5]))


def test_a_resolved_mixture_is_exact(mixture):
    exact, solution = mixture
    grid = solution.evaluator.grid
    for k, t in ((1, 0.25), (2, 0.5)):
        np.testing.assert_allclose(fields(solution)[k], at_nodes(exact, t, grid), atol=ERROR)
    np.testing.assert_allclose(fields(solution)[0], at_nodes(exact, 0.0, grid), atol=ERROR)
    assert solution.stats["method"] == "matrix products"
    assert np.all(solution.stats["tile"] == 256)
    assert solution.result == RESULTS.successful


def test_the_rates_are_those_of_the_equation(mixture):
    exact, solution = mixture
    rate = functools.partial(jax.jvp, primals=(0.5,), tangents=(1.0,))
    expected = solution.evaluator.grid.sample(lambda x: rate(lambda t: exact(t, x))[1])
    np.testing.assert_allclose(solution.evaluator.rates[2], expected, atol=30 * ERROR)


@pytest.mark.slow
def test_tiles_in_the_log_domain_are_exact():
    # Narrower than the smallest cell that a matrix of float64 or float32 can hold.
    exact = problems.ViscousMixture(4e-3 if DOUBLE else 0.02, dim=1)
    grid = box_of(exact, 512)
    solution = solved(exact.problem, grid, 0.25)
    np.testing.assert_allclose(fields(solution)[1], at_nodes(exact, 0.25, grid), atol=ERROR)
    assert solution.stats["method"] == "tiles in the log domain"


MODES = (np.array([1, 2]), np.array([2, -1]))


def two_waves(A, epsilon, t, x):
    """Two modes of the heat equation behind a logarithm."""
    first, second = (epsilon * k @ A @ k for k in MODES)
    return -epsilon * jnp.log(
        1
        + 0.3 * jnp.exp(-first * t) * jnp.cos(x @ MODES[0])
        + 0.25 * jnp.exp(-second * t) * jnp.sin(x @ MODES[1] + 0.4)
    )


@pytest.mark.slow
@pytest.mark.parametrize("t", [0.3, 40.0])
def test_another_strength_along_every_axis(t):
    # At the last time the kernel is wider than the box, and only its images' sum is right.
    A, epsilon = np.diag([0.7, 0.2]), 0.3
    exact = functools.partial(two_waves, A, epsilon)
    grid = solvers.Grid((0.0, -1.0), (TWO_PI, TWO_PI - 1), (64, 60), periodic=True)
    problem = hjpde.InitialValueProblem(functools.partial(exact, 0.0), hjpde.Quadratic(A), epsilon * A)
    np.testing.assert_allclose(fields(solved(problem, grid, t))[1], at_nodes(exact, t, grid), atol=ERROR)


@pytest.mark.slow
def test_in_three_dimensions():
    exact = problems.ViscousMixture(0.5, dim=3)
    grid = box_of(exact, (24, 26, 22))
    np.testing.assert_allclose(
        fields(solved(exact.problem, grid, 0.5))[1], at_nodes(exact, 0.5, grid), atol=1e3 * ERROR
    )


@pytest.mark.slow
def test_affine_data_are_exact_up_to_the_border():
    slope, A, t = np.array([0.8, -1.3]), np.diag([0.5, 2.0]), 0.05
    problem = hjpde.InitialValueProblem(lambda x: x @ slope + 1, hjpde.Quadratic(A), 0.3 * A)
    grid = solvers.Grid((-3.0, 0.0), (3.0, 6.0), (65, 40))
    solution = solved(problem, grid, t)
    exact = grid.points @ slope + 1 - t * slope @ A @ slope
    np.testing.assert_allclose(fields(solution)[1], exact, atol=ERROR)
    np.testing.assert_allclose(solution.evaluator.rates[1], np.full(grid.shape, -slope @ A @ slope), atol=10 * ERROR)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_data_that_grow_or_fall_linearly_are_exact_up_to_the_border(sign):
    # Bends of width eps / slope well inside the box; the closed form knows the whole space.
    datum = hjpde.SoftMinPlanes([[1.0], [-0.8], [0.1]], [0.0, 0.0, -0.2], 0.05)
    if sign == 1:
        datum = hjpde.LogSumExp([[1.0], [-0.8], [0.1]], [0.0, 0.0, 0.2], 0.05)
    problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), 0.05)
    grid, t = solvers.Grid((-3.0,), (3.0,), (401,)), 0.3
    solution = solved(problem, grid, t)
    exact = hjpde.solve(problem, t, solvers.HopfCole()).batch(t, grid.points[::25])
    # A convex datum's integral is a quadrature of about this accuracy.
    np.testing.assert_allclose(
        fields(solution)[1, ::25], exact, atol=(1e-8 if sign == 1 else ERROR) if DOUBLE else 2e-5
    )
    assert float(solution.stats["cut_off"]) < 1e-15
    assert 0 < float(solution.stats["extrapolated"]) < 0.5


def test_small_temperatures_in_float32_give_the_sum_to_rounding():
    n, t, epsilon, width = 256, 0.25, 1e-4, np.float32(4)
    grid = solvers.Grid(np.full(1, -2, np.float32), np.full(1, 2, np.float32), (n,), periodic=True)
    datum = lambda x: 3 + jnp.cos(jnp.pi * x[0]) + jnp.abs(jnp.sin(1.5 * jnp.pi * x[0]))  # noqa: E731
    problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), np.float32(epsilon))
    solution = quietly(problem, grid, np.float32(t))
    g, u = fields(solution)
    assert u.dtype == np.float32
    assert np.all(solution.stats["tile"] < n)
    places = np.random.default_rng(0).choice(n, 50, replace=False)
    with mpmath.workdps(40):
        eps = mpmath.mpf(float(np.float32(epsilon)))
        kappa = (mpmath.mpf(float(width)) / n) ** 2 / (4 * mpmath.mpf(t))
        values = [mpmath.mpf(float(v)) for v in g]
        norm = mpmath.jtheta(3, 0, mpmath.exp(-kappa / eps))
        for i in places.tolist():
            terms = (mpmath.exp(-(values[(i + k) % n] + kappa * k**2) / eps) for k in range(-n, n + 1))
            exact = float(-eps * mpmath.log(sum(terms, mpmath.mpf(0)) / norm))
            assert abs(float(u[i]) - exact) <= 1e-6 * max(1, abs(exact))


@pytest.mark.slow
@pytest.mark.parametrize("periodic", [True, False])
def test_small_temperatures_in_the_plane(periodic):
    n, t, epsilon = 48, 0.1, 1e-4
    grid = solvers.Grid(np.zeros(2, np.float32), np.ones(2, np.float32), (n, n), periodic)
    datum = lambda x: jnp.abs(x[0] - 0.4) + jnp.abs(x[1] - 0.7) / 2 + jnp.cos(TWO_PI * x[0] * x[1]) / 20  # noqa: E731
    problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), np.float32(epsilon))
    solution = quietly(problem, grid, np.float32(t))
    g, u = fields(solution).astype(float)
    kappa = float(grid.spacing[0]) ** 2 / (4 * float(np.float32(t)))
    eps = float(np.float32(epsilon))
    norm = eps * np.log(np.sum(np.exp(-kappa / eps * np.arange(-50, 51) ** 2)))
    for axis in (0, 1):
        g = np.moveaxis(g, axis, 0)
        if periodic:
            far = np.concatenate([g] * 3)
        else:
            steps = np.arange(1, n + 1)[:, None]
            far = np.concatenate([(g[:1] + steps * (g[:1] - g[1:2]))[::-1], g, g[-1:] + steps * (g[-1:] - g[-2:-1])])
        costs = kappa * (np.arange(n)[:, None] - np.arange(-n, 2 * n)[None]) ** 2
        g = norm - eps * np.asarray(logsumexp(-(far.T[:, None] + costs[None]) / eps, axis=2)).T
        g = np.moveaxis(g, 0, axis)
    assert np.all(np.isfinite(u))
    np.testing.assert_allclose(u, g, atol=1e-6)


@pytest.mark.slow
@needs_digits
def test_the_limit_of_no_temperature_is_the_minimum_over_the_nodes():
    grid, t = circle(64), 0.4
    datum = lambda x: jnp.abs(jnp.sin(x[0])) + jnp.cos(2 * x[0]) / 2  # noqa: E731
    x, g = np.asarray(grid.axes[0]), np.asarray(grid.sample(datum))
    distance = (x[:, None] - x[None] + np.pi) % TWO_PI - np.pi
    hard = (g[None] + distance**2 / (4 * t)).min(axis=1)
    temperatures, gaps = (1e-2, 1e-3, 1e-4, 1e-8), []
    for epsilon in temperatures:
        u = fields(quietly(hjpde.InitialValueProblem(datum, hjpde.Quadratic(), epsilon), grid, t))[1]
        gaps.append(np.abs(u - hard).max())
        # Up to all of the nodes may attain the minimum.
        assert gaps[-1] <= epsilon * np.log(grid.shape[0]) + 1e-14
    assert np.all(np.diff(gaps) < 0)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1e-6, 1e3])
def test_bounds_hold_and_constants_pass_through_at_every_temperature(epsilon):
    grid, problem = circle(32), hjpde.InitialValueProblem(lambda x: jnp.sin(x[0]) ** 3, hjpde.Quadratic(), epsilon)
    raised = hjpde.InitialValueProblem(lambda x: jnp.sin(x[0]) ** 3 + 7, hjpde.Quadratic(), epsilon)
    room = 1e-12 if DOUBLE else 1e-3 if epsilon > 1 else 1e-5
    for t in (1e-5, 1.0, 1e3):
        u, v = (fields(quietly(p, grid, t))[1] for p in (problem, raised))
        assert np.all((u >= -1 - room) & (u <= 1 + room))
        np.testing.assert_allclose(v, u + 7, atol=room)


def test_at_short_times_the_datum_remains():
    exact = problems.ColeHopfCosine(0.1)
    solution = quietly(exact.problem, circle(64), 1e-9)
    np.testing.assert_allclose(fields(solution)[1], fields(solution)[0], atol=1e-7)


@pytest.mark.slow
def test_between_saved_times_the_error_is_of_order_four():
    exact, x = problems.ColeHopfCosine(0.5, 0.5), circle(64).points[20]
    gaps = []
    for count in (2, 4, 8) if DOUBLE else (1, 2):
        ts = jnp.linspace(0, 1, count + 1)[1:]
        solution = solved(exact.problem, circle(64), ts)
        middle = ts[-1] - 0.5 / count
        gaps.append(abs(float(solution(middle, x) - exact(middle, x))))
    slope = np.polyfit(np.log([2, 4, 8] if DOUBLE else [1, 2]), np.log(gaps), 1)[0]
    assert slope == pytest.approx(-4, abs=0.5)


@pytest.mark.slow
def test_the_rate_at_the_start_is_of_order_four():
    exact, errors = problems.ColeHopfCosine(0.5, 0.5), []
    for n in (16, 32):
        solution = solved(exact.problem, circle(n), 1.0)
        rate = solution.evaluator.grid.sample(lambda x: jax.grad(exact)(0.0, x))
        errors.append(np.abs(solution.evaluator.rates[0] - rate).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)


# ---- What is told ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_digits
@pytest.mark.parametrize("epsilon, t", [(0.05, 0.1), (2e-3, 0.5)])
def test_the_estimate_of_the_error_is_honest(epsilon, t):
    exact, ratios = problems.ViscousMixture(epsilon, dim=1), []
    for n in (16, 32, 64, 128):
        grid = box_of(exact, n)
        solution = quietly(exact.problem, grid, t)
        error = np.abs(fields(solution)[1] - at_nodes(exact, t, grid)).max()
        if error > 1e-12:
            ratios.append(float(solution.stats["quadrature_error"]) / error)
    assert len(ratios) >= 2
    assert 0.5 <= min(ratios) <= max(ratios) <= 10


def test_a_grid_too_coarse_gives_a_warning_with_the_error():
    problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), hjpde.Quadratic(), 1e-3)
    with pytest.warns(UserWarning, match=r"too coarse for the temperature eps = 0\.001: .* by about .*e-0") as told:
        solution = solved(problem, circle(24), 0.5)
    told = float(str(told[0].message).split("about ")[1].split(". Refine")[0])
    assert told == pytest.approx(float(solution.stats["quadrature_error"]), rel=0.1)
    fine = fields(solved(problem, circle(480), 0.5))[1][::20]
    assert np.abs(fields(solution)[1] - fine).max() <= 2 * told


def test_a_box_too_small_gives_a_warning_or_fails():
    problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]) / 4, hjpde.Quadratic(), 0.05)
    grid = solvers.Grid((-1.0,), (1.0,), (65,))
    with pytest.warns(UserWarning, match="the box is small for the kernel: at .* % of the nodes"):
        assert solved(problem, grid, 0.5).result == RESULTS.successful
    with (
        pytest.warns(UserWarning, match="the box is small"),
        pytest.raises(hjpde.SolveError, match="Enlarge") as failure,
    ):
        solved(problem, grid, 30.0)
    assert failure.value.solution.result == RESULTS.box_too_small
    assert float(failure.value.solution.stats["cut_off"]) > 1e-6


def test_a_datum_that_is_not_finite_is_reported_with_its_place():
    grid = circle(32)
    place = float(grid.axes[0][5])
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        datum = lambda x, bad=bad: jnp.where(jnp.abs(x[0] - place) < 0.01, bad, 0.0)  # noqa: E731
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), 0.3)
        with pytest.raises(hjpde.SolveError, match=rf"t = 0, x = \({place:.6g}\).*NaN") as failure:
            quietly(problem, grid, 0.5)
        assert failure.value.solution.result == RESULTS.not_finite
        assert np.all(np.isnan(fields(failure.value.solution)[1]))


def test_why_not():
    grid = solvers.Grid((-1.0,) * 2, (1.0,) * 2, (8, 8), (True, False))

    def reason(hamiltonian: Any = hjpde.Quadratic(), viscosity: Any = 0.1, **options):
        problem = hjpde.InitialValueProblem(lambda x: x @ x, hamiltonian, viscosity, **options)
        return solvers.GridHopfCole(grid).why_not(problem) or "none"

    A, full = np.diag([1.0, 2.0]), np.array([[1.0, 0.2], [0.2, 1.0]])
    assert reason() == reason(hjpde.Quadratic(A), 0.1 * A) == "none"
    assert "no viscosity" in reason(viscosity=0.0)
    assert "eps * A" in reason(hjpde.Quadratic(A), 0.1)
    assert "depends on time and place" in reason(viscosity=lambda t, x: jnp.eye(2))
    assert "not `Quadratic`" in reason(hjpde.Eikonal())
    assert "use `HopfCole`" in reason(hjpde.LinearQuadratic(A), 0.1 * A)
    assert "not diagonal" in reason(hjpde.Quadratic(full), 0.1 * full)
    assert "problem d = 3" in reason(viscosity=0.1 * np.eye(3))
    assert "constraint" in reason(constraint=hjpde.Constraint(monotone="decreasing"))
    box = functools.partial(hjpde.Domain, (-1.0,) * 2, (1.0,) * 2, (True, False))
    assert reason(domain=box()) == reason(domain=box(boundary=[None, hjpde.ExtrapolationAwayFromZero()])) == "none"
    assert "Neumann" in reason(domain=box(boundary=[None, hjpde.Neumann()]))
    assert "periodic along" in reason(domain=hjpde.Domain((-1.0,) * 2, (1.0,) * 2))
    with pytest.raises(ValueError, match="GridHopfCole does not apply: there is no viscosity"):
        solved(hjpde.InitialValueProblem(lambda x: x @ x, hjpde.Quadratic()), grid, 1.0)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least 3 nodes"):
        solvers.GridHopfCole(circle(2))
    with pytest.raises(ValueError, match="`initial_data` must return a scalar"):
        solved(hjpde.InitialValueProblem(jnp.cos, hjpde.Quadratic(), 0.1), circle(8), 1.0)


# ---- Transformations ------------------------------------------------------------------------------------------------

PLANE = solvers.Grid(np.zeros(2), np.ones(2), (16, 18), (True, False))


@functools.cache
def loss():
    """Of the values and, through their rates, of the solution between the saved times."""

    @jax.jit
    def loss(amplitude, A, epsilon, t):
        datum = lambda x: amplitude * jnp.cos(TWO_PI * x[0]) / 9  # noqa: E731
        A = A * jnp.eye(1)
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(A), epsilon * A)
        grid = solvers.Grid((0.0,), (1.0,), (16,), periodic=True)
        solution = solved(problem, grid, jnp.stack([t, 2 * t]), throw=False)
        return jnp.sum(solution.evaluator.us[1:] ** 3) + solution(1.4 * t, jnp.array([0.3]))

    return loss


@pytest.mark.slow
@needs_digits
def test_both_modes_of_differentiation_to_everything():
    # With everything traced all tiles are compiled; the first setting takes the matrix, the second one a tile.
    jvp, grad = jax.jit(lambda p, a: jax.jvp(loss(), p, a)[1]), jax.jit(jax.grad(loss(), (0, 1, 2, 3)))
    for epsilon, t in ((0.1, 0.05), (1e-3, 0.1)):
        point = tuple(map(jnp.asarray, (0.8, 0.7, epsilon, t)))
        along = tuple(map(jnp.asarray, (0.3, 0.2, epsilon / 5, t / 7)))
        forward, gradient = jvp(point, along), grad(*point)
        np.testing.assert_allclose(forward, sum(g * a for g, a in zip(gradient, along, strict=True)), rtol=1e-11)
        h = 1e-4
        ends = [loss()(*(p + e * a for p, a in zip(point, along, strict=True))) for e in (-h, h)]
        np.testing.assert_allclose(forward, (ends[1] - ends[0]) / (2 * h), rtol=1e-6)


def waves_problem(epsilon):
    return hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]) / 5, hjpde.Quadratic(), epsilon)


@pytest.mark.slow
def test_compiled_and_in_a_batch_the_same():
    epsilons, ts = jnp.array([0.02, 0.3]), jnp.array([0.1, 0.5])

    @eqx.filter_jit
    def end(epsilon, ts):
        return solved(waves_problem(epsilon), circle(64), ts, throw=False)

    together = eqx.filter_jit(eqx.filter_vmap(end, in_axes=(0, None)))(epsilons, ts)
    for k, epsilon in enumerate(epsilons):
        alone, eager = end(epsilon, ts), solved(waves_problem(epsilon), circle(64), ts)
        np.testing.assert_allclose(fields(alone), fields(eager), atol=1e-3 * ERROR if DOUBLE else ERROR)
        np.testing.assert_allclose(fields(together)[k], fields(eager), atol=1e-3 * ERROR if DOUBLE else ERROR)
        np.testing.assert_array_equal(alone.stats["tile"], eager.stats["tile"])
        assert alone.result == RESULTS.successful


@pytest.mark.slow
def test_each_time_takes_the_tile_that_it_needs():
    solution = quietly(waves_problem(0.01), circle(64), jnp.array([1e-3, 0.5, 30.0]))
    tiles = np.asarray(solution.stats["tile"])[:, 0]
    assert tiles[0] < tiles[-1] == 64
    assert solution.stats["method"].startswith("matrix products or tiles")


@pytest.mark.slow
def test_a_traced_matrix_that_is_not_diagonal_is_reported():
    A = jnp.array([[1.0, 0.2], [0.2, 1.0]])

    @eqx.filter_jit
    def end(A):
        problem = hjpde.InitialValueProblem(lambda x: x @ x, hjpde.Quadratic(A), 0.1 * A)
        return solved(problem, PLANE, 0.1, throw=False).evaluator.us

    with pytest.raises(RuntimeError, match="must be diagonal"):
        jax.block_until_ready(end(A))


def test_values_at_the_nodes_are_a_datum():
    exact, grid = problems.ColeHopfCosine(0.3), circle(64)
    g = grid.sample(exact.problem.initial_data)
    problem = hjpde.InitialValueProblem(solvers.GridValues(grid, g), hjpde.Quadratic(), 0.3)
    solution = solved(problem, grid, 0.5)
    np.testing.assert_array_equal(fields(solution)[0], g)
    np.testing.assert_allclose(fields(solution)[1], at_nodes(exact, 0.5, grid), atol=ERROR)
