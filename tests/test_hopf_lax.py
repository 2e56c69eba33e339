"""Hopf-Lax: closed forms at no viscosity, against minimisation over the start of the path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import brute_force_minimum, random_spd, values
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import hjpde
from hjpde import solvers

RNG = np.random.default_rng(0)
Y, G, A = RNG.normal(size=(6, 2)), RNG.normal(size=6), random_spd(RNG, 2)
X, T = RNG.normal(size=(3, 2)), 0.8


def hopf_lax(datum, hamiltonian, t=1.0):
    return hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian), t, solvers.HopfLax())


@pytest.mark.parametrize(
    "H, lagrangian",
    [
        (hjpde.Quadratic(), lambda v: np.sum(v * v, axis=-1) / 4),
        (hjpde.Quadratic(A), lambda v: np.einsum("nd,nd->n", v, np.linalg.solve(A, v.T).T) / 4),
        (hjpde.Eikonal(2.0), lambda v: np.where(np.sum(v * v, axis=-1) <= 4, 0, np.inf)),
        (hjpde.Power(3.0), lambda v: np.sum(v * v, axis=-1) ** 0.75 / 1.5),
        (hjpde.Power(1.5), lambda v: np.sum(v * v, axis=-1) ** 1.5 / 3),
    ],
)
def test_point_masses_under_convex_hamiltonians(H, lagrangian):
    solution = hopf_lax(hjpde.Atoms(Y, G), H)
    expected = [np.min(G + T * lagrangian((x - Y) / T)) for x in X]
    np.testing.assert_allclose(solution.batch(T, X), expected, rtol=1e-12)
    np.testing.assert_allclose(values(solution, jnp.full(3, T), jnp.asarray(X)), expected, rtol=1e-12)
    slopes = jax.jit(jax.vmap(lambda x: solution.gradient(T, x)))(X)
    assert np.all(np.isfinite(slopes))


def test_eikonal_reach():
    solution = hopf_lax(hjpde.Atoms([[0.0], [3.0]], [1.0, 0.0]), hjpde.Eikonal(2.0))
    np.testing.assert_array_equal(solution.batch(1.0, [[-1.9], [-2.1], [0.5], [1.5], [4.9]]), [1, np.inf, 1, 0, 0])


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("t", [0.05, 3.0])
def test_moreau_envelopes_of_norms(order, t):
    scale, x = 0.7, np.asarray([0.9, -0.4, 0.05])
    solution = hopf_lax(hjpde.Norm(order, scale), hjpde.Quadratic())

    def cost(y):
        return scale * np.linalg.norm(y, order) + np.sum((x - y) ** 2) / (4 * t)

    options = {"xatol": 1e-11, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}
    starts = [x, np.zeros(3), x / 2, np.clip(x, -0.3, 0.3)]
    least = min(minimize(cost, start, method="Nelder-Mead", options=options).fun for start in starts)
    u = float(solution(t, x))
    assert u <= least + 1e-12
    assert u == pytest.approx(least, abs=1e-6)
    assert u == pytest.approx(float(solution.batch(t, x[None])[0]), abs=1e-15)


@given(x=st.lists(st.floats(-3, 3), min_size=3, max_size=3), t=st.floats(0.01, 5.0))
def test_envelopes_stay_below_the_datum_and_are_nonexpansive(x, t):
    x = jnp.asarray(x)
    for order in (1, 2, np.inf):
        datum = hjpde.Norm(order)
        solution = hopf_lax(datum, hjpde.Quadratic())
        u = float(solution(t, x))
        assert -1e-12 <= u <= datum(x) + 1e-12
        # The datum is Lipschitz in the Euclidean norm with L^2 = 3, 1, 1: it falls by at most t L^2.
        assert u >= datum(x) - t * {1: 3, 2: 1, np.inf: 1}[order] - 1e-12


@pytest.mark.parametrize("H", [hjpde.Quadratic(), hjpde.Eikonal(0.6)])
def test_cones(H):
    tips, heights = np.asarray([[0.0, 0.0], [1.0, 0.5], [-0.7, 0.4]]), np.asarray([0.0, -0.2, 1.0])
    slopes = np.asarray([1.0, 0.3, -0.8])
    solution, t = hopf_lax(hjpde.Cones(tips, heights, slopes), H), 0.5

    def cost(x):
        def total(points):
            lengths = np.linalg.norm(points[:, None] - tips[None], axis=2)
            data = np.min(heights + slopes * lengths, axis=1)
            speeds = np.linalg.norm(x - points, axis=1) / t
            return data + (t * speeds**2 / 4 if isinstance(H, hjpde.Quadratic) else np.where(speeds <= 0.6, 0, np.inf))

        return total

    for x in X:
        u, least = float(solution(t, x)), brute_force_minimum(cost(x), x, 2.0)
        assert u <= least + 1e-12
        assert u == pytest.approx(least, abs=1e-2)
    np.testing.assert_allclose(solution.batch(t, X), values(solution, jnp.full(3, t), jnp.asarray(X)), rtol=1e-14)
    assert np.all(np.isfinite(solution.gradient(t, tips[0])))


def test_a_euclidean_norm_under_an_eikonal_front():
    solution = hopf_lax(hjpde.Norm(2, 3.0), hjpde.Eikonal(2.0))
    assert solution(0.5, [3.0, 4.0]) == pytest.approx(3 * (5 - 1))
    assert solution(0.5, [0.3, 0.4]) == 0


def test_minima_of_paraboloids():
    precisions = np.stack([random_spd(RNG, 2) for _ in range(6)])
    slopes = RNG.normal(size=(6, 2))
    solution = hopf_lax(hjpde.GaussianMixture(Y, G, precisions, slopes=slopes), hjpde.Quadratic(A))
    expected = []
    for x in X:
        # Each component's minimum over the start y is that of a quadratic.
        inverse = np.linalg.inv(A) / (2 * T)
        costs = []
        for y0, g, P, s in zip(Y, G, precisions, slopes, strict=True):
            y = np.linalg.solve(P + inverse, inverse @ x + P @ y0 - s)
            costs.append(g + s @ (y - y0) + (y - y0) @ P @ (y - y0) / 2 + (x - y) @ inverse @ (x - y) / 2)
        expected.append(min(costs))
    np.testing.assert_allclose(solution.batch(T, X), expected, rtol=1e-12)
    np.testing.assert_allclose(values(solution, jnp.full(3, T), jnp.asarray(X)), expected, rtol=1e-12)


@pytest.mark.slow
def test_point_masses_with_a_running_cost():
    # The kernel of p^2 - q x^2/2 between y and x is that of an oscillator of frequency sqrt(2q).
    q, y, x = 0.9, 0.4, -0.7
    omega = np.sqrt(2 * q)
    solution = hopf_lax(hjpde.Atoms([[y]], [0.2]), hjpde.LinearQuadratic([[1.0]], Q=[[q]]))
    # The flow grows as exp(omega t), and its rounding with it: 1e-16 becomes 1e-11 over the longer time.
    for t, tolerance in ((1.3, 1e-12), (8.0, 1e-9)):
        cost = 0.2 + omega / 4 / np.sinh(omega * t) * ((x**2 + y**2) * np.cosh(omega * t) - 2 * x * y)
        assert float(values(solution, jnp.full(1, t), jnp.full((1, 1), x))[0]) == pytest.approx(cost, rel=tolerance)
        assert float(solution.batch(t, [[x]])[0]) == pytest.approx(cost, rel=tolerance)


def test_is_the_limit_of_hopf_cole():
    atoms = hjpde.Atoms(Y, G)
    inviscid = hopf_lax(atoms, hjpde.Quadratic(A)).batch(T, X)
    for eps in (0.1, 0.001):
        problem = hjpde.InitialValueProblem(atoms, hjpde.Quadratic(A), eps * A)
        u = hjpde.solve(problem, 1.0, solvers.HopfCole(normalised=False)).batch(T, X)
        assert np.all(u <= inviscid + 1e-12)
        assert np.all(u >= inviscid - eps * np.log(6) - 1e-12)


@given(shift=st.floats(-3, 3), rise=st.floats(0, 3))
def test_constants_translations_and_comparison(shift, rise):
    base = hopf_lax(hjpde.Atoms(Y, G), hjpde.Power(3.0)).batch(T, X)
    moved = hopf_lax(hjpde.Atoms(Y + shift, G + shift), hjpde.Power(3.0)).batch(T, X + shift)
    np.testing.assert_allclose(moved, base + shift, rtol=1e-9, atol=1e-11)
    higher = hopf_lax(hjpde.Atoms(Y, G + rise * np.arange(6)), hjpde.Power(3.0)).batch(T, X)
    assert np.all(higher >= base)


def test_refuses_what_it_cannot_solve():
    atoms = hjpde.Atoms(Y, G)
    with pytest.raises(ValueError, match=r"there is viscosity.*Those that do: HopfCole"):
        hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 0.1), 1.0, solvers.HopfLax())
    with pytest.raises(ValueError, match="not convex with a known conjugate"):
        hopf_lax(atoms, hjpde.MomentumFunction(jnp.sum))
    with pytest.raises(
        ValueError, match=r"no closed form is known for a MaxPlanes under a Quadratic.*Those that do: Hopf"
    ):
        hopf_lax(hjpde.MaxPlanes(Y, G), hjpde.Quadratic())
    concave = hjpde.MomentumFunction(lambda p: -(p @ p), "concave")
    for datum, H in [
        (hjpde.Norm(1), concave),
        (hjpde.Norm(2), hjpde.LinearQuadratic(A)),
        (hjpde.Cones(Y, G), hjpde.MomentumFunction(jnp.sum)),
        (hjpde.GaussianMixture(Y, G, 1.0, viscosity=0.1), hjpde.Transport(lambda t, x: x)),
    ]:
        with pytest.raises(ValueError, match=r"no closed form is known.*the minimisation needs a convex Hamiltonian"):
            hopf_lax(datum, H)
    for solution in (hopf_lax(atoms, hjpde.Eikonal()), hopf_lax(atoms, hjpde.Quadratic())):
        with pytest.raises(ValueError, match=r"`t` = 0 cannot be evaluated: .*`t` > 0"):
            solution(0.0, X[0])


@pytest.mark.slow
def test_transport_carries_any_datum_along():
    velocity = jnp.array([0.5, -1.0])
    datum = lambda x: jnp.sin(x[0]) * x[1]  # noqa: E731
    solution = hjpde.solve(hjpde.InitialValueProblem(datum, hjpde.Transport(velocity)), 1.0)
    x = jnp.array([0.3, 0.8])
    np.testing.assert_allclose(solution(0.7, x), datum(x - 0.7 * velocity), rtol=1e-14)
    p = solution.gradient(0.7, x)
    np.testing.assert_allclose(solution.time_derivative(0.7, x), -velocity @ p, rtol=1e-13)
    # A velocity that depends on time and place is no affair of the formula, but of characteristics.
    varying = hjpde.solve(hjpde.InitialValueProblem(datum, hjpde.Transport(lambda t, x: t * x)), 1.0)
    assert varying.stats["solver"].startswith("Characteristics")
    np.testing.assert_allclose(varying(0.7, x), datum(x * jnp.exp(-(0.7**2) / 2)), rtol=1e-8)
