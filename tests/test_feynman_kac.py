"""Feynman-Kac against exact solutions, in units of its own standard error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hjpde
from hjpde import problems, solvers
from hjpde.solvers.paths._semidefinite_root import semidefinite_root

DOUBLE = jnp.result_type(float) == jnp.float64
needs_digits = pytest.mark.skipif(not DOUBLE, reason="differences need digits")
X, T, EPS = jnp.array([0.7]), 1.0, 0.3


def ornstein_uhlenbeck(datum=None):
    return hjpde.InitialValueProblem(_square if datum is None else datum, hjpde.Transport(_inwards), EPS)


def _square(x):
    return x @ x


def _inwards(t, x):
    return x


def _bent(x):
    return jnp.cos(x[0]) + x @ x / 4


def in_standard_errors(problem, exact, seeds, **options):
    """The errors of many seeds, each by its own standard error, in one compiled function."""

    @jax.jit
    def one(key):
        solution = hjpde.solve(problem, T, solvers.FeynmanKac(key=key, **options))
        return (solution(T, X) - exact) / solution.standard_error(T, X)

    return np.asarray(jax.lax.map(one, jr.split(jr.key(7), seeds)))


def standard_error(problem, x=X, t=T, **options):
    return float(hjpde.solve(problem, t, solvers.FeynmanKac(**options)).standard_error(t, x))


@pytest.mark.slow
@pytest.mark.parametrize("control_variate", [False, True])
def test_a_variable_diffusion_within_four_standard_errors(control_variate):
    exact = problems.VariableDiffusion()
    errors = in_standard_errors(
        exact.problem, exact(T, X), 20, n_paths=512, n_steps=16, control_variate=control_variate
    )
    assert np.all(np.abs(errors) < 4)
    assert np.std(errors) > 0.4


def test_an_ornstein_uhlenbeck_process_within_four_standard_errors():
    exact = X[0] ** 2 * np.exp(-2 * T) + EPS * (1 - np.exp(-2 * T))
    errors = in_standard_errors(ornstein_uhlenbeck(), exact, 20, n_paths=512, n_steps=16, control_variate=False)
    assert np.all(np.abs(errors) < 4)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [False, True])
def test_the_logarithm_of_a_mean_within_four_standard_errors(shift):
    problem = hjpde.InitialValueProblem(_bent, hjpde.Quadratic(), EPS)
    exact = hjpde.solve(problem, T, solvers.HopfCole())(T, X)
    errors = in_standard_errors(problem, exact, 20, n_paths=1024, shift=shift)
    assert np.all(np.abs(errors) < 4)
    assert np.std(errors) > 0.4


@pytest.mark.slow
def test_drift_and_running_cost_of_a_linear_quadratic_problem():
    H = hjpde.LinearQuadratic([[1.0]], B=[[0.5]], c=[0.2], Q=[[0.3]])
    datum = hjpde.QuadraticForm([[0.8]])
    problem = hjpde.InitialValueProblem(datum, H, EPS * jnp.eye(1))
    exact = hjpde.solve(problem, T, solvers.HopfCole())
    solution = hjpde.solve(problem, T, solvers.FeynmanKac(1024))
    error = float(solution(T, X) - exact(T, X))
    assert abs(error) < 4 * float(solution.standard_error(T, X))
    assert float(solution.standard_error(T, X)) < 0.05


@pytest.mark.slow
def test_the_control_variate_is_exact_for_a_quadratic_payoff():
    plain = standard_error(ornstein_uhlenbeck(), n_paths=64, n_steps=8, control_variate=False)
    variate = standard_error(ornstein_uhlenbeck(), n_paths=64, n_steps=8)
    assert variate < (1e-10 if DOUBLE else 1e-4) * plain


@pytest.mark.slow
def test_the_control_variate_reduces_the_variance_of_a_variable_diffusion():
    problem = problems.VariableDiffusion().problem
    plain = standard_error(problem, n_paths=512, n_steps=8, control_variate=False)
    assert standard_error(problem, n_paths=512, n_steps=8) < 0.6 * plain


@pytest.mark.slow
def test_the_standard_error_falls_with_the_root_of_the_paths():
    problem = hjpde.InitialValueProblem(_bent, hjpde.Quadratic(), EPS)
    few, many = (standard_error(problem, n_paths=n) for n in (1024, 16384))
    assert many / few == pytest.approx(1 / 4, rel=0.15)


@pytest.mark.slow
@needs_digits
def test_the_weak_order_of_the_steps():
    # Without noise in the payoff's mean: x under dX = -X ds + dW has the mean x e^{-t}, and pairs make it exact.
    problem = ornstein_uhlenbeck(lambda x: x[0])
    errors, biases = [], []
    for n in (8, 16):
        solution = hjpde.solve(problem, T, solvers.FeynmanKac(4, n_steps=n, control_variate=False))
        errors.append(abs(float(solution(T, X)) - 0.7 * np.exp(-1)))
        biases.append(abs(float(solution.evaluator.time_step_bias(T, X))))
    assert np.log2(biases[0] / biases[1]) == pytest.approx(2, abs=0.3)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.3)


@pytest.mark.slow
@needs_digits
@pytest.mark.parametrize("kind", [pytest.param("paths", marks=pytest.mark.slow), "logarithm"])
def test_gradients_are_those_of_the_function(kind):
    if kind == "paths":
        problem = ornstein_uhlenbeck(lambda x: jnp.sin(x[0]))
        solver = solvers.FeynmanKac(64, n_steps=4, control_variate=False)
    else:
        problem, solver = hjpde.InitialValueProblem(_bent, hjpde.Quadratic(), EPS), solvers.FeynmanKac(64)
    solution, h = hjpde.solve(problem, T, solver), 1e-5
    difference = (solution(T, X + h) - solution(T, X - h)) / (2 * h)
    np.testing.assert_allclose(solution.gradient(T, X)[0], difference, rtol=1e-6)
    rate = (solution(T + h, X) - solution(T - h, X)) / (2 * h)
    np.testing.assert_allclose(solution.time_derivative(T, X), rate, rtol=1e-6)
    forward = jax.jvp(lambda x: solution.evaluator(jnp.asarray(T), x), (X,), (jnp.ones(1),))[1]
    np.testing.assert_allclose(forward, difference, rtol=1e-6)


@pytest.mark.slow
def test_few_effective_samples_are_told():
    # A narrow well five standard deviations away.
    problem = hjpde.InitialValueProblem(lambda x: 10 * jnp.sum((x - 4) ** 2), hjpde.Quadratic(), 0.05)
    lost = hjpde.solve(problem, 0.2, solvers.FeynmanKac(256))
    assert float(lost.evaluator.effective_sample_size(0.2, jnp.zeros(1))) < 10
    assert np.isfinite(lost(0.2, [0.0]))
    assert np.isinf(lost.standard_error(0.2, [0.0]))
    shifted = hjpde.solve(problem, 0.2, solvers.FeynmanKac(256, shift=True))
    assert float(shifted.evaluator.effective_sample_size(0.2, jnp.zeros(1))) > 50
    exact = hjpde.solve(problem, 0.2, solvers.HopfCole())(0.2, [0.0])
    assert abs(float(shifted(0.2, [0.0]) - exact)) < 4 * float(shifted.standard_error(0.2, [0.0]))
    assert int(shifted.stats["n_paths"]) == 256


def test_a_root_of_a_singular_matrix():
    for matrix in (jnp.diag(jnp.array([0.0, 4.0, 0.0])), jnp.array([[1.0, 2.0], [2.0, 4.0]]), jnp.zeros((2, 2))):
        root = semidefinite_root(matrix)
        np.testing.assert_allclose(root @ root.T, matrix, atol=1e-6)
    definite = jnp.array([[2.0, 0.3], [0.3, 1.0]])
    np.testing.assert_allclose(semidefinite_root(definite), jnp.linalg.cholesky(definite), rtol=1e-6)


@pytest.mark.slow
def test_a_solution_is_a_function_and_streams():
    solution = hjpde.solve(ornstein_uhlenbeck(), T, solvers.FeynmanKac(32, n_steps=2, control_variate=False))
    points = jnp.array([[0.7], [-0.2]])
    one = eqx.filter_jit(lambda x: solution(T, x))
    np.testing.assert_allclose(solution.batch(T, points), [one(x) for x in points], rtol=1e-6)


def test_refusals():
    def refused(problem, match):
        with pytest.raises(ValueError, match=match):
            hjpde.solve(problem, 1.0, solvers.FeynmanKac())

    refused(hjpde.InitialValueProblem(_square, hjpde.Quadratic()), "there is no viscosity")
    refused(hjpde.InitialValueProblem(_square, hjpde.Eikonal(), 0.1), "neither linear")
    noise = jnp.diag(jnp.array([0.1, 0.2]))
    refused(hjpde.InitialValueProblem(_square, hjpde.Quadratic(), noise), "must be eps \\* A")
    refused(hjpde.InitialValueProblem(hjpde.Atoms([[0.0]], [0.0]), hjpde.Quadratic(), 0.1), "point masses")
    walls = hjpde.Domain([0.0], [1.0], boundary=hjpde.Dirichlet(0.0))
    refused(hjpde.InitialValueProblem(_square, hjpde.Transport([1.0]), 0.1, domain=walls), "has a Dirichlet condition")
    torus = hjpde.Domain([0.0], [1.0], periodic=True)
    refused(hjpde.InitialValueProblem(_square, hjpde.Transport([1.0]), 0.1, domain=torus), "one period further")
    for n_paths in (2, 3):
        with pytest.raises(ValueError, match="`n_paths` must be an even number"):
            solvers.FeynmanKac(n_paths)
    with pytest.raises(ValueError, match="`n_steps` must be an even number"):
        solvers.FeynmanKac(n_steps=5)
