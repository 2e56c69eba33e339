"""A fitted solution operator against a network: no gap where the network is that operator, and gaps by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import architectures
from hjpde._operator_gap import operator_gap

DOUBLE = jnp.result_type(float) == jnp.float64
TOLERANCE = 1e-10 if DOUBLE else 2e-3


class AtomLogits(eqx.Module):
    r"""$\log \sum_{j \in c} \exp(-(g_j + (x-y_j)^\top A^{-1} (x-y_j)/4t)/\varepsilon)$ for each class, written out."""

    positions: jax.Array
    heights: jax.Array
    inverse: jax.Array
    time: jax.Array
    viscosity: jax.Array
    members: jax.Array

    def __init__(self, fitted):
        atoms = fitted.problem.initial_data
        self.positions, self.heights = atoms.positions, atoms.heights
        self.inverse = jnp.linalg.inv(fitted.coordinates.A)
        self.time, self.viscosity = fitted.time, fitted.viscosity
        self.members = jnp.asarray(fitted.atom_classes[None] == np.arange(len(fitted.classes))[:, None])

    def __call__(self, x):
        away = x[None] - self.positions
        energies = self.heights + jnp.sum((away @ self.inverse) * away, axis=1) / (4 * self.time)
        scores = jnp.where(self.members, -energies[None] / self.viscosity, -jnp.inf)
        return jax.nn.logsumexp(scores, axis=1)


class Network(eqx.Module):
    """A head behind layers that do not move."""

    head: eqx.Module

    def __call__(self, x):
        return self.head(x)  # pyright: ignore[reportCallIssue]


@hjpde.as_hamiltonian.register
def _(network: Network, readout=None):
    still = architectures.FieldNetwork(lambda s, z: jnp.zeros_like(z), 2)
    return architectures.DepthFlow(still, lambda z: (jnp.sum if readout is None else readout)(network(z)))


def table(seed=0, n=60):
    return np.random.default_rng(seed).normal(size=(n, 2))


@pytest.fixture(scope="module")
def classified():
    X = table()
    labels = np.where(X[:, 0] + X[:, 1] ** 2 > 0.7, "c", np.where(X[:, 1] > 0, "b", "a"))
    return hjpde.fit(hjpde.Classification(X, labels), n_atoms=2, steps=20)


@pytest.fixture(scope="module")
def regressed():
    X = table(1)
    return hjpde.fit(hjpde.Regression(X, np.sin(X[:, 0]) + 3 * X[:, 1]), n_atoms=4, steps=20)


def inputs(n=7):
    return jnp.asarray(table(2, n))


def test_a_classifier_that_is_the_operator_has_no_gap(classified):
    gaps = operator_gap(AtomLogits(classified), inputs(), classified)
    assert gaps.gap.shape == gaps.gradient_gap.shape == (7,)
    assert gaps.gap.max() <= TOLERANCE
    assert gaps.gradient_gap.max() <= TOLERANCE
    assert gaps.equal is not None
    assert gaps.equal.all()
    assert gaps.summary()["equal_decisions"] == 1


def test_a_regression_that_is_the_operator_has_no_gap(regressed):
    """The network is the solution of the fitted problem at its time, by `hjpde.solve`."""
    solution = hjpde.solve(regressed.problem, regressed.time)
    gaps = operator_gap(lambda x: solution(regressed.time, x)[None], inputs(), regressed)
    scale = float(np.abs(np.asarray(regressed.predict(inputs()))).max())
    assert gaps.gap.max() <= TOLERANCE * scale
    assert gaps.gradient_gap.max() <= TOLERANCE
    assert gaps.equal is None
    assert "equal_decisions" not in gaps.summary()


def test_the_difference_of_two_solutions_is_an_operator_too():
    X = table(1)
    fitted = hjpde.fit(hjpde.Regression(X, np.sin(X[:, 0])), n_atoms=4, steps=20, difference=True)
    one, other = (hjpde.solve(problem, t) for problem, t in zip(fitted.problems, fitted.times, strict=True))
    gaps = operator_gap(lambda x: one(fitted.times[0], x) - other(fitted.times[1], x), inputs(), fitted)
    assert gaps.gap.max() <= 10 * TOLERANCE
    assert gaps.gradient_gap.max() <= 10 * TOLERANCE


def test_gaps_by_hand_for_a_classifier(classified):
    """Total variation, and the derivative of all probabilities by differences, relative to the network's mean norm."""
    W = np.random.default_rng(4).normal(size=(3, 2))

    def softmax(X):
        e = np.exp(X @ W.T)
        return e / e.sum(axis=1, keepdims=True)

    X = np.asarray(inputs())
    gaps = operator_gap(lambda x: jnp.asarray(W) @ x, jnp.asarray(X), classified)
    q = np.asarray(classified.predict_proba(X))
    tolerance = 1e-9 if DOUBLE else 1e-4
    np.testing.assert_allclose(gaps.gap, 0.5 * np.abs(softmax(X) - q).sum(axis=1), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(gaps.equal, softmax(X).argmax(axis=1) == q.argmax(axis=1))
    step = 1e-5 if DOUBLE else 1e-2

    def derivative(probabilities):
        sides = [[np.asarray(probabilities(X + sign * step * e)) for sign in (1, -1)] for e in np.eye(2)]
        return np.stack([(up - down) / (2 * step) for up, down in sides], axis=-1)

    network, fitted = derivative(softmax), derivative(classified.predict_proba)
    scale = np.linalg.norm(network.reshape(7, -1), axis=1).mean()
    expected = np.linalg.norm((network - fitted).reshape(7, -1), axis=1) / scale
    np.testing.assert_allclose(gaps.gradient_gap, expected, rtol=1e-6 if DOUBLE else 2e-2)
    found = gaps.summary()
    assert found["operator_gap"] == pytest.approx(gaps.gap.mean())
    assert found["operator_gap_95"] == pytest.approx(np.quantile(gaps.gap, 0.95))
    assert found["operator_gradient_gap"] == pytest.approx(expected.mean(), rel=1e-6 if DOUBLE else 2e-2)


def test_a_constant_network_has_no_norm_to_measure_against(regressed):
    solution = hjpde.solve(regressed.problem, regressed.time)
    gaps = operator_gap(lambda x: jnp.full((1,), 2.0), inputs(), regressed)
    slopes = np.linalg.norm(np.asarray(solution.batch_gradient(regressed.time, inputs())), axis=1)
    np.testing.assert_allclose(gaps.gradient_gap, slopes, rtol=1e-8 if DOUBLE else 1e-3)
    np.testing.assert_allclose(gaps.gap, np.abs(2 - np.asarray(regressed.predict(inputs()))), rtol=1e-5, atol=1e-6)


def test_inputs_in_rows_and_sequences_are_laid_out_alike(classified):
    """A network that reads sequences of two single numbers, next to the same one on vectors."""
    logits, X = AtomLogits(classified), inputs()
    in_time = operator_gap(lambda x: 2 * logits(x[:, 0]), X[:, :, None], classified)
    at_once = operator_gap(lambda x: 2 * logits(x), X, classified)
    np.testing.assert_allclose(in_time.gap, at_once.gap, rtol=1e-6)
    np.testing.assert_allclose(in_time.gradient_gap, at_once.gradient_gap, rtol=1e-6)
    assert at_once.gap.min() > 1e-3


@pytest.mark.slow
def test_through_compare(classified, regressed):
    report = hjpde.compare(Network(AtomLogits(classified)), inputs(), fitted=classified, n_refine=(1, 2))
    assert report.operator_gap is not None
    assert report.operator_gradient_gap is not None
    assert report.operator_gap <= TOLERANCE
    assert report.operator_gradient_gap <= TOLERANCE
    assert report.summary()["equal_decisions"] == 1
    # Layers that do not move are their own flow.
    assert report.kind == "exact"
    assert report.relative_gap == 0
    with pytest.raises(ValueError, match=r"`fitted` has 1 outputs \(regression\), the network has 2"):
        hjpde.compare(Network(eqx.nn.Lambda(lambda x: x)), inputs(), fitted=regressed, n_refine=(1, 2))


def test_what_does_not_match(classified, regressed):
    X = inputs()
    with pytest.raises(ValueError, match="`fitted` takes points of 2 numbers, an input of the network has 3"):
        operator_gap(jnp.sum, jnp.ones((4, 3)), regressed)
    with pytest.raises(ValueError, match=r"`fitted` has 3 outputs \(classification\), the network has 4"):
        operator_gap(lambda x: jnp.concatenate([x, x]), X, classified)
    with pytest.raises(ValueError, match=r"`fitted` has 1 outputs \(regression\), the network has 2"):
        operator_gap(lambda x: x, X, regressed)
    samples = hjpde.fit(hjpde.Samples(np.ones(8), table(3, 8), np.ones(8)), viscosity=0.5, n_atoms=2, steps=2)
    with pytest.raises(ValueError, match="`fitted` must be a fit of a `Regression` or a `Classification`"):
        operator_gap(jnp.sum, X, samples)
