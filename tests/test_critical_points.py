"""Critical points of the entropy against closed forms, dense grids, 40-digit arithmetic and normal forms."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hjpde
from hjpde import analysis
from hjpde.analysis._entropy_landscape import Crossings, LogEntropy

needs_x64 = pytest.mark.skipif(jnp.result_type(float) != jnp.float64, reason="needs float64")
# The source's line: six points, t = 1/2, no heights, on the segment from -4 to 4.
SIX = np.array([-2.6, -1.5, -0.4, 0.7, 1.7, 2.7])
FOLDS = (0.325518, 0.388444, 0.509737, 0.510158)
PITCHFORK = 0.170875


def layer_of(positions, t=0.5, heights=None):
    positions = np.asarray(positions, float)
    positions = positions[:, None] if positions.ndim == 1 else positions
    heights = np.zeros(len(positions)) if heights is None else heights
    return hjpde.LogSumExp.from_atoms(hjpde.Atoms(positions, heights), t, 1.0)


def clusters():
    """Two clusters of eight points in the plane, of heights 0 and 1: the source's case."""
    rng = np.random.RandomState(42)
    y = np.concatenate([0.4 * rng.randn(8, 2) - 1, 0.4 * rng.randn(8, 2) + 1])
    return layer_of(y, 1.0, np.repeat([0.0, 1.0], 8))


def entropy(layer, X, viscosity):
    """Shannon's formula in numpy."""
    z = (X @ np.asarray(layer.weights, float).T + np.asarray(layer.biases, float)) / viscosity
    p = np.exp(z - z.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(1)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def count_on_grid(layer, start, end, viscosity, n=40_001):
    """Sign changes of the differences of the entropy on a fine grid."""
    s = np.linspace(0, 1, n)[:, None]
    signs = np.sign(np.diff(entropy(layer, start + s * (end - start), viscosity)))
    signs = signs[signs != 0]
    return int((signs[1:] != signs[:-1]).sum())


# ---- The landscape ---------------------------------------------------------------------------------------------


@needs_x64
@pytest.mark.slow
def test_the_derivatives_of_the_mean_crossing():
    """Each partial derivative against jax's own of the formula written out."""
    rng = np.random.default_rng(0)
    v, c, s, eps = rng.normal(size=5), rng.normal(size=5), 0.3, 0.4
    j, k = np.triu_indices(5, 1)

    def phi(s, eps):
        pi = jax.nn.softmax((v * s + c) / eps)
        omega = pi[j] * pi[k] * (v[j] - v[k]) ** 2
        return s - (omega * (c[k] - c[j]) / (v[j] - v[k])).sum() / omega.sum()

    jet = Crossings.of(v, c).jet(np.array(s), eps)
    ds, de = jax.grad(phi, 0), jax.grad(phi, 1)
    dss = jax.grad(ds, 0)
    expected = (phi, ds, de, dss, jax.grad(ds, 1), jax.grad(de, 1), jax.grad(dss, 0))
    for ours, theirs in zip(jet, expected, strict=True):
        np.testing.assert_allclose(ours, theirs(s, eps), rtol=1e-10)


def test_the_logarithm_of_the_entropy_and_its_derivatives():
    rng = np.random.default_rng(1)
    W, b, X, eps, h = rng.normal(size=(7, 3)), rng.normal(size=7), rng.normal(size=(4, 3)), 0.3, 1e-5
    log_entropy = LogEntropy(W, b, eps)
    value, gradient, hessian = log_entropy(X)
    layer = hjpde.LogSumExp(W, b, eps)
    if layer.weights.dtype == np.float64:
        np.testing.assert_allclose(value, np.log(entropy(layer, X, eps)), atol=1e-14)
    for i in range(3):
        shift = np.eye(3)[i] * h
        up, down = log_entropy(X + shift), log_entropy(X - shift)
        np.testing.assert_allclose(gradient[:, i], (up[0] - down[0]) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(hessian[:, i], (up[1] - down[1]) / (2 * h), atol=1e-7)


def test_the_logarithm_of_the_entropy_does_not_underflow():
    """Two neurons 4000 nats apart: H = (1 + gap) exp(-gap) to one part in exp(4000)."""
    value, gradient, _ = LogEntropy(np.array([[4000.0], [0.0]]), np.zeros(2), 1.0)(np.array([[1.0]]))
    np.testing.assert_allclose(value, -4000 + np.log(4001), rtol=1e-15)
    np.testing.assert_allclose(gradient, [[-4000 + 4000 / 4001]], rtol=1e-15)


# ---- On a segment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "viscosity, count", [(0.005, 9), (0.02, 9), (0.32, 9), (0.35, 7), (0.45, 5), (0.5, 5), (0.51, 3), (0.52, 1), (8, 1)]
)
def test_counts_on_the_line_of_six_points(viscosity, count):
    points = analysis.critical_points_on_segment(layer_of(SIX), [-4.0], [4.0], viscosity)
    assert points.certified
    assert len(points.s) == count
    assert list(points.is_minimum) == [bool(i % 2) for i in range(count)]
    if viscosity > 0.1:
        assert count_on_grid(layer_of(SIX), np.array([-4.0]), np.array([4.0]), viscosity) == count


def test_two_neurons_have_one_maximum_where_they_cross():
    points = analysis.critical_points_on_segment(hjpde.LogSumExp([[1.0], [-2.0]], [0.5, 1.0], 0.01), [-1.0], [3.0])
    assert points.certified
    np.testing.assert_allclose(points.positions, [[1 / 6]], atol=1e-6 if points.layer.weights.dtype == "f4" else 1e-14)
    np.testing.assert_allclose(points.entropies, [np.log(2)], rtol=1e-12)
    assert not points.is_minimum[0]


@needs_x64
def test_the_radius_holds_in_50_digits():
    layer, eps = layer_of(SIX), 0.3255
    points = analysis.critical_points_on_segment(layer, [-4.0], [4.0], eps)
    mpmath.mp.dps = 50
    weights = [mpmath.mpf(float(w)) for w in np.asarray(layer.weights)[:, 0]]
    biases = [mpmath.mpf(float(b)) for b in np.asarray(layer.biases)]

    def slope(s):
        x = -4 + 8 * s
        z = [w * x + b for w, b in zip(weights, biases, strict=True)]
        p = [mpmath.exp(value / mpmath.mpf(eps)) for value in z]
        total = mpmath.fsum(p)
        mean_w, mean_z = mpmath.fdot(p, weights) / total, mpmath.fdot(p, z) / total
        return mpmath.fsum(q * (w - mean_w) * (v - mean_z) for q, w, v in zip(p, weights, z, strict=True)) / total

    for s, radius in zip(points.s, points.radii, strict=True):
        exact = mpmath.findroot(slope, mpmath.mpf(float(s)))
        assert abs(exact - mpmath.mpf(float(s))) <= radius < 1e-7


@given(st.integers(0, 2**31), st.floats(0.03, 2.0))
def test_nothing_is_missed_on_random_lines(seed, viscosity):
    """A grid of 40,000 points sees no critical point that is not certified; each of those changes the slope's sign."""
    rng = np.random.default_rng(seed)
    layer = layer_of(rng.normal(size=(9, 2)), 0.5, 0.2 * rng.normal(size=9))
    start, end = np.array([-3.0, -2.0]), np.array([3.0, 2.0])
    points = analysis.critical_points_on_segment(layer, start, end, viscosity)
    assert np.all(np.diff(points.s) > 0)
    if not points.certified:
        assert np.all(np.diff(points.unresolved) < 1e-3)
        return
    assert np.all(points.is_minimum[1:] != points.is_minimum[:-1])
    assert len(points.s) >= count_on_grid(layer, start, end, viscosity)
    for s, radius, falls in zip(points.s, points.radii, points.is_minimum, strict=True):
        gap = max(4 * radius, 1e-9)
        sides = start + np.array([[s - gap], [s + gap]]) * (end - start)
        slopes = LogEntropy(np.asarray(layer.weights, float), np.asarray(layer.biases, float), viscosity)(sides)[1]
        before, after = slopes @ (end - start)
        assert (before < 0 < after) if falls else (before > 0 > after)


# ---- Branches --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six():
    return analysis.entropy_branches(layer_of(SIX), [-4.0], [4.0], 0.02, 8.0)


def test_folds_of_the_line_of_six_points(six):
    assert [point.kind for point in six.singular_points] == ["fold"] * 4
    np.testing.assert_allclose([point.viscosity for point in six.singular_points], FOLDS, atol=1e-6)
    assert all(point.lost_upwards for point in six.singular_points)
    assert [six.count(e) for e in (0.02, 0.35, 0.45, 0.51, 1.0, 8.0)] == [9, 7, 5, 3, 1, 1]
    assert all(branch.ends == ("viscosity", "viscosity") for branch in six.branches)


def test_each_fold_is_where_certified_points_vanish(six):
    """Counts a millionth below and above, by an algorithm that knows nothing of continuation."""
    for point in six.singular_points:
        below, above = (
            analysis.critical_points_on_segment(six.layer, six.start, six.end, point.viscosity + shift)
            for shift in (-1e-6, 1e-6)
        )
        assert below.certified
        assert above.certified
        assert len(below.s) - len(above.s) == 2


def test_the_pair_closes_with_the_square_root(six):
    for point in six.singular_points:
        distances = np.array([3e-5, 1e-5, 3e-6, 1e-6])
        gaps = []
        for distance in distances:
            s = analysis.critical_points_on_segment(six.layer, six.start, six.end, point.viscosity - distance).s
            gaps.append(np.sort(np.abs(s - point.s))[:2].sum())
        exponent = np.polyfit(np.log(distances), np.log(gaps), 1)[0]
        assert exponent == pytest.approx(0.5, abs=0.01)
        # The next term of the law is smaller by the distance itself.
        assert gaps[-1] == pytest.approx(point.spread * distances[-1] ** 0.5, rel=1e-3)


def test_branches_lie_on_critical_points(six):
    for branch in six.branches:
        for i in range(0, len(branch.s), 20):
            points = analysis.critical_points_on_segment(six.layer, six.start, six.end, branch.viscosities[i])
            nearest = np.abs(points.s - branch.s[i]).argmin()
            assert abs(points.s[nearest] - branch.s[i]) < 1e-8
            assert points.is_minimum[nearest] == branch.is_minimum[i]


def test_what_cannot_be_decided_is_reported(six):
    """At a fold the double zero cannot be certified in floating point: an interval around it is reported."""
    for point in six.singular_points:
        points = analysis.critical_points_on_segment(six.layer, six.start, six.end, point.viscosity)
        assert not points.certified
        low, high = points.unresolved.min(), points.unresolved.max()
        assert low - 1e-6 < point.s < high + 1e-6
        assert high - low < 1e-4


@pytest.mark.parametrize("spacing, t", [(1.0, 1.0), (0.5, 0.3), (2.0, 0.5)])
def test_three_equispaced_points_have_a_pitchfork(spacing, t):
    layer = layer_of(spacing * np.array([-1.0, 0.0, 1.0]), t)
    scale = spacing**2 / t
    branches = analysis.entropy_branches(layer, [-2 * spacing], [2.5 * spacing], 0.05 * scale, scale)
    (point,) = branches.singular_points
    assert point.kind == "pitchfork"
    assert point.viscosity / scale == pytest.approx(PITCHFORK, abs=1e-6)
    np.testing.assert_allclose(point.position, [0.0], atol=1e-6)
    assert point.lost_upwards
    distance = 1e-5 * scale
    below = analysis.critical_points_on_segment(layer, branches.start, branches.end, point.viscosity - distance)
    assert np.ptp(below.s) == pytest.approx(point.spread * distance**0.5, rel=1e-3)


def test_a_broken_symmetry_makes_a_fold_of_the_pitchfork():
    layer = layer_of([-1.0, 1e-3, 1.0], 1.0)
    (point,) = analysis.entropy_branches(layer, [-2.0], [2.0], 0.05, 1.0).singular_points
    assert point.kind == "fold"
    assert abs(point.viscosity - PITCHFORK) > 1e-4


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(0, 2**31))
def test_branches_count_what_is_certified(seed):
    rng = np.random.default_rng(seed)
    layer = layer_of(rng.normal(size=(6, 2)), 0.5, 0.1 * rng.normal(size=6))
    branches = analysis.entropy_branches(layer, [-3.0, -2.0], [3.0, 2.0], 0.05, 2.0)
    for viscosity in (0.0731, 0.211, 0.63):
        if any(abs(point.viscosity - viscosity) < 1e-4 for point in branches.singular_points):
            continue
        points = analysis.critical_points_on_segment(layer, branches.start, branches.end, viscosity)
        assert not points.certified or branches.count(viscosity) == len(points.s)


# ---- In the plane ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "viscosity, counts", [(0.05, (2, 3, 4)), (0.1, (2, 1, 2)), (0.25, (0, 1, 2)), (0.5, (0, 0, 1)), (2.0, (0, 0, 1))]
)
def test_counts_of_the_two_clusters(viscosity, counts):
    """At 0.05 an older count of 2, 1, 3 had merged points closer than 0.12: that sum is not the degree."""
    points = analysis.critical_points_in_plane(clusters(), [-2.9, -2.9], [2.9, 2.9], viscosity, n_starts=24)
    assert points.counts == counts
    assert points.balanced
    assert points.kinds == ("minimum",) * counts[0] + ("saddle",) * counts[1] + ("maximum",) * counts[2]


@needs_x64
def test_points_in_the_plane_are_critical_in_40_digits():
    layer, eps = clusters(), 0.05
    points = analysis.critical_points_in_plane(layer, [-2.9, -2.9], [2.9, 2.9], eps, n_starts=24)
    mpmath.mp.dps = 40
    weights = [[mpmath.mpf(float(w)) for w in row] for row in np.asarray(layer.weights)]
    biases = [mpmath.mpf(float(b)) for b in np.asarray(layer.biases)]

    def gradient(x, y):
        z = [w[0] * x + w[1] * y + b for w, b in zip(weights, biases, strict=True)]
        top = max(z)
        p = [mpmath.exp((value - top) / mpmath.mpf(eps)) for value in z]
        total = mpmath.fsum(p)
        mean = mpmath.fdot(p, z) / total
        return [mpmath.fsum(q * w[i] * (v - mean) for q, w, v in zip(p, weights, z, strict=True)) for i in (0, 1)]

    for x in points.positions:
        exact = mpmath.findroot(gradient, tuple(map(float, x)), tol=1e-50)
        assert max(abs(exact[i] - mpmath.mpf(float(x[i]))) for i in (0, 1)) < 1e-9


def test_an_equilateral_triangle():
    """By symmetry the centre is critical: three equal scores, hence a maximum of entropy log 3."""
    angles = 2 * np.pi * np.arange(3) / 3
    layer = layer_of(np.stack([np.cos(angles), np.sin(angles)], 1), 1.0)
    points = analysis.critical_points_in_plane(layer, [-1.0, -1.1], [1.2, 1.3], 2.0, n_starts=12)
    assert points.counts == (0, 0, 1)
    assert points.balanced
    np.testing.assert_allclose(points.positions, [[0, 0]], atol=1e-6)
    np.testing.assert_allclose(points.entropies, [np.log(3)], rtol=1e-6)


def test_a_rectangle_without_critical_points():
    points = analysis.critical_points_in_plane(clusters(), [10.0, 10.0], [11.0, 11.0], 1.0, n_starts=6)
    assert points.counts == (0, 0, 0)
    assert points.balanced
    assert points.degree == 0


def test_flat_edges_are_not_resolved():
    """At a low viscosity the entropy is log 2 along edges between two cells but for an exponentially small part."""
    points = analysis.critical_points_in_plane(clusters(), [-2.9, -2.9], [2.9, 2.9], 0.005, n_starts=16)
    assert points.unresolved.size
    assert not points.balanced


# ---- Refusals and figures --------------------------------------------------------------------------------------


def test_refusals():
    line, plane = layer_of(SIX), clusters()
    on_segment, in_plane, follow = (
        analysis.critical_points_on_segment,
        analysis.critical_points_in_plane,
        analysis.entropy_branches,
    )
    parallel = hjpde.LogSumExp([[1.0, 0.0], [1.0, 1.0]], [0.0, 0.0], 1.0)
    masked = hjpde.LogSumExp([[1.0], [2.0]], [0.0, -np.inf], 1.0)
    for call, word in (
        (lambda: on_segment(line, [0.0, 1.0], [4.0]), r"`start` must have shape \(1,\)"),
        (lambda: on_segment(line, [0.0], [np.nan]), "`end` must be finite"),
        (lambda: on_segment(line, [1.0], [1.0]), "must differ"),
        (lambda: on_segment(line, [0.0], [1.0], -0.1), "`viscosity` must be positive"),
        (lambda: on_segment(parallel, [0.0, 0.0], [1.0, 0.0]), "no two neurons have different slopes"),
        (lambda: on_segment(masked, [0.0], [1.0]), "at least two neurons"),
        (lambda: in_plane(line, [0.0, 0.0], [1.0, 1.0]), "must act on the plane"),
        (lambda: in_plane(plane, [0.0], [1.0, 1.0]), r"`lower` must have shape \(2,\)"),
        (lambda: in_plane(plane, [0.0, 2.0], [1.0, 1.0]), "`lower` must be below"),
        (lambda: in_plane(plane, [0.0, 0.0], [1.0, 1.0], n_starts=1), "`n_starts`"),
        (lambda: follow(line, [-4.0], [4.0], 1.0, 0.5), "`lowest` must be below"),
        (lambda: follow(line, [-4.0], [4.0], 0.0, 0.5), "`lowest` must be positive"),
        (lambda: follow(line, [-4.0], [4.0], 0.1, 0.5, n_sections=0), "`n_sections`"),
    ):
        with pytest.raises(ValueError, match=word):
            call()


def test_figures(six):
    points = analysis.critical_points_on_segment(layer_of(SIX), [-4.0], [4.0], 0.36)
    ax = analysis.plot_critical_points(points)
    assert legend_of(ax) == ["3 minima", "4 maxima"]
    assert analysis.plot_critical_points(points, ax) is ax
    for quantity in ("entropy", "position"):
        drawn = analysis.plot_entropy_branches(six, quantity=quantity)
        assert legend_of(drawn) == ["maximum", "minimum", "fold"]
    with pytest.raises(ValueError, match="`quantity`"):
        analysis.plot_entropy_branches(six, quantity="energy")
    plane = analysis.critical_points_in_plane(clusters(), [-2.9, -2.9], [2.9, 2.9], 0.25, n_starts=12)
    assert analysis.plot_critical_points_in_plane(plane).get_xlabel() == "$x_1$"
