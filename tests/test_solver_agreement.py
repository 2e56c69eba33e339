"""Every solver that applies to a problem gives what every other one gives there: the whole table of pairs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers

T = 0.3
WINDOW = hjpde.Domain([-4.0], [4.0])
CIRCLE = hjpde.Domain([0.0], [2 * np.pi], periodic=True)
X = jnp.asarray([[0.3], [0.8], [1.1], [-0.4], [1.9]])

EVERY = {
    "HopfCole": lambda grid: solvers.HopfCole(),
    "HopfLax": lambda grid: solvers.HopfLax(),
    "Hopf": lambda grid: solvers.Hopf(),
    "GridHopfLax": solvers.GridHopfLax,
    "GridHopfCole": solvers.GridHopfCole,
    "Spectral": solvers.Spectral,
    "FiniteDifference": lambda grid: solvers.FiniteDifference(grid, order=3),
    "Characteristics": lambda grid: solvers.Characteristics(),
    "FeynmanKac": lambda grid: solvers.FeynmanKac(4096),
}
"""All solvers of the package, each from a grid over the problem's domain."""

ROOM = {"GridHopfLax": 1e-5, "GridHopfCole": 1e-8, "Spectral": 1e-7, "FiniteDifference": 2e-4}
"""How far a solver may be off on 128 nodes with smooth data; those that are not here are exact or say how far."""


def bowl(x):
    return 0.3 * x[0] ** 2 - 0.2 * x[0]


def wave(x):
    return 0.4 * jnp.sin(x[0])


def problem(datum, hamiltonian, viscosity=0.0, domain=WINDOW):
    return hjpde.InitialValueProblem(datum, hamiltonian, viscosity, domain=domain)


FORM = hjpde.QuadraticForm([[0.6]], [-0.2])
TABLE = {
    "a bowl": (problem(FORM, hjpde.Quadratic()), "HopfLax Hopf GridHopfLax FiniteDifference Characteristics"),
    "a bowl given as a function": (
        problem(bowl, hjpde.Quadratic()),
        "HopfLax Hopf GridHopfLax FiniteDifference Characteristics",
    ),
    "a quartic Hamiltonian": (
        problem(wave, hjpde.Power(4.0), domain=CIRCLE),
        "GridHopfLax FiniteDifference Characteristics",
    ),
    "a wave before its first crossing": (
        problem(wave, hjpde.Quadratic(), domain=CIRCLE),
        "GridHopfLax FiniteDifference Characteristics",
    ),
    "a viscous bowl": (
        problem(FORM, hjpde.Quadratic(), 0.1),
        "HopfCole GridHopfCole FiniteDifference FeynmanKac",
    ),
    "a viscous wave": (
        problem(wave, hjpde.Quadratic(), 0.1, CIRCLE),
        "GridHopfCole Spectral FiniteDifference FeynmanKac",
    ),
    "a wave carried along": (
        problem(wave, hjpde.Transport([0.7]), domain=WINDOW),
        "HopfLax FiniteDifference Characteristics",
    ),
    "a wave carried along and spread": (
        problem(wave, hjpde.Transport(lambda t, x: 1 + 0.3 * jnp.sin(x)), 0.1, CIRCLE),
        "Spectral FiniteDifference FeynmanKac",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a bowl", *(pytest.param(name, marks=pytest.mark.slow) for name in TABLE if name != "a bowl")]
)
def test_all_that_apply_agree(name):
    posed, expected = TABLE[name]
    assert posed.domain is not None
    grid = solvers.Grid.over(posed.domain, 128)
    every = {name: make(grid) for name, make in EVERY.items()}
    apply = {name: solver for name, solver in every.items() if solver.why_not(posed) is None}
    assert list(apply) == expected.split()
    values, rooms = {}, {}
    for solver_name, solver in apply.items():
        solution = hjpde.solve(posed, T, solver)
        values[solver_name] = solution.batch(T, X)
        if solver_name in ROOM:
            rooms[solver_name] = ROOM[solver_name]
        else:
            errors = jax.vmap(lambda x, solution=solution: solution.standard_error(T, x))(X)
            rooms[solver_name] = 4 * errors + 1e-9
    for one, other in itertools.combinations(apply, 2):
        off = jnp.abs(values[one] - values[other])
        assert jnp.all(off <= rooms[one] + rooms[other]), f"{one} and {other} differ by up to {off.max():.2e}"
    # What is taken without asking is one of them, and the first of the table that is meant for the problem.
    chosen = hjpde.solve(posed, T)
    assert jnp.all(jnp.abs(chosen.batch(T, X) - values[next(iter(apply))]) <= rooms[next(iter(apply))] + 1e-5)


@pytest.mark.slow
def test_a_problem_with_a_domain_needs_no_solver():
    """Where no formula holds, a grid over the domain is taken: modes, or differences where those do not resolve."""
    steep = problem(lambda x: jnp.abs(jnp.sin(x[0])), hjpde.Eikonal(), 1e-4, CIRCLE)
    assert hjpde.solve(steep, 0.1).stats["solver"] == "FiniteDifference"
    smooth = problem(wave, hjpde.Transport(lambda t, x: 1 + 0.3 * jnp.sin(x)), 0.3, CIRCLE)
    assert hjpde.solve(smooth, 0.1).stats["solver"] == "Spectral"
    kinked = problem(lambda x: 0.5 * jnp.abs(jnp.sin(x[0])), hjpde.Power(4.0), domain=CIRCLE)
    assert hjpde.solve(kinked, 0.1).stats["solver"] == "GridHopfLax"
