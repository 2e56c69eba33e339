"""The tropical limit: polynomials, their dual subdivisions, deep positive networks, gaps, duality and the square."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import analysis
from hjpde._plotting import new_figure
from hjpde.initial_data import LogSumExp

X64 = jnp.result_type(float) == jnp.float64
ROUNDING = 1e-12 if X64 else 1e-4
needs_x64 = pytest.mark.skipif(not X64, reason="needs float64")


def polynomial(seed, count=12, d=2):
    rng = np.random.default_rng(seed)
    return analysis.TropicalPolynomial(rng.normal(size=(count, d)), rng.normal(size=count))


def points(seed, count=50, d=2):
    return np.random.default_rng(seed).normal(size=(count, d))


# ---- Polynomials -----------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_the_semiring_is_maximum_and_sum(seed):
    f, g, X = polynomial(seed), polynomial(seed + 1, 7), points(seed)
    np.testing.assert_allclose(f.plus(g).batch(X), np.maximum(f.batch(X), g.batch(X)), atol=ROUNDING)
    np.testing.assert_allclose(f.times(g).batch(X), f.batch(X) + g.batch(X), atol=ROUNDING)
    np.testing.assert_allclose(f.power(2.5).batch(X), 2.5 * f.batch(X), atol=ROUNDING)


@needs_x64
def test_dequantisation_is_a_homomorphism_and_its_limit_is_tropical():
    f, g, X, eps = polynomial(0), polynomial(1, 7), points(2), 1e-3
    added = eps * np.logaddexp(f.layer(eps).batch(X) / eps, g.layer(eps).batch(X) / eps)
    np.testing.assert_allclose(f.plus(g).layer(eps).batch(X), added, atol=1e-12)
    np.testing.assert_allclose(
        f.times(g).layer(eps).batch(X), f.layer(eps).batch(X) + g.layer(eps).batch(X), atol=1e-12
    )
    assert np.abs(f.layer(eps).batch(X) - f.batch(X)).max() <= eps * np.log(12)


def test_a_polynomial_takes_single_points_and_comes_from_a_layer():
    layer = LogSumExp([[1.0], [0.0]], [0.0, 0.0], 0.1)
    relu = analysis.tropical_limit(layer)
    assert float(relu(jnp.array([-2.0]))) == 0
    assert float(relu(jnp.array([3.0]))) == 3
    assert relu.winners(np.array([[[-1.0], [2.0]]])).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: analysis.TropicalPolynomial(np.zeros((0, 2)), np.zeros(0)), "`exponents` must have shape"),
        (lambda: analysis.TropicalPolynomial(np.zeros((3, 2)), np.zeros(2)), "got \\(3, 2\\) and \\(2,\\)"),
        (lambda: analysis.TropicalPolynomial([[np.nan]], [0.0]), "`exponents` must be finite"),
        (lambda: analysis.TropicalPolynomial([[0.0]], [np.inf]), "`coefficients` must be below"),
        (lambda: polynomial(0).power(-1), "`exponent` must be positive"),
        (lambda: polynomial(0).plus(polynomial(0, d=1)), "`other` must take points of dimension 2"),
        (lambda: analysis.dual_subdivision(polynomial(0, d=3)), "1 or 2 variables, got 3"),
        (
            lambda: analysis.dual_subdivision(analysis.TropicalPolynomial([[0.0, 0.0], [1.0, 1.0]], [0.0, 0.0])),
            "span 2",
        ),
        (lambda: analysis.dual_subdivision(analysis.TropicalPolynomial([[0.0]], [0.0])), "span 1"),
    ],
)
def test_polynomials_refuse(build, words):
    with pytest.raises(ValueError, match=words):
        build()


# ---- Subdivisions ----------------------------------------------------------------------------------------------


def test_bends_in_one_dimension_are_where_neighbouring_lines_cross():
    f = analysis.TropicalPolynomial([[2.0], [0.0], [1.0], [0.5]], [0.0, 0.0, 0.5, -3.0])
    subdivision = analysis.dual_subdivision(f)
    np.testing.assert_allclose(subdivision.vertices[:, 0], [-0.5, 0.5], atol=1e-12)
    assert subdivision.cells == ((1, 2), (0, 2))
    assert subdivision.monomials == (0, 1, 2)


def test_a_tropical_line_has_one_vertex_and_three_rays():
    line = analysis.dual_subdivision(analysis.TropicalPolynomial([[0, 0], [1, 0], [0, 1]], [0.0, -1.0, 2.0]))
    np.testing.assert_allclose(line.vertices, [[1.0, -2.0]])
    rays = sorted(tuple(np.round(facet.direction, 12) + 0.0) for facet in line.facets)
    diagonal = round(np.sqrt(0.5), 12)
    assert rays == [(-1.0, 0.0), (0.0, -1.0), (diagonal, diagonal)]


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_a_smooth_curve_of_degree_k_has_k_squared_vertices_and_3k_rays(degree):
    exponents = np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)], float)
    i, j = exponents.T
    subdivision = analysis.dual_subdivision(analysis.TropicalPolynomial(exponents, -(i**2 + j**2 + i * j)))
    assert len(subdivision.cells) == degree**2
    assert all(len(cell) == 3 for cell in subdivision.cells)
    rays = sum(len(facet.vertices) == 1 for facet in subdivision.facets)
    assert (rays, len(subdivision.facets) - rays) == (3 * degree, 3 * degree * (degree - 1) // 2)


def area(W, cell):
    corners = W[list(cell)]
    centre = corners.mean(axis=0)
    x, y = corners[np.argsort(np.arctan2(*(corners - centre).T))].T
    return 0.5 * abs(x @ np.roll(y, 1) - y @ np.roll(x, 1))


@given(st.integers(0, 10_000))
def test_vertices_tie_cells_tile_and_edges_are_orthogonal(seed):
    f = polynomial(seed)
    subdivision = analysis.dual_subdivision(f)
    W, b = np.asarray(f.exponents, float), np.asarray(f.coefficients, float)
    for x, cell in zip(subdivision.vertices, subdivision.cells, strict=True):
        scores = W @ x + b
        size = 1 + np.abs(scores).max()
        np.testing.assert_allclose(scores[list(cell)], scores.max(), atol=1e-9 * size)
        assert len(cell) >= 3
    whole = analysis.dual_subdivision(analysis.TropicalPolynomial(W, np.zeros(len(W))))
    hull = sorted({k for facet in whole.facets for k in facet.monomials})
    assert sum(area(W, cell) for cell in subdivision.cells) == pytest.approx(area(W, hull), rel=1e-6)
    for facet in subdivision.facets:
        first, second = facet.monomials
        assert abs((W[second] - W[first]) @ facet.direction) <= 1e-9
        if len(facet.vertices) == 1:
            far = subdivision.vertices[facet.vertices[0]] + 1e4 * facet.direction
            scores = W @ far + b
            assert scores[first] == pytest.approx(scores.max(), abs=1e-6 * (1 + np.abs(scores).max()))


def test_a_cell_with_more_than_three_corners_stays_whole():
    square = analysis.TropicalPolynomial(list(itertools.product([0.0, 1.0], repeat=2)), np.zeros(4))
    subdivision = analysis.dual_subdivision(square)
    assert subdivision.cells == ((0, 1, 2, 3),)
    assert len(subdivision.facets) == 4


# ---- Deep positive networks ------------------------------------------------------------------------------------


def network(seed, sizes=(2, 3, 2, 1), viscosity=0.1):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(n, m)) if k == 0 else rng.uniform(0, 1, (n, m))
               for k, (m, n) in enumerate(itertools.pairwise(sizes))]  # fmt: skip
    return analysis.PositiveNetwork(weights, [rng.normal(size=n) for n in sizes[1:]], viscosity)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_limit_of_a_deep_network_is_its_polynomial(seed):
    net, X = network(seed, viscosity=0.0), points(seed)
    np.testing.assert_allclose(net.polynomial().batch(X), net.batch(X), atol=ROUNDING)


def test_a_deep_network_lies_above_its_limit_within_the_bound_and_converges_with_slope_one():
    net, X = network(3), points(4, 2000)
    limit = net.with_viscosity(0).batch(X)
    worst = []
    for eps in (1e-1, 1e-2):
        soft = net.with_viscosity(eps)
        gap = np.asarray(soft.batch(X) - limit)
        assert gap.min() >= -ROUNDING
        assert gap.max() <= soft.gap_bound() + ROUNDING
        worst.append(soft.gap_bound())
    assert worst[0] == pytest.approx(10 * worst[1])


@needs_x64
def test_the_bound_of_one_unit_is_attained_at_its_kink():
    unit = analysis.PositiveNetwork([[[1.0]], [[2.0]]], [[0.0], [1.0]], 0.3)
    assert float(unit(jnp.zeros(1))) - 1 == pytest.approx(unit.gap_bound(), rel=1e-14)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([], [], 0.1), "at least one"),
        (([[[1.0]], [[-1.0]]], [[0.0], [0.0]], 0.1), r"`weights\[1\]` must not be negative, got -1"),
        (([[[1.0, 2.0]]], [[0.0, 0.0]], 0.1), r"`weights\[0\]` must have shape \(2, 2\)"),
        (([[[1.0], [1.0]]], [[0.0, 0.0]], 0.1), r"`biases\[-1\]` must have shape \(1,\)"),
        (([[[np.nan]]], [[0.0]], 0.1), r"`weights\[0\]` must be finite"),
        (([[[1.0]]], [[0.0]], -1.0), "`viscosity` must be at least 0"),
    ],
)
def test_networks_refuse(arguments, words):
    with pytest.raises(ValueError, match=words):
        analysis.PositiveNetwork(*arguments)


# ---- Gaps ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([1e-3, 0.1, 10.0]))
def test_the_gap_lies_between_zero_and_both_bounds(seed, eps):
    result = analysis.dequantisation_gap(polynomial(seed).layer(eps), points(seed))
    gap, slack = np.asarray(result.gap), 8 * np.finfo(np.asarray(result.gap).dtype).eps * eps
    assert np.all(gap >= 0)
    assert np.all(gap <= np.asarray(result.local_bound) + slack * 12)
    assert np.all(np.asarray(result.local_bound) <= float(result.uniform_bound) + slack * 12)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_gap_of_an_m_fold_tie_is_log_m(m):
    layer = LogSumExp(np.ones((7, 1)), np.where(np.arange(7) < m, 0.0, -1e3), 0.5)
    result = analysis.dequantisation_gap(layer, np.array([[2.0]]))
    np.testing.assert_allclose(result.gap, 0.5 * np.log(m), rtol=4 * np.finfo(np.asarray(result.gap).dtype).eps)
    assert analysis.tie_multiplicity(layer, np.array([[2.0]]), 1e-6).tolist() == [m]


def test_gaps_refuse():
    layer = LogSumExp([[1.0]], [0.0], 0.1)
    with pytest.raises(ValueError, match="`X` must have 2 axes"):
        analysis.dequantisation_gap(layer, np.zeros(3))
    with pytest.raises(ValueError, match="`tolerance` must be at least 0"):
        analysis.tie_multiplicity(layer, np.zeros((3, 1)), -1.0)


# ---- Duality ---------------------------------------------------------------------------------------------------


def slopes_inside(f, seed, count=10):
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(f.coefficients)), count)
    return shares, shares @ np.asarray(f.exponents)


@given(st.integers(0, 10_000))
def test_only_the_gibbs_weights_attain_the_layer(seed):
    layer, X = polynomial(seed).layer(0.5), points(seed, 10)
    shares, _ = slopes_inside(polynomial(seed), seed)
    gibbs = np.stack([layer.gibbs(x) for x in jnp.asarray(X, layer.weights.dtype)])
    np.testing.assert_allclose(analysis.variational_value(layer, X, gibbs), layer.batch(X), atol=10 * ROUNDING)
    divergence = 0.5 * np.sum(shares * np.log(shares / gibbs), axis=1)
    lost = np.asarray(layer.batch(X) - analysis.variational_value(layer, X, shares))
    np.testing.assert_allclose(lost, divergence, atol=1e3 * ROUNDING)


@needs_x64
@pytest.mark.parametrize("eps", [1.0, 0.1, 1e-3])
def test_the_conjugate_is_feasible_attains_its_program_and_tends_to_the_linear_one(eps):
    f = polynomial(0)
    layer, (_, slopes) = f.layer(eps), slopes_inside(f, 1)
    dual = analysis.conjugate(layer, slopes)
    shares = np.asarray(dual.shares)
    np.testing.assert_allclose(shares @ np.asarray(layer.weights), slopes, atol=1e-9)
    entropy = -np.sum(np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0), axis=1)
    np.testing.assert_allclose(dual.values, -shares @ np.asarray(layer.biases) - eps * entropy, atol=1e-8)
    gap = analysis.linear_program(layer, slopes) - np.asarray(dual.values)
    assert gap.min() >= 0
    assert gap.max() <= eps * np.log(12)


@needs_x64
def test_the_conjugate_of_two_neurons_is_the_binary_entropy():
    slopes = np.linspace(0.05, 0.95, 7)[:, None]
    p = slopes[:, 0]
    expected = 0.3 * (p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(analysis.conjugate(LogSumExp([[1.0], [0.0]], [0.0, 0.0], 0.3), slopes).values, expected)


def test_outside_of_the_hull_the_conjugate_is_infinite():
    layer = LogSumExp([[1.0], [0.0]], [0.0, 0.0], 0.3)
    assert np.isinf(np.asarray(analysis.conjugate(layer, [[1.5]]).values)).all()
    assert np.isinf(analysis.linear_program(layer, [[1.5]])).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f: analysis.conjugate(f, np.zeros((3, 1))), r"`slopes` must have shape \(M, 2\)"),
        (lambda f: analysis.linear_program(f, np.zeros((3, 1))), r"`slopes` must have shape \(M, 2\)"),
        (lambda f: analysis.variational_value(f, np.zeros((1, 2)), np.ones((1, 12))), "rows that sum to 1"),
        (lambda f: analysis.variational_value(f, np.zeros((1, 2)), np.ones((2, 12))), "`shares` must have shape"),
        (lambda f: analysis.plot_conjugate(f), "dimension 1 to be drawn"),
    ],
)
def test_duality_refuses(call, words):
    with pytest.raises(ValueError, match=words):
        call(polynomial(0).layer(0.5))


# ---- The square ------------------------------------------------------------------------------------------------


def cone(y):
    return jnp.sqrt(jnp.sum(y**2))


def square(**options: Any):
    X = np.linspace(-1.5, 1.5, 41)[:, None]
    options = {"viscosities": [0.1, 0.01, 1e-3], "counts": [16, 64, 256], "fine_count": 4096} | options
    return analysis.commutative_square(cone, X, np.zeros(41), **options)


def test_with_weights_the_square_closes_within_its_bound():
    table = square(lipschitz=1.0)
    assert np.all(table.errors <= table.bounds)
    assert np.all(np.diff(table.wide) < 0)
    assert np.all(np.diff(table.cold) < 0)
    assert table.errors[-1, -1] <= table.wide[-1] + table.cold[-1] + 1e-12


def test_plain_sums_grow_as_the_logarithm_of_the_width():
    table = square(weighted=False, viscosities=[0.5])
    assert np.diff(table.errors[0])[-1] == pytest.approx(0.5 * np.log(4), rel=0.05)
    assert table.bounds is None


def test_a_quadrature_layer_solves_the_viscous_equation():
    nodes, weights = analysis.quadrature_grid([-8.0], [8.0], 400)
    t, eps, x = 0.5, 0.3, 0.4
    layer = analysis.quadrature_layer(lambda y: y @ y, nodes, weights, t, eps)
    # exp(-y^2 / eps) is a Gaussian: the solution is x^2 / (1 + 4t) + (eps / 2) log(1 + 4t).
    exact = x**2 / (1 + 4 * t) + eps / 2 * np.log(1 + 4 * t)
    value = x**2 / (4 * t) - layer(jnp.array([x])) + eps / 2 * np.log(4 * np.pi * eps * t)
    assert float(value) == pytest.approx(exact, abs=100 * ROUNDING)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: analysis.quadrature_grid([0.0], [0.0], 3), "`lower < upper`"),
        (lambda: analysis.quadrature_grid([0.0], [1.0], 1, "endpoints"), "`count` must be at least 2"),
        (lambda: analysis.quadrature_grid([0.0], [1.0], 3, "simpson"), "`rule` must be"),
        (lambda: analysis.quadrature_layer(cone, [[0.0]], [-1.0], 1.0, 1.0), "`weights` must be positive"),
        (lambda: analysis.quadrature_layer(lambda y: y, [[0.0]], [1.0], 1.0, 1.0), "`datum` must return a scalar"),
        (lambda: square(viscosities=[0.0]), "`viscosities` must be positive"),
        (lambda: analysis.commutative_square(cone, [[0.0]], [0.0, 1.0], [0.1], [4], fine_count=8), "`limit` \\(M,\\)"),
    ],
)
def test_the_square_refuses(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- Figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
def test_figures_of_polynomials_draw_on_the_axes_given(d):
    subdivision = analysis.dual_subdivision(polynomial(0, d=d))
    for plot in (analysis.plot_tropical_hypersurface, analysis.plot_dual_subdivision):
        _, ax = new_figure(3.0, 3.0)
        assert plot(subdivision, ax) is ax
        assert ax.has_data()
        assert plot(subdivision).get_xlabel()


def test_the_figure_of_gaps_draws_bounds():
    result = analysis.dequantisation_gap(polynomial(0).layer(0.1), points(0))
    assert len(analysis.plot_dequantisation_gap(result).lines) == 3


def test_figures_of_the_square_and_of_the_conjugate():
    assert analysis.plot_commutative_square(square()).get_ylabel()
    layer = LogSumExp([[1.0], [0.0], [-1.0]], [0.0, 0.3, 0.0], 0.3)
    assert len(analysis.plot_conjugate(layer, (1.0, 0.5)).lines) == 3
