"""Certified radii: exact where the boundary is known, never passed, against the attack and by the definition."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.optimize import brentq

import hjpde
from hjpde import analysis
from hjpde._datasets import named_dataset

X64 = jnp.result_type(float) == jnp.float64
SLACK = 1e-9 if X64 else 1e-3
TEMPERATURES = (0.1, 0.3, 1.0, 3.0, 10.0)


def logsumexp(z, **options):
    return np.asarray(special.logsumexp(z, **options))


def classifier_of(seed, viscosity=0.5, C=3, K=4, d=3):
    rng = np.random.default_rng(seed)
    layer = hjpde.LogSumExp(rng.normal(size=(C * K, d)), 0.3 * rng.normal(size=C * K), viscosity)
    return analysis.GibbsClassifier(layer, np.repeat(np.arange(C), K))


def scores_of(classifier, X):
    """By numpy and scipy, class by class."""
    W, b, eps = (np.asarray(part, float) for part in (classifier.weights, classifier.biases, classifier.viscosity))
    return np.stack([eps * logsumexp((X @ W[c].T + b[c]) / eps, axis=1) for c in range(len(W))], axis=1)


def leads(scores, owners):
    own = np.take_along_axis(scores, owners[:, None], axis=1)[:, 0]
    others = scores.copy()
    np.put_along_axis(others, owners[:, None], -np.inf, axis=1)
    return own - others.max(axis=1)


def on_the_sphere(rng, radius, d):
    direction = rng.normal(size=(len(radius), d))
    return direction * (radius / np.linalg.norm(direction, axis=1))[:, None]


def test_one_neuron_a_class_is_a_linear_classifier():
    """All certificates but the source's are the distance to the boundary, |z_1 - z_2| / |W_1 - W_2|."""
    W, b = np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.2, -0.1])
    classifier = analysis.GibbsClassifier(hjpde.LogSumExp(W, b, 0.3), [0, 1])
    X = np.random.default_rng(0).normal(size=(20, 2))
    exact = np.abs(np.diff(X @ W.T + b, axis=1)[:, 0]) / np.linalg.norm(W[0] - W[1])
    result = analysis.certified_radius(classifier, X)
    for name in ("diameter", "local", "slopes", "scores"):
        radii = np.asarray(result.radii[name])
        assert np.all(radii <= exact * (1 + 1e-12) + SLACK)
        np.testing.assert_allclose(radii, exact, rtol=1e-4 if X64 else 1e-2, atol=10 * SLACK)
    assert np.all(np.asarray(result.radii["row_norm"]) < exact)


def test_the_radius_from_the_scores_is_the_root_by_another_solver():
    classifier = classifier_of(1)
    X = np.random.default_rng(1).normal(size=(6, 3))
    result = analysis.certified_radius(classifier, X, ["scores"])
    scores, W, b = scores_of(classifier, X), np.asarray(classifier.weights), np.asarray(classifier.biases)
    eps = float(classifier.viscosity)
    for i, x in enumerate(X):
        c = int(scores[i].argmax())
        z = W @ x + b
        G = np.exp((z[c] - scores[i, c]) / eps) @ W[c]

        def excess(r, k, z=z, G=G, c=c, i=i):
            return eps * logsumexp((z[k] + r * np.linalg.norm(W[k] - G, axis=1)) / eps) - scores[i, c]

        expected = min(brentq(excess, 0, 100, args=(k,), xtol=1e-14) for k in range(len(W)) if k != c)
        assert float(result.radii["scores"][i]) == pytest.approx(expected, rel=1e-6 if X64 else 1e-3, abs=10 * SLACK)


@given(st.integers(0, 1000), st.sampled_from([0.02, 0.2, 1.0, 5.0]))
def test_no_certificate_is_broken(seed, viscosity):
    classifier = classifier_of(seed, viscosity)
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8, 3))
    result = analysis.certified_radius(classifier, X)
    for radii in result.radii.values():
        for _ in range(20):
            moved = X + on_the_sphere(rng, np.asarray(radii, float), 3)
            assert np.all(leads(scores_of(classifier, moved), np.asarray(result.predicted)) >= -SLACK)


def test_local_is_no_worse_than_popoviciu_and_that_than_centred_rows():
    classifier = classifier_of(2)
    X = np.random.default_rng(2).normal(size=(40, 3))
    radii = analysis.certified_radius(classifier, X).radii
    assert np.all(np.asarray(radii["local"]) >= np.asarray(radii["diameter"]) * (1 - 1e-4) - SLACK)
    assert np.all(np.asarray(radii["diameter"]) >= np.asarray(radii["row_norm"]) * (1 - 1e-6) - SLACK)


def test_units_of_the_scores_do_not_matter():
    classifier, X = classifier_of(3), np.random.default_rng(3).normal(size=(10, 3))
    first = analysis.certified_radius(classifier, X)
    second = analysis.certified_radius(classifier.scaled(7.0), X)
    for name, radii in first.radii.items():
        np.testing.assert_allclose(second.radii[name], radii, rtol=1e-6 if X64 else 1e-2, atol=10 * SLACK)
    np.testing.assert_allclose(second.margins, 7 * first.margins, rtol=1e-4, atol=SLACK)


def test_neurons_in_any_order_and_masked_ones():
    rng = np.random.default_rng(4)
    W, b, classes = rng.normal(size=(9, 2)), rng.normal(size=9), np.array([0, 1, 0, 1, 1, 0, 1, 0, 1])
    b[3] = -np.inf
    classifier = analysis.GibbsClassifier(hjpde.LogSumExp(W, b, 0.4), classes)
    assert classifier.weights.shape == (2, 4, 2)
    X = rng.normal(size=(5, 2))
    for c in range(2):
        chosen = (classes == c) & np.isfinite(b)
        expected = 0.4 * logsumexp((X @ W[chosen].T + b[chosen]) / 0.4, axis=1)
        np.testing.assert_allclose(classifier.scores(jnp.asarray(X))[:, c], expected, rtol=1e-5)
    masses = np.exp(np.asarray(classifier.layer.batch(X)) / 0.4)
    np.testing.assert_allclose(np.exp(np.asarray(classifier.scores(jnp.asarray(X))) / 0.4).sum(1), masses, rtol=1e-4)


def test_a_point_on_the_boundary_has_no_radius():
    classifier = analysis.GibbsClassifier(hjpde.LogSumExp([[1.0], [-1.0]], [0.0, 0.0], 0.5), [0, 1])
    result = analysis.certified_radius(classifier, [[0.0]])
    assert all(float(radii[0]) == 0 for radii in result.radii.values())
    assert float(result.best[0]) == 0


@pytest.fixture(scope="module")
def digits():
    """A Gibbs classifier of the digits, and a test set."""
    data = named_dataset("digits")
    fitted = hjpde.fit(
        hjpde.Classification(data.X[:1200], data.y[:1200]), metric="common", n_atoms=5, steps=300, train_viscosity=True
    )
    return fitted, data.X[1200:], data.y[1200:]


def test_the_classifier_of_a_fit_predicts_as_the_fit(digits):
    fitted, X, _ = digits
    classifier = analysis.GibbsClassifier.of(fitted)
    np.testing.assert_array_equal(np.asarray(classifier.predict(X)), fitted.predict(X))
    scores = np.asarray(classifier.scores(classifier.points(X[:50]))) / float(classifier.viscosity)
    probabilities = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, fitted.predict_proba(X[:50]), atol=1e-10 if X64 else 1e-3)
    # In this gauge a neuron's slope is twice its atom.
    atoms = np.asarray(fitted.problem.initial_data.positions)
    np.testing.assert_allclose(classifier.weights.reshape(atoms.shape), 2 * atoms, rtol=1e-6, atol=1e-3)


def test_certified_accuracy_by_its_definition_and_below_the_attack(digits, getkey):
    fitted, X, y = digits
    classifier = analysis.GibbsClassifier.of(fitted)
    radius = (0.1, 0.2, 0.4)
    result = analysis.certified_accuracy(classifier, X[:120], y[:120], radius, key=getkey(), steps=10)
    assert result.accuracy == pytest.approx(np.mean(np.asarray(fitted.predict(X[:120])) == y[:120]))
    radii = analysis.certified_radius(classifier, X[:120]).radii
    for row in result.table():
        right = np.asarray(classifier.predict(X[:120])) == y[:120]
        assert row["r = 0.2"] == np.mean(right & (np.asarray(radii[str(row["name"])]) >= 0.2))
        assert row["median"] == pytest.approx(float(np.median(radii[str(row["name"])])))
    for accuracies in result.certified.values():
        assert np.all(np.diff(accuracies) <= 0)
        assert result.attacked is not None
        assert np.all(accuracies <= result.attacked)
        assert result.accuracy >= result.attacked.max()
    axes = analysis.plot_certified_accuracy(result)
    assert analysis.plot_certified_accuracy(result, axes) is axes
    assert axes.get_ylabel() == "certified accuracy [%]"


def test_figure(digits):
    fitted, X, _ = digits
    result = analysis.certified_radius(analysis.GibbsClassifier.of(fitted), X[:30])
    axes = analysis.plot_certified_radius(result)
    assert len(axes.get_lines()) == len(analysis.CERTIFICATES)
    assert analysis.plot_certified_radius(result, axes) is axes


def test_float32_is_kept_and_stays_on_the_safe_side(digits):
    fitted, X, _ = digits
    wide = analysis.GibbsClassifier.of(fitted)
    narrow = jax.tree.map(lambda leaf: leaf.astype("float32"), wide)
    radii = analysis.certified_radius(narrow, X[:60].astype("float32")).radii
    for name, values in analysis.certified_radius(wide, X[:60]).radii.items():
        assert radii[name].dtype == jnp.float32
        assert np.all(np.asarray(radii[name]) <= np.asarray(values) * (1 + 1e-5) + 1e-6)
        assert np.median(radii[name]) > 0.97 * np.median(values)


def violations(classifier, X, pairs, seed):
    """How many of `pairs` pairs of a point and a move break a certificate or a curvature bound, with slack 1e-9.

    Each point's moves are as long as its best certified radius, in random directions, and one is an attack.
    """
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    result = analysis.certified_radius(classifier, X)
    best, predicted = np.asarray(result.best, float), np.asarray(result.predicted)
    found = analysis.attack(classifier, X, best, key=key, steps=20)
    broken = int(np.sum(leads(scores_of(classifier, np.asarray(found.points)), predicted) < -1e-9))
    layer = classifier.layer
    bounds = analysis.curvature_bounds(layer, X, best, key=key)
    W, b, eps = np.asarray(layer.weights), np.asarray(layer.biases), float(layer.viscosity)

    def value(points):
        return eps * logsumexp((points @ W.T + b) / eps, axis=1)

    logits = (X @ W.T + b) / eps
    gradients = np.exp(logits - logsumexp(logits, axis=1, keepdims=True)) @ W
    values, curved = value(X), np.asarray(bounds.local) * best**2 / 2
    for _ in range(math.ceil(pairs / len(X)) - 1):
        delta = on_the_sphere(rng, best, X.shape[1])
        broken += int(np.sum(leads(scores_of(classifier, X + delta), predicted) < -1e-9))
        remainder = value(X + delta) - values - np.sum(gradients * delta, axis=1)
        broken += int(np.sum((remainder < -1e-9) | (remainder > curved + 1e-9)))
    return broken


@pytest.mark.slow
@pytest.mark.skipif(not X64, reason="the slack is one of float64")
@pytest.mark.parametrize("viscosity", TEMPERATURES)
@pytest.mark.parametrize("name", ["digits", "patches"])
def test_no_violation_in_many_pairs(name, viscosity):
    data = named_dataset(name)
    train, test = (data.X[:1200], data.X[1200:]) if data.X_test is None else (data.X, data.X_test)
    labels = data.y[: len(train)]
    fitted = hjpde.fit(hjpde.Classification(train, labels), metric="common", n_atoms=5, steps=300, train_viscosity=True)
    classifier = analysis.GibbsClassifier.of(fitted).at_viscosity(viscosity)
    assert violations(classifier, np.asarray(test, float)[:200], 100_000, seed=0) == 0


@pytest.mark.parametrize(
    ("X", "certificates", "message"),
    [
        (np.zeros((2, 4)), ["scores"], r"`X` must have shape \(M, 3\)"),
        (np.full((2, 3), np.nan), ["scores"], "`X` must be finite"),
        (np.zeros((2, 3)), [], "`certificates` must be of .* got none"),
        (np.zeros((2, 3)), ["scores", "hessian"], "got scores, hessian"),
    ],
)
def test_refusals(X, certificates, message):
    with pytest.raises(ValueError, match=message):
        analysis.certified_radius(classifier_of(0), X, certificates)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1], r"`classes` must be integers of shape \(4,\)"),
        ([0.0, 1.0, 0.0, 1.0], "`classes` must be integers"),
        ([0, 0, 0, 0], "at least two classes a neuron"),
        ([0, 2, 0, 2], "at least two classes a neuron"),
        ([0, -1, 0, 1], "at least two classes a neuron"),
    ],
)
def test_classes_that_are_refused(classes, message):
    layer = hjpde.LogSumExp(np.ones((4, 2)), np.zeros(4), 1.0)
    with pytest.raises(ValueError, match=message):
        analysis.GibbsClassifier(layer, classes)


def test_other_refusals():
    classifier = classifier_of(0)
    X = np.zeros((2, 3))
    with pytest.raises(ValueError, match="`labels` must be integers"):
        analysis.certified_accuracy(classifier, X, [0.5, 1])
    with pytest.raises(ValueError, match="`labels` must lie from 0 to 2"):
        analysis.certified_accuracy(classifier, X, [0, 3])
    with pytest.raises(ValueError, match="`radius` must hold at least one radius"):
        analysis.certified_accuracy(classifier, X, [0, 1], [-1.0])
    with pytest.raises(ValueError, match="`X` must hold at least one point"):
        analysis.certified_accuracy(classifier, np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ValueError, match="`factor` must be positive"):
        classifier.scaled(0.0)
    with pytest.raises(ValueError, match="`viscosity` must be positive"):
        classifier.at_viscosity(-1.0)
    regression = hjpde.fit(hjpde.Regression(np.eye(3), np.arange(3.0)), n_atoms=2, steps=1)
    with pytest.raises(ValueError, match="`fitted` must be a classification"):
        analysis.GibbsClassifier.of(regression)
