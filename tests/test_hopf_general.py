"""Hopf's and Lax's formulas by optimisation: against exact solutions, each other, and their own certificates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import random_spd

import hjpde
from hjpde import solvers


def lax(datum, hamiltonian, t=1.0, **options):
    return hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian), t, solvers.HopfLax(**options))


def hopf(datum, hamiltonian, t=1.0, **options):
    return hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian), t, solvers.Hopf(**options))


def convex(function):
    return hjpde.MomentumFunction(function, "convex")


def lasso(d, seed=0):
    """`|x|_1/2 + x'Dx/2` under `p'Ap + |p|`, once as sums of parts that know their kinks, once as plain functions."""
    rng = np.random.default_rng(seed)
    D = rng.uniform(0.2, 3, d)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    A = Q @ np.diag(rng.uniform(0.3, 2, d)) @ Q.T
    A, D, X = jnp.asarray((A + A.T) / 2), jnp.asarray(D), jnp.asarray(2 * rng.normal(size=(1000, d)))
    datum = hjpde.SumOfData(hjpde.Norm(1, 0.5), hjpde.QuadraticForm(jnp.diag(D)))
    H = hjpde.SumOfHamiltonians(hjpde.Quadratic(A), hjpde.Eikonal(1.0))
    plain = lambda y: jnp.sum(jnp.abs(y)) / 2 + y @ (D * y) / 2  # noqa: E731
    return (datum, H), (plain, convex(lambda p: p @ A @ p + jnp.linalg.norm(p))), X


def require_closed(certificate, tolerance=1e-8):
    assert np.all(certificate.closed)
    assert np.all(certificate.gap <= tolerance * np.maximum(1, np.abs(certificate.value)))


@pytest.mark.slow
def test_both_formulas_and_both_descriptions_agree():
    structured, plain, X = lasso(7)
    certificates = [solution.certificate(0.7, X[:12]) for solution in (hopf(*structured), lax(*plain))]
    for certificate in certificates:
        require_closed(certificate)
    np.testing.assert_allclose(certificates[0].value, certificates[1].value, rtol=1e-12)


@pytest.mark.slow
def test_fifty_dimensions_at_a_thousand_points():
    structured, plain, X = lasso(50)
    known, found = lax(*structured).certificate(0.7, X), lax(*plain).certificate(0.7, X)
    require_closed(known)
    require_closed(found)
    np.testing.assert_allclose(found.value, known.value, rtol=1e-12)
    np.testing.assert_allclose(hopf(*structured).batch(0.7, X), known.value, rtol=1e-12)


EIKONAL = hjpde.SumOfHamiltonians(hjpde.Eikonal(0.5), hjpde.Eikonal(0.7))


@pytest.mark.slow
def test_a_paraboloid_under_an_eikonal_front_within_reach_and_beyond():
    # u is the least |y|^2/2 within the distance ct; within reach the co-state is the kink of H.
    X = jnp.asarray(np.random.default_rng(1).normal(size=(10, 3)) * [[0.2]] * 2).at[0].set(0.0)
    solution, t = lax(hjpde.QuadraticForm(np.eye(3)), EIKONAL), 0.5
    radius = jnp.linalg.norm(X, axis=1)
    assert np.any(radius < 0.6)
    assert np.any(radius > 0.6)
    excess = np.maximum(radius - 1.2 * t, 0)
    certificate = solution.certificate(t, X)
    require_closed(certificate)
    np.testing.assert_allclose(certificate.value, excess**2 / 2, atol=1e-14)
    slopes = solution.batch_gradient(t, X)
    np.testing.assert_allclose(slopes, (excess / np.maximum(radius, 1e-9))[:, None] * X, atol=1e-12)
    assert solution.stats["solver"] == "HopfLax by optimisation"
    assert solution.stats["duality_gap"] <= 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 10, 50])
def test_closed_forms(d):
    rng = np.random.default_rng(d)
    X, A, P, t = jnp.asarray(rng.normal(size=(6, d))), random_spd(rng, d), random_spd(rng, d), 0.6
    form, quadratic = hjpde.QuadraticForm(P, rng.normal(size=d), 0.3), hjpde.Quadratic(A)
    cases = [(form, quadratic)] + [(hjpde.Norm(order, 0.7), hjpde.Quadratic()) for order in (1, 2, np.inf)]
    for datum, H in cases:
        exact = lax(datum, H, t).batch(t, X)
        as_sums = lax(hjpde.SumOfData(datum), hjpde.SumOfHamiltonians(H), t)
        for solution in (as_sums, hopf(datum, H, t)):
            certificate = solution.certificate(t, X)
            require_closed(certificate)
            np.testing.assert_allclose(certificate.value, exact, rtol=1e-11, atol=1e-12)
    # The Euclidean norm under an eikonal front is cut off.
    certificate = hopf(hjpde.Norm(2), hjpde.Eikonal(0.8), t).certificate(t, X)
    require_closed(certificate)
    np.testing.assert_allclose(certificate.value, np.maximum(np.linalg.norm(X, axis=1) - 0.8 * t, 0), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "datum, H",
    [
        (hjpde.Norm(1), hjpde.Eikonal(1.2)),
        (hjpde.SumOfData(hjpde.Norm(np.inf), hjpde.QuadraticForm([[2.0, 0.5], [0.5, 1.0]])), hjpde.Power(3.0)),
        (hjpde.Norm(2), hjpde.SumOfHamiltonians(hjpde.Power(1.5), hjpde.Power(3.0))),
        (hjpde.LogSumExp([[1.0, 2.0], [-1.0, 0.3], [0.2, -2.0]], [0.0, 0.1, 0.2], 0.3), hjpde.Quadratic()),
        (lambda y: jnp.max(jnp.abs(y)[:1]) + y @ y / 4, hjpde.Power(2.5)),
    ],
)
def test_both_formulas_agree_where_there_is_no_closed_form(datum, H):
    X = jnp.asarray(np.random.default_rng(3).normal(size=(12, 2)) * 1.5).at[0].set(0.1)
    least, greatest = lax(datum, H).certificate(0.6, X), hopf(datum, H).certificate(0.6, X)
    require_closed(least)
    require_closed(greatest)
    np.testing.assert_allclose(least.value, greatest.value, atol=1e-11)


def paraboloids(n, d=10, seed=0):
    rng = np.random.default_rng(seed)
    c, a, b = jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.uniform(0.3, 3, n)), jnp.asarray(rng.normal(size=n))
    A = jnp.asarray(random_spd(rng, d))
    exact = lax(hjpde.GaussianMixture(c, b, a, viscosity=0.0), hjpde.Quadratic(A))
    plain = lax(lambda y: jnp.min(b + a * jnp.sum((y[None] - c) ** 2, axis=1) / 2), convex(lambda p: p @ A @ p))
    return exact, plain, jnp.asarray(1.5 * rng.normal(size=(200, d)))


@pytest.mark.slow
def test_a_minimum_is_solved_branch_by_branch():
    exact, plain, X = paraboloids(4)
    certificate = plain.certificate(0.5, X[:8])
    np.testing.assert_allclose(certificate.value, exact.batch(0.5, X[:8]), rtol=1e-12)
    require_closed(certificate)  # each branch is convex, though the datum is not


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 6, 12])
def test_minima_of_paraboloids_in_ten_dimensions(n):
    exact, plain, X = paraboloids(n, seed=n)
    np.testing.assert_allclose(plain.batch(0.5, X), exact.batch(0.5, X), atol=1e-8)


@pytest.mark.slow
def test_a_datum_that_is_not_convex_has_the_value_but_no_certificate():
    solution, t = lax(lambda y: jnp.sum((y**2 - 1) ** 2) + 0.3 * jnp.sum(y), hjpde.Quadratic()), 0.2
    x, y = np.linspace(-2, 2, 5), np.linspace(-4, 4, 400_001)
    costs = (y**2 - 1) ** 2 + 0.3 * y + (x[:, None] - y) ** 2 / (4 * t)
    certificate = solution.certificate(t, x[:, None])
    np.testing.assert_allclose(certificate.value, costs.min(axis=1), atol=1e-8)
    assert not np.any(certificate.closed)
    assert np.all(certificate.gap == np.inf)


def test_a_hamiltonian_of_unknown_curvature():
    H = hjpde.MomentumFunction(lambda p: jnp.sum(jnp.sin(3 * p) / 2 + p**2 / 5))
    solution, t = hopf(hjpde.QuadraticForm([[1.5]]), H), 0.7
    x, p = np.linspace(-2, 2, 5), np.linspace(-8, 8, 400_001)
    values = x[:, None] * p - p**2 / 3 - t * (np.sin(3 * p) / 2 + p**2 / 5)
    certificate = solution.certificate(t, x[:, None])
    np.testing.assert_allclose(certificate.value, values.max(axis=1), atol=1e-8)
    assert not np.any(certificate.closed)


@pytest.mark.slow
@pytest.mark.parametrize("solve", [lax, pytest.param(hopf, marks=pytest.mark.slow)])
def test_derivatives_are_those_of_the_lagrangian(solve):
    rng = np.random.default_rng(5)
    P, A, x = random_spd(rng, 3), random_spd(rng, 3), jnp.asarray([1.2, -0.8, 0.1])

    @eqx.filter_jit
    def value(parameters):
        t, x, scale, P, A, speed = parameters
        datum = hjpde.SumOfData(hjpde.Norm(1, scale), hjpde.QuadraticForm((P + P.T) / 2))
        H = hjpde.SumOfHamiltonians(hjpde.Quadratic((A + A.T) / 2), hjpde.Eikonal(speed))
        return solve(datum, H)(t, x)

    at = (jnp.asarray(0.6), x, jnp.asarray(0.3), jnp.asarray(P), jnp.asarray(A), jnp.asarray(0.4))
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)

    @eqx.filter_jit
    def both_modes(at, along):
        _, forward = jax.jvp(value, (at,), (along,))
        return forward, jax.grad(value)(at)

    forward, reverse = both_modes(at, along)
    h = 1e-5
    ends = [value(jax.tree.map(lambda leaf, way, s=s: leaf + s * h * way, at, along)) for s in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * h)
    products = jax.tree.map(jnp.vdot, reverse, along)
    total = jnp.sum(jnp.stack(jax.tree.leaves(products)))
    np.testing.assert_allclose(jnp.stack([forward, total]), np.full(2, difference), rtol=1e-6)


@pytest.mark.slow
def test_derivatives_in_what_a_plain_function_closes_over():
    @eqx.filter_jit
    def value(c):
        datum = lambda y: c * jnp.sum(jnp.abs(y)) + y @ y / 2  # noqa: E731
        return lax(datum, convex(lambda p: c**2 * p @ p))(0.5, jnp.asarray([1.0, -2.0]))

    c, h = 0.4, 1e-5
    difference = (value(c + h) - value(c - h)) / (2 * h)
    np.testing.assert_allclose(eqx.filter_jit(jax.grad(value))(c), difference, rtol=1e-6)
    np.testing.assert_allclose(eqx.filter_jit(jax.jvp)(value, (c,), (1.0,))[1], difference, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [solvers.HopfLax, pytest.param(solvers.Hopf, marks=pytest.mark.slow)])
def test_a_gap_that_stays_open_is_reported(solver):
    (datum, H), _, X = lasso(7)
    problem = hjpde.InitialValueProblem(hjpde.SumOfData(datum, hjpde.QuadraticForm(np.eye(7), X[0])), H)
    with pytest.raises(hjpde.SolveError, match=r"did not close its duality gap.*`max_steps`") as caught:
        hjpde.solve(problem, 1.0, solver(max_steps=1))
    solution = caught.value.solution
    assert solution.result == hjpde.RESULTS.not_converged
    gap = solution.stats["duality_gap"]
    assert gap > 1e-6
    certificate = solution.certificate(1.0, jnp.zeros((1, 7)))
    assert not certificate.closed[0]
    np.testing.assert_allclose(certificate.gap[0], gap, rtol=1e-6)
    # The value is a bound of the truth, however early the search stops.
    truth = hjpde.solve(problem, 1.0, solver())(1.0, jnp.zeros(7))
    error = certificate.value[0] - truth
    assert -1e-12 <= (error if solver is solvers.HopfLax else -error) <= gap


def test_refuses_what_it_cannot_solve():
    concave, unknown = hjpde.MomentumFunction(lambda p: -p @ p, "concave"), hjpde.MomentumFunction(lambda p: p @ p)
    for H in (concave, unknown, hjpde.LinearQuadratic(np.eye(2)), hjpde.Transport(lambda t, x: x)):
        with pytest.raises(ValueError, match="needs a convex Hamiltonian of the co-state alone"):
            lax(lambda y: y @ y, H)
    with pytest.raises(ValueError, match="neither the initial data nor the Hamiltonian are known to be convex"):
        hopf(lambda y: y @ y, unknown)
    with pytest.raises(ValueError, match="nor known to be convex"):
        hopf(hjpde.QuadraticForm([[1.0, 0.0], [0.0, -1.0]]), hjpde.Quadratic())
    viscous = hjpde.InitialValueProblem(lambda y: y @ y, hjpde.Quadratic(), 0.1)
    for solver in (solvers.HopfLax(), solvers.Hopf()):
        with pytest.raises(ValueError, match="there is viscosity"):
            hjpde.solve(viscous, 1.0, solver)
    with pytest.raises(ValueError, match="`max_steps` must be at least 1, got 0"):
        solvers.HopfLax(max_steps=0)
    solution = lax(hjpde.SumOfData(hjpde.Norm(1)), hjpde.Eikonal())
    for t in (0.0, -1.0):
        with pytest.raises(ValueError, match="take `t` > 0"):
            solution(t, jnp.zeros(2))
    with pytest.raises(ValueError, match="its gradient only"):
        solution.hessian(1.0, jnp.zeros(2))


def test_certificates_of_other_solutions():
    atoms = hjpde.Atoms([[0.0], [1.0]], [0.0, 0.2])
    X = jnp.linspace(-1, 1, 6).reshape(2, 3, 1)
    certificate = lax(atoms, hjpde.Quadratic()).certificate(0.5, X)
    assert certificate.value.shape == certificate.gap.shape == certificate.closed.shape == (2, 3)
    assert np.all(certificate.gap == 0)
    assert np.all(certificate.closed)
    np.testing.assert_allclose(certificate.value, lax(atoms, hjpde.Quadratic()).batch(0.5, X))
