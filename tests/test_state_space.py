"""State-space models: their discretisations against exact flows, and three ways through a sequence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from hjpde._compilation import quick_jit
from hjpde.architectures import (
    DiagonalStateSpace,
    LinearStateSpace,
    SelectiveStateSpace,
    as_hamiltonian,
    discrete_costate,
)
from hjpde.architectures._linear_recurrence import phi1, recurrence

DOUBLE = jnp.result_type(float) == jnp.float64
GRADIENT = 1e-13 if DOUBLE else 1e-5
double_only = pytest.mark.skipif(not DOUBLE, reason="orders are read off in float64")
N, M, P, LENGTH = 4, 3, 2, 6


def matrices(frequencies=N):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    A = -0.5 * np.exp(0.3 * rng.normal(size=N)) + 1j * np.pi * np.arange(N) / frequencies
    return A, draw(N, M), draw(P, N), rng.normal(size=(P, M))


def linear(step=0.4, rule="zoh", **options):
    return LinearStateSpace(*matrices(), step, rule=rule, **options)


def close(one, other, tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() <= tolerance * max(1, np.abs(np.asarray(b)).max())


def readout(y):
    return jnp.sum(jnp.sin(2 * y))


def slope(errors, counts):
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


def largest(one, other):
    return max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_phi1():
    """Against the power series, with its derivative, on both sides of where the formula changes."""
    z = np.array([0, 1e-9, -1e-4, 0.03j, 0.0999, 0.1001, -0.2 + 0.1j, 0.99j, -1])
    terms = np.arange(30)
    factorials = np.cumprod(np.append(1.0, terms[1:] + 1.0))
    value = np.sum(z[:, None] ** terms / factorials, axis=1)
    slopes = np.sum(terms[1:] * z[:, None] ** (terms[1:] - 1) / factorials[1:], axis=1)
    found = phi1(jnp.asarray(z))
    derivative = jax.vmap(jax.grad(phi1, holomorphic=True))(jnp.asarray(z))
    np.testing.assert_allclose(found, value, rtol=1e-15 if DOUBLE else 1e-6)
    np.testing.assert_allclose(derivative, slopes, rtol=1e-13 if DOUBLE else 1e-4)


def test_zero_order_hold_is_a_matrix_exponential():
    """A state with the generator 0 is an integrator."""
    A, B, C, D = matrices()
    A[1] = 0
    model, w = LinearStateSpace(A, B, C, D, 0.4), np.random.default_rng(1).normal(size=(LENGTH, M))
    block = np.zeros((N + M, N + M), complex)
    block[:N, :N], block[:N, N:] = np.diag(A), B
    flow = scipy.linalg.expm(0.4 * block)
    transition, held = model.discretised(0.4)
    tolerance = 1e-14 if DOUBLE else 1e-6
    close(transition, np.diag(flow[:N, :N]), tolerance)
    close(np.asarray(held)[:, None] * B, flow[:N, N:], tolerance)
    state, outputs = np.zeros(N, complex), []
    for row in w:
        state = (flow @ np.concatenate([state, row]))[:N]
        outputs.append((C @ state).real + D @ row)
    close(model.outputs(jnp.asarray(w)), np.array(outputs), 1e-13 if DOUBLE else 1e-5)
    close(model(jnp.asarray(w)), outputs[-1], 1e-13 if DOUBLE else 1e-5)


@double_only
def test_zero_order_hold_is_the_flow():
    flow, w = as_hamiltonian(linear()), np.random.default_rng(1).normal(size=(LENGTH, M))
    once, often, exact = quick_jit(lambda x: (flow.native(x), flow.native(x, 5), flow.exact(x, 1e-13)), 0)(
        jnp.asarray(w)
    )
    close(once, exact, 1e-11)
    close(often, once, 1e-13)
    assert flow.architecture.expected_order == np.inf


@pytest.mark.parametrize("rule", ["zoh", "bilinear", "euler"])
def test_three_ways_through_a_sequence(rule):
    w = jnp.asarray(np.random.default_rng(1).normal(size=(37, M)))
    outputs = [linear(0.1, rule, method=method).outputs(w) for method in ("scan", "associative", "convolution")]
    tolerance = 1e-12 if DOUBLE else 1e-5
    close(outputs[1], outputs[0], tolerance)
    close(outputs[2], outputs[0], tolerance)
    close(linear(0.1, rule).outputs(w), outputs[0], tolerance)


def test_recurrence_with_a_varying_factor():
    rng = np.random.default_rng(2)
    a, d = rng.uniform(-1, 1, size=(9, 2)), rng.normal(size=(9, 2))
    state, states = np.zeros(2), []
    for k in range(9):
        state = a[k] * state + d[k]
        states.append(state)
    for method in ("scan", "associative"):
        close(recurrence(jnp.asarray(a), jnp.asarray(d), method), np.array(states), 1e-14 if DOUBLE else 1e-6)


@double_only
@pytest.mark.parametrize("rule, order", [("bilinear", 2), ("euler", 1)])
def test_order_for_a_held_input(rule, order):
    flow, w = as_hamiltonian(linear(rule=rule)), jnp.asarray(np.random.default_rng(1).normal(size=(LENGTH, M)))
    exact = as_hamiltonian(linear()).native(w)
    counts = (16, 64)
    refined = quick_jit(lambda x: [flow.native(x, n) for n in counts], 0)(w)
    assert slope([largest(z, exact) for z in refined], counts) == pytest.approx(order, abs=0.1)
    assert flow.architecture.expected_order == order


@pytest.mark.slow
@double_only
@pytest.mark.parametrize(
    "rule, sampling, order",
    [
        ("zoh", "left", 1),
        ("zoh", "midpoint", 2),
        ("bilinear", "average", 2),
        ("bilinear", "left", 1),
        ("euler", "left", 1),
    ],
)
def test_order_for_a_smooth_input(rule, sampling, order):
    """Against the closed form for w = sin(3 s): how the input is sampled counts as much as the rule."""
    (A, B, C, _), T, rate = matrices(), 2.0, 3.0
    exact = (rate * np.exp(A * T) - A * np.sin(rate * T) - rate * np.cos(rate * T)) / (A**2 + rate**2)
    expected = (C @ (B[:, 0] * exact)).real

    def error(n):
        h = T / n
        s = h * np.arange(n)
        values = {
            "left": np.sin(rate * s),
            "midpoint": np.sin(rate * (s + h / 2)),
            "average": (np.sin(rate * s) + np.sin(rate * (s + h))) / 2,
        }[sampling]
        model = LinearStateSpace(A, B[:, 0], C, None, h, rule=rule)
        return np.abs(np.asarray(model(jnp.asarray(values)[:, None])) - expected).max()

    counts = [512, 1024, 2048]
    assert slope([error(n) for n in counts], counts) == pytest.approx(order, abs=0.1)


def models(key):
    return {
        "diagonal": lambda: DiagonalStateSpace(M, N, P, 5, key=key),
        "linear": linear,
        "selective": lambda: SelectiveStateSpace(M, N, P, width=5, key=key),
        "selective-euler": lambda: SelectiveStateSpace(M, N, input_rule="euler", key=key),
    }


@pytest.mark.parametrize("name", ["diagonal", "linear", "selective", "selective-euler"])
def test_network_is_its_steps_and_costate_is_backpropagation(getkey, name):
    model, x = models(getkey())[name](), jax.random.normal(getkey(), (LENGTH, M))

    @lambda f: quick_jit(f, 0)
    def both(model, x):
        weights, rest = eqx.partition(model, eqx.is_inexact_array)

        def value(weights, x):
            return readout(eqx.combine(weights, rest)(x))

        flow = as_hamiltonian(model, readout)
        output = model(x), model.finish(flow.native(x))
        return output, discrete_costate(flow, x), jax.value_and_grad(value, (0, 1))(weights, x)

    output, path, (value, (to_weights, to_input)) = both(model, x)
    close(output[1], output[0], GRADIENT)
    close(path.value, value, GRADIENT)
    for found, expected in ((path.input_gradient, to_input), (path.parameter_gradient, to_weights)):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert jnp.linalg.norm(a - b) <= GRADIENT * jnp.linalg.norm(b)


@double_only
def test_refining_keeps_the_diagonal_states_and_moves_the_mean_with_order_one(getkey):
    model, x = DiagonalStateSpace(M, N, P, 5, key=getkey()), jax.random.normal(getkey(), (LENGTH, M))
    flow, counts = as_hamiltonian(model), (16, 64)
    once, *refined, exact = quick_jit(lambda x: [*(flow.native(x, n) for n in (1, *counts)), flow.exact(x)], 0)(x)
    for states, _ in refined:
        close(states, once[0], 1e-13)
    close(exact[0], once[0], 1e-9)
    assert slope([largest(mean, exact[1]) for _, mean in refined], counts) == pytest.approx(1, abs=0.1)


def by_hand(model, x):
    """A selective model for each channel, by matrix exponentials of the held system."""
    x = np.asarray(x, np.float64)
    weight, bias = (np.asarray(a, np.float64) for a in (model.clock.weight, model.clock.bias))
    into, out, A = (
        np.asarray(a, np.float64) for a in (model.input_weights, model.output_weights, -np.exp(model.log_decay))
    )
    state, outputs = np.zeros((M, N)), []
    for row in x:
        clock = np.log1p(np.exp(weight @ row + bias))
        for channel in range(M):
            block = np.zeros((N + 1, N + 1))
            block[:N, :N], block[:N, N] = np.diag(A[channel]), into @ row * row[channel]
            state[channel] = (scipy.linalg.expm(clock[channel] * block) @ np.append(state[channel], 1))[:N]
        outputs.append(state @ (out @ row) + np.asarray(model.skip) * row)
    return np.array(outputs)


def test_selective_model_is_the_flow_on_its_own_clock(getkey):
    x, key = jax.random.normal(getkey(), (LENGTH, M)), getkey()
    expected = by_hand(SelectiveStateSpace(M, N, key=key), x)
    for method in ("scan", "associative"):
        model = SelectiveStateSpace(M, N, method=method, key=key)
        close(model.outputs(x), expected, 1e-13 if DOUBLE else 1e-5)
    flow = as_hamiltonian(model)
    close(flow.native(x, 4)[1], expected[-1], 1e-13 if DOUBLE else 1e-5)


def test_selective_kernel_is_exact_for_another_input_matrix(getkey):
    key, z = getkey(), (jax.random.normal(getkey(), (M, N)), jnp.zeros(M))
    exact, kernel = (SelectiveStateSpace(M, N, input_rule=rule, key=key) for rule in ("zoh", "euler"))
    (clock, drive, C, through) = (leaf[0] for leaf in exact.layers(jax.random.normal(getkey(), (1, M))))
    exponent = -np.asarray(clock)[:, None] * np.exp(np.asarray(exact.log_decay))
    other = (clock, drive * jnp.asarray(exponent / np.expm1(exponent)), C, through)
    close(
        exact.step(0.0, z, 1.0, other), kernel.step(0.0, z, 1.0, (clock, drive, C, through)), 1e-14 if DOUBLE else 1e-6
    )


@double_only
def test_selective_kernel_has_order_one(getkey):
    key, x = getkey(), jax.random.normal(getkey(), (LENGTH, M))
    exact, kernel = (as_hamiltonian(SelectiveStateSpace(M, N, input_rule=rule, key=key)) for rule in ("zoh", "euler"))
    counts = (8, 32)
    reference, *refined = quick_jit(lambda x: [exact.native(x), *(kernel.native(x, n) for n in counts)], 0)(x)
    assert slope([largest(z, reference) for z in refined], counts) == pytest.approx(1, abs=0.1)


def test_one_input_and_one_output():
    A, B, C, _ = matrices()
    w = jnp.asarray(np.random.default_rng(1).normal(size=(LENGTH, 1)))
    short = LinearStateSpace(A, B[:, 0], C[0], 0.5)
    long = LinearStateSpace(A, B[:, :1], C[:1], [[0.5]])
    np.testing.assert_array_equal(short.outputs(w), long.outputs(w))
    assert all(jnp.isrealobj(leaf) for leaf in jax.tree.leaves(short))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearStateSpace(np.ones(2), np.ones(3), np.ones(2)), r"`A` must have shape \(n,\).*\(3,\)"),
        (lambda: LinearStateSpace(np.ones(2), np.ones(2), np.ones(2), 1j), "`D` must be real"),
        (lambda: LinearStateSpace(np.ones(2), np.ones(2), np.ones(2), step=0.0), "`step` must be positive"),
        (lambda: LinearStateSpace([np.nan], [1.0], [1.0]), "`A` must be finite"),
        (lambda: LinearStateSpace("x", [1.0], [1.0]), "`A` must be an array"),
        (lambda: linear(rule="heun"), "`rule` must be one of zoh, bilinear, euler"),
        (lambda: linear(method="fft"), "`method` must be one of scan, associative, convolution"),
        (lambda: linear().layers(None), "`x` must be given"),
        (lambda: linear()(jnp.zeros((4, 5))), r"`x` must have shape \(n, 3\)"),
        (lambda: SelectiveStateSpace(2, 0, key=jax.random.key(0)), "`state_size` must be at least 1"),
        (lambda: SelectiveStateSpace(2, 1, width=0, key=jax.random.key(0)), "`width` must be at least 1"),
        (lambda: SelectiveStateSpace(2, 1, input_rule="x", key=jax.random.key(0)), "`input_rule` must be one of"),
        (lambda: SelectiveStateSpace(2, 1, method="x", key=jax.random.key(0)), "`method` must be one of"),
    ],
)
def test_arguments_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()
