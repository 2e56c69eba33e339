"""Hopf-Cole for any datum: the quadrature against closed forms, the sampling against its own standard error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from _helpers import estimates, jets, random_spd
from scipy.special import log_ndtr

import hjpde
from hjpde import solvers

EPS = 0.1


def hopf_cole(datum, hamiltonian=None, viscosity: object = EPS, **options):
    problem = hjpde.InitialValueProblem(datum, hamiltonian or hjpde.Quadratic(), viscosity)  # pyright: ignore
    return hjpde.solve(problem, 1.0, solvers.HopfCole(**options))


def _absolute_value(t, x):
    """The solution that starts from `|y|` in one dimension: two half-lines, each an error function."""
    variance = 2 * EPS * t
    halves = [
        -sign * x / EPS + variance / (2 * EPS**2) + log_ndtr((sign * x - variance / EPS) / np.sqrt(variance))
        for sign in (1, -1)
    ]
    return -EPS * np.logaddexp(*halves)


@pytest.mark.slow
def test_the_absolute_value():
    solution = hopf_cole(lambda y: jnp.abs(y[0]))
    assert solution.stats["solver"] == "HopfCole, Gaussian integral"
    ts, xs = (a.ravel() for a in np.meshgrid([0.01, 0.5, 5.0, 50.0], [0.0, 0.3, -1.7]))
    u, errors = estimates(solution, jnp.asarray(ts), jnp.asarray(xs)[:, None])
    exact = np.asarray([_absolute_value(t, x) for t, x in zip(ts, xs, strict=True)])
    true = np.abs(u - exact)
    assert np.all(true <= 1e-5)
    # The estimate bounds the error, up to rounding.
    assert np.all(true <= 10 * errors + 1e-13)
    np.testing.assert_allclose(solution.batch(0.5, jnp.asarray(xs[1::4])[:, None]), u[1::4], rtol=1e-13)


class _Opaque(eqx.Module):
    """A datum of which the solver knows nothing; one program serves all mixtures of one size."""

    inner: hjpde.GaussianMixture

    def __call__(self, y):
        return self.inner(y)


def _mixtures(d):
    rng = np.random.default_rng(d)
    Y, g, W = rng.normal(size=(5, d)), rng.normal(size=5) * 0.3, rng.normal(size=(5, d))
    alone = np.asarray([0.0, *[np.inf] * 4])
    return {
        "form": hjpde.GaussianMixture(Y, alone, random_spd(rng, d), W, EPS),
        "planes": hjpde.GaussianMixture(Y, g, 0.0, W, EPS),
        "wells": hjpde.GaussianMixture(Y, g, [1.0, 3.0, 0.5, 2.0, 1.0], viscosity=EPS),
    }


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 3))])
def test_quadrature_against_closed_forms(d):
    ts, X = jnp.asarray([0.01, 0.5]), jnp.asarray(np.random.default_rng(7).normal(size=(2, d)))
    for kind, mixture in _mixtures(d).items():
        u, errors = estimates(hopf_cole(_Opaque(mixture)), ts, X)
        true = np.abs(u - estimates(hopf_cole(mixture), ts, X)[0])
        assert np.all(true <= 10 * errors + 1e-12), kind
        # The wells are not convex: several minima, of which the rule is centred at one.
        assert np.all(true <= (1e-11 if kind == "form" else 1e-4)), kind


@pytest.mark.slow
def test_gradients_and_hessians_of_the_quadrature():
    datum = hjpde.QuadraticForm([[2.0, 0.3], [0.3, 1.0]], [0.5, -1.0])
    solution, exact = hopf_cole(lambda y: datum(y)), hopf_cole(datum)
    ts, X = jnp.asarray([0.7]), jnp.asarray([[0.4, -0.9]])
    for one, other in zip(jets(solution, ts, X), jets(exact, ts, X), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.slow
def test_quadrature_with_drift_and_cost():
    A, B, c = np.asarray([[0.8, 0.1], [0.1, 0.5]]), np.asarray([[0.2, -0.7], [0.6, 0.1]]), np.asarray([0.3, -0.2])
    H, datum = hjpde.LinearQuadratic(A, B, c, np.eye(2)), hjpde.QuadraticForm([[2.0, 0.3], [0.3, 1.0]], [0.5, -1.0])
    ts, X = jnp.asarray([0.2, 0.7]), jnp.asarray([[0.4, -0.9], [1.0, 0.2]])
    u, _ = estimates(hopf_cole(lambda y: datum(y), H, EPS * A), ts, X)
    expected, _ = estimates(hopf_cole(datum, H, EPS * A), ts, X)
    np.testing.assert_allclose(u, expected, rtol=1e-10)


@pytest.mark.slow
def test_a_soft_minimum_at_another_temperature_is_a_function():
    # At a hundredth of the problem's temperature it is all but |y| = -min(y, -y), turned round: the planes' minimum.
    datum = hjpde.SoftMinPlanes([[1.0], [-1.0]], [0.0, 0.0], 0.0)
    solution = hopf_cole(datum)
    assert solution.stats["solver"] == "HopfCole, Gaussian integral"
    # phi = exp(|y|/eps): the sum of two half-lines, each tilted by the opposite plane's error function.
    t, x, variance = 0.4, 0.3, 2 * EPS * 0.4
    halves = [
        sign * x / EPS + variance / (2 * EPS**2) + log_ndtr((sign * x + variance / EPS) / np.sqrt(variance))
        for sign in (1, -1)
    ]
    u, error = estimates(solution, jnp.asarray([t]), jnp.asarray([[x]]))
    assert abs(u[0] + EPS * np.logaddexp(*halves)) <= max(10 * error[0], 1e-9)


def _smooth(y):
    return 0.7 * y @ y + y[0]


def _double_well(y):
    return jnp.sum((y**2 - 0.25) ** 2)


@pytest.mark.slow
def test_sampling_of_a_convex_datum():
    d = 8
    form = hjpde.QuadraticForm(1.4 * np.eye(d), np.eye(d)[0])
    X = jnp.asarray(np.random.default_rng(0).normal(size=(3, d)))
    ts = jnp.asarray([0.01, 0.5, 5.0])
    expected, _ = estimates(hopf_cole(form), ts, X)
    scores = []
    for seed in range(4):
        u, errors = estimates(hopf_cole(_smooth, key=jr.key(seed)), ts, X)
        assert np.all(errors < 0.02)
        scores.append((u - expected) / errors)
    assert np.all(np.abs(scores) <= 4)
    # The standard error is one: the scores' spread is that of a normal distribution, not much less.
    assert 0.3 < np.sqrt(np.mean(np.square(scores))) < 2


@pytest.mark.slow
def test_sampling_of_a_datum_that_is_not_convex():
    # The datum is a sum over coordinates: the solution is the sum of eight solutions in one dimension.
    d = 8
    x, t = np.random.default_rng(1).normal(size=d) * 0.7, 0.5
    y = np.linspace(-8, 8, 40_001)
    integrals = -((y**2 - 0.25) ** 2 + (x[:, None] - y) ** 2 / (4 * t)) / EPS
    expected = -EPS * np.sum(
        np.logaddexp.reduce(integrals, axis=1) + np.log((y[1] - y[0]) / np.sqrt(4 * np.pi * EPS * t))
    )
    for seed in range(4):
        u, error = estimates(hopf_cole(_double_well, key=jr.key(seed)), jnp.asarray([t]), jnp.asarray(x)[None])
        assert abs(u[0] - expected) <= 4 * error[0]
        assert error[0] < 0.05


@pytest.mark.slow
def test_a_solution_is_a_function_and_its_key_matters():
    t, X = jnp.asarray([0.5]), jnp.ones((1, 8))
    one, same, other = (estimates(hopf_cole(_smooth, **o), t, X)[0] for o in ({}, {}, {"key": jr.key(3)}))
    assert one[0] == same[0]
    assert one[0] != other[0]


def test_a_datum_that_is_no_scalar_is_named():
    with pytest.raises(
        ValueError, match=r"`initial_data` must map a point of shape \(1,\) to a scalar, got shape \(1,\)"
    ):
        hopf_cole(lambda y: y)(0.3, [0.1])
    with pytest.raises(ValueError, match=r"`t` = 0 cannot be evaluated: take `t` > 0"):
        hopf_cole(jnp.sum)(0.0, [0.1])


def test_derivatives_in_the_datum():
    def value(a):
        return hopf_cole(lambda y: a * y[0] ** 2)(0.3, jnp.asarray([0.5]))

    # u = a x^2 / (1 + 4at) + (eps/2) log(1 + 4at).
    a, t, x = 0.8, 0.3, 0.5
    expected = x**2 / (1 + 4 * a * t) ** 2 + EPS / 2 * 4 * t / (1 + 4 * a * t)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(a), expected, rtol=1e-8)
