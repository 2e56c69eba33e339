"""Initial-value problems: temperatures, dimensions, viscosity, and what `solve` refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers
from hjpde._constraint import Constraint
from hjpde._viscosity import MatrixViscosity, NoViscosity, ScalarViscosity, VariableViscosity, as_viscosity

A = np.asarray([[2.0, 0.5], [0.5, 1.0]])
ATOMS = hjpde.Atoms(np.eye(2), np.zeros(2))
PLANES = hjpde.SoftMinPlanes(np.eye(2), np.zeros(2))


def _planes_in(problem):
    assert isinstance(problem.initial_data, hjpde.SoftMinPlanes)
    return problem.initial_data


def test_a_datum_takes_the_temperature_of_the_problem():
    assert _planes_in(hjpde.InitialValueProblem(PLANES, hjpde.Quadratic(), 0.3)).viscosity == 0.3
    anisotropic = hjpde.InitialValueProblem(PLANES, hjpde.Quadratic(A), 0.3 * A)
    np.testing.assert_allclose(np.asarray(_planes_in(anisotropic).viscosity), 0.3, rtol=1e-14)
    np.testing.assert_allclose(anisotropic.temperature(), 0.3, rtol=1e-14)
    inviscid = hjpde.InitialValueProblem(PLANES, hjpde.Quadratic())
    assert _planes_in(inviscid).hard
    assert inviscid.temperature() == 0
    own = hjpde.SoftMinPlanes(np.eye(2), np.zeros(2), 0.7)
    assert _planes_in(hjpde.InitialValueProblem(own, hjpde.Quadratic(), 0.3)).viscosity == 0.7
    # No matrix of the Hamiltonian's own: N = eps I.
    assert hjpde.InitialValueProblem(PLANES, hjpde.Eikonal(), 0.3).temperature() == 0.3
    np.testing.assert_allclose(hjpde.InitialValueProblem(PLANES, hjpde.Eikonal(), 0.3 * np.eye(2)).temperature(), 0.3)


def test_the_identity_may_be_given_in_every_form():
    problems = [
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), 0.3),
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(np.eye(2)), 0.3),
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), 0.3 * np.eye(2)),
        hjpde.InitialValueProblem(ATOMS, hjpde.LinearQuadratic(np.eye(2)), 0.3),
    ]
    u = [hjpde.solve(problem, 1.0)(1.0, [0.2, 0.4]) for problem in problems]
    np.testing.assert_allclose(u, u[0], rtol=1e-13)


def test_dimensions():
    assert hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic()).dim == 2
    assert hjpde.InitialValueProblem(jnp.sum, hjpde.Quadratic(), 0.1).dim is None
    assert hjpde.InitialValueProblem(jnp.sum, hjpde.Quadratic(), np.eye(3)).dim == 3
    assert hjpde.InitialValueProblem(jnp.sum, hjpde.Transport([1.0])).dim == 1
    with pytest.raises(ValueError, match=r"dimensions disagree: `initial_data` has d = 2, `hamiltonian` has d = 3"):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(np.eye(3)))
    with pytest.raises(ValueError, match=r"dimensions disagree: `initial_data` has d = 2, `viscosity` has d = 3"):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), np.eye(3))
    box = hjpde.Domain([0, 0, 0], 1.0)
    assert hjpde.InitialValueProblem(jnp.sum, hjpde.Quadratic(), domain=box).dim == 3
    with pytest.raises(ValueError, match=r"dimensions disagree: `initial_data` has d = 2, `domain` has d = 3"):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), domain=box)


def test_a_problem_holds_its_domain_and_constraint():
    plain = hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic())
    assert plain.domain is None
    assert plain.constraint is None
    domain, tube = hjpde.Domain([0, 0], 1.0), Constraint(monotone="decreasing")
    problem = hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), domain=domain, constraint=tube)
    assert problem.domain is domain
    assert problem.constraint is tube
    # The annotations are checked in tests, so here their error may come first.
    with pytest.raises(Exception, match="domain"):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), domain=[0.0, 1.0])  # pyright: ignore
    with pytest.raises(Exception, match="constraint"):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), constraint="decreasing")  # pyright: ignore


def test_viscosity_in_every_form():
    x = jnp.zeros(2)
    for value in (0, 0.0, np.zeros((2, 2))):
        assert isinstance(as_viscosity(value), NoViscosity)
    forms = [
        (0, NoViscosity, np.zeros((2, 2))),
        (0.5, ScalarViscosity, 0.5 * np.eye(2)),
        (A, MatrixViscosity, A),
        (lambda t, x: t * jnp.eye(2), VariableViscosity, 3 * np.eye(2)),
    ]
    for value, kind, matrix in forms:
        viscosity = as_viscosity(value)
        assert isinstance(viscosity, kind)
        assert as_viscosity(viscosity) is viscosity
        np.testing.assert_array_equal(viscosity.matrix(3.0, x), matrix)
    # Semidefinite is allowed: noise may act in one direction only.
    assert isinstance(as_viscosity(np.diag([1.0, 0.0])), MatrixViscosity)


@pytest.mark.parametrize(
    "value, message",
    [
        (-0.1, "`viscosity` must be positive and finite, got -0.1"),
        (np.nan, "`viscosity` must be positive and finite, got nan"),
        (np.inf, "`viscosity` must be positive and finite"),
        (np.ones(2), r"`viscosity` must be a number, a square matrix or a function, got shape \(2,\)"),
        (np.ones((2, 3)), r"got shape \(2, 3\)"),
        (np.triu(np.ones((2, 2))), "`viscosity` must be symmetric"),
        (np.diag([1.0, -1.0]), "`viscosity` must be positive semidefinite, got the eigenvalue -1"),
        (np.full((2, 2), np.nan), "`viscosity` must be finite"),
    ],
)
def test_refuses_a_viscosity(value, message):
    with pytest.raises(ValueError, match=message):
        hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), value)


def test_refuses_a_temperature():
    for viscosity in (0.1, 0.1 * np.diag([1.0, 2.0])):
        problem = hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(A), viscosity)
        with pytest.raises(ValueError, match=r"`viscosity` must be eps \* A.* relative mismatch"):
            problem.temperature()
    with pytest.raises(ValueError, match="depends on time and place"):
        hjpde.InitialValueProblem(PLANES, hjpde.Quadratic(), lambda t, x: jnp.eye(2))


def test_a_traced_mismatch_is_a_runtime_error():
    @jax.jit
    def temperature(N):
        return hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(A), N).temperature()

    np.testing.assert_allclose(temperature(0.2 * A), 0.2, rtol=1e-14)
    with pytest.raises(Exception, match=r"`viscosity` must be eps \* A"):
        jax.block_until_ready(temperature(np.eye(2)))


@pytest.mark.parametrize(
    "t, message",
    [
        (0.0, "`t` must be positive and finite"),
        (-1.0, "`t` must be positive and finite"),
        (np.nan, "`t` must be positive and finite"),
        (np.inf, "`t` must be positive and finite"),
        ([1.0, 1.0], "`t` must be increasing"),
        ([2.0, 1.0], "`t` must be increasing"),
        (np.zeros((2, 2)), r"`t` must be a scalar or a vector of times, got shape \(2, 2\)"),
        (np.zeros(0), r"`t` must be a scalar or a vector of times, got shape \(0,\)"),
        (1j, "`t` must be real"),
    ],
)
def test_refuses_times(t, message):
    with pytest.raises(ValueError, match=message):
        hjpde.solve(hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), 0.1), t)


def test_times_are_saved_as_given():
    problem = hjpde.InitialValueProblem(ATOMS, hjpde.Quadratic(), 0.1)
    np.testing.assert_array_equal(hjpde.solve(problem, [1, 2]).ts, [1.0, 2.0])
    np.testing.assert_array_equal(hjpde.solve(problem, 3).ts, [3.0])


@pytest.mark.parametrize(
    "datum, hamiltonian, viscosity, name",
    [
        (ATOMS, hjpde.Quadratic(), 0.1, "HopfCole, Atoms in closed form"),
        (PLANES, hjpde.Quadratic(), 0.1, "HopfCole, SoftMinPlanes in closed form"),
        (hjpde.QuadraticForm(np.eye(2)), hjpde.Quadratic(), 0.1, "HopfCole, GaussianMixture in closed form"),
        (jnp.sum, hjpde.Quadratic(), 0.1, "HopfCole, Gaussian integral"),
        # A soft minimum at another temperature than the problem's is a function like any other.
        (hjpde.SoftMinPlanes(np.eye(2), np.zeros(2), 0.2), hjpde.Quadratic(), 0.1, "HopfCole, Gaussian integral"),
        (ATOMS, hjpde.Quadratic(), 0.0, "HopfLax, Atoms in closed form"),
        (ATOMS, hjpde.Eikonal(), 0.0, "HopfLax, Atoms in closed form"),
        (PLANES, hjpde.Power(3.0), 0.0, "Hopf, minimum of planes"),
        (hjpde.Norm(), hjpde.Quadratic(), 0.0, "HopfLax, Norm in closed form"),
        (hjpde.MaxPlanes(np.eye(1), np.zeros(1)), hjpde.Quadratic(), 0.0, "Hopf, maximum of planes"),
    ],
)
def test_the_most_exact_solver_is_taken_and_named(datum, hamiltonian, viscosity, name):
    solution = hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian, viscosity), 1.0)
    assert solution.stats["solver"] == name


def test_no_solver_is_an_error_with_all_reasons():
    problem = hjpde.InitialValueProblem(jnp.sum, hjpde.LinearQuadratic(np.eye(2)))
    with pytest.raises(ValueError, match=r"`solver`: none applies to this problem\. HopfCole: .*HopfLax: .*Hopf: "):
        hjpde.solve(problem, 1.0)
    with pytest.raises(ValueError, match=r"HopfLax does not apply: .*No other solver applies without a `domain`"):
        hjpde.solve(problem, 1.0, solvers.HopfLax())


def test_data_and_hamiltonians_of_other_kinds_are_refused():
    # The annotations are checked in tests, so the errors of a run without them are seen in test_precision.py.
    with pytest.raises(Exception, match="initial_data"):
        hjpde.InitialValueProblem(3.0, hjpde.Quadratic())  # pyright: ignore
    with pytest.raises(Exception, match="hamiltonian"):
        hjpde.InitialValueProblem(ATOMS, lambda p: p)  # pyright: ignore


@pytest.mark.slow
@pytest.mark.parametrize("viscosity", [0.0, 0.1])
def test_problems_may_be_constants_of_a_compiled_function(viscosity):
    data = [ATOMS, PLANES, hjpde.GaussianMixture(np.eye(2), np.zeros(2), 1.0), hjpde.QuadraticForm(np.eye(2))]
    for datum in data + ([hjpde.MaxPlanes(np.eye(2), np.zeros(2)), hjpde.Norm()] if viscosity == 0 else []):
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), viscosity)
        solved = jax.jit(lambda x, problem=problem: hjpde.solve(problem, 1.0).evaluator(jnp.ones(()), x))
        assert np.isfinite(solved(jnp.asarray([0.3, 0.4])))


def test_problems_may_be_built_in_a_compiled_function():
    @jax.jit
    def f(x):
        first = hjpde.InitialValueProblem(hjpde.SoftMinPlanes(np.eye(2), np.zeros(2)), hjpde.Quadratic(), 0.1)
        second = hjpde.InitialValueProblem(PLANES, hjpde.Quadratic(A), 0.1 * A)
        return hjpde.solve(first, 1.0)(1.0, x) + hjpde.solve(second, 1.0)(1.0, x)

    assert np.isfinite(f(jnp.ones(2)))
