"""Grids: nodes, and interpolation that is exact for polynomials up to the border."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given

import hjpde
from hjpde import solvers
from hjpde.solvers.grids import _grid

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
GRID = solvers.Grid((-1.0, 0.5), (1.0, 3.0), (7, 6))
RING = solvers.Grid((0.0, -1.0), (2 * np.pi, 1.0), (16, 5), (True, False))


@eqx.filter_jit
def interpolated(grid, values, X, order):
    """Values and gradients of the interpolant."""
    return grid.interpolate(values, X, order), grid.gradient(values, X, order)


def test_nodes():
    np.testing.assert_allclose(GRID.spacing, [1 / 3, 1 / 2], rtol=4 * EPS)
    np.testing.assert_allclose(RING.spacing, [np.pi / 8, 1 / 2], rtol=4 * EPS)
    # Both ends on an axis that ends, the lower one only where it wraps.
    np.testing.assert_allclose(GRID.axes[1], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0], rtol=2 * EPS)
    np.testing.assert_allclose(RING.axes[0], np.arange(16) * np.pi / 8, atol=8 * EPS)
    assert GRID.points.shape == (7, 6, 2)
    assert GRID.points[-1, -1].tolist() == [1.0, 3.0]
    np.testing.assert_allclose(GRID.points[0, 2], [-1.0, 1.5], rtol=2 * EPS)
    assert GRID.dim == 2
    domain = hjpde.Domain([0.0, -1.0], [2 * np.pi, 1.0], (True, False))
    over = solvers.Grid.over(domain, (16, 5))
    assert (over.shape, over.periodic) == (RING.shape, RING.periodic)
    np.testing.assert_array_equal(over.points, RING.points)


def test_one_value_stands_for_every_axis():
    for arguments in ((0.0, 1.0, (4, 4)), ([0, 0], 1, 4), (0, 1, np.asarray([4, 4]), False), (0, 1, 4, [False] * 2)):
        grid = solvers.Grid(*arguments)  # pyright: ignore
        assert grid.shape == (4, 4)
        np.testing.assert_array_equal(grid.upper, [1, 1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0, 1.0, 4), "one of `lower`, `upper`, `shape`, `periodic` must be a sequence"),
        (([0, 0], 1.0, (4,)), "numbers of axes disagree: `lower` has 2, `shape` has 1"),
        (([0], [1], (1,)), r"`shape` must be at least 2 for every axis, got \(1,\)"),
        (([0], [1], (4.5,)), r"`shape` must hold whole numbers of nodes, got \(4\.5,\)"),
        (([1], [1], (4,)), "`lower` must be below `upper`, got 1 and 1 for axis 0"),
        (([0], [np.inf], (4,)), "`upper` must be finite"),
        (([0], [1], (4,), ["yes"]), "`periodic` must be true or false for every axis, got 'yes'"),
    ],
)
def test_refuses_a_grid(arguments, message):
    with pytest.raises(ValueError, match=message):
        solvers.Grid(*arguments)


def test_functions_are_sampled(monkeypatch):
    np.testing.assert_allclose(GRID.sample(lambda x: x[0] - 2 * x[1])[3, 2], -3.0, atol=8 * EPS)
    assert GRID.sample(lambda x: jnp.outer(x, x)).shape == (7, 6, 2, 2)
    whole = GRID.sample(jnp.sum)
    monkeypatch.setattr(_grid, "_MOST_POINTS", 16)
    np.testing.assert_array_equal(GRID.sample(jnp.sum), whole)


def polynomial(coefficients):
    """The tensor-product polynomial on [-1, 1] x [0.5, 3], in coordinates of order one."""

    def evaluate(x):
        powers = [[y**k for k in range(coefficients.shape[0])] for y in (x[0], (x[1] - 1.75) / 1.25)]
        return sum(coefficients[i, j] * a * b for i, a in enumerate(powers[0]) for j, b in enumerate(powers[1]))

    return evaluate


@eqx.filter_jit
def errors(coefficients, X, order):
    """Of value and gradient of the interpolated polynomial."""
    f = polynomial(coefficients)
    values, slopes = interpolated(GRID, GRID.sample(f), X, order)
    return values - jax.vmap(f)(X), slopes - jax.vmap(jax.grad(f))(X)


BORDER = np.asarray([[-1, 0.5], [1, 0.5], [-1, 3], [1, 3], [0.3, 3], [1, 1.1], [-1, 2.2], [0.7, 0.5]])
unit = st.floats(0, 1, width=16)


@pytest.mark.parametrize("order, degree", [("linear", 1), ("cubic", 3)])
@given(st.lists(st.floats(-1, 1, width=16), min_size=16, max_size=16), st.lists(unit, min_size=8, max_size=8))
@example([1.0] * 16, [0.0] * 8)
def test_polynomials_are_reproduced_up_to_the_border(order, degree, coefficients, places):
    inside = np.asarray([-1, 0.5]) + np.asarray(places).reshape(4, 2) * np.asarray([2, 2.5])
    # Nodes of the grid among them, where cells meet.
    X = jnp.asarray(np.concatenate([inside, BORDER, GRID.points[2:4, 1]]), float)
    c = jnp.asarray(coefficients, float).reshape(4, 4)[: degree + 1, : degree + 1]
    value, gradient = errors(c, X, order)
    size = EPS * (1 + float(jnp.abs(c).sum()))
    assert float(jnp.abs(value).max()) <= 50 * size
    assert float(jnp.abs(gradient).max()) <= 500 * size


def test_cubic_interpolation_is_of_fourth_order_and_its_gradient_of_third():
    X = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (200, 1)))

    def error(n):
        grid = solvers.Grid((0.0,), (1.0,), (n,))
        value, slope = interpolated(grid, grid.sample(lambda x: jnp.sin(4 * x[0])), X, "cubic")
        exact = jnp.sin(4 * X[:, 0]), 4 * jnp.cos(4 * X)
        return np.asarray([jnp.abs(value - exact[0]).max(), jnp.abs(slope - exact[1]).max()])

    order = np.log2(error(9) / error(17))
    assert np.all(np.abs(order - [4, 3]) <= 0.3), order


def test_a_periodic_axis_wraps():
    values = RING.sample(lambda x: jnp.cos(x[0]) * (1 + x[1]))
    X = jnp.asarray(np.random.default_rng(0).uniform([0, -1], [2 * np.pi, 1], (40, 2)))
    X = X.at[0, 0].set(2 * np.pi).at[1, 0].set(0.0)
    value, slope = interpolated(RING, values, X, "cubic")
    np.testing.assert_allclose(value[0], 1 + X[0, 1], atol=20 * EPS)
    period = jnp.asarray([[2 * np.pi, 0.0]])
    for k in (-2, 1):
        moved = interpolated(RING, values, X + k * period, "cubic")
        np.testing.assert_allclose(moved[0], value, atol=500 * EPS)
        # On a cell's face the gradient may be taken from either side.
        np.testing.assert_allclose(moved[1][2:], slope[2:], atol=2000 * EPS)
    # No node is special: values moved by one node are the interpolant moved by one spacing.
    step = jnp.asarray([[np.pi / 8, 0.0]])
    shifted = interpolated(RING, jnp.roll(values, 1, axis=0), X + step, "cubic")
    np.testing.assert_allclose(shifted[0], value, atol=500 * EPS)


def test_outside_is_nan_and_the_border_is_not():
    values = GRID.sample(jnp.sum)
    outside = jnp.asarray([[1.01, 1.0], [-1.01, 1.0], [0.0, 3.01], [0.0, 0.49], [jnp.nan, 1.0], [jnp.inf, 1.0]])
    value, slope = interpolated(GRID, values, outside, "cubic")
    assert np.all(np.isnan(value))
    assert np.all(np.isnan(slope))
    upper = jnp.nextafter(GRID.upper, jnp.inf)
    border = jnp.stack([GRID.upper, GRID.lower, upper, -jnp.nextafter(-GRID.lower, jnp.inf)])
    value, slope = interpolated(GRID, values, border, "cubic")
    np.testing.assert_allclose(value, [4, -0.5, 4, -0.5], rtol=20 * EPS)
    np.testing.assert_allclose(slope, 1, rtol=100 * EPS)
    # Along a periodic axis nothing is outside.
    assert np.isfinite(RING.interpolate(RING.sample(jnp.sum), [99.0, 0.0]))


@pytest.mark.parametrize("n", [2, 3])
def test_a_short_axis_is_interpolated_through_all_its_nodes(n):
    grid = solvers.Grid((0.0,), (1.0,), (n,))
    values = grid.sample(lambda x: 1 + x[0] ** (n - 1))
    np.testing.assert_allclose(grid.interpolate(values, [0.3]), 1 + 0.3 ** (n - 1), rtol=8 * EPS)
    ring = solvers.Grid((0.0,), (1.0,), (n,), True)
    np.testing.assert_allclose(ring.interpolate(jnp.full(n, 2.0), [0.3]), 2.0, rtol=8 * EPS)


@pytest.mark.slow
def test_derivatives_in_the_values_and_in_the_ends():
    x, values = jnp.asarray([0.43, 2.9]), GRID.sample(lambda x: jnp.sin(x[0] * x[1]))
    weights = jax.grad(lambda v: GRID.interpolate(v, x))(values)
    # The interpolant is linear in the values, and constants are among what it reproduces.
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=20 * EPS)
    np.testing.assert_allclose(jnp.sum(weights * values), GRID.interpolate(values, x), rtol=50 * EPS)
    assert int(jnp.sum(weights != 0)) == 16
    tangent = jnp.asarray([0.6, -0.8])
    _, forward = jax.jvp(lambda y: GRID.interpolate(values, y), (x,), (tangent,))
    np.testing.assert_allclose(forward, GRID.gradient(values, x) @ tangent, rtol=50 * EPS)

    @jax.jit
    @jax.grad
    def in_the_end(upper):
        # The values stay with their nodes: as the axis stretches, the value at 1 is that of 2 / upper before.
        grid = solvers.Grid((0.0,), jnp.stack([upper]), (5,))
        return grid.interpolate(jnp.linspace(0.0, 2.0, 5, dtype=float), jnp.ones(1))

    np.testing.assert_allclose(in_the_end(2.0), -0.5, rtol=50 * EPS)


@pytest.mark.slow
def test_single_precision_stays_single():
    grid = solvers.Grid(np.zeros(2, np.float32), np.ones(2, np.float32), (5, 4))
    values = grid.sample(jnp.sum)
    x = jnp.full(2, 0.3, jnp.float32)
    assert {a.dtype for a in (grid.points, grid.spacing, values)} == {jnp.dtype(jnp.float32)}
    assert grid.interpolate(values, x).dtype == grid.gradient(values, x).dtype == jnp.float32


def test_refuses_values_points_and_orders():
    values = GRID.sample(jnp.sum)
    for method in (GRID.interpolate, GRID.gradient):
        with pytest.raises(ValueError, match=r"`values` must have the grid's shape \(7, 6\), got \(7,\)"):
            method(values[:, 0], jnp.zeros(2))
        with pytest.raises(ValueError, match=r"`x` must have shape \(\.\.\., 2\), got \(3,\)"):
            method(values, jnp.zeros(3))
        # The annotation is checked in tests, and its error comes first.
        with pytest.raises(Exception, match="order"):
            method(values, jnp.zeros(2), "quintic")  # pyright: ignore
    assert GRID.interpolate(values, jnp.full((3, 4, 2), 0.7)).shape == (3, 4)
    assert GRID.gradient(values, jnp.full((3, 4, 2), 0.7)).shape == (3, 4, 2)
