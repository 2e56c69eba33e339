"""Ghost cells: by hand, by symmetry, and as a peer fills them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers
from hjpde.solvers.grids._ghost_cells import boundary_of, impose, pad, why_not_over

LINE = solvers.Grid((0.0,), (4.0,), (5,))
V = jnp.asarray([-2.0, 1.0, 4.0, 2.0, 3.0])
SQUARE = solvers.Grid((0.0, -1.0), (2.0, 1.0), (5, 6), (False, True))
FIELD = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)))


def _padded(side, width=2, t=0.0):
    """A column of values with ghost cells, the condition on both ends."""
    domain = hjpde.Domain(LINE.lower, LINE.upper, boundary=side)
    return np.asarray(pad(V, 0, width, LINE, boundary_of(LINE, domain), t))


@pytest.mark.parametrize(
    "side, expected",
    [
        (hjpde.Extrapolation(), [-8, -5, -2, 1, 4, 2, 3, 4, 5]),
        # The values left are negative and fall outwards, those on the right are positive and grow.
        (hjpde.ExtrapolationAwayFromZero(), [-8, -5, -2, 1, 4, 2, 3, 4, 5]),
        (hjpde.Dirichlet(1.0), [-2, 1, 1, 1, 4, 2, 1, 0, -2]),
        (hjpde.Dirichlet(lambda t, x: t + x[0]), [0, 3, 2, 1, 4, 2, 6, 10, 8]),
        (hjpde.Neumann(), [4, 1, -2, 1, 4, 2, 3, 2, 4]),
        (hjpde.Neumann(0.5), [6, 2, -2, 1, 4, 2, 3, 3, 6]),
        (hjpde.Neumann(lambda t, x: x[0] / t), [4, 1, -2, 1, 4, 2, 3, 6, 12]),
        ([(hjpde.Dirichlet(1.0), hjpde.Neumann())], [-2, 1, 1, 1, 4, 2, 3, 2, 4]),
    ],
)
def test_by_hand(side, expected):
    np.testing.assert_allclose(_padded(side, t=2.0), expected)


def test_away_from_zero_turns_the_slope():
    v = jnp.asarray([2.0, 3.0, 0.0, 1.0, -1.0])
    domain = hjpde.Domain(LINE.lower, LINE.upper, boundary=hjpde.ExtrapolationAwayFromZero())
    padded = pad(v, 0, 1, LINE, boundary_of(LINE, domain), 0.0)
    assert padded[0] == 3
    assert padded[-1] == -3
    # At zero itself neither way leads away, and the value stays.
    assert pad(v.at[0].set(0.0), 0, 1, LINE, boundary_of(LINE, domain), 0.0)[0] == 0


@pytest.mark.parametrize("width", [1, 3])
def test_as_the_peer(width):
    peer = pytest.importorskip("hj_reachability.boundary_conditions")
    for side, theirs in (
        (hjpde.Extrapolation(), peer.extrapolate),
        (hjpde.ExtrapolationAwayFromZero(), peer.extrapolate_away_from_zero),
    ):
        np.testing.assert_allclose(_padded(side, width), theirs(V, width), rtol=1e-6)
    boundary = boundary_of(SQUARE, None)
    theirs = jax.vmap(lambda row: peer.periodic(row, width))(FIELD)
    np.testing.assert_array_equal(pad(FIELD, 1, width, SQUARE, boundary, 0.0), theirs)


def test_linear_functions_go_on():
    boundary = boundary_of(SQUARE, None)
    assert boundary[1] is None
    v = SQUARE.sample(lambda x: 3 * x[0] - 1)
    padded = pad(v, 0, 3, SQUARE, boundary, 0.0)
    np.testing.assert_allclose(padded[:, 0], 3 * np.arange(-1.5, 3.6, 0.5) - 1, rtol=1e-6)
    # The slope that Neumann asks for is the outward one, so it has opposite signs on the two sides.
    sides = [(hjpde.Neumann(-3.0), hjpde.Neumann(3.0)), None]
    domain = hjpde.Domain(SQUARE.lower, SQUARE.upper, SQUARE.periodic, sides)
    np.testing.assert_allclose(pad(v, 0, 3, SQUARE, boundary_of(SQUARE, domain), 0.0), padded, rtol=1e-6)
    walls = [hjpde.Dirichlet(lambda t, x: 3 * x[0] - 1), None]
    domain = hjpde.Domain(SQUARE.lower, SQUARE.upper, SQUARE.periodic, walls)
    np.testing.assert_allclose(pad(v, 0, 3, SQUARE, boundary_of(SQUARE, domain), 0.0), padded, rtol=1e-6)


def test_values_on_a_side_depend_on_the_place():
    wall = hjpde.Dirichlet(lambda t, x: t * x[1] + x[0])
    domain = hjpde.Domain(SQUARE.lower, SQUARE.upper, SQUARE.periodic, [(hjpde.Extrapolation(), wall), None])
    boundary = boundary_of(SQUARE, domain)
    imposed = impose(FIELD, SQUARE, boundary, 3.0)
    np.testing.assert_allclose(imposed[-1], 2 + 3 * SQUARE.axes[1], rtol=1e-6)
    np.testing.assert_array_equal(imposed[:-1], FIELD[:-1])
    padded = pad(FIELD, 0, 2, SQUARE, boundary, 3.0)
    np.testing.assert_array_equal(padded[2:7], imposed)
    np.testing.assert_allclose(padded[7:], 2 * imposed[-1:] - FIELD[3:1:-1], rtol=1e-5)
    np.testing.assert_array_equal(impose(FIELD, SQUARE, boundary_of(SQUARE, None), 3.0), FIELD)


def test_derivatives_reach_the_boundary_value():
    def ghosts(value):
        domain = hjpde.Domain(LINE.lower, LINE.upper, boundary=hjpde.Dirichlet(value))
        return pad(V, 0, 2, LINE, boundary_of(LINE, domain), 0.0)

    assert jax.jacobian(ghosts)(1.5).tolist() == [2, 2, 1, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("side", [hjpde.Extrapolation(), hjpde.Dirichlet(1), hjpde.Neumann(1)])
def test_single_precision_stays_single(side):
    grid = solvers.Grid([0.0], 1.0, 5)
    domain = hjpde.Domain([0.0], 1.0, boundary=side)
    assert pad(V.astype(jnp.float32), 0, 2, grid, boundary_of(grid, domain), 0.0).dtype == jnp.float32


def test_refuses_a_short_axis():
    for grid in (LINE, solvers.Grid((0.0,), (4.0,), (5,), True)):
        with pytest.raises(ValueError, match="`shape` must be above 5 for axis 0 to have 5 ghost cells, got 5"):
            pad(V, 0, 5, grid, boundary_of(grid, None), 0.0)


@pytest.mark.parametrize(
    "domain, reason",
    [
        (None, None),
        (hjpde.Domain([0.0, -1.0], [2.0, 1.0], (False, True)), None),
        (hjpde.Domain([0.0], [2.0]), "the grid has d = 2 and the problem's domain d = 1"),
        (hjpde.Domain([0.0, -1.0], [2.0, 1.0]), r"the grid is periodic along \(False, True\)"),
        (hjpde.Domain([0.0, -1.0], [3.0, 1.0], (False, True)), r"the grid runs from .* take `Grid.over\("),
    ],
)
def test_a_grid_fits_its_domain(domain, reason):
    found = why_not_over(SQUARE, domain)
    if reason is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(found)
