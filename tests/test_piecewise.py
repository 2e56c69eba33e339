"""Layers of maxima and softplus units, against their exact differences of maxima and log-sum-exps."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import architectures
from hjpde.architectures._arrangement import cell_bound, cells

DOUBLE = jnp.result_type(float) == jnp.float64
TOLERANCE = 1e-12 if DOUBLE else 1e-5


def close(one, other, tolerance=TOLERANCE):
    one, other = np.asarray(one), np.asarray(other)
    assert np.max(np.abs(one - other)) <= tolerance * max(1, np.max(np.abs(other)))


def points(d, n=300, seed=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(-3, 3, (n, d)))


def at(function, X):
    return jax.jit(jax.vmap(function))(X)


def units(N, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, d)), rng.normal(size=N), rng.normal(size=N), 0.3


@pytest.mark.parametrize(("N", "d"), [(1, 1), (5, 1), (7, 2), (6, 3), (7, 4), (3, 5)])
def test_in_general_position_there_are_as_many_cells_as_there_can_be(N, d):
    W, b, _, _ = units(N, d)
    found = cells(W, b)
    assert len(found) == cell_bound(N, d) == len({tuple(row) for row in found})
    # Every cell holds a point: those of a sample are all among them.
    X = 10 * np.random.default_rng(3).normal(size=(4000, d))
    seen = {tuple(row) for row in np.where(X @ W.T + b > 0, 1, -1)}
    assert seen <= {tuple(row) for row in found}


def test_cells_of_arrangements_in_special_position():
    """Parallel lines, a pencil, hyperplanes $x_i = x_j$ (one cell an order), repeated ones and empty ones."""
    axes = np.array([[1.0, 0], [1, 0], [-2, 0], [0, 1], [0, 3]])
    assert len(cells(axes, np.array([0.0, 1, 1, 0, 2]))) == 4 * 3
    angles = 0.3 + np.arange(5)
    assert len(cells(np.stack([np.cos(angles), np.sin(angles)], axis=1), np.zeros(5))) == 10
    for n in (3, 4, 5):
        braid = np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in itertools.combinations(range(n), 2)])
        assert len(cells(braid, np.zeros(len(braid)))) == math.factorial(n)
    twice = np.array([[1.0, 2], [2, 4], [-1, -2], [0, 0]])
    np.testing.assert_array_equal(
        sorted(map(tuple, cells(twice, np.array([1.0, 2, -1, 5])))), [(-1, -1, 1, 1), (1, 1, -1, 1)]
    )


@pytest.mark.parametrize(("N", "d"), [(9, 1), (14, 2), (9, 3), (5, 6)])
def test_a_relu_layer_is_a_difference_of_maxima(N, d):
    W, b, a, c = units(N, d)
    layer = architectures.ReLULayer(W, b, a, c)
    difference = layer.difference()
    X = points(d)
    value = np.maximum(np.asarray(X) @ W.T + b, 0) @ a + c
    close(at(layer, X), value)
    close(at(difference, X), value)
    for half, n in ((difference.P, int(np.sum(a > 0))), (difference.Q, int(np.sum(a < 0)))):
        assert len(half.biases) == cell_bound(n, d) <= 2**n


def test_planes_of_a_relu_layer_are_all_active_and_more_than_brute_force_could_list():
    """40 units of one sign in the plane: 821 planes of $2^{40}$."""
    W, b, a, _ = units(40, 2)
    layer = architectures.ReLULayer(W, b, np.abs(a))
    P = layer.difference().P
    assert len(P.biases) == cell_bound(40, 2) == 821
    X = points(2)
    close(at(P, X), np.maximum(np.asarray(X) @ W.T + b, 0) @ np.abs(a))


@pytest.mark.parametrize(("N", "K", "d"), [(4, 3, 1), (3, 3, 2), (2, 4, 2), (2, 3, 3)])
def test_a_maxout_layer_is_a_difference_of_maxima(N, K, d):
    rng = np.random.default_rng(5)
    W, b = rng.normal(size=(N, K, d)), rng.normal(size=(N, K))
    for a in (rng.normal(size=N), np.abs(rng.normal(size=N))):
        layer = architectures.MaxoutLayer(W, b, a, -0.2)
        difference = layer.difference()
        X = points(d)
        value = (np.einsum("nkd,md->mnk", W, np.asarray(X)) + b).max(axis=2) @ a - 0.2
        close(at(layer, X), value)
        close(at(difference, X), value)
        assert len(difference.P.biases) <= K**N


def test_the_absolute_value_is_a_maxout_unit_of_two_planes():
    layer = architectures.MaxoutLayer([[[1.0], [-1.0]]], [[0.0, 0.0]], [1.0])
    P = layer.difference().P
    np.testing.assert_array_equal(sorted(P.weights[:, 0].tolist()), [-1, 1])
    close(at(layer.difference(), points(1)), np.abs(points(1)[:, 0]))


def test_deep_relu_networks_are_differences_of_maxima():
    W, b, a, c = units(5, 2)
    W2, b2, a2, c2 = units(4, 2, seed=9)
    one, two = architectures.ReLULayer(W, b, a, c), architectures.ReLULayer(W2, b2, a2, c2)
    deep = one.difference().relu().scaled(-0.7).plus(two.difference().relu().scaled(1.3)).relu()
    X = np.asarray(points(2))
    first = np.maximum(np.maximum(X @ W.T + b, 0) @ a + c, 0)
    second = np.maximum(np.maximum(X @ W2.T + b2, 0) @ a2 + c2, 0)
    close(at(deep, jnp.asarray(X)), np.maximum(1.3 * second - 0.7 * first, 0))


def test_a_softplus_unit_is_a_log_sum_exp_at_the_temperature_of_its_amplitude():
    W, b, a, c = units(8, 3)
    a[3] = 0.0
    layer = architectures.SoftplusLayer(W, b, a, c)
    exact = layer.units()
    X = points(3)
    value = np.logaddexp(0, np.asarray(X) @ W.T + b) @ a + c
    close(at(layer, X), value)
    close(at(exact, X), value)
    np.testing.assert_array_equal(exact.temperatures, np.abs(jnp.asarray(a))[np.abs(a) > 0])
    term = hjpde.LogSumExp(exact.weights[2], exact.biases[2], exact.temperatures[2])
    close(term.batch(X), abs(a[2]) * np.logaddexp(0, np.asarray(X) @ W[2] + b[2]))


@pytest.mark.parametrize("temperature", [None, 0.25, 0.125])
def test_amplitudes_on_a_lattice_have_one_temperature(temperature):
    W, b, _, c = units(4, 2)
    a = np.array([0.5, -0.75, 0.25, 0.75])
    difference = architectures.SoftplusLayer(W, b, a, c).difference(temperature)
    X = points(2)
    close(at(difference, X), np.logaddexp(0, np.asarray(X) @ W.T + b) @ a + c)
    eps = 0.25 if temperature is None else temperature
    assert float(difference.P.temperature) == eps
    assert len(difference.P.biases) == np.prod(np.abs(a[a > 0]) / eps + 1)
    half = hjpde.LogSumExp(difference.Q.weights, difference.Q.biases, eps)
    close(half.batch(X), at(difference.Q, X))


@pytest.mark.slow
def test_a_half_is_a_solution_and_the_difference_is_not():
    """$|x|^2/4t - P$ solves the equation from atoms with the normaliser; $|x|^2/4t - f$ does not."""
    W, b, _, _ = units(4, 2)
    layer = architectures.SoftplusLayer(W, b, np.array([0.5, -0.5, 1.0, 0.5]))
    difference = layer.difference()
    eps, t, x = 0.5, 0.6, jnp.asarray([0.4, -0.3])
    P = hjpde.LogSumExp(difference.P.weights, difference.P.biases, eps)
    solution = hjpde.solve(hjpde.InitialValueProblem(P.atoms(t), hjpde.Quadratic(), viscosity=eps), t)
    close(solution(t, x) - eps * math.log(4 * math.pi * eps * t), x @ x / (4 * t) - difference.P(x))

    # The other exact reading: under $F_\tau = |\nabla F|^2 + \epsilon \Delta F$ a layer is moved by its own slopes.
    def moved(tau, x, part):
        return architectures.Planes(
            part.weights, part.biases + tau * jnp.sum(part.weights**2, axis=1), part.temperature
        )(x)

    def residual(F):
        slope = jax.grad(F, 1)(0.0, x)
        return jax.grad(F)(0.0, x) - slope @ slope - eps * jnp.trace(jax.hessian(F, 1)(0.0, x))

    close(residual(lambda tau, x: moved(tau, x, difference.P)), 0.0, 1e-11 if DOUBLE else 1e-4)
    both = residual(lambda tau, x: moved(tau, x, difference.P) - moved(tau, x, difference.Q))
    slopes = jax.grad(difference.P)(x), jax.grad(difference.Q)(x)
    close(both, 2 * slopes[1] @ (slopes[0] - slopes[1]), 1e-11 if DOUBLE else 1e-4)
    assert abs(float(both)) > 0.01


def test_the_relu_layer_is_the_limit_of_cold_softplus_layers():
    r"""The error of $\epsilon\,\mathrm{LSE}$ in place of the maximum is below $\epsilon \max(N_+, N_-) \log 2$."""
    W, b, a, c = units(10, 2)
    X = points(2)
    relu = at(architectures.ReLULayer(W, b, a, c), X)
    for eps in (0.3, 0.03):
        # sign(a) softplus at temperature eps of |a| z: amplitudes of the size eps, on the lattice of eps.
        layer = architectures.SoftplusLayer(W * np.abs(a)[:, None] / eps, b * np.abs(a) / eps, eps * np.sign(a), c)
        error = np.max(np.abs(at(layer.difference(), X) - relu))
        assert 0 < error <= eps * max(np.sum(a > 0), np.sum(a < 0)) * math.log(2)


def test_keeps_float32():
    W, b, a, c = units(6, 2)
    W = jnp.asarray(W, jnp.float32)
    X = points(2).astype(jnp.float32)
    relu, soft = architectures.ReLULayer(W, b, a, c), architectures.SoftplusLayer(W, b, np.sign(a) / 2, c)
    for layer, exact in ((relu, relu.difference()), (soft, soft.difference()), (soft, soft.units())):
        value = at(exact, X)
        assert value.dtype == jnp.float32
        close(value, at(layer, X), 1e-5)


def test_mistakes_are_named():
    W, b, a, _ = units(25, 12)
    with pytest.raises(ValueError, match="`max_planes` is 65536, but 25 units of one sign that switch on 25 hyper"):
        architectures.ReLULayer(W, b, np.abs(a)).difference()
    with pytest.raises(ValueError, match="`amplitudes` have no common temperature"):
        architectures.SoftplusLayer(W, b, a).difference()
    with pytest.raises(ValueError, match=r"`temperature` = 0.4 does not divide all amplitudes"):
        architectures.SoftplusLayer(W, b, np.ones(25)).difference(0.4)
    with pytest.raises(ValueError, match="`max_planes` is 65536, but the units of one sign"):
        architectures.SoftplusLayer(W, b, np.ones(25)).difference()
    with pytest.raises(ValueError, match=r"`temperature` must be positive and finite, got -1\.0"):
        architectures.SoftplusLayer(W, b, np.ones(25)).difference(-1.0)
    with pytest.raises(ValueError, match=r"`biases` must have shape \(25,\) and `amplitudes` \(25,\)"):
        architectures.ReLULayer(W, b[:3], a)
    with pytest.raises(ValueError, match="`weights` must be finite"):
        architectures.MaxoutLayer(np.full((1, 2, 3), np.nan), np.zeros((1, 2)), np.ones(1))
    with pytest.raises(ValueError, match="`weights` must not be empty"):
        architectures.ReLULayer(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    warm = architectures.SoftplusLayer(W[:2], b[:2], np.ones(2)).difference()
    cold = architectures.ReLULayer(W[:2], b[:2], np.ones(2)).difference()
    with pytest.raises(ValueError, match="`other` must have the same temperature 1, got 0"):
        warm.plus(cold)
