"""Curvature bounds: never passed within the ball, exact where they should be, in any gauge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import analysis

TOLERANCE = 1e-9 if jnp.result_type(float) == jnp.float64 else 1e-3


def layer_of(seed, N=12, d=3, viscosity=0.3):
    rng = np.random.default_rng(seed)
    return hjpde.LogSumExp(rng.normal(size=(N, d)), 0.3 * rng.normal(size=N), viscosity)


def points_of(seed, M=5, d=3):
    return np.random.default_rng(100 + seed).normal(size=(M, d))


def hessian_norms(layer, X):
    """By numpy, from the covariance written out."""
    W, b, eps = (np.asarray(part, float) for part in (layer.weights, layer.biases, layer.viscosity))
    norms = []
    for x in X:
        z = (W @ x + b) / eps
        p = np.exp(z - z.max())
        p /= p.sum()
        V = W - p @ W
        norms.append(np.linalg.norm((V * p[:, None]).T @ V, 2) / eps)
    return np.array(norms)


@pytest.mark.parametrize("viscosity", [0.03, 0.3, 3.0])
def test_bounds_hold_at_every_point_of_the_ball(viscosity, getkey):
    layer, X = layer_of(0, viscosity=viscosity), points_of(0)
    rng = np.random.default_rng(1)
    for radius in (0.01, 0.1, 0.5):
        bounds = analysis.curvature_bounds(layer, X, radius, key=getkey())
        np.testing.assert_allclose(bounds.measured, hessian_norms(layer, X), rtol=1e3 * TOLERANCE, atol=TOLERANCE)
        for _ in range(40):
            delta = rng.normal(size=X.shape)
            delta *= radius * rng.uniform(0, 1, (len(X), 1)) ** 0.3 / np.linalg.norm(delta, axis=1, keepdims=True)
            norms = hessian_norms(layer, X + delta)
            assert np.all(norms <= np.asarray(bounds.local) * (1 + TOLERANCE) + TOLERANCE)
        assert np.all(np.asarray(bounds.local) <= float(bounds.diameter) * (1 + TOLERANCE))


def test_at_radius_zero_the_local_bound_is_the_norm(getkey):
    layer, X = layer_of(1), points_of(1)
    bounds = analysis.curvature_bounds(layer, X, 0.0, key=getkey())
    np.testing.assert_allclose(bounds.local, hessian_norms(layer, X), rtol=1e2 * TOLERANCE, atol=TOLERANCE)


def test_two_neurons_attain_popoviciu(getkey):
    layer = hjpde.LogSumExp([[1.0, 0.0], [-2.0, 4.0]], [0.0, 0.0], 0.7)
    bounds = analysis.curvature_bounds(layer, np.zeros((1, 2)), 0.0, key=getkey())
    assert float(bounds.measured[0]) == pytest.approx(25 / (4 * 0.7), rel=1e3 * TOLERANCE)
    assert float(bounds.diameter) == pytest.approx(25 / (4 * 0.7), rel=1e3 * TOLERANCE)
    assert float(bounds.row_norm) == pytest.approx(20 / 0.7, rel=1e3 * TOLERANCE)


def test_a_common_slope_moves_the_source_bound_only(getkey):
    layer, X = layer_of(2), points_of(2)
    moved = hjpde.LogSumExp(layer.weights + 5.0, layer.biases, layer.viscosity)
    here = analysis.curvature_bounds(layer, X, 0.1, key=getkey())
    there = analysis.curvature_bounds(moved, X, 0.1, key=getkey())
    for name in ("measured", "local", "diameter"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e4 * TOLERANCE)
    assert float(there.row_norm) > 2 * float(here.row_norm)


def test_many_dimensions_and_many_neurons(getkey):
    """The trace stands in for the lighter neurons: the bound stays one, and exceeds the norm by no more than it."""
    rng = np.random.default_rng(3)
    W = rng.normal(size=(300, 260)) / 16
    layer, X = hjpde.LogSumExp(W, np.zeros(300), 0.3), rng.normal(size=(2, 260))
    bounds = analysis.curvature_bounds(layer, X, 0.0, key=getkey())
    exact = hessian_norms(layer, X)
    weights = np.exp(X @ W.T / 0.3)
    weights /= weights.sum(axis=1, keepdims=True)
    traces = weights * np.sum((W[None] - (weights @ W)[:, None]) ** 2, axis=2)
    rest = np.sort(traces, axis=1)[:, : 300 - 256].sum(axis=1) / 0.3
    assert np.all(np.asarray(bounds.local) >= exact * (1 - TOLERANCE))
    assert np.all(np.asarray(bounds.local) <= (exact + rest) * (1 + 1e3 * TOLERANCE))


def test_masked_neurons_do_not_count(getkey):
    layer, X = layer_of(4), points_of(4)
    masked = hjpde.LogSumExp(
        jnp.concatenate([layer.weights, jnp.full((1, 3), 9.0)]),
        jnp.concatenate([layer.biases, jnp.array([-jnp.inf])]),
        layer.viscosity,
    )
    key = getkey()
    for left, right in zip(
        jax.tree.leaves(analysis.curvature_bounds(layer, X, 0.2, key=key)),
        jax.tree.leaves(analysis.curvature_bounds(masked, X, 0.2, key=key)),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, rtol=1e-6)


def test_nothing_overflows_and_the_dtype_is_kept(getkey):
    layer = layer_of(5, viscosity=1e-3)
    cold = hjpde.LogSumExp(*(part.astype("float32") for part in (layer.weights, layer.biases, layer.viscosity)))
    bounds = analysis.curvature_bounds(cold, points_of(5).astype("float32"), 10.0, key=getkey())
    assert bounds.local.dtype == jnp.float32
    np.testing.assert_allclose(bounds.local, np.full(5, float(bounds.diameter)), rtol=1e-3)


def test_figure(getkey):
    bounds = analysis.curvature_bounds(layer_of(0), points_of(0), np.linspace(0, 0.1, 5), key=getkey())
    axes = analysis.plot_curvature_bounds(bounds)
    assert axes.get_xlabel()
    assert len(axes.get_lines()) == 4
    assert analysis.plot_curvature_bounds(bounds, axes) is axes


@pytest.mark.parametrize(
    ("X", "radius", "message"),
    [
        (np.zeros((2, 4)), 0.1, r"`X` must have shape \(M, 3\)"),
        (np.zeros((0, 3)), 0.1, "`X` must have shape"),
        (np.full((2, 3), np.nan), 0.1, "`X` must be finite"),
        (np.zeros((2, 3)), -0.1, "`radius` must be at least 0"),
        (np.zeros((2, 3)), np.inf, "`radius` must be finite"),
        (np.zeros((2, 3)), np.zeros(3), "`radius` must be at least 0 and of shape"),
    ],
)
def test_refusals(X, radius, message, getkey):
    with pytest.raises(ValueError, match=message):
        analysis.curvature_bounds(layer_of(0), X, radius, key=getkey())


def test_a_layer_without_neurons_is_refused(getkey):
    layer = hjpde.LogSumExp(np.ones((2, 3)), np.full(2, -np.inf), 1.0)
    with pytest.raises(ValueError, match="`layer` must have a neuron"):
        analysis.curvature_bounds(layer, np.zeros((1, 3)), 0.1, key=getkey())
