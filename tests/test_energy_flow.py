"""Energy that flows through layers: continuity, what reaches the loss, and what a switch of the sample does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hjpde import training
from hjpde.training import BiasCoordinates, Perceptron

DOUBLE = jnp.result_type(float) == jnp.float64
double = pytest.mark.skipif(not DOUBLE, reason="differences this small need float64")


def network(rng, widths, dtype=None):
    pairs = list(itertools.pairwise(widths))
    weights = tuple(jnp.asarray(rng.normal(size=(n, m)) / np.sqrt(m), dtype) for m, n in pairs)
    return BiasCoordinates(weights, tuple(jnp.asarray(0.1 * rng.normal(size=n), dtype) for _, n in pairs))


def digits_data():
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    return np.asarray(X) / 16, np.asarray(labels)


@pytest.fixture(scope="module")
def digits():
    """Four layers of tanh trained on eight digits, one after the other, 40 steps on each."""
    X, labels = digits_data()
    perceptron = Perceptron(jnp.tanh, optax.softmax_cross_entropy)
    state = network(np.random.default_rng(0), (64, 16, 16, 16, 10))
    setting = {"friction": 5.0, "step_size": 0.05, "steps_per_sample": 40}
    return perceptron, state, training.energy_flow(perceptron, state, X[:8], np.eye(10)[labels[:8]], **setting)


@double
def test_continuity_on_digits(digits):
    _, _, flow = digits
    assert flow.energies.shape == (8, 41, 4)
    assert float(jnp.max(flow.energies)) > 1e-3
    assert float(jnp.max(jnp.abs(flow.residual))) < 1e-10


@double
def test_a_switch_keeps_energies_and_moves_the_loss(digits):
    _, _, flow = digits
    np.testing.assert_allclose(flow.energies[1:, 0], flow.energies[:-1, -1], rtol=1e-13)
    np.testing.assert_allclose(flow.times[1:, 0], flow.times[:-1, -1], rtol=1e-14)
    assert float(jnp.min(jnp.abs(flow.jumps))) > 0.1
    assert float(jnp.min(jnp.abs(flow.currents[1:, 0, -1] - flow.currents[:-1, -1, -1]))) > 1e-3


@double
def test_the_energy_of_a_whole_run_is_accounted_for_to_second_order():
    """Energy at the end = at the start - dissipated + the jumps, but for the error of the steps and of the sum."""
    rng = np.random.default_rng(5)
    state, X, Y = network(rng, (3, 4, 2)), rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    steps, defects = np.array([40, 80]), []
    for n in steps.tolist():
        flow = training.energy_flow(Perceptron(), state, X, Y, friction=2.0, step_size=1 / n, steps_per_sample=n)
        energy = flow.energies.sum(-1) + flow.losses
        defects.append(abs(float(energy[-1, -1] - energy[0, 0] + flow.dissipated.sum() - flow.jumps.sum())))
    assert -np.polyfit(np.log(steps), np.log(defects), 1)[0] == pytest.approx(2, abs=0.1)


@double
@pytest.mark.parametrize("readout", ["linear", "activated"])
def test_continuity_and_power_at_a_random_state(readout):
    """Against finite differences along a short step of the equation of motion, with no formula in common."""
    rng = np.random.default_rng(1)
    perceptron, widths = Perceptron(readout=readout), (2, 4, 3, 5, 2)
    state, velocity = network(rng, widths), network(rng, widths)
    x, y, friction = jnp.asarray(rng.normal(size=2)), jnp.asarray(rng.normal(size=2)), 3.0
    dynamics = training.DampedDynamics(lambda t, q: perceptron.cost(q, x, y), friction)
    currents = training.layer_current(perceptron, state, velocity, x, y)
    loss_rate = jax.jvp(lambda q: perceptron.cost(q, x, y), (state,), (velocity,))[1]
    assert float(currents[0]) == 0
    assert float(currents[-1]) == pytest.approx(float(loss_rate), abs=1e-12)
    acceleration = dynamics.acceleration(0.0, state, velocity)
    h, energies = 1e-4, {}
    for sign in (-1, 1):
        moved = jax.tree.map(lambda v, a, sign=sign: v + sign * h * a, velocity, acceleration)
        energies[sign] = training.layer_energy(moved)
    rates = (energies[1] - energies[-1]) / (2 * h)
    expected = -2 * friction * training.layer_energy(velocity) + currents[:-1] - currents[1:]
    # The energy is quadratic in the velocity, so that the difference has no error but rounding.
    np.testing.assert_allclose(rates, expected, atol=1e-10)


@double
def test_one_row_at_machine_precision():
    rng = np.random.default_rng(2)
    state, velocity = network(rng, (2, 4, 3, 5, 2)), network(rng, (2, 4, 3, 5, 2))
    X, Y = rng.normal(size=(1, 2)), rng.normal(size=(1, 2))
    flow = training.energy_flow(
        Perceptron(), state, X, Y, friction=3.0, step_size=0.01, steps_per_sample=20, velocity=velocity
    )
    assert float(jnp.max(jnp.abs(flow.residual))) < 1e-12
    # Bulk and boundary are the Lagrangian: kinetic energy minus loss.
    np.testing.assert_allclose(flow.bulk + flow.boundary, flow.energies.sum(-1) - flow.losses, atol=1e-12)


def test_kinks_are_welcome_where_one_derivative_is_enough():
    rng = np.random.default_rng(3)
    state = network(rng, (3, 5, 2), jnp.float32)
    X, Y = rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    flow = training.energy_flow(
        Perceptron(jax.nn.relu), state, X, Y, friction=2.0, step_size=0.05, steps_per_sample=5, form="heavy ball"
    )
    assert flow.energies.dtype == jnp.float32
    assert float(jnp.max(jnp.abs(flow.residual))) < 1e-4


def test_refusals():
    rng = np.random.default_rng(4)
    state, perceptron = network(rng, (3, 5, 2)), Perceptron()
    setting = {"friction": 2.0, "step_size": 0.05, "steps_per_sample": 5}
    X, Y = np.ones((2, 3)), np.ones((2, 2))
    wrong = [
        ({"X": np.ones(3)}, r"`X` must have shape \(S, 3\), S at least 1, got \(3,\)"),
        ({"X": np.ones((0, 3))}, "S at least 1"),
        ({"Y": np.ones((3, 2))}, r"`Y` must hold one target to each of 2 samples, got shape \(3, 2\)"),
        ({"X": np.full((2, 3), np.nan)}, "`X` must be finite"),
        ({"friction": 0.0}, "`friction` must be positive"),
        ({"step_size": -1.0}, "`step_size` must be positive"),
        ({"steps_per_sample": 0}, "`steps_per_sample` must be at least 1, got 0"),
        ({"form": "euler"}, "`form` must be one of"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            training.energy_flow(perceptron, state, **({"X": X, "Y": Y} | setting | change))
    with pytest.raises(ValueError, match="`x` must be one sample"):
        training.layer_current(perceptron, state, state, X, Y)


def test_figures(digits):
    _, _, flow = digits
    ax = training.plot_energy_flow(flow)
    assert ax.get_yscale() == "log"
    assert ax.get_legend_handles_labels()[1] == [f"layer {m}" for m in range(4)]
    assert training.plot_layer_currents(flow).get_legend_handles_labels()[1][-1] == "out of layer 3"
    ax = training.plot_bulk_and_boundary(flow)
    assert training.plot_bulk_and_boundary(flow, ax) is ax
