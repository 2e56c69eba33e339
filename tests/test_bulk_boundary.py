"""The bulk-boundary decomposition against the whole Lagrangian, networks in numpy, and the mechanics of training."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from hjpde import training
from hjpde.training import BiasCoordinates, NeuronCoordinates, Perceptron

DOUBLE = jnp.result_type(float) == jnp.float64
double = pytest.mark.skipif(not DOUBLE, reason="differences this small need float64")

WIDTHS = (2, 4, 3, 5, 2)
FRICTION = 3.0


def coordinates(rng, kind: Any = BiasCoordinates, scale=1.0, widths=WIDTHS):
    weights = tuple(jnp.asarray(scale * rng.normal(size=(n, m))) for m, n in itertools.pairwise(widths))
    return kind(weights, tuple(jnp.asarray(rng.normal(size=n)) for n in widths[1:]))


def off(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)


def largest(tree):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def case():
    """A network of four layers at a random state, and one sample that moves."""
    rng = np.random.default_rng(0)
    state, velocity = coordinates(rng, scale=0.7), coordinates(rng)
    x, x_velocity, y = (jnp.asarray(rng.normal(size=2)) for _ in range(3))
    return state, velocity, x, x_velocity, y


def equation_of_motion(perceptron, state, velocity, x, y):
    dynamics = training.DampedDynamics(lambda t, q: perceptron.cost(q, x, y), FRICTION)
    return dynamics.acceleration(0.0, state, velocity)


def lifted(perceptron, state, velocity, x, x_velocity):
    return jax.jvp(lambda q, x: training.to_neuron_coordinates(perceptron, q, x), (state, x), (velocity, x_velocity))


@double
def test_coordinates_there_and_back(case):
    state, _, x, *_ = case
    perceptron = Perceptron()
    there = training.to_neuron_coordinates(perceptron, state, x)
    h = np.asarray(x)
    for W, b, z in zip(state.weights, state.biases, there.neurons, strict=True):
        np.testing.assert_allclose(z, np.asarray(W) @ h + np.asarray(b), atol=1e-14)
        h = np.tanh(np.asarray(z))
    assert off(training.to_bias_coordinates(perceptron, there, x), state) < 1e-13


@double
def test_the_map_keeps_volume(case):
    state, _, x, *_ = case
    flat, unravel = ravel_pytree(state)

    def through(q):
        return ravel_pytree(training.to_neuron_coordinates(Perceptron(), unravel(q), x))[0]

    assert abs(np.linalg.det(np.asarray(jax.jit(jax.jacobian(through))(flat)))) == pytest.approx(1, abs=1e-12)


@double
@pytest.mark.parametrize("readout", ["linear", "activated"])
@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.softplus])
def test_bulk_and_boundary_are_the_whole(case, readout, activation):
    state, velocity, x, x_velocity, y = case
    perceptron = Perceptron(activation, readout=readout)
    q, v = lifted(perceptron, state, velocity, x, x_velocity)
    bulk = training.bulk_lagrangian(perceptron, q, v)
    boundary = training.boundary_lagrangian(perceptron, q, v, x, y, x_velocity)
    whole = training.lagrangian(perceptron, state, velocity, x, y)
    assert float(bulk + boundary) == pytest.approx(float(whole), rel=1e-12)


@double
def test_without_the_half_the_sum_exceeds_by_it(case):
    """The first boundary term of the slides, |g0|^2 without 1/2."""
    state, velocity, x, x_velocity, y = case
    q, v = lifted(Perceptron(), state, velocity, x, x_velocity)
    g = np.asarray(velocity.weights[0]) @ np.asarray(x) + np.asarray(state.weights[0]) @ np.asarray(x_velocity)
    of_the_slides = g @ g - np.asarray(v.neurons[0]) @ g - float(jnp.sum((y - q.neurons[-1]) ** 2))
    whole = training.lagrangian(Perceptron(), state, velocity, x, y)
    excess = float(training.bulk_lagrangian(Perceptron(), q, v)) + of_the_slides - float(whole)
    assert excess == pytest.approx(g @ g / 2, rel=1e-12)


def test_bulk_is_its_cells_and_layers(case):
    state, velocity, x, x_velocity, _ = case
    q, v = lifted(Perceptron(), state, velocity, x, x_velocity)
    kinetic = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(v)) / 2
    cells = sum(float(training.bulk_cell(Perceptron(), m, q, v)) for m in (1, 2, 3))
    assert float(training.bulk_lagrangian(Perceptron(), q, v)) == pytest.approx(kinetic + cells, rel=1e-5)


@double
def test_bulk_knows_no_data_as_a_function_but_its_value_follows_them(case):
    state, velocity, x, _, y = case
    perceptron, still = Perceptron(), jnp.zeros(2)
    q, v = lifted(perceptron, state, velocity, x, still)
    boundaries = [float(training.boundary_lagrangian(perceptron, q, v, x + k, y - k)) for k in (0.0, 1.0)]
    assert abs(boundaries[0] - boundaries[1]) > 0.1
    # At the weights and biases of that state another sample means other neurons.
    q2, v2 = lifted(perceptron, state, velocity, x + 1.0, still)
    values = [float(training.bulk_lagrangian(perceptron, *pair)) for pair in ((q, v), (q2, v2))]
    assert abs(values[0] - values[1]) > 0.1


@double
def test_momenta_have_their_closed_form(case):
    state, velocity, x, _, y = case
    q, v = lifted(Perceptron(), state, velocity, x, jnp.zeros(2))
    p = training.momenta(Perceptron(), q, v, x, y)
    for m in range(1, 5):
        expected = np.asarray(velocity.biases[m - 1])
        if m < 4:
            slope = 1 - np.tanh(np.asarray(q.neurons[m - 1])) ** 2
            expected = expected - slope * (np.asarray(state.weights[m]).T @ np.asarray(velocity.biases[m]))
        np.testing.assert_allclose(p.neurons[m - 1], expected, atol=1e-13)


@double
@pytest.mark.parametrize("readout", ["linear", "activated"])
def test_euler_lagrange_in_neurons_is_the_equation_of_motion(case, readout):
    state, velocity, x, _, y = case
    perceptron = Perceptron(readout=readout)
    acceleration = equation_of_motion(perceptron, state, velocity, x, y)
    q, v, a = training.neuron_motion(perceptron, state, velocity, acceleration, x)
    residual = training.euler_lagrange_residual(perceptron, q, v, a, x, y, FRICTION)
    assert largest(residual) < 1e-12
    wrong = training.neuron_motion(perceptron, state, velocity, velocity, x)
    assert largest(training.euler_lagrange_residual(perceptron, *wrong, x, y, FRICTION)) > 0.1


@double
def test_euler_lagrange_along_a_numerical_trajectory_is_of_second_order(case):
    """Velocities and accelerations of the neurons by central differences of Strang's steps."""
    state, velocity, x, _, y = case
    perceptron = Perceptron()
    dynamics = training.DampedDynamics(lambda t, q: perceptron.cost(q, x, y), FRICTION)
    residual, sizes = eqx.filter_jit(training.euler_lagrange_residual), np.array([0.02, 0.01, 0.005])

    def error(h):
        path = training.simulate(dynamics, state, velocity, step_size=h, steps=round(0.2 / h) + 1)
        near = jax.tree.map(lambda leaf: leaf[-3:], path.positions)
        z = jax.vmap(lambda q: training.to_neuron_coordinates(perceptron, q, x))(near)
        q = jax.tree.map(lambda leaf: leaf[1], z)
        v = jax.tree.map(lambda leaf: (leaf[2] - leaf[0]) / (2 * h), z)
        a = jax.tree.map(lambda leaf: (leaf[2] - 2 * leaf[1] + leaf[0]) / h**2, z)
        return largest(residual(perceptron, q, v, a, x, y, FRICTION))

    errors = [error(h) for h in sizes]
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] == pytest.approx(2, abs=0.15)


@double
@pytest.mark.parametrize("readout", ["linear", "activated"])
def test_the_interior_equation_is_backpropagation(case, readout):
    """pi = b'' + gamma b' from the equations of motion against the derivatives of the loss by neurons."""
    state, velocity, x, _, y = case
    perceptron = Perceptron(readout=readout)
    acceleration = equation_of_motion(perceptron, state, velocity, x, y)
    pi = [a + FRICTION * v for a, v in zip(acceleration.biases, velocity.biases, strict=True)]
    q = training.to_neuron_coordinates(perceptron, state, x)
    costates = training.layer_costates(perceptron, q, y)
    for m in range(4):

        def loss_from(z, m=m):
            for W, b in zip(state.weights[m + 1 :], state.biases[m + 1 :], strict=True):
                z = W @ jnp.tanh(z) + b
            return jnp.sum((y - (z if readout == "linear" else jnp.tanh(z))) ** 2)

        delta = jax.grad(loss_from)(q.neurons[m])
        np.testing.assert_allclose(pi[m], -delta, atol=1e-12)
        np.testing.assert_allclose(costates[m], delta, atol=1e-12)
        h = x if m == 0 else jnp.tanh(q.neurons[m - 1])
        np.testing.assert_allclose(
            acceleration.weights[m] + FRICTION * velocity.weights[m], np.outer(pi[m], h), atol=1e-12
        )


@double
def test_interaction_graph_is_a_band_and_that_of_biases_is_full(case):
    state, velocity, x, x_velocity, y = case
    perceptron = Perceptron()
    bulk = training.interaction_graph(perceptron, *lifted(perceptron, state, velocity, x, x_velocity))
    assert bulk.names == ("W0", "z1", "W1", "z2", "W2", "z3", "W3", "z4")
    assert bulk.violations == []
    assert int((bulk.blocks > bulk.threshold).sum()) == 74
    assert bulk.blocks.shape == (16, 16)
    whole = training.bias_interaction_graph(perceptron, state, velocity, x, y)
    assert int((whole.blocks[:8, :8] > whole.threshold).sum()) == 64
    assert whole.fraction == 1.0
    assert ("W0", "b3") in whole.violations
    for graph in (bulk, whole):
        ax = training.plot_interaction_graph(graph)
        assert len(ax.patches) == graph.coupled.sum()
        assert "of all pairs are coupled" in ax.get_title()


def test_a_perceptron_of_equinox():
    for final, readout in ((jnp.tanh, "activated"), (lambda z: z, "linear")):
        mlp = eqx.nn.MLP(3, 2, 5, 2, jnp.tanh, final, key=jax.random.key(0))
        perceptron, state = Perceptron.from_mlp(mlp)
        x = jnp.array([0.1, -0.4, 0.7])
        z = training.to_neuron_coordinates(perceptron, state, x).neurons[-1]
        assert perceptron.readout == readout
        np.testing.assert_allclose(perceptron.output(z), mlp(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`mlp` must have a bias in every layer"):
        Perceptron.from_mlp(eqx.nn.MLP(3, 2, 5, 2, use_bias=False, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="`mlp` must end without an activation or with that of its other layers"):
        Perceptron.from_mlp(eqx.nn.MLP(3, 2, 5, 2, jnp.tanh, jnp.sin, key=jax.random.key(0)))


def test_float32_is_kept(case):
    state, velocity, x, _, y = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), case)
    q, v = lifted(Perceptron(), state, velocity, x, jnp.zeros_like(x))
    assert training.bulk_lagrangian(Perceptron(), q, v).dtype == jnp.float32
    assert training.boundary_lagrangian(Perceptron(), q, v, x, y).dtype == jnp.float32


def kinked_hinge(z):
    return jnp.where(z > 1.3, 0.2 * z, z - 1.04)


@pytest.mark.parametrize("activation", [jax.nn.relu, jax.nn.leaky_relu, jax.nn.hard_tanh, kinked_hinge])
def test_kinks_are_refused_where_a_second_derivative_enters(case, activation):
    state, velocity, x, _, y = case
    perceptron = Perceptron(activation)
    q, v = lifted(perceptron, state, velocity, x, jnp.zeros_like(x))
    message = "`activation` must have a second derivative"
    with pytest.raises(ValueError, match=message):
        training.euler_lagrange_residual(perceptron, q, v, v, x, y, FRICTION)
    with pytest.raises(ValueError, match=message):
        training.neuron_motion(perceptron, state, velocity, velocity, x)
    with pytest.raises(ValueError, match=message):
        training.interaction_graph(perceptron, q, v)
    assert np.isfinite(float(training.bulk_lagrangian(perceptron, q, v)))


@pytest.mark.parametrize("activation", [jax.nn.gelu, jax.nn.silu, jnp.sin, jax.nn.elu, lambda z: z])
def test_smooth_activations_are_not(case, activation):
    state, velocity, x, *_ = case
    training.neuron_motion(Perceptron(activation), state, velocity, velocity, x)


def test_refusals(case):
    state, velocity, x, _, y = case
    perceptron = Perceptron()
    with pytest.raises(ValueError, match=r"`x` must be one sample, of shape \(2,\).*Got shape \(3, 2\)"):
        training.to_neuron_coordinates(perceptron, state, jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"`x` must be one sample"):
        training.lagrangian(perceptron, state, velocity, jnp.ones((3, 2)), y)
    with pytest.raises(ValueError, match=r"`x` must have shape \(2,\) as the first weights, got \(3,\)"):
        training.to_neuron_coordinates(perceptron, state, jnp.ones(3))
    with pytest.raises(ValueError, match="`x` must be finite"):
        training.to_neuron_coordinates(perceptron, state, jnp.array([1.0, jnp.nan]))
    with pytest.raises(ValueError, match="`weights` must fit one another and `biases` have shapes"):
        training.to_neuron_coordinates(perceptron, BiasCoordinates(state.weights, state.biases[:-1]), x)
    with pytest.raises(ValueError, match="`weights` must fit one another and `neurons` have shapes"):
        training.to_bias_coordinates(perceptron, NeuronCoordinates(state.weights, state.biases[::-1]), x)
    with pytest.raises(ValueError, match="`readout` must be one of"):
        Perceptron(readout="softmax")
    q, v = lifted(perceptron, state, velocity, x, jnp.zeros_like(x))
    with pytest.raises(ValueError, match="`m` must be from 1 to 3, got 0"):
        training.bulk_cell(perceptron, 0, q, v)
    with pytest.raises(ValueError, match="`x_velocity` must be one sample"):
        training.boundary_lagrangian(perceptron, q, v, x, y, jnp.ones((2, 2)))
    rng = np.random.default_rng(0)
    wide = [coordinates(rng, NeuronCoordinates, widths=(40, 60, 2)) for _ in range(2)]
    with pytest.raises(ValueError, match="must have at most 4000 entries together"):
        training.interaction_graph(perceptron, *wide)
