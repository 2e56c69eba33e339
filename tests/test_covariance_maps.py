"""Covariances of wide random networks: closed forms against quadrature, derivatives, depth, the shaped flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import landscape
from hjpde.landscape import RandomNetwork, hermite_coefficients, layer_covariance, mixture, network_covariance

Q = np.array([-0.9, -0.3, 0.0, 0.5, 0.9])
NAMES = list(landscape.ACTIVATIONS)
correlations = st.floats(-1, 1)


def by_quadrature(phi, sigma, q, nodes=1201):
    """E phi(u) phi(v) by the trapezoid rule on a square, to about the square of the step at a kink."""
    g, step = np.linspace(-8, 8, nodes, retstep=True)
    weights = np.exp(-(g**2) / 2) * step / np.sqrt(2 * np.pi)
    u, w = g[:, None], g[None]
    return weights @ (phi(sigma * u) * phi(sigma * (q * u + np.sqrt(1 - q**2) * w))) @ weights


@pytest.mark.parametrize(("name", "tolerance"), [("relu", 2e-5), ("sin", 1e-14), ("erf", 1e-14), ("cos", 1e-14)])
def test_closed_forms_are_the_integrals(name, tolerance):
    sigma = 1.3 if name != "relu" else 1.0
    found = by_quadrature(landscape.ACTIVATIONS[name].values, sigma, 0.3)
    factor = 2 if name == "relu" else 1
    assert factor * found == pytest.approx(factor * float(layer_covariance(name, sigma)(0.3)), abs=tolerance)


@pytest.mark.parametrize("name", ["erf", "sin", "cos"])
def test_the_expansion_is_the_closed_form(name):
    expanded = mixture(hermite_coefficients(name, 1.2) ** 2)
    closed = layer_covariance(name, 1.2)
    for part in ("value", "slope", "curvature"):
        np.testing.assert_allclose(getattr(expanded, part)(Q), getattr(closed, part)(Q), atol=1e-12)


def test_the_expansion_of_a_function_of_ones_own():
    own = layer_covariance(lambda z: z**3, 1.1)
    # E u^3 v^3 = s^6 (9 q + 6 q^3).
    np.testing.assert_allclose(own(Q), 1.1**6 * (9 * Q + 6 * Q**3), rtol=1e-5, atol=1e-12)
    with pytest.raises(ValueError, match="`terms` = 4 misses"):
        layer_covariance("tanh", 20.0, terms=4)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name, depth):
    xi, h = network_covariance(RandomNetwork([1.0] * depth, name, 1.3)), 1e-5
    for f, df in ((xi.value, xi.slope), (xi.slope, xi.curvature)):
        np.testing.assert_allclose(df(Q), (f(Q + h) - f(Q - h)) / (2 * h), atol=1e-7)


@given(q=correlations, name=st.sampled_from(NAMES), depth=st.integers(1, 4))
def test_a_covariance_is_largest_at_itself(q, name, depth):
    xi = network_covariance(RandomNetwork([1.0] * depth, name, 0.9))
    assert abs(float(xi(q))) <= float(xi(1.0)) * (1 + 1e-12)


@pytest.mark.parametrize(("name", "threshold"), [("sin", 1.09530), ("erf", 1.09868), ("tanh", 1.20684)])
def test_thresholds_at_zero_temperature(name, threshold):
    def ratio(sigma):
        return landscape.zero_temperature_ratio(layer_covariance(name, sigma)) - 1

    low, high = threshold - 1e-4, threshold + 1e-4
    assert ratio(low) < 0 < ratio(high)


def test_exact_shaped_layers_tend_to_the_flow():
    difference, q = 1.5, np.array([-0.5, 0.0, 0.5, 0.9])
    flow = landscape.shaped_relu_covariance(difference)(q)

    def gap(depth):
        layer = landscape.shaped_relu(depth, -difference / 2, difference / 2)
        c, kernel = q, layer_covariance(layer, 1.0)
        for _ in range(depth):
            c = kernel(np.clip(c, -1, 1)) / kernel(1.0)
        return np.abs(c - flow).max()

    # Slopes 1 +- c/sqrt(L), symmetric, have no term of order L^{-1/2}.
    assert gap(400) < 2e-3
    assert gap(1600) < 0.3 * gap(400)


def test_derivatives_of_the_shaped_flow():
    xi, h = landscape.shaped_relu_covariance(1.2), 1e-5
    np.testing.assert_allclose(xi.slope(Q), (xi(Q + h) - xi(Q - h)) / (2 * h), atol=1e-6)
    np.testing.assert_allclose(xi.curvature(Q), (xi.slope(Q + h) - xi.slope(Q - h)) / (2 * h), atol=1e-6)
    np.testing.assert_allclose(xi(1.0), 1.0)
    np.testing.assert_allclose(landscape.shaped_relu_covariance(0.0)(Q), Q)


@pytest.mark.slow
def test_finite_width_networks_have_this_kernel(getkey):
    """ReLU, three layers of 1000 neurons, 60 networks."""
    q, width, network = 0.3, 1000, RandomNetwork([1.0] * 3, "relu", 2**0.5)
    inputs = jnp.array([[1.0, q], [0.0, np.sqrt(1 - q**2)]])

    def kernel(key):
        first, *rest = jax.random.split(key, 3)
        # Only the inputs' plane matters for the first layer.
        h = network.activation(network.sigma_w * jax.random.normal(first, (width, 2)) @ inputs)
        for k in rest:
            h = network.activation(network.sigma_w * jax.random.normal(k, (width, width)) @ h / width**0.5)
        return jnp.mean(h[:, 0] * h[:, 1])

    samples = np.asarray(jax.lax.map(kernel, jax.random.split(getkey(), 60)))
    theory = float(network_covariance(network)(q))
    assert theory == pytest.approx(0.67582, abs=1e-5)
    assert samples.mean() == pytest.approx(theory, abs=3 * samples.std(ddof=1) / 60**0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layer_covariance("tahn", 1.0), "`activation` 'tahn' is not known; did you mean tanh"),
        (lambda: layer_covariance("tanh", 0.0), "`sigma` must be a positive number"),
        (lambda: layer_covariance("tanh", float("nan")), "`sigma` must be a positive number"),
        (lambda: layer_covariance("tanh", 1.0)(1.1), "`q` must be correlations"),
        (lambda: layer_covariance("tanh", 1.0)(float("nan")), "`q` must be correlations"),
        (lambda: mixture([1.0, -1.0]), "`coefficients` must be finite, not negative"),
        (lambda: mixture([0.0]), "`coefficients` must be finite, not negative"),
        (lambda: landscape.pure(0), "`p` must be at least 1"),
        (lambda: hermite_coefficients("tanh", 1.0, 0), "`terms` must be between 1 and 1000"),
        (lambda: landscape.piecewise_linear(0.0, 0.0), "must be finite and not both 0"),
        (lambda: landscape.shaped_relu(0, 1.0, 1.0), "`depth` must be at least 1"),
        (lambda: landscape.shaped_relu_covariance(1.0, 0.0), "`time` must be positive"),
        (lambda: landscape.shaped_relu_covariance(float("inf")), "`difference` must be finite"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_figure():
    ax = landscape.plot_covariance(layer_covariance("relu", 1.0))
    assert ax.get_xlabel()
    assert landscape.plot_covariance(layer_covariance("sin", 1.0), ax) is ax
