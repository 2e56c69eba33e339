"""The attack: finds the boundary where it is known, stays where it is told to, breaks no certificate."""

import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import analysis

X64 = jnp.result_type(float) == jnp.float64


def classifier_of(seed, viscosity=0.5):
    rng = np.random.default_rng(seed)
    layer = hjpde.LogSumExp(rng.normal(size=(12, 3)), 0.3 * rng.normal(size=12), viscosity)
    return analysis.GibbsClassifier(layer, np.repeat(np.arange(3), 4))


def test_it_breaks_a_linear_classifier_just_beyond_the_boundary(getkey):
    W = np.array([[1.0, 2.0], [-1.0, 0.5]])
    classifier = analysis.GibbsClassifier(hjpde.LogSumExp(W, np.zeros(2), 0.3), [0, 1])
    X = np.random.default_rng(0).normal(size=(50, 2))
    distance = np.abs(np.diff(X @ W.T, axis=1)[:, 0]) / np.linalg.norm(W[0] - W[1])
    assert np.all(analysis.attack(classifier, X, 1.02 * distance, key=getkey()).broken)
    assert not np.any(analysis.attack(classifier, X, 0.999 * distance, key=getkey()).broken)


@pytest.mark.parametrize("viscosity", [0.05, 0.5, 5.0])
def test_it_breaks_no_certificate(viscosity, getkey):
    classifier, X = classifier_of(1, viscosity), np.random.default_rng(1).normal(size=(100, 3))
    result = analysis.certified_radius(classifier, X)
    for radii in result.radii.values():
        found = analysis.attack(classifier, X, radii, key=getkey())
        assert np.all(np.asarray(found.margins) >= (-1e-9 if X64 else -1e-4))
    # And it is no weak one: at twice the best radius it breaks most of the points.
    assert np.mean(analysis.attack(classifier, X, 2 * result.best, key=getkey()).broken) > 0.5


def test_it_stays_in_the_ball_and_in_the_box(getkey):
    classifier, X = classifier_of(2), np.random.default_rng(2).uniform(size=(30, 3))
    found = analysis.attack(classifier, X, 0.4, key=getkey(), box=(0.0, 1.0))
    moves = np.linalg.norm(np.asarray(found.points) - X, axis=1)
    assert np.all(moves <= 0.4 * (1 + (1e-12 if X64 else 1e-5)))
    assert moves.max() > 0.35
    assert np.all((np.asarray(found.points) >= 0) & (np.asarray(found.points) <= 1))
    assert np.all(found.margins <= found.start_margins)


def test_margins_are_those_of_the_points_found(getkey):
    classifier, X = classifier_of(3), np.random.default_rng(3).normal(size=(20, 3))
    labels = np.arange(20) % 3
    found = analysis.attack(classifier, X, 0.2, labels, key=getkey())
    for points, margins in ((found.points, found.margins), (jnp.asarray(X), found.start_margins)):
        scores = np.asarray(classifier.scores(points))
        others = np.where(np.arange(3)[None] == labels[:, None], -np.inf, scores)
        np.testing.assert_allclose(margins, scores[np.arange(20), labels] - others.max(1), rtol=1e-4, atol=1e-5)


def test_radius_zero_moves_nothing(getkey):
    classifier, X = classifier_of(4), np.random.default_rng(4).normal(size=(5, 3))
    found = analysis.attack(classifier, X, 0.0, key=getkey())
    np.testing.assert_array_equal(found.points, classifier.points(X))
    assert not np.any(found.broken)


def test_figure(getkey):
    classifier, X = classifier_of(5), np.random.default_rng(5).normal(size=(30, 3))
    found = analysis.attack(classifier, X, 0.5, key=getkey())
    axes = analysis.plot_attack(found)
    kept, broken = np.bincount(found.broken, minlength=2)
    assert axes.get_legend_handles_labels()[1] == [f"kept: {kept}", f"broken: {broken}"]
    assert analysis.plot_attack(found, axes) is axes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((2, 2))}, r"`X` must have shape \(M, 3\)"),
        ({"radius": -1.0}, "`radius` must be at least 0"),
        ({"radius": np.zeros(3)}, "`radius` must be at least 0, of shape"),
        ({"radius": np.nan}, "`radius` must be finite"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"labels": [0, 3]}, "`labels` must lie from 0 to 2"),
        ({"labels": [0]}, "`labels` must be integers of shape"),
        ({"box": (0.5, 1.0)}, "2 points do not"),
    ],
)
def test_refusals(arguments, message, getkey):
    given = {"X": np.zeros((2, 3)), "radius": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        analysis.attack(classifier_of(0), key=getkey(), **given)
