"""Initial data: values, the dictionary between a layer and its atoms, temperatures, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import random_spd
from hypothesis import given
from hypothesis import strategies as st

import hjpde

GAUGES = st.floats(0.01, 100.0)


@given(t=GAUGES, anisotropic=st.booleans())
def test_every_gauge_is_exact(t, anisotropic):
    # The parabola is the sum of layer and solution for the atoms of every gauge, by squared distances in numpy.
    rng = np.random.default_rng(0)
    W, b, eps = rng.normal(size=(6, 2)), rng.normal(size=6), 0.3
    A = random_spd(rng, 2) if anisotropic else np.eye(2)
    layer = hjpde.LogSumExp(W, b, eps)
    atoms = layer.atoms(t, A if anisotropic else None)
    x = rng.normal(size=2) * (1 + t)
    offsets = x - np.asarray(atoms.positions)
    costs = atoms.heights + np.einsum("nd,nd->n", offsets, np.linalg.solve(A, offsets.T).T) / (4 * t)
    u = -eps * np.logaddexp.reduce(-costs / eps)
    parabola = x @ np.linalg.solve(A, x) / (4 * t)
    assert abs(layer(jnp.asarray(x)) + u - parabola) <= 1e-12 * (parabola + abs(u))


@given(t=GAUGES, anisotropic=st.booleans())
def test_the_dictionary_goes_both_ways(t, anisotropic):
    rng = np.random.default_rng(1)
    A = random_spd(rng, 3) if anisotropic else None
    layer = hjpde.LogSumExp(rng.normal(size=(5, 3)), rng.normal(size=5), 0.3)
    back = hjpde.LogSumExp.from_atoms(layer.atoms(t, A), t, 0.3, A)
    np.testing.assert_allclose(back.weights, layer.weights, rtol=1e-12)
    np.testing.assert_allclose(back.biases, layer.biases, atol=1e-14 * (1 + 100 * t))


def test_a_layer_between_its_bounds():
    rng = np.random.default_rng(2)
    layer = hjpde.LogSumExp(rng.normal(size=(7, 2)), rng.normal(size=7), 0.2)
    X = jnp.asarray(rng.normal(size=(4, 3, 2)))
    f = layer.batch(X)
    assert f.shape == (4, 3)
    np.testing.assert_allclose(f, jax.vmap(jax.vmap(layer))(X), rtol=1e-14)
    largest = jax.vmap(jax.vmap(layer.scores))(X).max(axis=-1)
    assert np.all(largest <= f)
    assert np.all(f <= largest + 0.2 * np.log(7))


def test_gibbs_weights_and_entropy_are_derivatives():
    rng = np.random.default_rng(3)
    W, b, eps, x = jnp.asarray(rng.normal(size=(7, 2))), jnp.asarray(rng.normal(size=7)), 0.2, jnp.asarray([0.3, -0.8])
    layer = hjpde.LogSumExp(W, b, eps)
    gibbs = layer.gibbs(x)
    np.testing.assert_allclose(gibbs.sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(gibbs, jax.grad(lambda b: hjpde.LogSumExp(W, b, eps)(x))(b), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gibbs @ W, jax.grad(layer)(x), rtol=1e-12)
    entropy = layer.entropy(x)
    assert 0 <= entropy <= np.log(7)
    np.testing.assert_allclose(entropy, -jnp.sum(gibbs * jnp.log(gibbs)), rtol=1e-12)
    np.testing.assert_allclose(entropy, jax.grad(lambda e: hjpde.LogSumExp(W, b, e)(x))(eps), rtol=1e-10)


def test_a_masked_neuron_is_no_neuron():
    x = jnp.asarray([0.3])
    masked = hjpde.LogSumExp([[1.0], [2.0]], [0.5, -np.inf], 0.1)
    np.testing.assert_allclose(masked(x), 0.8, rtol=1e-14)
    np.testing.assert_array_equal(masked.gibbs(x), [1.0, 0.0])
    assert masked.entropy(x) == 0
    assert masked.atoms(1.0).heights[1] == np.inf


def test_planes_are_minus_the_layer():
    rng = np.random.default_rng(4)
    layer = hjpde.LogSumExp(rng.normal(size=(7, 2)), rng.normal(size=7), 0.2)
    x = jnp.asarray([0.3, -0.8])
    np.testing.assert_allclose(layer.planes()(x), -layer(x), rtol=1e-14)


def test_atoms_are_infinite_off_their_points():
    atoms = hjpde.Atoms([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]], [0.5, 0.1, 0.2])
    assert atoms(jnp.asarray([0.0, 1.0])) == 0.2
    assert atoms(jnp.asarray([0.0, 1.5])) == np.inf


def test_soft_minima_tend_to_minima():
    x = jnp.asarray([0.3, -0.2])
    W, b, Y = np.eye(2), np.asarray([0.1, 0.4]), np.asarray([[0.0, 0.0], [1.0, 0.0]])
    planes = hjpde.SoftMinPlanes(W, b, 0.0)
    np.testing.assert_allclose(planes(x), min(-0.3 - 0.1, 0.2 - 0.4), rtol=1e-14)
    mixture = hjpde.GaussianMixture(Y, b, [2.0, 3.0], slopes=W, viscosity=0.0)
    by_hand = [0.1 + 0.3 + 0.13, 0.4 - 0.2 + 1.5 * (0.49 + 0.04)]
    np.testing.assert_allclose(mixture(x), min(by_hand), rtol=1e-14)
    assert planes.hard
    assert mixture.hard
    for datum in (planes, mixture):
        soft = datum.at_viscosity(0.01)
        assert not soft.hard
        assert datum(x) - 0.01 * np.log(2) <= soft(x) <= datum(x)
        assert np.all(np.isfinite(jax.grad(datum)(x)))


def test_precisions_in_every_shape_agree():
    x, c = jnp.asarray([0.3, -0.2]), np.asarray([2.0, 3.0])
    Y, g = np.asarray([[0.0, 0.0], [1.0, 0.0]]), np.asarray([0.1, 0.4])
    full = hjpde.GaussianMixture(Y, g, c[:, None, None] * np.eye(2), viscosity=0.1)
    np.testing.assert_allclose(hjpde.GaussianMixture(Y, g, c, viscosity=0.1)(x), full(x), rtol=1e-14)
    shared = hjpde.GaussianMixture(Y, g, 2.0, viscosity=0.1)
    np.testing.assert_allclose(hjpde.GaussianMixture(Y, g, 2 * np.eye(2), viscosity=0.1)(x), shared(x), rtol=1e-14)


def test_a_quadratic_form_is_one_component():
    rng = np.random.default_rng(5)
    P, s, x = random_spd(rng, 3), rng.normal(size=3), rng.normal(size=3)
    form = hjpde.QuadraticForm(P, s, 0.7)
    np.testing.assert_allclose(form(jnp.asarray(x)), x @ P @ x / 2 + s @ x + 0.7, rtol=1e-13)
    np.testing.assert_allclose(form.mixture(0.3)(jnp.asarray(x)), form(jnp.asarray(x)), rtol=1e-13)


@pytest.mark.parametrize("order, expected", [(1, 7.0), (2, 5.0), (np.inf, 4.0), ("inf", 4.0), (2.0, 5.0)])
def test_norms(order, expected):
    norm = hjpde.Norm(order, 3.0)
    np.testing.assert_allclose(norm(jnp.asarray([3.0, -4.0])), 3 * expected, rtol=1e-15)
    assert np.all(np.isfinite(jax.grad(norm)(jnp.zeros(2))))


def test_cones():
    cones = hjpde.Cones([[0.0, 0.0], [3.0, 4.0]], [1.0, 2.0], [0.5, -1.0])
    assert cones(jnp.asarray([0.0, 0.0])) == pytest.approx(min(1.0, 2.0 - 5.0))
    assert np.all(np.isfinite(jax.grad(cones)(jnp.zeros(2))))
    np.testing.assert_array_equal(hjpde.Cones([[0.0], [1.0]], [0.0, 0.0]).slopes, [1.0, 1.0])


def test_maximum_of_planes():
    planes = hjpde.MaxPlanes([[1.0], [-1.0]], [0.0, 0.5])
    assert planes(jnp.asarray([2.0])) == 2.0
    assert planes(jnp.asarray([-2.0])) == 1.5


def test_array_likes_and_integers_are_taken():
    for datum in (
        hjpde.Atoms([[0], [1]], [0, 1]),
        hjpde.LogSumExp(np.asarray([[0], [1]]), (0, 1), 1),
        hjpde.SoftMinPlanes([[0], [1]], np.zeros(2, int), 1),
        hjpde.GaussianMixture([[0], [1]], [0, 1], 1, viscosity=1),
        hjpde.QuadraticForm([[1]], [2], 3),
        hjpde.Cones([[0], [1]], [0, 1], 2),
        hjpde.MaxPlanes([[0], [1]], [0, 1]),
    ):
        assert datum.dim == 1
        assert {leaf.dtype for leaf in jax.tree.leaves(datum)} == {jnp.result_type(float)}


TWO = np.zeros((2, 2))
NAN = np.full((2, 2), np.nan)
WRONG = [
    (lambda: hjpde.LogSumExp(TWO, np.zeros(3), 0.1), r"`weights` must have shape \(N, d\).*\(2, 2\) and \(3,\)"),
    (lambda: hjpde.LogSumExp(np.zeros((0, 2)), np.zeros(0), 0.1), "`weights` must have shape"),
    (lambda: hjpde.LogSumExp(np.zeros(2), np.zeros(2), 0.1), "`weights` must have 2 axes, got shape"),
    (lambda: hjpde.LogSumExp(NAN, np.zeros(2), 0.1), "`weights` must be finite, got 4 entries"),
    (lambda: hjpde.LogSumExp(TWO, [0.0, np.nan], 0.1), "`biases` must be finite"),
    (lambda: hjpde.LogSumExp(TWO, [0.0, np.inf], 0.1), "`biases` must be finite"),
    (lambda: hjpde.LogSumExp(TWO, np.zeros(2), 0.0), "`viscosity` must be positive and finite, got 0"),
    (lambda: hjpde.LogSumExp(TWO, np.zeros(2), -1.0), "`viscosity` must be positive and finite, got -1"),
    (lambda: hjpde.LogSumExp(TWO, np.zeros(2), np.nan), "`viscosity` must be positive"),
    (lambda: hjpde.LogSumExp(TWO, np.zeros(2), np.ones(2)), r"`viscosity` must be a scalar, got shape \(2,\)"),
    (lambda: hjpde.LogSumExp(TWO * 1j, np.zeros(2), 0.1), "`weights` must be real"),
    (lambda: hjpde.LogSumExp([[1.0, 2.0], [3.0]], np.zeros(2), 0.1), "`weights` must be an array of numbers"),
    (lambda: hjpde.LogSumExp(TWO, np.zeros(2), 0.1).atoms(0.0), "`t` must be positive"),
    (lambda: hjpde.LogSumExp.from_atoms(hjpde.Atoms(TWO, np.zeros(2)), -1.0, 0.1), "`t` must be positive"),
    (lambda: hjpde.Atoms(TWO, np.zeros(3)), "`positions` must have shape"),
    (lambda: hjpde.Atoms(NAN, np.zeros(2)), "`positions` must be finite"),
    (lambda: hjpde.Atoms(TWO, [0.0, -np.inf]), "`heights` must be finite"),
    (lambda: hjpde.SoftMinPlanes(TWO, np.zeros(3)), "`weights` must have shape"),
    (lambda: hjpde.SoftMinPlanes(TWO, np.zeros(2), -0.1), "`viscosity` must be finite and not negative"),
    (lambda: hjpde.SoftMinPlanes(TWO, np.zeros(2), np.ones(2)), "`viscosity` must be a scalar"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(3), 1.0), "`positions` and `slopes` must have shape"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(2), np.zeros(3)), r"`precisions` must have shape \(2, 2, 2\)"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(2), np.triu(np.ones((2, 2)))), "`precisions` must be symmetric"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(2), np.nan), "`precisions` must be finite"),
    (lambda: hjpde.GaussianMixture(NAN, np.zeros(2), 1.0), "`positions` must be finite"),
    (lambda: hjpde.GaussianMixture(TWO, [0.0, np.nan], 1.0), "`heights` must be finite"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(2), 1.0, slopes=NAN), "`slopes` must be finite"),
    (lambda: hjpde.GaussianMixture(TWO, np.zeros(2), 1.0, viscosity=-1.0), "`viscosity` must be finite"),
    (lambda: hjpde.QuadraticForm(np.zeros((2, 3))), "`matrix` must have shape"),
    (lambda: hjpde.QuadraticForm(np.triu(np.ones((2, 2)))), "`matrix` must be symmetric"),
    (lambda: hjpde.QuadraticForm(NAN), "`matrix` must be finite"),
    (lambda: hjpde.QuadraticForm(TWO, np.zeros(3)), "`slope` "),
    (lambda: hjpde.QuadraticForm(TWO, [np.inf, 0.0]), "`slope` must be finite"),
    (lambda: hjpde.QuadraticForm(TWO, constant=np.nan), "`constant` must be finite"),
    (lambda: hjpde.Norm(3), "`order` must be 1, 2 or infinity, got 3"),
    (lambda: hjpde.Norm(2, 0.0), "`scale` must be positive"),
    (lambda: hjpde.Cones(TWO, np.zeros(3)), "`heights`"),
    (lambda: hjpde.Cones(TWO, np.zeros(2), np.zeros(3)), "`slopes`"),
    (lambda: hjpde.Cones(TWO, [np.inf, 0.0]), "`heights` must be finite"),
    (lambda: hjpde.MaxPlanes(TWO, np.zeros(3)), "`slopes` must have shape"),
    (lambda: hjpde.MaxPlanes(TWO, [np.inf, 0.0]), "`offsets` must be finite"),
    (lambda: hjpde.MaxPlanes(TWO, [-np.inf, 0.0]), "`offsets` must be finite"),
    (lambda: hjpde.MaxPlanes(NAN, np.zeros(2)), "`slopes` must be finite"),
]


@pytest.mark.parametrize("build, message", WRONG)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_point_of_another_dimension_is_named():
    layer = hjpde.LogSumExp(TWO, np.zeros(2), 0.1)
    with pytest.raises(ValueError, match=r"`X` must have shape \(M, 2\)"):
        layer.batch(np.zeros((4, 3)))


def test_a_soft_minimum_needs_a_temperature_to_be_evaluated():
    for datum in (hjpde.SoftMinPlanes(TWO, np.zeros(2)), hjpde.GaussianMixture(TWO, np.zeros(2), 1.0)):
        with pytest.raises(ValueError, match=rf"`{type(datum).__name__}` has no temperature"):
            datum(jnp.zeros(2))
        assert hjpde.InitialValueProblem(datum, hjpde.Quadratic(), 0.1).initial_data(jnp.zeros(2)).shape == ()


def test_a_traced_viscosity_that_is_not_positive_is_a_runtime_error():
    with pytest.raises(Exception, match="`viscosity` must be positive"):
        jax.block_until_ready(jax.jit(lambda eps: hjpde.LogSumExp(TWO, jnp.zeros(2), eps)(jnp.zeros(2)))(-1.0))


def test_data_are_built_and_differentiated_under_jit():
    def f(h):
        return (
            hjpde.Cones(TWO, h)(jnp.ones(2)) + hjpde.MaxPlanes(TWO, h)(jnp.ones(2)) + hjpde.Norm(1, h[0])(jnp.ones(2))
        )

    assert np.all(np.isfinite(jax.jit(jax.grad(f))(jnp.asarray([1.0, 2.0]))))
