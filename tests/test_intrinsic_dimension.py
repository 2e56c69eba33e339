"""The dimension of flat tori in a larger space, by neighbours and by the exponent of convergence."""

import numpy as np
import pytest

from hjpde import analysis

COUNTS = [100, 200, 400, 800, 1600]


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_both_neighbour_estimators_find_the_dimension(dim):
    X = analysis.flat_torus(3000, dim, 20, seed=dim)
    for estimate in (analysis.neighbour_dimension(X), analysis.two_neighbour_dimension(X)):
        assert estimate.value == pytest.approx(dim, rel=0.15)
        assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_kinked_and_smooth_data_identify_the_dimension_each_by_its_power(dim):
    X = analysis.flat_torus(3000, dim, 20, seed=dim)
    for datum, order in (("kinked", 1.0), ("smooth", 2.0)):
        fit = analysis.convergence_on_cloud(X, COUNTS, datum=datum, repeats=4)
        assert analysis.dimension_of_rate(fit, order).value == pytest.approx(dim, rel=0.15)


@pytest.mark.parametrize("dim", [1, 4])
def test_a_fixed_viscosity_converges_as_monte_carlo_in_every_dimension(dim):
    X = analysis.flat_torus(2000, dim, 20, seed=dim)
    fit = analysis.convergence_on_cloud(X, COUNTS, datum="viscous", viscosity=0.25, queries=50, repeats=6)
    assert fit.low < -0.5 < fit.high


def test_the_torus_lies_on_circles_and_spans_its_plane():
    X = analysis.flat_torus(200, 2, 20)
    np.testing.assert_allclose((X**2).sum(axis=1), 2)
    assert np.linalg.matrix_rank(X) == 4


def test_intervals_of_neighbours_cover():
    hits = [
        [e.low <= 2 <= e.high for e in (analysis.neighbour_dimension(X, 5), analysis.two_neighbour_dimension(X))]
        for X in (analysis.flat_torus(400, 2, 4, seed) for seed in range(100))
    ]
    assert np.mean(hits, axis=0).min() >= 0.9


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda X: analysis.flat_torus(10, 3, 5), "`ambient` must be at least"),
        (lambda X: analysis.neighbour_dimension(X, 50), "`neighbours` must lie between 2"),
        (lambda X: analysis.neighbour_dimension(X[:, 0]), "`X` must have shape"),
        (lambda X: analysis.neighbour_dimension(np.vstack([X, X])), "distinct points"),
        (lambda X: analysis.two_neighbour_dimension(np.vstack([X, X])), "distinct points"),
        (lambda X: analysis.two_neighbour_dimension(X * np.nan), "`X` must be finite"),
        (lambda X: analysis.convergence_on_cloud(X, [2, 4, 50], queries=10), "`counts` must lie below"),
        (lambda X: analysis.convergence_on_cloud(X, [2, 4, 8], queries=10, datum="rough"), "`datum` must be"),
        (lambda X: analysis.dimension_of_rate(analysis.fit_rate([1, 2, 4], [1, 2, 4])), "negative exponent"),
    ],
)
def test_dimensions_refuse(call, words):
    with pytest.raises(ValueError, match=words):
        call(analysis.flat_torus(30, 2, 4))


def test_the_figure_shows_each_estimator():
    estimates = {"a": [analysis.Dimension(1.0, 0.9, 1.1)] * 2, "b": [analysis.Dimension(2.0, 1.9, 2.2)] * 2}
    ax = analysis.plot_dimensions(estimates, [1, 2])
    assert ax.get_legend_handles_labels()[1] == ["within 15 %", "a", "b"]
