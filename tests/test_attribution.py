"""Attribution against plain numpy, finite differences of the layer, and layers with a neuron taken out."""

import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hjpde
from hjpde import _streaming, analysis

FLOAT = np.asarray(hjpde.LogSumExp([[0.0]], [0.0], 1.0).weights).dtype
UNIT = float(np.finfo(FLOAT).eps)


def random_layer(seed=0, n_neurons=30, dim=3, viscosity=0.5):
    rng = np.random.default_rng(seed)
    return hjpde.LogSumExp(rng.normal(size=(n_neurons, dim)), rng.normal(size=n_neurons), viscosity)


def gibbs(layer, X, viscosity=None):
    """Scores and Gibbs weights in float64, written out."""
    eps = float(layer.viscosity) if viscosity is None else viscosity
    z = np.asarray(X) @ np.asarray(layer.weights, float).T + np.asarray(layer.biases, float)
    p = np.exp((z - z.max(1, keepdims=True)) / eps)
    return z, p / p.sum(1, keepdims=True)


def value(layer, X, viscosity=None, without=None):
    """The layer in float64, perhaps without one neuron."""
    eps = float(layer.viscosity) if viscosity is None else viscosity
    z = np.asarray(X) @ np.asarray(layer.weights, float).T + np.asarray(layer.biases, float)
    z = z if without is None else np.delete(z, without, axis=1)
    top = z.max(1)
    return top + eps * np.log(np.exp((z - top[:, None]) / eps).sum(1))


def points(seed, dim=3, n=7):
    return np.asarray(np.random.default_rng(seed).normal(size=(n, dim)), FLOAT)


def test_the_law_against_numpy():
    layer, X = random_layer(), points(1)
    z, pi = gibbs(layer, X)
    law = analysis.attribute(layer, X, n_heaviest=4)
    assert law.neurons.shape == law.weights.shape == law.removals.shape == (7, 4)
    assert law.weights.dtype == FLOAT
    np.testing.assert_array_equal(law.neurons, np.argsort(-pi, axis=1)[:, :4])
    tolerance = 100 * UNIT
    np.testing.assert_allclose(law.weights, -np.sort(-pi, axis=1)[:, :4], rtol=tolerance)
    np.testing.assert_allclose(law.rest, np.sort(pi, axis=1)[:, :-4].sum(1), atol=tolerance)
    np.testing.assert_allclose(law.free_energy, value(layer, X), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(law.energy, (pi * z).sum(1), rtol=tolerance, atol=tolerance)
    entropy = -(pi * np.log(pi)).sum(1)
    np.testing.assert_allclose(law.entropy, entropy, rtol=tolerance)
    np.testing.assert_allclose(law.effective_number, np.exp(entropy), rtol=tolerance)
    variance = (pi * z**2).sum(1) - (pi * z).sum(1) ** 2
    np.testing.assert_allclose(law.heat_capacity, variance / 0.25, rtol=tolerance)


def test_thermodynamics_by_finite_differences():
    """dF/d eps is the entropy, dS/d eps the heat capacity over eps, and F = E + eps S."""
    layer, X, h = random_layer(), points(2), 1e-5
    law = analysis.attribute(layer, X)
    slope = (value(layer, X, 0.5 + h) - value(layer, X, 0.5 - h)) / (2 * h)
    # Central differences are wrong by h^2 and by rounding over h.
    np.testing.assert_allclose(law.entropy, slope, atol=1e-9 + 100 * UNIT)

    def entropy(eps):
        pi = gibbs(layer, X, eps)[1]
        return -(pi * np.log(pi)).sum(1)

    slope = (entropy(0.5 + h) - entropy(0.5 - h)) / (2 * h)
    np.testing.assert_allclose(law.heat_capacity / 0.5, slope, atol=1e-8, rtol=100 * UNIT)
    np.testing.assert_allclose(law.free_energy, law.energy + 0.5 * law.entropy, atol=100 * UNIT)


def test_removals_are_those_of_a_layer_without_the_neuron():
    layer, X = random_layer(n_neurons=6), points(3)
    law = analysis.attribute(layer, X, n_heaviest=6)
    for i in range(len(X)):
        for rank, j in enumerate(np.asarray(law.neurons[i])):
            change = value(layer, X[i : i + 1], without=j) - value(layer, X[i : i + 1])
            np.testing.assert_allclose(law.removals[i, rank], change[0], rtol=200 * UNIT, atol=1e-14 + 2 * UNIT)


@pytest.mark.parametrize("gap", [1e-3, 1.0, 30.0, 200.0, 5000.0])
def test_removals_keep_their_digits_next_to_one_and_to_zero(gap):
    """Two neurons whose scores differ by `gap`: eps log(1 - pi) is known in closed form for both."""
    mpmath.mp.dps = 60
    layer = hjpde.LogSumExp([[gap], [0.0]], [0.0, 0.0], 1.0)
    law = analysis.attribute(layer, [1.0], n_heaviest=2)
    heavy, light = (-mpmath.log1p(mpmath.exp(sign * mpmath.mpf(gap))) for sign in (1, -1))
    np.testing.assert_allclose(law.removals[0], float(heavy), rtol=20 * UNIT)
    np.testing.assert_allclose(law.removals[1], float(light), rtol=20 * UNIT, atol=float(np.finfo(FLOAT).tiny))


def test_one_neuron_alone():
    law = analysis.attribute(hjpde.LogSumExp([[1.0, 2.0]], [0.5], 0.3), [1.0, 1.0])
    assert law.weights.shape == (1,)
    assert float(law.entropy) == float(law.heat_capacity) == 0
    assert float(law.removals[0]) == -np.inf
    np.testing.assert_allclose(law.free_energy, 3.5)


def test_masked_neurons_have_no_weight():
    layer = hjpde.LogSumExp([[1.0], [2.0], [3.0]], [0.0, -np.inf, 0.0], 1.0)
    plain = hjpde.LogSumExp([[1.0], [3.0]], [0.0, 0.0], 1.0)
    masked, law = analysis.attribute(layer, [0.3]), analysis.attribute(plain, [0.3])
    np.testing.assert_allclose(masked.entropy, law.entropy, rtol=10 * UNIT)
    np.testing.assert_allclose(masked.heat_capacity, law.heat_capacity, rtol=10 * UNIT)
    assert float(masked.weights[2]) == 0
    gradients = [analysis.entropy_gradient(source, [0.3]) for source in (layer, plain)]
    np.testing.assert_allclose(*gradients, rtol=10 * UNIT)


def test_tiles_change_nothing(monkeypatch):
    layer, X = random_layer(4, n_neurons=41), points(5, n=53)
    whole = analysis.attribute(layer, X)
    monkeypatch.setattr(_streaming, "_TILE_ELEMENTS", {"cpu": 300})
    jax.clear_caches()
    tiled = analysis.attribute(layer, X)
    jax.clear_caches()
    np.testing.assert_array_equal(whole.neurons, tiled.neurons)
    for name in ("weights", "removals", "entropy", "heat_capacity"):
        np.testing.assert_allclose(getattr(whole, name), getattr(tiled, name), rtol=100 * UNIT)


@given(st.integers(0, 2**31), st.floats(0.05, 50.0))
def test_laws_that_hold_for_all_layers(seed, viscosity):
    layer = random_layer(seed, n_neurons=8, dim=2, viscosity=viscosity)
    law = analysis.attribute(layer, points(seed + 1, dim=2), n_heaviest=8)
    assert np.all(law.entropy >= 0)
    assert np.all(law.entropy <= np.log(8) + 10 * UNIT)
    assert np.all(law.heat_capacity >= 0)
    assert np.all(law.removals <= 0)
    assert np.all(np.diff(np.asarray(law.weights), axis=-1) <= 0)
    np.testing.assert_allclose(law.weights.sum(-1), 1, atol=20 * UNIT)


def test_entropy_gradient_by_finite_differences():
    layer, X, h = random_layer(), points(6), 1e-5
    gradient = analysis.entropy_gradient(layer, X.reshape(7, 1, 3))
    assert gradient.shape == (7, 1, 3)

    def entropy(X):
        pi = gibbs(layer, X)[1]
        return -(pi * np.log(pi)).sum(1)

    X = X.astype(float)
    for i in range(3):
        shift = np.eye(3)[i] * h
        slope = (entropy(X + shift) - entropy(X - shift)) / (2 * h)
        np.testing.assert_allclose(gradient[:, 0, i], slope, atol=1e-8 + 200 * UNIT)


def test_entropy_gradient_keeps_its_digits_where_it_is_tiny():
    """Two neurons, score gap z: H' is -gap exp(-gap / eps) (W_2 - W_1) / eps^2 to a relative exp(-gap / eps)."""
    layer = hjpde.LogSumExp([[1.0], [-1.0]], [0.0, 0.0], 0.05)
    eps = float(layer.viscosity)
    slope = -2 * np.exp(-2 / eps) * 2 / eps**2
    np.testing.assert_allclose(analysis.entropy_gradient(layer, [1.0]), [slope], rtol=1e3 * UNIT)


def test_atoms_are_attributed_to_as_the_solution_depends_on_their_heights():
    rng = np.random.default_rng(0)
    positions, heights = rng.normal(size=(9, 2)), rng.normal(size=9)
    x, t, eps, h = rng.normal(size=2), 0.7, 0.4, 1e-6
    law = analysis.attribute(hjpde.Atoms(positions, heights), x, t=t, viscosity=eps, n_heaviest=9)

    def u(g):
        energy = g + ((x - positions) ** 2).sum(1) / (4 * t)
        return -eps * np.log(np.exp(-energy / eps).sum())

    for rank, j in enumerate(np.asarray(law.neurons)):
        slope = (u(heights + h * np.eye(9)[j]) - u(heights - h * np.eye(9)[j])) / (2 * h)
        np.testing.assert_allclose(law.weights[rank], slope, atol=1e-9 + 20 * UNIT)


@pytest.fixture(scope="module")
def classifier():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(-1, 0.4, (40, 2)), rng.normal(1, 0.4, (40, 2))])
    labels = np.repeat(["left", "right"], 40)
    return hjpde.fit(hjpde.Classification(X, labels), n_atoms=3, steps=40, key=jax.random.key(0)), X


@pytest.mark.slow
def test_a_classification_names_the_classes_of_its_atoms(classifier):
    fitted, X = classifier
    law = analysis.attribute(fitted, X[:5], n_heaviest=99)
    n_atoms = fitted.atom_classes.size
    assert law.classes is not None
    assert law.classes.shape == (5, n_atoms)
    mass = np.where(law.classes == "right", np.asarray(law.weights), 0).sum(1)
    np.testing.assert_allclose(mass, fitted.predict_proba(X[:5])[:, 1], atol=1e4 * UNIT)
    assert analysis.attribute(fitted.layer, X[:5]).classes is None


def test_critical_viscosity():
    assert analysis.critical_viscosity(16, 2) == pytest.approx(0.25)
    assert analysis.critical_viscosity(16, 2, "smooth") == pytest.approx(1 / 16)


def test_refusals():
    layer, atoms = random_layer(), hjpde.Atoms([[0.0, 1.0]], [0.0])
    for call, word in (
        (lambda: analysis.attribute(layer, [1.0, 2.0]), r"`X` must have shape \(\.\.\., 3\)"),
        (lambda: analysis.attribute(layer, np.zeros((0, 3))), "`X`"),
        (lambda: analysis.attribute(layer, [1.0, 2.0, np.nan]), "`X` must be finite"),
        (lambda: analysis.attribute(layer, np.zeros(3), n_heaviest=0), "`n_heaviest`"),
        (lambda: analysis.attribute(layer, np.zeros(3), viscosity=-1.0), "`viscosity`"),
        (lambda: analysis.attribute(layer, np.zeros(3), t=1.0), "`t` must be None"),
        (lambda: analysis.attribute(atoms, np.zeros(2), t=1.0), "`viscosity`"),
        (lambda: analysis.attribute(atoms, np.zeros(2), viscosity=1.0), "`t`"),
        (lambda: analysis.entropy_gradient(layer, [1.0]), "`X`"),
        (lambda: analysis.critical_viscosity(0, 2), "`n_neurons`"),
        (lambda: analysis.critical_viscosity(4, 0), "`dim`"),
        (lambda: analysis.critical_viscosity(4, 2, "rough"), "`data`"),
        (lambda: analysis.plot_attribution(analysis.attribute(layer, np.zeros((41, 3)))), "at most 40"),
        (lambda: analysis.plot_viscosity_sweep(layer, np.zeros(3), 1.0, 0.5), "`lowest`"),
    ):
        with pytest.raises(ValueError, match=word):
            call()


@pytest.mark.slow
def test_a_difference_of_two_solutions_is_refused():
    X = np.random.default_rng(0).normal(size=(20, 1))
    fitted = hjpde.fit(hjpde.Regression(X, np.sin(X[:, 0])), n_atoms=3, steps=2, difference=True, key=jax.random.key(0))
    with pytest.raises(ValueError, match="give one of its `layers`"):
        analysis.attribute(fitted, X)
    assert analysis.attribute(fitted.layers[1], X).weights.shape == (20, 3)


def test_figures():
    law = analysis.attribute(random_layer(), points(0))
    ax = analysis.plot_attribution(law)
    assert ax.get_xlabel()
    assert analysis.plot_attribution(law, ax) is ax
    swept = analysis.plot_viscosity_sweep(random_layer(), points(0)[0], 0.01, 10.0)
    assert {line.get_label() for line in swept.get_lines()} >= {r"entropy $S / \log N$"}
