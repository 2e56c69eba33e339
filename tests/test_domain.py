"""Domains and boundary conditions: what they hold, what is refused, and which solvers take them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers
from hjpde._constraint import Constraint

SIDE = hjpde.Extrapolation()


def test_a_domain_holds_its_ends_and_conditions():
    wall = hjpde.Dirichlet(2.0)
    domain = hjpde.Domain([0, -1], (1.0, 3.0), (True, False), [None, (SIDE, wall)])
    assert domain.dim == 2
    assert domain.periodic == (True, False)
    assert domain.boundary == (None, (SIDE, wall))
    np.testing.assert_array_equal(domain.lower, [0, -1])
    np.testing.assert_array_equal(domain.upper, [1, 3])
    # One condition stands for every side, one an axis for both of its sides.
    assert hjpde.Domain([0, 0], 1, [False, True], wall).boundary == ((wall, wall), None)
    assert hjpde.Domain([0, 0], 1, boundary=(SIDE, wall)).boundary == ((SIDE, SIDE), (wall, wall))


@pytest.mark.parametrize("arguments", [([0, 0], 1.0), (0, [1, 1]), (0.0, 1.0, (False, False)), ([0, 0], [1, 1], False)])
def test_one_number_stands_for_every_axis(arguments):
    domain = hjpde.Domain(*arguments)
    np.testing.assert_array_equal(domain.lower, [0, 0])
    np.testing.assert_array_equal(domain.upper, [1, 1])
    assert domain.periodic == (False, False)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0, 1.0), "number of axes is unknown: one of `lower`, `upper`, `periodic` must be a sequence"),
        (([0, 0], [1, 1, 1]), "numbers of axes disagree: `lower` has 2, `upper` has 3"),
        (([0, 0], 1.0, [True]), "`lower` has 2, `periodic` has 1"),
        (([], []), "at least one axis"),
        ((np.zeros((2, 2)), 1.0), "`lower` must be one value, or a sequence of one an axis, got an array of 2 axes"),
        (("ab", 1.0), "`lower` must be one value, or a sequence of one an axis, got str"),
        (([0, 2], [1, 2]), "`lower` must be below `upper`, got 2 and 2 for axis 1"),
        (([0, np.nan], [1, 2]), "`lower` must be finite"),
        (([0, 0], [1, np.inf]), "`upper` must be finite"),
        (([0, 0], [1, 1], [1, 0]), "`periodic` must be true or false for every axis, got 1"),
        (([0, 0], [1, 1], False, [SIDE]), r"`boundary` must be .* one an axis \(2\), got 1 entries"),
        (([0, 0], [1, 1], False, [SIDE, None]), "`boundary` must hold for axis 1 a condition .*, got None"),
        (([0, 0], [1, 1], False, [SIDE, (SIDE, 3.0)]), "`boundary` must hold for axis 1 a condition"),
        (([0, 0], [1, 1], True, [None, SIDE]), "`boundary` must be None for axis 1, which is periodic"),
    ],
)
def test_refuses_a_domain(arguments, message):
    with pytest.raises(ValueError, match=message):
        hjpde.Domain(*arguments)


@pytest.mark.parametrize("kind, name", [(hjpde.Dirichlet, "value"), (hjpde.Neumann, "slope")])
def test_boundary_values(kind, name):
    x = jnp.asarray([3.0, 4.0], jnp.float32)
    number = jnp.asarray(kind(2).at(0.0, x))
    assert number == 2
    assert number.dtype == jnp.float32
    assert kind(lambda t, x: t * x[0]).at(2.0, x) == 6
    with pytest.raises(ValueError, match=f"`{name}` must be finite"):
        kind(np.nan)
    with pytest.raises(ValueError, match=rf"`{name}` must be a number or a function of \(t, x\), got shape \(2,\)"):
        kind([1.0, 2.0])
    assert hjpde.Neumann().at(0.0, x) == 0


def test_domains_keep_their_dtype_and_may_be_traced():
    assert hjpde.Domain(np.zeros(2, np.float32), np.ones(2, np.float32)).lower.dtype == jnp.float32

    @jax.jit
    def width(upper):
        # What is not traced is still known: an error here would be a `ValueError`.
        fixed = hjpde.Domain([0.0], [1.0])
        with pytest.raises(ValueError, match="`lower` must be below `upper`"):
            hjpde.Domain([2.0], [1.0])
        domain = hjpde.Domain([0.0], [upper])
        return (domain.upper - fixed.lower)[0]

    assert width(3.0) == 3
    with pytest.raises(Exception, match="`lower` must be below `upper`"):
        jax.block_until_ready(width(-3.0))


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"domain": hjpde.Domain([0, 0], 1, [True, False])}, "`domain` is periodic"),
        ({"domain": hjpde.Domain([0, 0], 1, boundary=[SIDE, (SIDE, hjpde.Dirichlet(0))])}, "a Dirichlet condition"),
        ({"domain": hjpde.Domain([0, 0], 1, boundary=hjpde.Neumann())}, "a Neumann condition"),
        ({"constraint": Constraint(lower=0.0)}, "a `constraint`"),
    ],
)
def test_closed_forms_hold_on_the_whole_space_only(settings, reason):
    atoms, planes = hjpde.Atoms(np.eye(2), np.zeros(2)), hjpde.MaxPlanes(np.eye(2), np.zeros(2))
    for datum, viscosity, solver in (
        (atoms, 0.1, solvers.HopfCole()),
        (atoms, 0.0, solvers.HopfLax()),
        (planes, 0.0, solvers.Hopf()),
    ):
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), viscosity, **settings)
        assert reason in str(solver.why_not(problem))
        with pytest.raises(ValueError, match=reason):
            hjpde.solve(problem, 1.0, solver)


@pytest.mark.parametrize("side", [SIDE, hjpde.ExtrapolationAwayFromZero()])
def test_an_extrapolating_box_is_a_window_on_the_whole_space(side):
    atoms, domain = hjpde.Atoms(np.eye(2), np.zeros(2)), hjpde.Domain([0, 0], 1, boundary=side)
    window = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 0.1, domain=domain), 1.0)
    whole = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 0.1), 1.0)
    assert window.stats["solver"] == whole.stats["solver"]
    assert window(1.0, [0.2, 0.3]) == whole(1.0, [0.2, 0.3])
