"""Optimal transport: Gaussians by the Bures map, point clouds by linear programming, entropy by its closed form."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse
from _helpers import random_spd

import hjpde
from hjpde import problems
from hjpde.problems._clouds import as_clouds
from hjpde.problems._sinkhorn import sweep

X64 = jnp.result_type(float) == jnp.float64
ROUNDING = 1e-11 if X64 else 2e-4


# Two Gaussians.


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    S0, S1 = random_spd(rng, 3), random_spd(rng, 3)
    return problems.GaussianTransport(rng.normal(size=3), S0, rng.normal(size=3), S1)


@pytest.mark.slow
def test_the_potential_is_that_of_the_solver(gaussians):
    points = jnp.asarray(np.random.default_rng(1).normal(size=(40, 3)))
    solution = hjpde.solve(gaussians.problem, 1.0)
    for t in (0.2, 1.0):
        exact = jax.vmap(gaussians, (None, 0))(t, points)
        np.testing.assert_allclose(solution.batch(t, points), exact, rtol=1e-8 if X64 else 1e-4, atol=ROUNDING)


def test_the_map_moves_one_gaussian_to_the_other(gaussians):
    S0, S1 = np.asarray(gaussians.start_covariance, float), np.asarray(gaussians.end_covariance, float)
    T = np.asarray(gaussians.slope, float)
    np.testing.assert_allclose(T @ S0 @ T, S1, atol=ROUNDING)
    assert np.linalg.eigvalsh(T).min() > 0
    # The Bures distance, by scipy's roots.
    root = scipy.linalg.sqrtm(S0)
    bures = np.trace(S0 + S1 - 2 * np.real(scipy.linalg.sqrtm(root @ S1 @ root)))
    squared = np.sum((gaussians.end_mean - gaussians.start_mean) ** 2) + bures
    np.testing.assert_allclose(gaussians.cost, squared / 2, rtol=1e-10 if X64 else 1e-4)
    np.testing.assert_allclose(gaussians.covariance(1.0), S1, atol=ROUNDING)
    np.testing.assert_allclose(gaussians.mean(1.0), gaussians.end_mean, atol=ROUNDING)
    x = jnp.array([0.3, -0.2, 0.5])
    # Mass starts with the velocity of the potential's slope, and keeps it.
    solution = hjpde.solve(gaussians.problem, 1.0)
    arrives = gaussians.map(x)
    np.testing.assert_allclose(x + jax.grad(gaussians.problem.initial_data)(x), arrives, atol=ROUNDING)
    np.testing.assert_allclose(arrives - solution.gradient(1.0, arrives), x, atol=ROUNDING)


@pytest.mark.slow
def test_kantorovichs_duality_for_gaussians(gaussians):
    """The mean of the final potential less that of the initial one is the cost; both means are closed forms."""

    def mean_of(t, mean, covariance):
        bend = jax.hessian(gaussians.__call__, argnums=1)(t, mean)
        return gaussians(t, mean) + jnp.trace(bend @ covariance) / 2

    start = mean_of(0.0, gaussians.start_mean, gaussians.start_covariance)
    end = mean_of(1.0, gaussians.end_mean, gaussians.end_covariance)
    np.testing.assert_allclose(end - start, gaussians.cost, atol=10 * ROUNDING)


@pytest.mark.slow
def test_the_cost_is_differentiable_where_eigenvalues_meet():
    rng = np.random.default_rng(2)
    dS = random_spd(rng, 2) - np.eye(2)

    def cost(s):
        return problems.GaussianTransport(jnp.zeros(2), jnp.eye(2) + s * dS, jnp.ones(2), 2 * jnp.eye(2)).cost

    with jax.enable_x64(True):
        h = 1e-4
        expected = (cost(h) - cost(-h)) / (2 * h)
        assert float(jax.grad(cost)(0.0)) == pytest.approx(float(expected), rel=1e-6)
        assert float(jax.jvp(cost, (0.0,), (1.0,))[1]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"end_mean": [0.0, 0.0, 0.0]}, "`end_mean`"),
        ({"start_covariance": [[1.0, 2.0], [2.0, 1.0]]}, "`start_covariance`"),
        ({"end_covariance": [[1.0, 0.5], [0.0, 1.0]]}, "`end_covariance`"),
        ({"start_mean": [np.nan, 0.0]}, "`start_mean`"),
        ({"half_width": 0.0}, "`half_width`"),
    ],
)
def test_gaussians_that_are_none_are_refused(change, named):
    eye = np.eye(2)
    good = {"start_mean": [0.0, 0.0], "start_covariance": eye, "end_mean": [1.0, 0.0], "end_covariance": eye}
    with pytest.raises(ValueError, match=named):
        problems.GaussianTransport(**{**good, **change})


# Two point clouds.


def linear_programme(costs, a, b):
    """The least cost of a coupling, by scipy's simplex method."""
    n, m = costs.shape
    rows = scipy.sparse.kron(scipy.sparse.eye(n), np.ones(m))
    columns = scipy.sparse.kron(np.ones(n), scipy.sparse.eye(m))
    found = scipy.optimize.linprog(
        costs.ravel(), A_eq=scipy.sparse.vstack([rows, columns]), b_eq=np.r_[a, b], method="highs"
    )
    assert found.status == 0
    return found.fun


def clouds(n, m, seed=0, d=2):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, d)),
        0.7 * rng.normal(size=(m, d)) + 0.5,
        rng.dirichlet(np.ones(n)),
        rng.dirichlet(np.ones(m)),
    )


def half_squares(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=2) / 2


def check(plan, costs, a, b, least):
    tolerance = 1e-8 if X64 else 2e-2
    assert float(plan.cost) - least <= tolerance * least
    assert float(plan.cost) - least >= -ROUNDING
    assert float(plan.lower_bound) - least <= ROUNDING
    np.testing.assert_allclose(plan.coupling.sum(axis=1), a, atol=ROUNDING / 10)
    np.testing.assert_allclose(plan.coupling.sum(axis=0), b, atol=ROUNDING / 10)
    assert np.min(plan.coupling) >= 0
    assert np.max(plan.f[:, None] + plan.g[None, :] - costs) <= ROUNDING


@pytest.fixture(scope="module")
def pair():
    """Forty points to forty, both with random masses, solved."""
    x, y, a, b = clouds(40, 40)
    return (x, y, a, b), problems.PointCloudTransport(x, y, a, b).solve()


def test_the_cost_is_that_of_the_linear_programme(pair):
    (x, y, a, b), plan = pair
    costs = half_squares(x, y)
    check(plan, costs, a, b, linear_programme(costs, a, b))


def test_the_potentials_are_flows_of_hopf_and_lax(pair):
    (x, y, *_), plan = pair
    clouds = plan.transport.clouds
    np.testing.assert_allclose(plan.potential.batch(0.5, x), plan.f, atol=ROUNDING)
    # Back from x: at every point with mass the c-transform returns the potential itself.
    back = hjpde.solve(clouds.flow_to_y(plan.f, None), 0.5).batch(0.5, y)
    assert np.max(np.asarray(plan.g) - np.asarray(back)) <= ROUNDING
    if X64:
        np.testing.assert_allclose(back, plan.g, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5])
def test_two_hundred_points_within_a_millionth_of_the_assignment(d):
    x, y, *_ = clouds(200, 200, seed=d, d=d)
    costs = half_squares(x, y)
    least = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    plan = problems.PointCloudTransport(x, y).solve()
    uniform = np.full(200, 1 / 200)
    check(plan, costs, uniform, uniform, least)
    if X64:
        assert abs(float(plan.cost) - least) < 1e-6 * least
        # The map leads to the partner.
        partner = np.argmax(plan.coupling, axis=1)
        np.testing.assert_allclose(jax.vmap(plan.map)(jnp.asarray(x)), y[partner], atol=1e-9)


@pytest.mark.slow
def test_another_metric_and_time_is_another_plane():
    """The cost is that of points in the coordinates in which the metric is the identity."""
    x, y, a, b = clouds(40, 40, seed=3)
    A, t = np.array([[1.0, 0.4], [0.4, 0.5]]), 0.3
    plan = problems.PointCloudTransport(x, y, a, b, time=t, hamiltonian=hjpde.Quadratic(A)).solve()
    offsets = x[:, None] - y[None]
    costs = np.einsum("nmi,ij,nmj->nm", offsets, np.linalg.inv(A), offsets) / (4 * t)
    check(plan, costs, a, b, linear_programme(costs, a, b))
    np.testing.assert_allclose(plan.potential.batch(t, x), plan.f, atol=ROUNDING)


def test_on_a_line_the_order_is_kept():
    rng = np.random.default_rng(4)
    x, y = (np.stack([places, np.zeros(40)], axis=1) for places in (rng.normal(size=40), rng.uniform(-2, 2, 40)))
    plan = problems.PointCloudTransport(x, y).solve()
    by_order = np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2) / 2
    assert float(plan.cost) == pytest.approx(by_order, rel=1e-8 if X64 else 2e-2)


def test_ties_and_points_on_top_of_each_other():
    """On a lattice many couplings are best."""
    lattice = np.stack(np.meshgrid(np.arange(8.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    plan = problems.PointCloudTransport(lattice, lattice[::-1] + np.array([1.0, 0.0])).solve()
    # A shift by one: no coupling costs less than moving the mean.
    assert float(plan.cost) == pytest.approx(0.5, rel=1e-8 if X64 else 2e-2)
    still = problems.PointCloudTransport(np.ones((40, 2)), np.ones((40, 2))).solve()
    assert float(still.cost) == 0


@pytest.mark.slow
def test_the_cost_has_the_derivatives_of_central_differences():
    with jax.enable_x64(True):
        x, y, a, b = clouds(12, 9, seed=5)
        rng = np.random.default_rng(6)
        dx, da = rng.normal(size=x.shape), rng.normal(size=a.shape)

        @jax.jit
        def cost(s):
            return problems.PointCloudTransport(x + s * dx, y, a * jnp.exp(s * da), b).solve(throw=False).cost

        h = 1e-5
        expected = (cost(h) - cost(-h)) / (2 * h)
        assert float(jax.jit(jax.grad(cost))(0.0)) == pytest.approx(float(expected), rel=1e-6)
        assert float(jax.jit(lambda s: jax.jvp(cost, (s,), (1.0,))[1])(0.0)) == pytest.approx(float(expected), rel=1e-6)


# Entropy.


def gaussian_entropic(m, s0, s1, eps):
    r"""Of two Gaussians on a line with the cost $|x - y|^2/2$: the value, the cost, the correlation.

    The best coupling is Gaussian; its covariance `c` has $c\,\varepsilon = s_0^2 s_1^2 - c^2$.
    """
    c = np.sqrt(eps**2 / 4 + s0**2 * s1**2) - eps / 2
    cost = (m**2 + s0**2 + s1**2 - 2 * c) / 2
    correlation = c / (s0 * s1)
    return cost - eps / 2 * np.log(1 - correlation**2), cost, correlation


def gaussian_nodes(mean, deviation, n=40):
    """A trapezoidal rule on a line of the plane, exact to rounding for the density."""
    x = np.linspace(-7, 7, n)
    weights = np.exp(-(x**2) / 2)
    return np.stack([mean + deviation * x, np.zeros(n)], axis=1), weights / weights.sum()


@functools.cache
def on_a_line(eps):
    (x, a), (y, b) = gaussian_nodes(0.0, 1.0), gaussian_nodes(0.8, 0.6)
    return problems.EntropicTransport(x, y, eps, a, b)


@pytest.mark.parametrize("method", ["newton", "sinkhorn"])
@pytest.mark.parametrize("eps", [0.5, 2.0])
def test_gaussians_on_a_line_have_a_closed_form(method, eps):
    plan = on_a_line(eps).solve(method)
    value, cost, _ = gaussian_entropic(0.8, 1.0, 0.6, eps)
    assert float(plan.value) == pytest.approx(value, rel=1e-10 if X64 else 2e-4)
    assert float(plan.cost) == pytest.approx(cost, rel=1e-10 if X64 else 2e-4)
    clouds = plan.transport.clouds
    np.testing.assert_allclose(plan.coupling.sum(axis=1), clouds.x_weights, atol=ROUNDING)
    np.testing.assert_allclose(plan.coupling.sum(axis=0), clouds.y_weights, atol=ROUNDING)
    error = np.abs(np.asarray(plan.coupling.sum(axis=0) - clouds.y_weights)).sum()
    assert error <= float(plan.marginal_error) + ROUNDING


def test_the_mean_goes_along_the_line_of_regression():
    eps = 0.5
    plan, (_, _, correlation) = on_a_line(eps).solve(), gaussian_entropic(0.8, 1.0, 0.6, eps)
    for x in (-0.7, 0.4):
        assert float(plan.map(jnp.array([x, 0.0]))[0]) == pytest.approx(
            0.8 + 0.6 * correlation * x, rel=1e-9 if X64 else 1e-3
        )


def test_sinkhorn_converges_at_the_rate_of_the_squared_correlation():
    """Each sweep is two conditional expectations, whose largest eigenvalue below 1 is the squared correlation."""
    eps = 0.5
    transport, (_, _, correlation) = on_a_line(eps), gaussian_entropic(0.8, 1.0, 0.6, eps)
    one = eqx.filter_jit(sweep)
    g, errors = jnp.zeros(40), []
    for _ in range(16):
        g, error = one(transport.clouds, g, transport.viscosity)
        errors.append(float(error))
    ratios = np.array(errors[6:]) / np.array(errors[5:-1])
    np.testing.assert_allclose(ratios if X64 else ratios[:1], correlation**2, rtol=1e-3 if X64 else 1e-1)


def test_newton_is_where_sinkhorn_would_be_and_needs_few_steps():
    x, y, a, b = clouds(40, 40)
    transport = problems.EntropicTransport(x, y, 0.05, a, b)
    newton, sweeps = transport.solve(), transport.solve("sinkhorn")
    np.testing.assert_allclose(newton.value, sweeps.value, rtol=1e-11 if X64 else 1e-4)
    np.testing.assert_allclose(newton.coupling, sweeps.coupling, atol=ROUNDING)
    assert 5 * newton.steps < sweeps.steps


@pytest.mark.skipif(not X64, reason="so low a temperature is below the rounding of float32")
def test_at_tiny_temperatures_newton_reaches_the_linear_programme(pair):
    (x, y, a, b), exact = pair
    plan = problems.EntropicTransport(x, y, 1e-6, a, b).solve()
    assert float(plan.marginal_error) < 1e-7
    assert float(plan.cost) == pytest.approx(float(exact.cost), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cost", "value", "f"])
def test_potentials_have_the_derivatives_of_central_differences(what):
    with jax.enable_x64(True):
        x, y, a, b = clouds(12, 9, seed=7)
        rng = np.random.default_rng(8)
        dx, da = rng.normal(size=x.shape), rng.normal(size=a.shape)

        @jax.jit
        def measured(s):
            transport = problems.EntropicTransport(
                x + s * dx, y, 0.3 * jnp.exp(s), a * jnp.exp(s * da), b, time=0.4 * jnp.exp(-s)
            )
            found = getattr(transport.solve(throw=False), what)
            return found if found.ndim == 0 else found[0] - found[1]

        h = 1e-4
        expected = (measured(h) - measured(-h)) / (2 * h)
        assert float(jax.jit(jax.grad(measured))(0.0)) == pytest.approx(float(expected), rel=1e-6)
        forward = jax.jit(lambda s: jax.jvp(measured, (s,), (1.0,))[1])(0.0)
        assert float(forward) == pytest.approx(float(expected), rel=1e-6)


def test_a_temperature_above_all_costs():
    plan = on_a_line(500.0).solve()
    assert float(plan.value) == pytest.approx(gaussian_entropic(0.8, 1.0, 0.6, 500.0)[0], rel=1e-9 if X64 else 1e-3)


def in_single_precision():
    return (np.asarray(points, np.float32) for points in clouds(40, 40)[:2])


def test_single_precision_stays():
    x, y = in_single_precision()
    solve = [
        lambda x, y: problems.EntropicTransport(x, y, 0.1).solve(throw=False),
        lambda x, y: problems.EntropicTransport(x, y, 0.1).solve("sinkhorn", throw=False),
        lambda x, y: problems.PointCloudTransport(x, y).solve(throw=False),
    ]
    for one in solve:
        kinds = {leaf.dtype for leaf in jax.tree.leaves(eqx.filter_eval_shape(one, x, y))}
        assert {kind for kind in kinds if jnp.issubdtype(kind, jnp.floating)} == {np.dtype(np.float32)}


@pytest.mark.slow
def test_single_precision_keeps_its_certificate():
    x, y = in_single_precision()
    costs = half_squares(*clouds(40, 40)[:2])
    least = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    assert float(problems.PointCloudTransport(x, y).solve().cost) == pytest.approx(least, rel=2e-2)


# What fails, and how.


def test_a_solve_that_does_not_converge_says_so():
    x, y, a, b = clouds(40, 40)
    entropic, exact = problems.EntropicTransport(x, y, 0.05, a, b), problems.PointCloudTransport(x, y, a, b)
    for method in ("newton", "sinkhorn"):
        with pytest.raises(hjpde.SolveError, match=rf"EntropicTransport by {method}: .*`max_steps`"):
            entropic.solve(method, max_steps=3)
        plan = entropic.solve(method, max_steps=3, throw=False)
        assert plan.result == hjpde.RESULTS.transport_not_converged
        assert float(plan.marginal_error) == np.inf
    with pytest.raises(hjpde.SolveError, match=r"PointCloudTransport: .*`max_steps`"):
        exact.solve(max_steps=20)
    plan = exact.solve(max_steps=20, throw=False)
    assert plan.result == hjpde.RESULTS.transport_not_converged
    # What was reached still bounds the cost from both sides.
    least = linear_programme(half_squares(x, y), a, b)
    assert float(plan.lower_bound) < least < float(plan.cost)


def test_a_bar_changes_nothing():
    x, y, a, b = clouds(40, 40)
    transport = problems.EntropicTransport(x, y, 0.05, a, b)
    silent, shown = transport.solve(), transport.solve(progress=True)
    np.testing.assert_allclose(shown.f, silent.f, atol=ROUNDING)
    assert shown.steps == silent.steps


@pytest.mark.parametrize(
    "change, named",
    [
        ({"y": np.zeros((4, 3))}, "`x` must have shape"),
        ({"x": np.zeros((0, 2))}, "`x` must have shape"),
        ({"x": [[np.nan, 0.0]]}, "`x` must be finite"),
        ({"y": np.zeros(4)}, "`y` must have 2 axes"),
        ({"x_weights": [0.5, 0.5, 0.0]}, "`x_weights` must be positive"),
        ({"y_weights": [1.0]}, r"`y_weights` must have shape \(4,\)"),
        ({"y_weights": [1.0, np.inf, 1.0, 1.0]}, "`y_weights` must be finite"),
        ({"time": 0.0}, "`time` must be positive"),
        ({"hamiltonian": hjpde.Eikonal()}, "`hamiltonian` must be a `hjpde.Quadratic`"),
        ({"hamiltonian": hjpde.Quadratic(np.eye(3))}, "the Hamiltonian's"),
    ],
)
def test_clouds_that_are_none_are_refused(change, named):
    good = {"x": np.zeros((3, 2)), "y": np.ones((4, 2)), "x_weights": None, "y_weights": None}
    with pytest.raises(ValueError, match=named):
        as_clouds(**{**good, "time": 0.5, "hamiltonian": hjpde.Quadratic(), **change})


@pytest.mark.parametrize(
    "options, named",
    [({"method": "simplex"}, "`method`"), ({"tolerance": 0.0}, "`tolerance`"), ({"max_steps": 0}, "`max_steps`")],
)
def test_options_out_of_range_are_refused(options, named):
    x, y = np.zeros((3, 2)), np.ones((4, 2))
    with pytest.raises(ValueError, match=named):
        problems.EntropicTransport(x, y, 0.1).solve(**options)
    if "method" not in options:
        with pytest.raises(ValueError, match=named):
            problems.PointCloudTransport(x, y).solve(**options)
    with pytest.raises(ValueError, match="`viscosity`"):
        problems.EntropicTransport(x, y, 0.0)
