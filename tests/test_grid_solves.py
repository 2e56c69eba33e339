"""Finite differences as a whole: orders, failures, continuing, derivatives, laws."""

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import RESULTS, problems, solvers
from hjpde.solvers import _grid_run

needs_digits = pytest.mark.skipif(not jax.config.jax_enable_x64, reason="the errors are below float32's rounding")  # pyright: ignore


def circle(n, lower=0.0, upper=2 * np.pi):
    return solvers.Grid((lower,), (upper,), (n,), True)


HALF = hjpde.Quadratic(jnp.eye(1) / 2)


def wave(x):
    return jnp.cos(x[0])


def before_the_kink(t, n):
    """u of u_t + u_x^2/2 = 0, g = cos: along x = y - t sin y it is cos y + t sin(y)^2/2; Newton's method for y."""
    x = 2 * np.pi * np.arange(n) / n
    y = x.copy()
    for _ in range(60):
        y -= (y - t * np.sin(y) - x) / (1 - t * np.cos(y))
    return np.cos(y) + t * np.sin(y) ** 2 / 2


@needs_digits
@pytest.mark.parametrize("order, least_l1, least_linf", [(5, 4.4, 4.0), (3, 2.4, 1.5), (1, 0.9, 0.8)])
def test_order_on_smooth_data_with_critical_points(order, least_l1, least_linf):
    errors = []
    for n in (64, 128, 256):
        solver = solvers.FiniteDifference(circle(n), order, time_order=3, cfl=0.1)
        u = hjpde.solve(hjpde.InitialValueProblem(wave, HALF), 0.3, solver).evaluator.us[-1]
        error = np.abs(np.asarray(u) - before_the_kink(0.3, n))
        errors.append((error.mean(), error.max()))
    l1, linf = -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0]
    assert l1 >= least_l1
    assert linf >= least_linf
    if order == 1:
        assert l1 <= 1.1


def hopf_lax(g, x, t):
    y = np.linspace(x.min() - 3, x.max() + 3, 40_001)
    return np.array([(g(y) + (y - z) ** 2 / (2 * t)).min() for z in x])


@needs_digits
def test_order_with_a_rarefaction_from_a_convex_kink():
    """g = |x| on [-1, 1], periodic: a convex kink opens at 0, a concave one stays at the border."""
    g, t, errors = (lambda y: np.abs((y + 1) % 2 - 1)), 0.3, []
    for n in (64, 128, 256):
        grid = circle(n, -1.0, 1.0)
        problem = hjpde.InitialValueProblem(lambda x: jnp.abs(x[0]), HALF)
        u = hjpde.solve(problem, t, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
        errors.append(np.abs(np.asarray(u) - hopf_lax(g, np.asarray(grid.points[:, 0]), t)).mean())
    assert -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0] >= 0.95


@needs_digits
@pytest.mark.parametrize("viscosity", [0.05, 3.0])
def test_constant_viscosity_is_followed_exactly_whatever_its_size(viscosity):
    exact = problems.ColeHopfCosine(viscosity, 0.5)
    grid = circle(64)
    solution = hjpde.solve(exact.problem, 1.0, solvers.FiniteDifference(grid, 5))
    error = jnp.abs(solution.evaluator.us[-1] - jax.vmap(lambda x: exact(1.0, x))(grid.points))
    assert jnp.max(error) <= 1e-4 * viscosity
    assert solution.stats["steps"] <= 40


@needs_digits
@pytest.mark.parametrize("side, mode, part", [(hjpde.Dirichlet(0.0), jnp.sin, 2e-3), (hjpde.Neumann(), jnp.cos, 1e-5)])
@pytest.mark.parametrize("constant", [True, False])
def test_sides_with_viscosity(side, mode, part, constant):
    """phi = 1 + a e^{-eps t} mode(x) on [0, pi], u = -eps log phi: 0 at the sides, or even about them. Followed
    exactly, and by super-time-stepping where the viscosity is given as a function. A Dirichlet side, about which u is
    not odd, costs accuracy beside it."""
    eps, a, t = 0.3, 0.4, 0.7
    exact = lambda t, x: -eps * jnp.log1p(a * jnp.exp(-eps * t) * mode(x[0]))  # noqa: E731
    domain = hjpde.Domain((0.0,), (np.pi,), boundary=side)
    viscosity = eps if constant else (lambda t, x: eps * jnp.eye(1, dtype=x.dtype))
    grid = solvers.Grid.over(domain, (65,))
    problem = hjpde.InitialValueProblem(lambda x: exact(0.0, x), hjpde.Quadratic(), viscosity, domain=domain)
    u = hjpde.solve(problem, t, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
    reference = jax.vmap(lambda x: exact(t, x))(grid.points)
    assert jnp.abs(u - reference).max() <= part * (reference.max() - reference.min())


@needs_digits
def test_viscosity_that_depends_on_time():
    """N(t) = eps (1 + t): the linear equation sees only the integral of N."""
    grid, t, eps = circle(64), 0.5, 0.4
    problem = hjpde.InitialValueProblem(
        lambda x: jnp.cos(x[0]), hjpde.Transport((0.5,)), lambda t, x: eps * (1 + t) * jnp.eye(1, dtype=x.dtype)
    )
    u = hjpde.solve(problem, t, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
    exact = np.exp(-eps * (t + t**2 / 2)) * np.cos(np.asarray(grid.points[:, 0]) - 0.5 * t)
    np.testing.assert_allclose(u, exact, atol=2e-4)


def test_a_plane_stays_exact_beyond_extrapolating_sides():
    grid = solvers.Grid((-1.0, -2.0), (1.0, 1.0), (9, 8))
    problem = hjpde.InitialValueProblem(lambda x: 0.5 * x[0] - x[1], hjpde.Eikonal(2.0))
    u = hjpde.solve(problem, 0.4, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
    plane = grid.points[..., 0] / 2 - grid.points[..., 1] - 0.4 * 2 * np.sqrt(1.25)
    np.testing.assert_allclose(u, plane, atol=1e2 * float(jnp.finfo(u.dtype).eps))


@needs_digits
def test_inflow_through_a_side_with_a_value_in_time():
    domain = hjpde.Domain((0.0,), (1.0,), boundary=[(hjpde.Dirichlet(lambda t, x: jnp.sin(-t)), hjpde.Extrapolation())])
    grid = solvers.Grid.over(domain, (65,))
    problem = hjpde.InitialValueProblem(lambda x: jnp.sin(x[0]), hjpde.Transport((1.0,)), domain=domain)
    u = hjpde.solve(problem, 0.8, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
    np.testing.assert_allclose(u, np.sin(np.asarray(grid.points[:, 0]) - 0.8), atol=1e-4)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_one_to_four_dimensions(d):
    """H = |p|^2 with g = |x|^2/2 stays a paraboloid; the kinkless case is exact for every dimension."""
    grid = solvers.Grid((-1.0,) * d, (1.0,) * d, tuple(range(7, 7 + d)))
    problem = hjpde.InitialValueProblem(lambda x: jnp.sum(x**2) / 2, hjpde.Quadratic())
    u = hjpde.solve(problem, 0.05, solvers.FiniteDifference(grid, 3)).evaluator.us[-1]
    inner = (slice(2, -2),) * d
    exact = jnp.sum(grid.points**2, axis=-1) / 2 / (1 + 2 * 0.05)
    assert u.dtype == grid.lower.dtype
    np.testing.assert_allclose(u[inner], exact[inner], atol=0.02)


# ---- Continuing and failing -----------------------------------------------------------------------------------------

TIMES = jnp.array([0.2, 0.5])


def game(order=3, **options):
    return hjpde.InitialValueProblem(wave, HALF), solvers.FiniteDifference(circle(24), order, **options)


def test_continuing_is_bit_identical(tmp_path):
    problem, solver = game()
    whole = hjpde.solve(problem, TIMES, solver)
    first = hjpde.solve(problem, TIMES[0], solver)
    hjpde.save(tmp_path / "first.hjpde", first)
    for start in (first, hjpde.load(tmp_path / "first.hjpde"), hjpde.solve(problem, TIMES[0], solver, progress=True)):
        both = hjpde.solve(problem, TIMES[1], solver, start=start)
        np.testing.assert_array_equal(both.evaluator.us, whole.evaluator.us)
        np.testing.assert_array_equal(both.ts, whole.ts)
        assert both.stats["steps"] == whole.stats["steps"]


def test_an_interrupted_solve_keeps_what_it_has_and_goes_on(monkeypatch):
    problem, solver = game()
    whole = hjpde.solve(problem, TIMES, solver)
    monkeypatch.setattr(_grid_run, "_CHUNK", 3)
    calls, advance = [], _grid_run._advance

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return advance(*arguments)

    monkeypatch.setattr(_grid_run, "_advance", interrupted)
    part = hjpde.solve(problem, TIMES, solver, progress=True, throw=False)
    assert part.result == RESULTS.interrupted
    assert 0.2 < float(part.ts[-1]) < 0.5
    both = hjpde.solve(problem, TIMES[1], solver, start=part)
    np.testing.assert_array_equal(both.evaluator.us, whole.evaluator.us)
    np.testing.assert_array_equal(both.ts, whole.ts)


Times = float | jax.Array


def failing(match, problem, solver, t: Times = 0.5, **options):
    with pytest.raises(hjpde.SolveError, match=match) as failure:
        hjpde.solve(problem, t, solver, **options)
    solution = hjpde.solve(problem, t, solver, throw=False, **options)
    assert solution.result != RESULTS.successful
    assert np.all(np.isnan(solution.evaluator.us[-1]))
    return failure.value.solution


@pytest.mark.parametrize("progress", [False, True])
def test_nan_is_reported_with_its_place(progress):
    problem = hjpde.InitialValueProblem(lambda x: jnp.where(jnp.abs(x[0] - np.pi) < 0.1, jnp.nan, 0.0), HALF)
    failing(
        r"t = 0, x = \(3\.14159\): a value is NaN", problem, solvers.FiniteDifference(circle(24)), progress=progress
    )


def test_nan_from_the_hamiltonian_is_reported_with_its_time():
    class Broken(hjpde.hamiltonians.AbstractHamiltonian):
        @property
        def dim(self):
            return 1

        def __call__(self, t, x, p):
            return p[0] + jnp.where(jnp.asarray(t) > 0.3, jnp.nan, 0.0)

    problem = hjpde.InitialValueProblem(wave, Broken())
    solution = failing(r"step \d+, t = 0\.3", problem, solvers.FiniteDifference(circle(24)), jnp.array([0.2, 0.6]))
    assert np.all(np.isfinite(solution.evaluator.us[1]))


def test_too_small_a_bound_is_reported():
    problem = hjpde.InitialValueProblem(wave, hjpde.MomentumFunction(lambda p: p[0] ** 2))
    solver = solvers.FiniteDifference(circle(24), speed_bound=lambda t, x, box: 0.1 + 0 * x)
    failing(r"step \d+, t = .*, x = .*speed_bound", problem, solver)


def test_too_few_steps_are_reported():
    problem, _ = game()
    failing(r"step 5, t = .*max_steps", problem, solvers.FiniteDifference(circle(24), max_steps=5))


def test_a_front_that_leaves_is_reported():
    grid = solvers.Grid((-1.0,), (1.0,), (41,))
    problem = hjpde.InitialValueProblem(lambda x: jnp.abs(x[0]) - 0.5, hjpde.Eikonal())
    solution = failing(r"t = 0\.[45].*x = \(-?1\).*front", problem, solvers.FiniteDifference(grid, front=0.0), 0.9)
    assert float(solution.stats["failure_time"]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    "options, name",
    [
        ({"order": 2}, "order"),
        ({"flux": "upwind"}, "flux"),
        ({"time_order": 4}, "time_order"),
        ({"cfl": 0.0}, "cfl"),
        ({"cfl": 1.5}, "cfl"),
        ({"max_steps": 0}, "max_steps"),
        ({"speed_bound": (-1.0,)}, "speed_bound"),
        ({"front": np.inf}, "front"),
        ({"interpolation": "quintic"}, "interpolation"),
    ],
)
def test_options_out_of_range_are_refused(options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        solvers.FiniteDifference(circle(8), **options)


def test_what_does_not_fit_is_refused():
    problem, solver = game()
    with pytest.raises(ValueError, match="nodes"):
        solvers.FiniteDifference(circle(3), 5)
    other = hjpde.InitialValueProblem(wave, hjpde.MomentumFunction(lambda p: p[0] ** 4))
    with pytest.raises(ValueError, match="godunov"):
        hjpde.solve(other, 0.1, solvers.FiniteDifference(circle(8), flux="godunov"))
    with pytest.raises(ValueError, match="d = 2"):
        hjpde.solve(hjpde.InitialValueProblem(wave, hjpde.Quadratic(jnp.eye(2))), 0.1, solver)
    first = hjpde.solve(problem, 0.2, solver)
    with pytest.raises(ValueError, match="beyond"):
        hjpde.solve(problem, 0.1, solver, start=first)
    with pytest.raises(ValueError, match="start"):
        hjpde.solve(hjpde.InitialValueProblem(hjpde.Norm(2), hjpde.Quadratic()), 0.3, start=first)
    with pytest.raises(ValueError, match="saved"):
        first(0.3, jnp.array([1.0]))


# ---- Derivatives ----------------------------------------------------------------------------------------------------


@needs_digits
def test_both_modes_agree_with_differences_and_with_plain_differentiation():
    grid, weights = circle(16), np.cos(np.arange(16.0))

    def loss(a, c, eps):
        problem = hjpde.InitialValueProblem(lambda x: a * jnp.cos(x[0]), hjpde.Quadratic(c * jnp.eye(1)), eps)
        return jnp.sum(
            weights * hjpde.solve(problem, 0.3, solvers.FiniteDifference(grid, 5, max_steps=25)).evaluator.us[-1]
        )

    point, along = (0.7, 0.5, 0.05), (0.3, -0.4, 0.02)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(*point)
    _, forward = jax.jit(lambda *p: jax.jvp(loss, p, along))(*map(jnp.asarray, point))
    reverse = sum(g * a for g, a in zip(gradient, along, strict=True))
    np.testing.assert_allclose(reverse, forward, rtol=1e-12)
    f = jax.jit(lambda h: loss(*(p + h * a for p, a in zip(point, along, strict=True))))
    best = min(abs((f(h) - f(-h)) / (2 * h) / forward - 1) for h in (1e-3, 1e-4, 1e-5, 1e-6))
    assert best <= 1e-6


def test_a_batch_of_problems_is_the_loop():
    def end(a):
        problem = hjpde.InitialValueProblem(lambda x: a * jnp.cos(x[0]), HALF)
        return hjpde.solve(problem, 0.3, solvers.FiniteDifference(circle(16), 3)).evaluator.us[-1]

    together = jax.vmap(end)(jnp.array([0.2, 1.5]))
    np.testing.assert_allclose(together, jnp.stack([end(0.2), end(1.5)]), rtol=1e-5, atol=1e-6)


# ---- Laws of the first-order scheme ---------------------------------------------------------------------------------


@eqx.filter_jit
def evolved(values, flux):
    grid = circle(16)
    datum = lambda x: values[jnp.round(x[0] / (2 * np.pi) * 16).astype(int) % 16]  # noqa: E731
    problem = hjpde.InitialValueProblem(datum, HALF)
    return hjpde.solve(problem, 0.2, solvers.FiniteDifference(grid, 1, flux=flux)).evaluator.us[-1]


fields = st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16).map(lambda v: jnp.asarray(v, float))


@pytest.mark.parametrize("flux", ["godunov", "global"])
@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(values=fields, shift=st.integers(1, 15), constant=st.floats(-2, 2, width=32))
def test_constants_and_translations_pass_through(flux, values, shift, constant):
    u, room = evolved(values, flux), 1e3 * float(jnp.finfo(values.dtype).eps)
    np.testing.assert_allclose(evolved(values + constant, flux), u + constant, atol=room)
    np.testing.assert_allclose(evolved(jnp.roll(values, shift), flux), jnp.roll(u, shift), atol=room)


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(values=fields, bumps=fields)
def test_comparison_and_contraction(values, bumps):
    """A monotone scheme keeps order; with steps that depend on the data the two solves differ by the time error, so
    the same steps are taken: both fields are one datum on two halves of a torus that do not meet."""
    other = values + jnp.abs(bumps)
    grid = solvers.Grid((0.0, 0.0), (2 * np.pi, 1.0), (16, 2), True)

    def datum(x):
        column = jnp.round(x[0] / (2 * np.pi) * 16).astype(int) % 16
        return jnp.where(x[1] < 0.25, values[column], other[column])

    along_first = hjpde.Quadratic(jnp.array([[0.5, 0.0], [0.0, 1e-30]]))
    problem = hjpde.InitialValueProblem(datum, along_first)
    u = hjpde.solve(problem, 0.2, solvers.FiniteDifference(grid, 1, flux="godunov")).evaluator.us[-1]
    room = 1e3 * float(jnp.finfo(values.dtype).eps)
    assert np.all(np.asarray(u[:, 0]) <= np.asarray(u[:, 1]) + room)
    assert float(jnp.abs(u[:, 1] - u[:, 0]).max()) <= float(jnp.abs(bumps).max()) + room


@needs_digits
def test_the_viscosity_solution_is_the_limit():
    distances = []
    limit = hjpde.solve(*_limit(0.0)).evaluator.us[-1]
    for eps in (0.1, 0.05, 0.025):
        distances.append(float(jnp.abs(hjpde.solve(*_limit(eps)).evaluator.us[-1] - limit).max()))
    rate = np.polyfit(np.log([0.1, 0.05, 0.025]), np.log(distances), 1)[0]
    assert rate >= 0.5


def _limit(eps):
    return hjpde.InitialValueProblem(wave, HALF, eps), 2.0, solvers.FiniteDifference(circle(128), 5)


# ---- Reachability ---------------------------------------------------------------------------------------------------


def air3d(shape, order):
    away = hjpde.ExtrapolationAwayFromZero()
    domain = hjpde.Domain((-6.0, -10.0, 0.0), (20.0, 10.0, 2 * np.pi), (False, False, True), [away, away, None])
    dynamics = hjpde.ControlAffine(
        lambda t, x: jnp.stack([-5 + 5 * jnp.cos(x[2]), 5 * jnp.sin(x[2]), jnp.zeros_like(x[0])]),
        lambda t, x: jnp.stack([x[1], -x[0], -jnp.ones_like(x[0])])[:, None],
        jnp.array([[0.0], [0.0], [1.0]]),
        controls=hjpde.Box([-1.0], [1.0]),
        disturbances=hjpde.Box([-1.0], [1.0]),
        control="max",
        dim=3,
    )
    problem = hjpde.InitialValueProblem(
        lambda x: jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 5,
        dynamics,
        domain=domain,
        constraint=hjpde.Constraint(monotone="decreasing"),
    )
    return problem, solvers.FiniteDifference(solvers.Grid.over(domain, shape), order, flux="global")


@needs_digits
@pytest.mark.parametrize("order, accuracy, room", [(1, "low", 1e-12), (5, "very_high", 1e-9)])
@pytest.mark.parametrize("shape, t", [((15, 12, 14), 0.5), pytest.param((51, 40, 50), 2.8, marks=pytest.mark.slow)])
def test_the_tube_of_a_game_is_the_peers(order, accuracy, room, shape, t):
    hj = pytest.importorskip("hj_reachability")
    problem, solver = air3d(shape, order)
    u = hjpde.solve(problem, t, solver).evaluator.us[-1]
    box = hj.sets.Box(np.array([-6.0, -10.0, 0.0]), np.array([20.0, 10.0, 2 * np.pi]))
    grid = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, shape, periodic_dims=2)
    target = jnp.linalg.norm(grid.states[..., :2], axis=-1) - 5
    settings = hj.SolverSettings.with_accuracy(accuracy, hamiltonian_postprocessor=hj.solver.backwards_reachable_tube)
    with jax.numpy_rank_promotion("allow"):
        theirs = hj.step(settings, hj.systems.Air3d(), grid, 0.0, target, -t, progress_bar=False)
    np.testing.assert_allclose(u, theirs, rtol=0, atol=room)


def test_the_tube_lies_below_its_target_and_is_symmetric():
    problem, solver = air3d((15, 13, 14), 1)
    solution = hjpde.solve(problem, 0.5, solver)
    target, tube = solution.evaluator.us
    assert np.all(np.asarray(tube) <= np.asarray(target))
    # Mirrored in y, with the relative heading reversed, the game is the same.
    mirrored = jnp.roll(jnp.flip(tube, (1, 2)), 1, axis=2)
    np.testing.assert_allclose(tube, mirrored, atol=1e3 * float(jnp.finfo(tube.dtype).eps))


def test_obstacles_are_kept():
    grid = circle(32)
    constraint = hjpde.Constraint(lower=lambda t, x: -0.5 + 0 * x[0], upper=0.6)
    problem = hjpde.InitialValueProblem(wave, HALF, constraint=constraint)
    u = hjpde.solve(problem, 1.0, solvers.FiniteDifference(grid, 3)).evaluator.us[-1]
    assert -0.5 <= float(u.min()) <= float(u.max()) <= float(jnp.float32(0.6)) + 1e-6


@pytest.mark.parametrize(
    "options, name", [({}, "Constraint"), ({"monotone": "falling"}, "monotone"), ({"lower": np.nan}, "lower")]
)
def test_constraints_out_of_range_are_refused(options, name):
    with pytest.raises(ValueError, match=name):
        hjpde.Constraint(**options)
