"""The problems' exact solutions solve their equations, and the solvers find them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import problems

TIMES, POINTS = (0.05, 0.7), (-1.7, 0.1, 2.2)
EXACT = [problems.ColeHopfCosine(0.1, 0.5), problems.ColeHopfCosine(0.5, 0.9), problems.ViscousCone(0.1)]


@eqx.filter_jit
def residual(exact, t, x):
    u_t, p = jax.grad(lambda t, x: exact(t, x), argnums=(0, 1))(t, x)
    laplacian = jnp.trace(jax.hessian(lambda x: exact(t, x))(x))
    return u_t + p @ p - exact.viscosity * laplacian


@pytest.mark.parametrize("exact", EXACT, ids=lambda exact: type(exact).__name__)
def test_the_exact_solution_solves_the_equation_and_starts_from_the_datum(exact):
    for t in TIMES:
        for x in POINTS:
            assert abs(residual(exact, t, jnp.array([x]))) < 1e-11
    for x in POINTS:
        point = jnp.array([x])
        np.testing.assert_allclose(exact(0.0, point), exact.problem.initial_data(point), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(exact(1e-9, point), exact(0.0, point), atol=1e-6)


@pytest.mark.parametrize("exact", EXACT, ids=lambda exact: type(exact).__name__)
def test_the_quadrature_finds_it_within_its_own_estimate(exact):
    solution = hjpde.solve(exact.problem, 1.0)
    evaluate = eqx.filter_jit(lambda s, t, x: (s(t, x), s.standard_error(t, x)))
    for t in TIMES:
        for x in POINTS:
            value, estimate = evaluate(solution, t, jnp.array([x]))
            assert abs(value - exact(t, jnp.array([x]))) <= 10 * estimate + 1e-12


def test_the_cone_tends_to_hubers_function():
    x, t = jnp.array([1.3]), 0.4
    huber = hjpde.solve(hjpde.InitialValueProblem(hjpde.Norm(2), hjpde.Quadratic()), t)
    # Away from the kink the datum is affine over the reach of the noise, so the gap is exponentially small.
    assert abs(problems.ViscousCone(0.005)(t, x) - huber(t, x)) < 1e-12


@pytest.mark.parametrize("amplitude", [0.0, 1.0, -0.5])
def test_an_amplitude_out_of_range_is_refused(amplitude):
    with pytest.raises(ValueError, match="`amplitude`"):
        problems.ColeHopfCosine(0.1, amplitude)


def test_a_viscosity_of_zero_is_refused():
    with pytest.raises(ValueError, match="`viscosity` must be positive"):
        problems.ViscousCone(0.0)
