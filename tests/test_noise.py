"""Noise in the layers: its mean is the layer, and its covariance over twice the step is the viscosity told for it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from _fields import TorusField, slope

import hjpde
from hjpde import architectures, solvers
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
TOLERANCE = 1e-12 if DOUBLE else 1e-5
WIDTH, HIDDEN, SAMPLES = 3, 5, 100_000
NOISES = {
    "gaussian": architectures.GaussianNoise(0.05),
    "stochastic-depth": architectures.StochasticDepth(0.7),
    "dropout": architectures.Dropout(0.8),
}


@functools.cache
def network(stepping="euler"):
    build = functools.partial(
        architectures.ResidualNetwork, 2, 2, WIDTH, 4, hidden=HIDDEN, activation="tanh", norm=False, stepping=stepping
    )
    return quick_jit(lambda key: build(key=key), 0)(jax.random.key(2))


def start():
    return jnp.asarray([0.3, -1.1, 0.8])


def hidden_units(model, k, z):
    """What the units of layer `k` hold at the state `z`, and the matrix that reads them, by numpy."""
    inner = model.blocks.inner
    units = np.tanh(np.asarray(inner.weight[k]) @ np.asarray(z) + np.asarray(inner.bias[k]))
    return units, np.asarray(model.blocks.outer.weight[k])


def layer_of(model, k):
    return jax.tree.map(lambda leaf: leaf[k], model.layers(None))


@functools.cache
def sampled_steps(name):
    """Random steps of the second layer, by number, and the closed form of their viscosity."""
    model = network()
    noisy, layer, h = architectures.NoisyNetwork(model, NOISES[name]), layer_of(model, 1), model.layer_time
    keys = jax.random.split(jax.random.key(11), SAMPLES)
    steps = quick_jit(jax.vmap(lambda key: noisy.noisy_step(h, start(), h, layer, key)), 1)(keys)
    return np.asarray(steps, np.float64), np.asarray(noisy.viscosity(h, start(), h, layer)), h


@pytest.mark.parametrize("name", NOISES)
def test_the_mean_is_the_layer(name):
    steps, _, h = sampled_steps(name)
    mean = np.asarray(network().step(h, start(), h, layer_of(network(), 1)))
    errors = steps.std(axis=0, ddof=1) / np.sqrt(SAMPLES)
    assert np.all(np.abs(steps.mean(axis=0) - mean) <= 5 * errors + 10 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("name", NOISES)
def test_the_viscosity_is_the_covariance_over_twice_the_step(name):
    """Entry by entry within five standard errors of the products' mean."""
    steps, told, h = sampled_steps(name)
    centred = steps - steps.mean(axis=0)
    products = centred[:, :, None] * centred[:, None, :] / (2 * h)
    errors = products.std(axis=0, ddof=1) / np.sqrt(SAMPLES)
    assert np.all(np.abs(products.mean(axis=0) - told) <= 5 * errors + 1e-7 * np.abs(told).max())
    assert np.all(errors < 0.05 * np.abs(told).max())


def test_gaussian_viscosity_is_the_identity():
    np.testing.assert_allclose(sampled_steps("gaussian")[1], 0.05 * np.eye(WIDTH), rtol=TOLERANCE)


def test_the_viscosity_of_dropout_by_its_formula():
    r"""$\frac h2 \frac{1-q}{q} W_2\,\mathrm{diag}(\sigma^2)\,W_2^\top$."""
    _, told, h = sampled_steps("dropout")
    units, W2 = hidden_units(network(), 1, start())
    formula = h / 2 * (1 - 0.8) / 0.8 * W2 @ np.diag(units**2) @ W2.T
    np.testing.assert_allclose(told, formula, rtol=TOLERANCE, atol=TOLERANCE * np.abs(formula).max())


def test_the_viscosity_of_stochastic_depth_by_its_formula():
    r"""$\frac h2 \frac{1-q}{q} F F^\top$, of rank one."""
    _, told, h = sampled_steps("stochastic-depth")
    units, W2 = hidden_units(network(), 1, start())
    F = W2 @ units + np.asarray(network().blocks.outer.bias[1])
    np.testing.assert_allclose(told, h / 2 * (1 - 0.7) / 0.7 * np.outer(F, F), rtol=100 * TOLERANCE, atol=TOLERANCE)
    assert np.linalg.matrix_rank(told, tol=1e-5 * np.abs(told).max()) == 1


@pytest.mark.parametrize("name", ["dropout", "stochastic-depth"])
def test_the_viscosity_falls_with_the_step(name):
    """Half the step, half the viscosity: dropout is not diffusion in the limit of depth."""
    model = network()
    noisy, layer = architectures.NoisyNetwork(model, NOISES[name]), layer_of(model, 0)
    one, half = (np.asarray(noisy.viscosity(0.0, start(), h, layer)) for h in (0.2, 0.1))
    np.testing.assert_allclose(one, 2 * half, rtol=1e-10 if DOUBLE else 1e-3, atol=TOLERANCE)


def test_dropout_of_a_momentum_network_acts_on_the_velocity():
    r"""Of the state $(x, v)$: the drop moves `v` by $h W_2 m\sigma$ and `x` by `h` times that."""
    model = network("symplectic-euler")
    noisy, layer, h = architectures.NoisyNetwork(model, architectures.Dropout(0.8)), layer_of(model, 0), 0.25
    told = np.asarray(noisy.viscosity(0.0, (start(), jnp.zeros(WIDTH)), h, layer))
    units, W2 = hidden_units(model, 0, start())
    block = h / 2 * (1 - 0.8) / 0.8 * W2 @ np.diag(units**2) @ W2.T
    formula = np.block([[h**2 * block, h * block], [h * block, block]])
    np.testing.assert_allclose(told, formula, rtol=TOLERANCE, atol=TOLERANCE * np.abs(block).max())


def test_called_it_is_its_mean_layers_and_with_nothing_dropped_so_is_a_sample():
    model, x = network(), jnp.asarray([0.2, -0.4])
    for noise in (architectures.Dropout(1.0), architectures.StochasticDepth(1.0)):
        noisy = architectures.NoisyNetwork(model, noise)
        np.testing.assert_array_equal(noisy(x), model(x))
        np.testing.assert_allclose(noisy.sample(x, jax.random.key(0)), model(x), rtol=100 * TOLERANCE)
        assert not np.any(np.asarray(noisy.viscosity(0.0, start(), 0.1, layer_of(model, 0))))
    noisy = architectures.NoisyNetwork(model, architectures.Dropout(0.5))
    one, again, other = (noisy.sample(x, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_a_whole_layer_is_skipped_or_scaled():
    """Of stochastic depth there are two outcomes only."""
    steps, _, h = sampled_steps("stochastic-depth")
    z = np.asarray(start(), np.float64)
    mean = np.asarray(network().step(h, start(), h, layer_of(network(), 1)), np.float64)
    kept = z + (mean - z) / 0.7
    far = np.minimum(np.abs(steps - z).max(axis=1), np.abs(steps - kept).max(axis=1))
    assert far.max() <= (1e-12 if DOUBLE else 1e-5)
    share = np.mean(np.abs(steps - kept).max(axis=1) < 1e-4)
    assert abs(share - 0.7) <= 5 * np.sqrt(0.7 * 0.3 / SAMPLES)


@pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
def test_kept_finite_stochastic_depth_is_a_jump_process():
    r"""With $(1-q)/q = 2\nu_0/h$ the limit has the generator $(v(x + 2\nu_0 F) - v)/2\nu_0$, not a diffusion.

    The equation of the jumps is a matrix exponential in Fourier modes.
    """
    field, n, nu = TorusField(1, moving=False), 128, 0.05
    grid = solvers.Grid([0.0], [2 * np.pi], (n,), periodic=True)
    x = np.asarray(grid.points[:, 0])
    F = np.asarray(jax.vmap(lambda x: field(0.0, x))(grid.points))[:, 0]
    waves = np.fft.fftfreq(n, 1 / n)
    modes = np.fft.fft(np.eye(n), axis=0) / n
    jump = (np.exp(1j * np.outer(x + 2 * nu * F, waves)) @ modes).real
    exact = scipy.linalg.expm((jump - np.eye(n)) / (2 * nu)) @ (np.sin(x) + 0.5 * np.cos(2 * x))
    gaps = []
    for depth in (16, 32, 64, 128):
        q = 1 / (1 + 2 * nu * depth)
        noisy = architectures.NoisyNetwork(architectures.FieldNetwork(field, depth), architectures.StochasticDepth(q))
        flow = hjpde.as_hamiltonian(noisy, lambda x: jnp.sin(x[0]) + 0.5 * jnp.cos(2 * x[0]))
        gaps.append(np.abs(np.asarray(hjpde.network_value(flow, grid)) - exact).max())
    assert slope(gaps) == pytest.approx(1, abs=0.1)


def test_noises_that_cannot_be():
    for level in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`nu` must be positive and finite"):
            architectures.GaussianNoise(level)
    for keep in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"`keep` must be a probability in \(0, 1\]"):
            architectures.Dropout(keep)
        with pytest.raises(ValueError, match=r"`keep` must be a probability in \(0, 1\]"):
            architectures.StochasticDepth(keep)
    plain = architectures.FieldNetwork(TorusField(1), 2)
    with pytest.raises(ValueError, match="FieldNetwork has no hidden units to drop"):
        architectures.NoisyNetwork(plain, architectures.Dropout(0.5))
