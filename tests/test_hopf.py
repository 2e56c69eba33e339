"""Hopf: minima and maxima of planes at no viscosity; the condition under which planes move alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import estimates, random_spd
from scipy.optimize import minimize_scalar

import hjpde
from hjpde import solvers


def hopf(datum, hamiltonian, t=1.0, **options):
    return hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian), t, solvers.Hopf(**options))


@pytest.mark.parametrize("H", [hjpde.Quadratic(), hjpde.Eikonal(0.7), hjpde.Power(3.0)])
def test_a_minimum_of_planes_under_a_convex_hamiltonian(H):
    # Hopf-Lax moves each plane alone; the reference minimises over the start of the path, by brute force.
    rng = np.random.default_rng(0)
    W, b, t, x = rng.normal(size=(6, 1)), rng.normal(size=6), 0.8, 0.3
    solution = hopf(hjpde.SoftMinPlanes(W, b), H)
    y = jnp.linspace(-12, 12, 200_001)
    costs = np.min(-W * np.asarray(y)[None] - b[:, None], axis=0) + t * jax.vmap(H.lagrangian)((x - y)[:, None] / t)
    np.testing.assert_allclose(solution(t, [x]), np.min(costs), atol=2e-4)
    assert solution(t, [x]) <= np.min(costs) + 1e-12
    assert solution.stats["solver"] == "Hopf, minimum of planes"
    np.testing.assert_allclose(solution(0.0, [x]), np.min(-W[:, 0] * x - b), rtol=1e-14)


def test_a_masked_plane_is_no_plane():
    masked = hopf(hjpde.SoftMinPlanes([[1.0], [2.0]], [0.5, -np.inf]), hjpde.Quadratic())
    assert masked(1.0, [0.3]) == pytest.approx(-0.3 - 0.5 - 1.0)


ABSOLUTE_VALUE = hjpde.MaxPlanes([[1.0], [-1.0]], [0.0, 0.0])


@pytest.mark.slow
def test_the_absolute_value_under_a_square():
    # Each plane alone would give |x| - t, which is off by exactly 1 at (1, 0); the truth is Huber's function.
    solution = hopf(ABSOLUTE_VALUE, hjpde.Quadratic())
    assert not solution.stats["planes_exact"]
    assert solution.stats["points_checked"] > 0
    alone = max(p * 0.0 - 1.0 * p * p for p in (1.0, -1.0))
    assert alone == -1
    X = jnp.asarray([[0.0], [0.3], [-1.9], [2.5], [-4.0]])
    u, gaps = estimates(solution, jnp.ones(5), X)
    huber = np.where(np.abs(X[:, 0]) <= 2, X[:, 0] ** 2 / 4, np.abs(X[:, 0]) - 1)
    np.testing.assert_allclose(u, huber, atol=1e-12)
    assert np.all(gaps <= 1e-7)
    np.testing.assert_allclose(solution.batch(1.0, X), huber, atol=1e-12)
    slopes = jax.jit(jax.vmap(lambda x: solution.gradient(1.0, x)))(X)
    np.testing.assert_allclose(slopes[:, 0], np.clip(X[:, 0] / 2, -1, 1), atol=1e-6)
    with pytest.raises(ValueError, match="gives the value and its gradient only"):
        solution.hessian(1.0, [0.3])


def test_the_absolute_value_under_a_concave_hamiltonian():
    solution = hopf(ABSOLUTE_VALUE, hjpde.MomentumFunction(lambda p: -(p @ p), "concave"))
    assert solution.stats["planes_exact"]
    assert solution.stats["solver"] == "Hopf, maximum of planes"
    # Hopf's formula by brute force: sup over |p| <= 1 of px + t p^2.
    p = np.linspace(-1, 1, 2001)
    for x in (0.0, 0.4, -1.3):
        assert solution(0.7, [x]) == pytest.approx(np.max(p * x + 0.7 * p**2), abs=1e-12)


@pytest.mark.slow
def test_the_condition_is_seen_where_nothing_is_known_of_the_hamiltonian():
    for function, exact in ((lambda p: -(p @ p), True), (lambda p: p @ p, False), (lambda p: 3 * p[0], True)):
        solution = hopf(ABSOLUTE_VALUE, hjpde.MomentumFunction(function), max_steps=50)
        assert bool(solution.stats["planes_exact"]) is exact
    # A plane that starts inactive counts as a point of the hull, not as a vertex.
    three = hjpde.MaxPlanes([[1.0], [0.2], [-1.0]], [0.0, 0.5, 0.0])
    assert bool(hopf(three, hjpde.MomentumFunction(lambda p: -(p @ p))).stats["planes_exact"])


@pytest.mark.slow
def test_a_hamiltonian_of_unknown_curvature_by_brute_force():
    def energy(p):
        return jnp.sin(3 * p[0]) / 2 + p[0] ** 2 / 5

    slopes = np.linspace(-2, 2, 9)[:, None]
    offsets = slopes[:, 0] ** 2 / 2
    solution = hopf(hjpde.MaxPlanes(slopes, offsets), hjpde.MomentumFunction(energy), max_steps=200)
    assert not solution.stats["planes_exact"]
    p = np.linspace(-2, 2, 40_001)
    conjugate = np.interp(p, slopes[:, 0], offsets)
    H = np.sin(3 * p) / 2 + p**2 / 5
    x = np.asarray([[-1.2], [0.1], [0.9]])
    expected = np.max(x * p - conjugate - 0.8 * H, axis=1)
    np.testing.assert_allclose(estimates(solution, jnp.full(3, 0.8), jnp.asarray(x))[0], expected, atol=1e-6)


def _hull_supremum(slopes, offsets, A, t, x, n=121):
    """`sup p.x - J*(p) - t p'Ap` over a fine grid of the slopes' hull, cell by cell of the lower hull."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(np.concatenate([slopes, offsets[:, None]], axis=1))
    cells = hull.simplices[hull.equations[:, 2] < 0]
    s = np.linspace(0, 1, n)
    first, second = (a.ravel() for a in np.meshgrid(s, s, indexing="ij"))
    weights = np.stack([first * (1 - second), first * second, 1 - first], axis=1)
    best = -np.inf
    for cell in cells:
        p, gamma = weights @ slopes[cell], weights @ offsets[cell]
        best = max(best, np.max(p @ x - gamma - t * np.einsum("kd,de,ke->k", p, A, p)))
    return best


@pytest.mark.slow
def test_a_maximum_of_planes_in_two_dimensions():
    rng = np.random.default_rng(1)
    slopes, A = rng.normal(size=(9, 2)), random_spd(rng, 2)
    offsets = np.sum(slopes**2, axis=1) / 2 + 0.1 * rng.normal(size=9)
    solution = hopf(hjpde.MaxPlanes(slopes, offsets), hjpde.Quadratic(A))
    X = rng.normal(size=(5, 2)) * 2
    u, gaps = estimates(solution, jnp.full(5, 0.6), jnp.asarray(X))
    expected = np.asarray([_hull_supremum(slopes, offsets, A, 0.6, x) for x in X])
    assert np.all(u >= expected - 1e-9)
    np.testing.assert_allclose(u, expected, atol=1e-3)
    assert np.all(gaps <= 1e-6)
    assert solution.stats["duality_gap"] <= 1e-6
    assert solution.result == hjpde.RESULTS.successful


@pytest.mark.slow
def test_under_a_convex_hamiltonian_the_formula_is_the_hopf_lax_minimum():
    # Both formulas hold for a convex datum and a convex Hamiltonian: here against the minimum over the start.
    rng = np.random.default_rng(2)
    slopes, offsets, t, x = rng.normal(size=5), rng.normal(size=5) * 0.2, 0.7, 0.4
    solution = hopf(hjpde.MaxPlanes(slopes[:, None], offsets), hjpde.Power(4.0))

    def cost(y):
        v = abs(x - y) / t
        return np.max(slopes * y - offsets) + t * v ** (4 / 3) * 3 / 4

    least = minimize_scalar(cost, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}).fun  # pyright: ignore
    assert float(solution(t, [x])) == pytest.approx(least, abs=1e-6)


@pytest.mark.slow
def test_a_gap_that_stays_open_is_reported():
    rng = np.random.default_rng(3)
    datum = hjpde.MaxPlanes(rng.normal(size=(40, 3)) * [1.0, 10.0, 0.1], rng.normal(size=40))
    with pytest.raises(hjpde.SolveError, match="max_steps"):
        hopf(datum, hjpde.Quadratic(), max_steps=1)
    solution = hjpde.solve(
        hjpde.InitialValueProblem(datum, hjpde.Quadratic()), 1.0, solvers.Hopf(max_steps=1), throw=False
    )
    assert solution.result == hjpde.RESULTS.not_converged
    assert solution.stats["duality_gap"] > 1e-4
    # Above four dimensions the condition is not tried.
    high = hopf(hjpde.MaxPlanes(np.eye(5), np.zeros(5)), hjpde.Quadratic())
    assert high.stats["points_checked"] == 0
    assert not high.stats["planes_exact"]


def test_derivatives_in_the_data():
    @eqx.filter_jit
    @jax.grad
    def slope(offsets):
        datum = hjpde.MaxPlanes(jnp.asarray([[1.0], [-1.0]]), offsets)
        return hopf(datum, hjpde.Quadratic())(1.0, jnp.asarray([0.3]))

    # The maximiser is p = 0.15 = 0.575 - 0.425: minus its weights are the derivatives in the offsets.
    np.testing.assert_allclose(slope(jnp.zeros(2)), [-0.575, -0.425], atol=1e-6)


def test_refuses_what_it_cannot_solve():
    planes, concave = hjpde.SoftMinPlanes(np.eye(2), np.zeros(2)), hjpde.MomentumFunction(lambda p: -(p @ p), "concave")
    with pytest.raises(ValueError, match=r"there is viscosity.*Those that do: HopfCole"):
        hjpde.solve(hjpde.InitialValueProblem(planes, hjpde.Quadratic(), 0.1), 1.0, solvers.Hopf())
    with pytest.raises(ValueError, match="a minimum of planes needs a convex Hamiltonian"):
        hopf(planes, concave)
    with pytest.raises(ValueError, match="the planes have a temperature"):
        hopf(hjpde.SoftMinPlanes(np.eye(2), np.zeros(2), 0.1), hjpde.Quadratic())
    with pytest.raises(ValueError, match="depends on more than the co-state"):
        hopf(planes, hjpde.Transport([1.0, 2.0]))
    with pytest.raises(ValueError, match="neither a minimum nor a maximum of planes"):
        hopf(hjpde.Cones(np.eye(2), np.zeros(2)), hjpde.Quadratic())
    with pytest.raises(ValueError, match="`max_steps` must be at least 1, got 0"):
        solvers.Hopf(max_steps=0)
    with pytest.raises(ValueError, match=r"`t` = -1 cannot be evaluated: take `t` >= 0"):
        hopf(planes, hjpde.Quadratic())(-1.0, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"`t` = -1 cannot be evaluated: take `t` >= 0"):
        hopf(ABSOLUTE_VALUE, hjpde.Quadratic())(-1.0, jnp.zeros(1))
