"""Recurrent networks: the cell is one step of the stated scheme, and refining it leads to the stated flow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from hjpde._compilation import quick_jit
from hjpde.architectures import GRU, LSTM, RNN, as_hamiltonian, continuous_costate, discrete_costate

DOUBLE = jnp.result_type(float) == jnp.float64
CELL = 1e-14 if DOUBLE else 1e-6
GRADIENT = 1e-13 if DOUBLE else 1e-5
IN, HIDDEN, OUT, LENGTH = 3, 5, 2, 4
double_only = pytest.mark.skipif(not DOUBLE, reason="orders are read off in float64")

NETWORKS = {
    "rnn-tanh": lambda key: RNN(IN, HIDDEN, OUT, key=key),
    "rnn-relu": lambda key: RNN(IN, HIDDEN, OUT, nonlinearity="relu", key=key),
    "gru-exponential": lambda key: GRU(IN, HIDDEN, OUT, key=key),
    "gru-euler": lambda key: GRU(IN, HIDDEN, OUT, reading="euler", key=key),
    "lstm-algebraic": lambda key: LSTM(IN, HIDDEN, OUT, key=key),
    "lstm-relaxed": lambda key: LSTM(IN, HIDDEN, OUT, closure="relaxed", key=key),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
smooth_networks = pytest.mark.parametrize("name", [name for name in NETWORKS if name != "rnn-relu"])


def network(name, key, scale=1.5):
    """With weights large enough that all gates move."""
    built = quick_jit(NETWORKS[name], 0)(key)
    return jax.tree.map(lambda leaf: scale * leaf if eqx.is_inexact_array(leaf) else leaf, built)


def sequence(key, length=LENGTH):
    return jax.random.normal(key, (length, IN))


def readout(y):
    return jnp.sum(jnp.sin(2 * y))


def close(one, other, tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1e-3, float(jnp.abs(b).max())))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step_of(model, z, x):
    """One step of size 1 from the state `z` with the element `x`."""
    return model.step(0.0, z, 1.0, model.layers(x[None])[0])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_is_one_euler_step_and_its_formula(getkey, nonlinearity):
    model = network(f"rnn-{nonlinearity}", getkey())
    phi = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    x, h = np.asarray(sequence(getkey()), np.float64), np.zeros(HIDDEN)
    W, U, b = (np.asarray(a, np.float64) for a in (model.weight_hh, model.weight_ih, model.bias))
    states = []
    for row in x:
        previous, h = h, phi(W @ h + U @ row + b)
        close(step_of(model, jnp.asarray(previous), jnp.asarray(row)), h, CELL)
        states.append(h)
    close(model.states(jnp.asarray(x)), np.array(states), 10 * CELL)
    close(model(jnp.asarray(x)), model.readout(jnp.asarray(h)), 10 * CELL)


@pytest.mark.parametrize("reading", ["exponential", "euler"])
def test_gru_cell_is_one_step_of_either_reading(getkey, reading):
    cell = network("gru-euler", getkey()).cell
    model = GRU.from_cell(cell, reading=reading)
    x, h = sequence(getkey()), jax.random.normal(getkey(), (HIDDEN,))
    for row in x:
        close(step_of(model, h, row), cell(row, h), CELL)
        h = cell(row, h)


@pytest.mark.parametrize("closure", ["algebraic", "relaxed"])
def test_lstm_cell_is_one_step_of_either_closure(getkey, closure):
    cell = network("lstm-relaxed", getkey()).cell
    model = LSTM.from_cell(cell, closure=closure)
    x, z = sequence(getkey()), tuple(jax.random.normal(getkey(), (2, HIDDEN)))
    for row in x:
        close(step_of(model, z, row), cell(row, z), CELL)
        z = cell(row, z)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", [eqx.nn.GRUCell, eqx.nn.LSTMCell])
def test_a_cell_of_equinox_is_its_network(getkey, kind, use_bias):
    cell, x = kind(IN, HIDDEN, use_bias=use_bias, key=getkey()), sequence(getkey())
    zero = jnp.zeros(HIDDEN)
    state = (zero, zero) if kind is eqx.nn.LSTMCell else zero
    states = []
    for row in x:
        state = cell(row, state)
        states.append(state[0] if kind is eqx.nn.LSTMCell else state)
    flow = as_hamiltonian(cell)
    close(flow.architecture(x), states[-1], CELL)
    assert isinstance(flow.architecture, GRU | LSTM)
    close(flow.architecture.states(x), jnp.stack(states), CELL)
    close(flow.g(flow.native(x)), jnp.sum(states[-1]), 10 * CELL)
    assert flow.L(x) == LENGTH
    assert flow.T(x) == LENGTH


@every_network
def test_costate_is_backpropagation(getkey, name):
    """Also through the input, whose elements are co-states of the lifted system."""
    model, x = network(name, getkey()), sequence(getkey())

    @lambda f: quick_jit(f, 0)
    def both(model, x):
        weights, rest = eqx.partition(model, eqx.is_inexact_array)

        def value(weights, x):
            return readout(eqx.combine(weights, rest)(x))

        path = discrete_costate(as_hamiltonian(model, readout), x)
        return path, jax.value_and_grad(value, (0, 1))(weights, x)

    path, (value, (to_weights, to_input)) = both(model, x)
    close(path.value, value, GRADIENT)
    for found, expected in ((path.input_gradient, to_input), (path.parameter_gradient, to_weights)):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert jnp.linalg.norm(a - b) <= GRADIENT * jnp.linalg.norm(b)


@double_only
@every_network
def test_refinements_approach_the_flow_with_order_one(getkey, name):
    flow = as_hamiltonian(network(name, getkey()), readout)
    x, counts = sequence(getkey()), (32, 128)
    *refined, exact = quick_jit(lambda flow, x: [*(flow.native(x, n) for n in counts), flow.exact(x)], 0)(flow, x)
    errors = [
        max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(z), jax.tree.leaves(exact), strict=True))
        for z in refined
    ]
    order = np.log(errors[0] / errors[1]) / np.log(counts[1] / counts[0])
    assert order == pytest.approx(1, abs=0.1)
    assert flow.architecture.expected_order == 1


@pytest.mark.parametrize("name", ["gru-exponential", "lstm-algebraic"])
def test_refinement_changes_nothing_where_the_gates_do_not_move(getkey, name):
    """Without recurrent weights the gates are constant on an element, and exponential Euler is the flow."""
    model = network(name, getkey())
    model = eqx.tree_at(lambda m: m.cell.weight_hh, model, jnp.zeros_like(model.cell.weight_hh))
    flow, x = as_hamiltonian(model), sequence(getkey())
    once, often = quick_jit(lambda flow, x: (flow.native(x), flow.native(x, 5)), 0)(flow, x)
    close(often, once, 1e-13 if DOUBLE else 1e-5)


def test_lstm_without_recurrent_weights_solves_its_linear_equation(getkey):
    """A closed form: relaxation of `c` towards i g / (1 - f) at the rate -log f."""
    model = network("lstm-algebraic", getkey())
    model = eqx.tree_at(lambda m: m.cell.weight_hh, model, jnp.zeros_like(model.cell.weight_hh))
    x, c = sequence(getkey(), 1), np.linspace(-1, 1, HIDDEN)
    i, f, g, o = np.split(np.asarray(model.layers(x)[0], np.float64), 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    expected = i * g / (1 - f) + (c - i * g / (1 - f)) * f**0.3
    h, found = model.step(0.0, (jnp.zeros(HIDDEN), jnp.asarray(c)), 0.3, model.layers(x)[0])
    close(found, expected, 1e-13 if DOUBLE else 1e-5)
    close(h, o * np.tanh(expected), 1e-13 if DOUBLE else 1e-5)


def test_lstm_holds_its_constraint(getkey):
    model, x = network("lstm-algebraic", getkey()), sequence(getkey(), 1)
    layer, c = model.layers(x)[0], jax.random.normal(getkey(), (HIDDEN,))
    row = np.asarray(layer[3 * HIDDEN :], np.float64)
    weights = np.asarray(model.cell.weight_hh[3 * HIDDEN :], np.float64)
    exposed = np.tanh(np.asarray(c, np.float64))
    h = scipy.optimize.root(lambda h: h - sigmoid(row + weights @ h) * exposed, np.zeros(HIDDEN), tol=1e-14).x
    settled = model.settle((jnp.zeros(HIDDEN), c), layer)
    close(settled[0], h, 1e-12 if DOUBLE else 1e-5)
    np.testing.assert_array_equal(settled[1], c)
    # The velocity is tangent to the constraint: written out with the dense matrix.
    h_rate, c_rate = model.velocity(0.0, settled, layer)
    o = sigmoid(row + weights @ h)
    J = (o * (1 - o) * exposed)[:, None] * weights
    expected = np.linalg.solve(np.eye(HIDDEN) - J, o * (1 - exposed**2) * np.asarray(c_rate, np.float64))
    close(h_rate, expected, 1e-12 if DOUBLE else 1e-5)
    # The implicit derivative of the settled state is that solution too.
    _, tangent = jax.jvp(lambda c: model.settle((settled[0], c), layer)[0], (c,), (c_rate,))
    close(tangent, expected, 1e-12 if DOUBLE else 1e-5)
    pulled = jax.grad(lambda c: jnp.sum(model.settle((settled[0], c), layer)[0]))(c)
    close(pulled @ c_rate, expected.sum(), 1e-12 if DOUBLE else 1e-5)


def test_lstm_whose_constraint_does_not_settle(getkey):
    model = network("lstm-algebraic", getkey())
    weights = model.cell.weight_hh.at[3 * HIDDEN :].set(-60 * jnp.eye(HIDDEN))
    model = eqx.tree_at(lambda m: m.cell.weight_hh, model, weights)
    state = (jnp.zeros(HIDDEN), jnp.full(HIDDEN, 2.0))
    with pytest.raises(RuntimeError, match=r"does not settle[\s\S]*relaxed"):
        model.settle(state, jnp.zeros(4 * HIDDEN))
    rates = model.velocity(0.0, (jnp.zeros(HIDDEN), jnp.full(HIDDEN, 2.0)), jnp.zeros(4 * HIDDEN))
    assert jnp.isnan(rates[0]).all()


@pytest.mark.parametrize("closure", ["algebraic", "relaxed"])
def test_lstm_that_never_forgets(getkey, closure):
    """Where f rounds to 1 the cell state only adds, and no quotient 0/0 appears, nor in the gradient."""
    model = LSTM(IN, HIDDEN, closure=closure, key=getkey())
    bias = jnp.asarray(model.cell.bias).at[HIDDEN : 2 * HIDDEN].set(1000.0)
    model = eqx.tree_at(lambda m: m.cell.bias, model, bias)
    row, z = model.layers(sequence(getkey(), 1))[0], tuple(jax.random.normal(getkey(), (2, HIDDEN)))
    i, _, g, _ = jnp.split(row + model.cell.weight_hh @ z[0], 4)
    added = jax.nn.sigmoid(i) * jnp.tanh(g)
    close(model.step(0.0, z, 0.25, row)[1], z[1] + 0.25 * added, CELL)
    close(model.velocity(0.0, z, row)[1], added, CELL)
    for function in (lambda row: model.step(0.0, z, 0.25, row)[1], lambda row: model.velocity(0.0, z, row)[1]):
        assert jnp.isfinite(jax.grad(lambda row, function=function: jnp.sum(function(row)))(row)).all()


@double_only
@pytest.mark.slow
@smooth_networks
def test_costate_of_the_flow_is_the_derivative_of_its_value(getkey, name):
    flow, x, v = as_hamiltonian(network(name, getkey()), readout), sequence(getkey()), sequence(getkey())
    value = eqx.filter_jit(lambda flow, x: flow.g(flow.exact(x, 1e-12)))
    path = eqx.filter_jit(continuous_costate)(flow, x, 1e-12)
    # Four points: an error of order 4 in the distance.
    near, far = ((value(flow, x + e * v) - value(flow, x - e * v)) / (2 * e) for e in (1e-3, 2e-3))
    assert float(jnp.sum(path.input_gradient * v)) == pytest.approx(float((4 * near - far) / 3), rel=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@every_network
def test_dtype_is_kept(getkey, name, dtype):
    if dtype == jnp.float64 and not DOUBLE:
        pytest.skip("float64 is off")
    model = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, network(name, getkey())
    )
    x = sequence(getkey()).astype(dtype)
    layers, z = model.layers(x), model.start(x)
    shapes = jax.eval_shape(
        lambda: (model(x), model.states(x), model.step(0.0, z, 0.5, layers[0]), model.velocity(0.0, z, layers[0]))
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((shapes, z, layers))} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: RNN(0, 2, key=key), "`in_size` must be at least 1, got 0"),
        (lambda key: RNN(2, 2, nonlinearity="gelu", key=key), "`nonlinearity` must be one of tanh, relu"),
        (lambda key: GRU(2, 2, 0, key=key), "`out_size` must be at least 1"),
        (lambda key: GRU(2, 2, reading="heun", key=key), "`reading` must be one of exponential, euler"),
        (lambda key: LSTM(2, 2, closure="none", key=key), "`closure` must be one of algebraic, relaxed"),
        (lambda key: LSTM(2, 2, key=key).layers(None), "`x` must be given"),
        (lambda key: GRU(2, 2, key=key)(jnp.zeros((4, 3))), r"`x` must have shape \(n, 2\), got \(4, 3\)"),
        (lambda key: RNN.from_weights(jnp.zeros((3, 2)), jnp.zeros((2, 2))), "`weight_ih` must have shape"),
        (
            lambda key: RNN.from_weights(jnp.zeros((2, 2)), jnp.zeros((2, 2)), jnp.zeros(3)),
            r"`bias` must have shape \(2,\)",
        ),
    ],
)
def test_arguments_that_cannot_be(getkey, call, message):
    with pytest.raises(ValueError, match=message):
        call(getkey())
