"""A network's depth flow: its own steps approach it at order 1, values and derivatives, and it is an ODE's solution."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _fields import SmoothField, bent, largest_difference, slope
from scipy.integrate import solve_ivp

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
FIELDS = {"moving": {}, "constant": {"moving": False}, "pre-norm": {"norm": True}}
NAMES = ["moving", *(pytest.param(name, marks=pytest.mark.slow) for name in ("constant", "pre-norm"))]
STEPPINGS = ("euler", "reflected", "symplectic-euler", "leapfrog")


def point(d=4, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=d))


def network(getkey, **options):
    sizes = {"in_size": 4, "out_size": 3, "width": 4, "depth": 8, "hidden": 6, "activation": "tanh"}
    return quick_jit(lambda key: architectures.ResidualNetwork(**(sizes | options), key=key), 0)(getkey())


@needs_float64
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_approach_the_flow_at_order_one(name):
    """For depths from 8 to 256; the weights of the deeper networks are those of the same curve."""
    flow = hjpde.as_hamiltonian(architectures.FieldNetwork(SmoothField(**FIELDS[name]), depth=8), bent)
    x = point()
    exact = quick_jit(lambda x: architectures.continuous_costate(flow, x, 1e-12), 0)(x)
    refined = quick_jit(lambda x, n: architectures.refined_costate(flow, x, n, 32), 0)
    forward, inputs, weights = [], [], []
    for n in (1, 2, 4, 8, 16, 32):
        path = refined(x, jnp.asarray(n))
        forward.append(abs(float(path.value - exact.value)))
        inputs.append(float(jnp.max(jnp.abs(path.input_gradient - exact.input_gradient))))
        gaps = jax.tree.map(jnp.subtract, path.parameter_gradient, exact.parameter_gradient)
        weights.append(max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gaps)))
    assert 0.85 <= slope(forward) <= 1.15
    assert 0.85 <= slope(inputs) <= 1.15
    assert 0.85 <= slope(weights) <= 1.15


def test_a_field_network_refined_is_the_deeper_one():
    field, x = SmoothField(), point()
    shallow, deep = (hjpde.as_hamiltonian(architectures.FieldNetwork(field, depth, 0.7)) for depth in (4, 12))
    written, h = np.asarray(x), 0.7 / 12
    for k in range(12):
        written = written + h * np.asarray(field(k * h, jnp.asarray(written)))
    tolerance = 1e-13 if DOUBLE else 1e-5
    for found in (shallow.native(x, 3), deep.native(x), deep.architecture(x)):
        np.testing.assert_allclose(found, written, rtol=tolerance, atol=tolerance)


@needs_float64
def test_heun_layers_are_of_order_two():
    flow = hjpde.as_hamiltonian(architectures.FieldNetwork(SmoothField(), 8, stepping="heun"))
    x = point()
    exact = quick_jit(lambda x: flow.exact(x, 1e-12), 0)(x)
    gaps = [float(jnp.linalg.norm(quick_jit(flow.native, 0)(x, n) - exact)) for n in (1, 2, 4, 8)]
    assert flow.architecture.expected_order == 2
    assert slope(gaps) == pytest.approx(2, abs=0.15)


def test_the_exact_flow_is_an_ode_solved_by_another_program():
    field, x = SmoothField(), point()
    flow = hjpde.as_hamiltonian(architectures.FieldNetwork(field, 4, horizon=1.5))
    A, b, C = (np.asarray(leaf, np.float64) for leaf in (field.A, field.b, field.C))

    def velocity(s, z):
        return (C[0] + s * C[1]) @ np.tanh((A[0] + np.sin(2 * s) * A[1]) @ z + b)

    expected = solve_ivp(velocity, (0, 1.5), np.asarray(x, np.float64), method="DOP853", rtol=1e-12, atol=1e-13)
    tolerance = 1e-8 if DOUBLE else 1e-4
    np.testing.assert_allclose(quick_jit(flow.exact, 0)(x), expected.y[:, -1], rtol=tolerance, atol=tolerance)
    if DOUBLE:
        tight = quick_jit(lambda x: flow.exact(x, 1e-13), 0)(x)
        np.testing.assert_allclose(tight, expected.y[:, -1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_residual_steps_written_out(getkey, stepping):
    """All four, by numpy, and the velocities that they are steps of."""
    model = network(getkey, stepping=stepping, norm=False, depth=3, horizon=1.2)
    flow, x = hjpde.as_hamiltonian(model), point()
    inner, outer = model.blocks.inner, model.blocks.outer

    def block(k, x):
        hidden = np.tanh(np.asarray(inner.weight[k]) @ x + np.asarray(inner.bias[k]))
        return np.asarray(outer.weight[k]) @ hidden + np.asarray(outer.bias[k])

    z, v, h = np.asarray(model.embed.weight) @ np.asarray(x) + np.asarray(model.embed.bias), np.zeros(4), 0.4
    if stepping == "reflected":
        z = np.maximum(z, 0)
    first = z
    for k in range(3):
        if stepping == "symplectic-euler":
            v = v + h * block(k, z)
            z = z + h * v
        elif stepping == "leapfrog":
            middle = z + h / 2 * v
            v = v + h * block(k, middle)
            z = middle + h / 2 * v
        else:
            z = z + h * block(k, z)
            z = np.maximum(z, 0) if stepping == "reflected" else z
    tolerance = 1e-13 if DOUBLE else 1e-5
    end = flow.native(x)
    np.testing.assert_allclose(end[0] if model.has_momentum else end, z, rtol=tolerance, atol=tolerance)
    logits = np.asarray(model.readout.weight) @ z + np.asarray(model.readout.bias)
    np.testing.assert_allclose(model(x), logits, rtol=tolerance, atol=tolerance)
    # F at the start, and the Hamiltonian that is linear in the co-state.
    start = model.start(x)
    velocity = block(0, first)
    velocity = np.where((first > 0) | (velocity > 0), velocity, 0) if stepping == "reflected" else velocity
    expected = (np.zeros(4), velocity) if model.has_momentum else velocity
    for found, wanted in zip(jax.tree.leaves(flow.F(0.0, start)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    p = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(4.0)) + leaf, start)
    pairs = zip(jax.tree.leaves(p), jax.tree.leaves(expected), strict=True)
    np.testing.assert_allclose(flow.H(0.0, start, p), sum(np.sum(a * b) for a, b in pairs), rtol=10 * tolerance)


@needs_float64
@pytest.mark.parametrize("stepping, expected", [("symplectic-euler", 1), ("leapfrog", 2)])
def test_momentum_steppings_are_of_their_orders(getkey, stepping, expected):
    flow, x = hjpde.as_hamiltonian(network(getkey, stepping=stepping, depth=2)), point()
    exact = jnp.concatenate(quick_jit(lambda x: flow.exact(x, 1e-12), 0)(x))
    ends = [jnp.concatenate(quick_jit(flow.native, 0)(x, n)) for n in (4, 8, 16)]
    assert flow.architecture.expected_order == expected
    assert slope([jnp.linalg.norm(end - exact) for end in ends]) == pytest.approx(expected, abs=0.15)


def test_diffrax_euler_with_checkpoints_is_backpropagation_through_the_network(getkey):
    """The discrete adjoint of an ODE solver with Euler steps, in the input and in all weights."""
    model, x = network(getkey), point()
    weights, static = eqx.partition(model, eqx.is_inexact_array)

    def by_diffrax(weights, x):
        net = eqx.combine(weights, static)

        def velocity(s, z, net):
            # Depths k/8 are numbers without rounding.
            layer = jax.tree.map(lambda leaf: leaf[(s * 8).astype(int)], net.layers(None))
            return net.velocity(s, z, layer)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),  # pyright: ignore[reportArgumentType]
            diffrax.Euler(),
            0.0,
            1.0,
            0.125,
            net.start(x),
            args=net,
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )
        assert solution.ys is not None
        return bent(net.finish(solution.ys[-1]))

    def by_network(weights, x):
        return bent(eqx.combine(weights, static)(x))

    one = quick_jit(jax.value_and_grad(by_diffrax, (0, 1)), 0)(weights, x)
    other = quick_jit(jax.value_and_grad(by_network, (0, 1)), 0)(weights, x)
    assert largest_difference(one, other) <= (1e-13 if DOUBLE else 1e-5)


def test_layers_by_depth(getkey):
    """At the edge of two layers the later one, however the edge was computed; at the end the last."""
    model = network(getkey, depth=10)
    flow = hjpde.as_hamiltonian(model)
    biases = np.asarray(model.blocks.inner.bias)
    for k in range(10):
        np.testing.assert_array_equal(flow.layer_at(k * model.layer_time).inner.bias, biases[k])
        np.testing.assert_array_equal(flow.layer_at((k + 0.5) / 10).inner.bias, biases[k])
    np.testing.assert_array_equal(flow.layer_at(1.0).inner.bias, biases[9])
    x = point()
    z = model.start(x)
    np.testing.assert_allclose(flow.step(0.3, z, 0.1), model.step(0.3, z, 0.1, flow.layer_at(0.3)))
    assert (flow.L(x), flow.T(x)) == (10, 1.0)


def test_what_is_no_network_or_no_readout():
    field = SmoothField()
    with pytest.raises(TypeError, match=r"no depth flow is known for Linear: register one with"):
        hjpde.as_hamiltonian(eqx.nn.Linear(2, 2, key=jax.random.key(0)))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"depth": 0}, "`depth` must be"),
        ({"depth": 2, "horizon": float("inf")}, "`horizon` must be positive and finite, got inf"),
        ({"depth": 2, "stepping": "midpoint"}, "`stepping` must be one of euler, heun, got 'midpoint'"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            architectures.FieldNetwork(field, **options)
    flow = hjpde.as_hamiltonian(architectures.FieldNetwork(field, 2), lambda x: x)
    with pytest.raises(ValueError, match=r"`readout` must return a scalar, got shape \(4,\)"):
        flow.g(point())
