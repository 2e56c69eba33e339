"""Hopf-Lax on a grid: against closed forms, brute force, and the laws of the minimum."""

import functools

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
from hjpde.solvers.convolutions import _infimal_convolution, _subcell
from hjpde.solvers.convolutions._monotone_minimisers import ShiftCosts, minimising_shifts

DOUBLE = jnp.result_type(float) == jnp.float64
EPS = float(jnp.finfo(jnp.result_type(float)).eps)
needs_digits = pytest.mark.skipif(not DOUBLE, reason="measures errors below the roundoff of float32")


def circle(n):
    return solvers.Grid((-2.0,), (2.0,), (n,), periodic=True)


def square(n):
    return solvers.Grid((-2.0, -2.0), (2.0, 2.0), (n, n), periodic=True)


def segment(n):
    return solvers.Grid((-2.0,), (2.0,), (n,))


def solve(datum, H, grid, t, **options):
    return hjpde.solve(hjpde.InitialValueProblem(datum, H), t, solvers.GridHopfLax(grid), **options)


def last(solution):
    return np.asarray(solution.evaluator.us[-1])


def sampled(exact, grid, t):
    return np.asarray(grid.sample(lambda x: exact(t, x)))


def distance(exact, grid, t):
    return np.abs(last(hjpde.solve(exact.problem, t, solvers.GridHopfLax(grid))) - sampled(exact, grid, t))


# ---- The minimisers ------------------------------------------------------------------------------------------------


def brute_force(g, costs, periodic):
    """The least cost over all shifts of the window, for every target."""
    n, least = g.shape[1], np.full(g.shape, np.inf)
    targets = np.arange(n)
    for k in range(int(costs.lowest), int(costs.highest) + 1):
        sources = targets - k
        inside = periodic | ((sources >= 0) & (sources < n))
        least = np.minimum(least, np.where(inside, g[:, sources % n] + float(costs.at(jnp.asarray(k))), np.inf))
    return least


@pytest.mark.parametrize("n, periodic", [(9, True), (50, True), (50, False)])
def test_the_minimisers_are_those_of_brute_force(n, periodic):
    rng = np.random.default_rng(n)
    walks = np.cumsum(rng.normal(size=(6, n)), axis=1)
    walks = np.concatenate([walks, rng.integers(0, 3, size=(6, n)), np.zeros((1, n))])
    g = walks - walks[:, -1:] * np.linspace(0, 1, n)
    k = np.arange(-3 * n, 3 * n + 1)
    search = jax.jit(minimising_shifts, static_argnums=2)
    # Symmetric, from one side only, and finite nowhere but in a short window.
    for cost in (k**2 / 40, (k - 3.3) ** 2 / 9, np.where(np.abs(k - 1) <= 4, 0, np.inf)):
        low, high = (-n, n) if periodic else (1 - n, n - 1)
        costs = ShiftCosts(jnp.asarray(cost), *(jnp.asarray(end, jnp.int32) for end in (k[0], low, high)))
        shifts = np.asarray(search(jnp.asarray(g), costs, periodic))
        sources = np.arange(n) - shifts
        assert periodic or (sources.min() >= 0 and sources.max() < n)
        found = np.take_along_axis(g, sources % n, axis=1) + cost[shifts - k[0]]
        np.testing.assert_allclose(found, brute_force(g, costs, periodic), atol=100 * EPS)


@pytest.mark.slow
def test_the_minimisers_of_a_large_grid():
    n, rows = 4096, 100
    lines = np.random.default_rng(0).normal(size=(rows, 9)) @ np.cos(
        np.arange(9)[:, None] * np.linspace(0, 2 * np.pi, n, endpoint=False) + np.arange(9)[:, None]
    )
    k = np.arange(-2 * n, 2 * n + 1)
    cost = 3e-5 * k**2
    costs = ShiftCosts(jnp.asarray(cost), *(jnp.asarray(end, jnp.int32) for end in (k[0], -n // 2, n // 2)))
    shifts = np.asarray(jax.jit(minimising_shifts, static_argnums=2)(jnp.asarray(lines), costs, True))
    found = np.take_along_axis(lines, (np.arange(n) - shifts) % n, axis=1) + cost[shifts - k[0]]
    np.testing.assert_allclose(found, brute_force(lines, costs, True), atol=1e3 * EPS)


# ---- Accuracy ------------------------------------------------------------------------------------------------------


def order(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


@pytest.mark.slow
@needs_digits
def test_values_of_third_and_rates_of_second_order_before_and_after_kinks():
    exact, sizes = problems.SmoothKinks(1), (32, 96)
    H, rate = exact.problem.hamiltonian, []
    for part in (0.6, 3.0):
        t, errors = part * float(exact.kink_time), []
        for n in sizes:
            grid = circle(n)
            solution = hjpde.solve(exact.problem, t, solvers.GridHopfLax(grid))
            errors.append(np.abs(last(solution) - sampled(exact, grid, t)).max())
            if part < 1:
                energies = grid.sample(lambda x, t=t: H(t, x, jax.grad(exact, 1)(t, x)))
                rate.append(np.abs(np.asarray(solution.evaluator.rates[-1] + energies)).max())
        assert order(sizes, errors) > 2.8
    assert order(sizes, rate) > 1.8


@pytest.mark.slow
@needs_digits
def test_third_order_on_oblique_waves_in_the_plane():
    exact, errors = problems.SmoothKinks(2), []
    for n in (32, 64):
        grid = square(n)
        errors.append(distance(exact, grid, 1.5 * float(exact.kink_time)).mean())
    assert order((32, 64), errors) > 2.7


@pytest.mark.slow
def test_minima_of_paraboloids_are_exact_off_the_kinks_of_the_datum():
    exact = problems.QuadraticMinima(dim=2)
    errors = distance(exact, square(64), 0.25)
    # A kink of the datum lies within a spacing of what some few nodes look at.
    assert np.median(errors) < 50 * EPS
    assert errors.mean() < 1e-5


HUBER = {
    "eikonal": (hjpde.Eikonal(0.7), lambda p: 0.7 * np.abs(p), lambda v: 0 * v, lambda p: 0.7 * np.sign(p)),
    "power-1.5": (
        hjpde.Power(1.5),
        lambda p: np.abs(p) ** 1.5 / 1.5,
        lambda v: np.abs(v) ** 3 / 3,
        lambda p: np.sign(p) * np.abs(p) ** 0.5,
    ),
    "relativistic": (
        hjpde.Separable(lambda p: jnp.sqrt(1 + p**2), velocities=(-1, 1)),
        lambda p: np.sqrt(1 + p**2),
        lambda v: -np.sqrt(np.maximum(1 - v**2, 0)),
        lambda p: p / np.sqrt(1 + p**2),
    ),
}
TIP = 0.0113


def tent(x):
    return jnp.abs(x[0] - TIP)


def huber(name, x, t):
    """The tip opens into a rarefaction, the value of a point mass, between its two straight sides."""
    _, h, L, velocity = HUBER[name]
    v = (x - TIP) / t
    sides = np.where(v > 0, x - TIP - t * h(1.0), TIP - x - t * h(-1.0))
    return np.where(
        (v >= velocity(-1.0)) & (v <= velocity(1.0)), t * L(np.clip(v, velocity(-1.0), velocity(1.0))), sides
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", HUBER)
def test_a_tip_between_the_nodes_opens_exactly(name):
    grid, t = segment(41), 0.4
    solution = solve(tent, HUBER[name][0], grid, t)
    np.testing.assert_allclose(last(solution), huber(name, np.asarray(grid.axes[0]), t), atol=100 * EPS)
    assert solution.stats["border_minimisers"] == 0


@needs_digits
def test_what_the_rule_for_kinks_is_worth(monkeypatch):
    grid, t = segment(41), jnp.asarray(0.4)
    along = _infimal_convolution.AlongAxis(hjpde.Quadratic(), 0, grid.spacing[0], False)
    r = np.abs(np.asarray(grid.axes[0]) - TIP)
    opened = np.where(r < 2 * 0.4, r**2 / (4 * 0.4), r - 0.4)

    def error():
        values, _ = jax.jit(lambda g: _infimal_convolution.infimal_convolution(g, t, along))(grid.sample(tent))
        return np.abs(np.asarray(values) - opened).max()

    with_rule = error()
    monkeypatch.setattr(_subcell, "_DOMINANCE", jnp.inf)
    assert error() > 1e10 * with_rule
    assert with_rule < 1e-13


@pytest.mark.slow
@needs_digits
def test_a_curved_kink_is_found_to_third_order():
    # e^|x| - 1 under p^2: in the fan x^2/4t.
    errors = []
    for n in (41, 81):
        grid, t = segment(n), 0.2
        x = np.asarray(grid.axes[0]) - TIP
        u = last(solve(lambda x: jnp.exp(jnp.abs(x[0] - TIP)) - 1, hjpde.Quadratic(), grid, t))
        errors.append(np.abs(u - x**2 / (4 * t))[np.abs(x) < 2 * t].max())
    assert errors[0] < 1e-3
    assert order((41, 81), errors) > 2.5


# ---- Laws of the minimum -------------------------------------------------------------------------------------------


@functools.cache
def evolved(n=48, t=0.4):
    along = _infimal_convolution.AlongAxis(hjpde.Power(3.0), 0, circle(n).spacing[0], True)
    return jax.jit(lambda g: _infimal_convolution.infimal_convolution(g, jnp.asarray(t), along)[0])


def waves(coefficients, x):
    phases = jnp.arange(1, 4) * jnp.pi / 2 * x + jnp.arange(3)
    return jnp.sum(jnp.asarray(coefficients) * jnp.cos(phases))


coefficients = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3)


@pytest.mark.slow
@given(c=coefficients, rise=st.floats(0, 1, width=16), k=st.integers(1, 3), phase=st.integers(0, 47))
def test_comparison(c, rise, k, phase):
    """Where `g <= f`, `u <= v` up to what the nodes cannot know: the cube of the spacing."""
    x = circle(48).axes[0]
    g = jax.vmap(functools.partial(waves, c))(x)
    f = g + rise * (1 - jnp.cos(k * jnp.pi / 2 * (x - x[phase])))
    lower, higher = evolved()(g), evolved()(f)
    third = 2 * sum(abs(a) * (m * np.pi / 2) ** 3 for m, a in zip((1, 2, 3), c, strict=True))
    third += rise * (k * np.pi / 2) ** 3
    # The parabola through three nodes is off by a third derivative times dx^3 / (9 sqrt 3) at the most.
    assert float(jnp.max(lower - higher)) <= third * (4 / 48) ** 3 / 15 + 100 * EPS


@settings(max_examples=10)
@given(c=coefficients, constant=st.floats(-3, 3), steps=st.integers(0, 47))
def test_constants_translations_and_reflections(c, constant, steps):
    g = jax.vmap(functools.partial(waves, c))(circle(48).axes[0])
    u = evolved()(g)
    room = 200 * EPS * (4 + abs(constant))
    np.testing.assert_allclose(evolved()(g + constant), u + constant, atol=room)
    np.testing.assert_allclose(evolved()(jnp.roll(g, steps)), jnp.roll(u, steps), atol=room)
    np.testing.assert_allclose(evolved()(g[::-1]), u[::-1], atol=room)
    assert np.all(u <= g + room)


@pytest.mark.slow
def test_a_drift_wraps_around_the_torus():
    # Under p^2/4 + 5p the time runs at a quarter, and the wave passes the whole torus almost four times.
    exact, t, grid = problems.SmoothKinks(1), 3.0, circle(64)
    solution = solve(exact.problem.initial_data, hjpde.Separable(lambda p: p**2 / 4 + 5 * p), grid, t)
    expected = grid.sample(lambda x: exact(t / 4, x - 5 * t))
    np.testing.assert_allclose(last(solution), expected, atol=1e-3)
    # More shifts than images need are not looked at.
    assert 0 < solution.stats["window"][0] <= 66


@pytest.mark.slow
def test_axes_of_their_own_and_in_any_order():
    def datum(x):
        return jnp.cos(jnp.pi * x[0] / 2) + jnp.abs(x[1] - 0.1)

    grid, t = solvers.Grid((-2.0, -1.0), (2.0, 1.0), (20, 33), (True, False)), 0.3
    solution = solve(datum, hjpde.Quadratic(np.diag([1.0, 0.25])), grid, t)
    alone = last(solve(lambda x: jnp.cos(jnp.pi * x[0] / 2), hjpde.Quadratic(), circle(20), t))
    y = np.abs(np.asarray(grid.axes[1]) - 0.1)
    opened = np.where(y < t / 2, y**2 / t, y - t / 4)
    np.testing.assert_allclose(last(solution), alone[:, None] + opened[None], atol=100 * EPS)
    assert solution.stats["window"].shape == (2,)


# ---- Derivatives ---------------------------------------------------------------------------------------------------


@functools.cache
def loss():
    @jax.jit
    def loss(amplitude, exponent, t):
        datum = lambda x: amplitude * jnp.cos(jnp.pi / 2 * x[0]) + 0.3 * jnp.abs(x[0] - amplitude / 50)  # noqa: E731
        solution = solve(datum, hjpde.Power(exponent), segment(40), t, throw=False)
        weights = jnp.cos(jnp.arange(40.0))
        return jnp.sum(weights * (solution.evaluator.us[1] ** 2 + solution.evaluator.rates[1]))

    return loss


@pytest.mark.slow
@needs_digits
def test_both_modes_of_differentiation_to_datum_hamiltonian_and_time():
    point, along = tuple(map(jnp.asarray, (0.6, 2.7, 0.35))), tuple(map(jnp.asarray, (0.3, -0.5, 0.2)))
    forward = jax.jit(lambda p, a: jax.jvp(loss(), p, a)[1])(point, along)
    gradient = jax.jit(jax.grad(loss(), (0, 1, 2)))(*point)
    np.testing.assert_allclose(forward, sum(g * a for g, a in zip(gradient, along, strict=True)), rtol=1e-11)
    h = 1e-5
    ends = [loss()(*(p + e * a for p, a in zip(point, along, strict=True))) for e in (-h, h)]
    np.testing.assert_allclose(forward, (ends[1] - ends[0]) / (2 * h), rtol=1e-6)


def scatters(jaxpr):
    """The scattered additions in a program, also in those that it calls."""
    count = 0
    for equation in jaxpr.eqns:
        count += equation.primitive.name == "scatter-add"
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            count += scatters(inner) if hasattr(inner, "eqns") else 0
    return count


def test_the_reverse_mode_is_one_scatter():
    g = jnp.cos(circle(48).axes[0])
    program = jax.make_jaxpr(jax.grad(lambda g: jnp.sum(evolved()(g) ** 2)))(g)
    assert scatters(program.jaxpr) == 1


@pytest.mark.slow
@needs_digits
def test_values_between_the_saved_times():
    exact, grid = problems.SmoothKinks(1), circle(128)
    ts = jnp.linspace(0.0, 0.8 * exact.kink_time, 9)[1:]
    solution = hjpde.solve(exact.problem, ts, solvers.GridHopfLax(grid))
    points, middle = grid.points[::9], (ts[3] + ts[4]) / 2
    np.testing.assert_allclose(solution.batch(middle, points), jax.vmap(lambda x: exact(middle, x))(points), atol=2e-5)
    np.testing.assert_array_equal(solution.ts, ts)


# ---- Ways to call it, and what is refused --------------------------------------------------------------------------


@pytest.mark.slow
def test_compiled_batched_and_saved_together():
    datum, times = lambda x: jnp.cos(jnp.pi * x[0] / 2), jnp.array([0.1, 0.7])

    def end(t):
        return solve(datum, hjpde.Quadratic(), circle(12), t, throw=False).evaluator.us[-1]

    together = solve(datum, hjpde.Quadratic(), circle(12), times)
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(times), together.evaluator.us[1:], atol=20 * EPS)
    np.testing.assert_array_equal(together.ts, times)


@pytest.mark.slow
def test_many_lines_are_taken_in_blocks(monkeypatch):
    g = jnp.asarray(np.random.default_rng(0).normal(size=(7, 48)))
    along = _infimal_convolution.AlongAxis(hjpde.Power(3.0), 1, circle(48).spacing[0], True)

    def values():
        return jax.jit(lambda g: _infimal_convolution.infimal_convolution(g, jnp.asarray(0.1), along)[0])(g)

    at_once = values()
    monkeypatch.setattr(_infimal_convolution, "_NODES_AT_ONCE", 3 * 48)
    np.testing.assert_allclose(values(), at_once, atol=20 * EPS)


def test_float32_is_kept():
    grid = solvers.Grid(np.full(1, -2, np.float32), np.full(1, 2, np.float32), (16,), True)
    solution = solve(lambda x: jnp.cos(jnp.pi / 2 * x[0]), hjpde.Quadratic(), grid, np.float32(0.5))
    assert solution.evaluator.us.dtype == solution.evaluator.rates.dtype == jnp.float32


def test_values_that_come_from_beyond_a_border_are_counted():
    # A front that runs down a slope enters from the left.
    solution = solve(lambda x: x[0], hjpde.Quadratic(), segment(41), 0.2)
    x, stats = np.asarray(segment(41).axes[0]), solution.stats
    beyond = x - 2 * 0.2 < -2 - 1e-9
    assert stats["border_minimisers"] == beyond.sum()
    np.testing.assert_allclose(last(solution)[~beyond], x[~beyond] - 0.2, atol=50 * EPS)
    assert np.all(last(solution)[beyond] > x[beyond] - 0.2)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_datum_that_is_not_finite_is_reported_with_its_place(value):
    datum = lambda x: jnp.where(jnp.abs(x[0] - 0.5) < 0.01, value, jnp.cos(x[0]))  # noqa: E731
    with pytest.raises(hjpde.SolveError, match=r"t = 0, x = \(0\.5\): a value is NaN or infinite") as failure:
        solve(datum, hjpde.Quadratic(), circle(16), 0.5)
    solution = failure.value.solution
    assert solution.result == RESULTS.not_finite
    assert np.all(np.isnan(last(solution)))


def test_why_not():
    grid = solvers.Grid((-2.0, -2.0), (2.0, 2.0), (8, 8), (True, False))
    solver, datum = solvers.GridHopfLax(grid), lambda x: jnp.sum(x)

    def reason(H: AbstractHamiltonian = hjpde.Quadratic(), solver=solver, **options):
        return solver.why_not(hjpde.InitialValueProblem(datum, H, **options)) or "none"

    def domain(boundary, periodic=(True, False), upper=2.0):
        return hjpde.Domain([-2.0, -2.0], [2.0, upper], periodic, [None, boundary] if periodic[0] else boundary)

    assert reason() == reason(hjpde.Power(2.0)) == reason(domain=domain(hjpde.Extrapolation())) == "none"
    assert reason(hjpde.Separable(jnp.cosh)) == "none"
    assert "viscosity" in reason(viscosity=0.1)
    assert "constraint" in reason(constraint=hjpde.Constraint(monotone="decreasing"))
    assert "not diagonal" in reason(hjpde.Quadratic(np.array([[2.0, 0.5], [0.5, 1.0]])))
    assert "only in one dimension" in reason(hjpde.Eikonal())
    assert "`exponent` 2" in reason(hjpde.Power(3.0))
    assert "MomentumFunction is not known to be a sum" in reason(hjpde.MomentumFunction(jnp.sum))
    assert "Dirichlet" in reason(domain=domain(hjpde.Dirichlet(0.0)))
    assert "Neumann" in reason(domain=domain(hjpde.Neumann()))
    assert "periodic along" in reason(domain=domain(hjpde.Extrapolation(), (False, False)))
    assert "Grid.over" in reason(domain=domain(hjpde.Extrapolation(), upper=3.0))
    assert "d = 2 and the problem d = 3" in reason(hjpde.Quadratic(np.eye(3)))
    one = solvers.GridHopfLax(circle(8))
    assert reason(hjpde.Eikonal(), one) == reason(hjpde.Power(3.0), one) == "none"
    traced = []
    jax.jit(lambda q: traced.append(reason(hjpde.Power(q))))(2.0)
    assert "traced" in traced[0]


def test_refuses():
    with pytest.raises(ValueError, match=r"`grid` must have at least 4 nodes an axis, got the shape \(3,\)"):
        solvers.GridHopfLax(circle(3))
    with pytest.raises(ValueError, match="`initial_data` must return a scalar"):
        solve(lambda x: x, hjpde.Quadratic(), circle(8), 1.0)
    with pytest.raises(ValueError, match="does not step through time"):
        solve(jnp.sum, hjpde.Quadratic(), circle(8), 1.0, start=solve(jnp.sum, hjpde.Quadratic(), circle(8), 0.5))
