"""`hjpde.compare`: each number by another road, the three verdicts, and how it refuses."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _fields import SmoothField, bent
from scipy.integrate import solve_ivp

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
ROUNDING = 1e-12 if DOUBLE else 1e-4
DEPTH, WIDTH, REFINED = 4, 3, (1, 2, 4)
FIELDS = {
    *("forward_error", "gradient_error", "forward_order", "gradient_order", "costate_residual", "native_gap"),
    *("effective_viscosity", "drift_correction", "verdict"),
}


@functools.cache
def residual():
    build = functools.partial(
        architectures.ResidualNetwork, 2, 2, WIDTH, DEPTH, hidden=5, activation="tanh", norm=False
    )
    return quick_jit(lambda key: build(key=key), 0)(jax.random.key(2))


def inputs(n=3, shape=(2,), seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)))


@pytest.fixture(scope="module")
def report():
    return hjpde.compare(residual(), inputs(), readout=bent, n_refine=REFINED)


class ByHand:
    """The residual network, its velocity and its flow, by numpy and scipy."""

    def __init__(self, model):
        double = functools.partial(np.asarray, dtype=np.float64)
        self.embed = [double(leaf) for leaf in (model.embed.weight, model.embed.bias)]
        self.inner = [double(leaf) for leaf in (model.blocks.inner.weight, model.blocks.inner.bias)]
        self.outer = [double(leaf) for leaf in (model.blocks.outer.weight, model.blocks.outer.bias)]
        self.readout = [double(leaf) for leaf in (model.readout.weight, model.readout.bias)]

    def start(self, x):
        return self.embed[0] @ np.asarray(x, np.float64) + self.embed[1]

    def velocity(self, k, z):
        return self.outer[0][k] @ np.tanh(self.inner[0][k] @ z + self.inner[1][k]) + self.outer[1][k]

    def jacobian(self, k, z):
        hidden = np.tanh(self.inner[0][k] @ z + self.inner[1][k])
        return self.outer[0][k] @ ((1 - hidden**2)[:, None] * self.inner[0][k])

    def states(self, x, n=1):
        z, h = [self.start(x)], 1 / DEPTH / n
        for k in range(DEPTH):
            for _ in range(n):
                z.append(z[-1] + h * self.velocity(k, z[-1]))
        return z

    def flow(self, k, z):
        path = solve_ivp(lambda s, z: self.velocity(k, z), (0, 1 / DEPTH), z, method="DOP853", rtol=1e-12, atol=1e-13)
        return path.y[:, -1]

    def end(self, x):
        z = self.start(x)
        for k in range(DEPTH):
            z = self.flow(k, z)
        return z

    def value(self, z):
        y = self.readout[0] @ z + self.readout[1]
        return np.sin(y).sum() + 0.5 * y[0] * y[1]


@pytest.fixture(scope="module")
def by_hand():
    return ByHand(residual())


@pytest.mark.slow
def test_the_errors_of_the_values(report, by_hand):
    expected = []
    for n in REFINED:
        gaps = [by_hand.value(by_hand.states(x, n)[-1]) - by_hand.value(by_hand.end(x)) for x in inputs()]
        expected.append(np.mean(np.abs(gaps)))
    rtol, atol = (1e-6, 1e-9) if DOUBLE else (5e-2, 2e-5)
    np.testing.assert_allclose(report.forward_error, expected, rtol=rtol, atol=atol)
    assert report.native_gap == report.forward_error[0]
    assert report.forward_order == pytest.approx(-np.polyfit(np.log(REFINED), np.log(expected), 1)[0], rel=0.05)


def test_the_errors_of_the_gradients(report, by_hand):
    """By differences of the network and of its flow, both written out."""
    step = 1e-4

    def gradient(value, x):
        sides = [(value(x + step * e), value(x - step * e)) for e in np.eye(2)]
        return np.array([(up - down) / (2 * step) for up, down in sides])

    expected = []
    for n in REFINED:

        def gap(x, n=n):
            return by_hand.value(by_hand.states(x, n)[-1]) - by_hand.value(by_hand.end(x))

        expected.append(np.mean([np.linalg.norm(gradient(gap, np.asarray(x, np.float64))) for x in inputs()]))
    rtol, atol = (1e-4, 1e-9) if DOUBLE else (5e-2, 1e-4)
    np.testing.assert_allclose(report.gradient_error, expected, rtol=rtol, atol=atol)


def test_the_errors_of_the_weight_gradients(report):
    """By `jax.grad` through the flow's and the network's own passes, in all weights of the mean value."""
    weights, static = eqx.partition(residual(), eqx.is_inexact_array)

    def gaps(weights):
        def mean(weights, passing):
            flow = hjpde.as_hamiltonian(eqx.combine(weights, static), bent)
            return jnp.mean(jax.vmap(lambda x: flow.g(passing(flow)(x)))(inputs()))

        exact = jax.grad(mean)(weights, lambda flow: flow.exact)
        refined = [jax.grad(mean)(weights, lambda flow, n=n: lambda x: flow.native(x, n)) for n in REFINED]
        return [jax.tree.map(jnp.subtract, one, exact) for one in refined]

    expected = [np.sqrt(sum(np.sum(np.asarray(leaf) ** 2) for leaf in jax.tree.leaves(gap)))
                for gap in quick_jit(gaps, 0)(weights)]  # fmt: skip
    np.testing.assert_allclose(report.parameter_error, expected, rtol=1e-6 if DOUBLE else 5e-2)


def test_what_is_measured_along_the_network(report, by_hand):
    h, ends, ways, drifts, speeds, determinants = 1 / DEPTH, [], [], [], [], []
    for x in inputs():
        states, end = by_hand.states(x), by_hand.end(x)
        ends.append(np.linalg.norm(states[-1] - end))
        ways.append(np.linalg.norm(end - states[0]))
        for k, z in enumerate(states[:-1]):
            F = by_hand.velocity(k, z)
            drifts.append(np.linalg.norm(z + h * F - by_hand.flow(k, z)) / h)
            speeds.append(np.linalg.norm(F))
            determinants.append(np.linalg.det(np.eye(WIDTH) + h * by_hand.jacobian(k, z)))
    tolerance = 1e-6 if DOUBLE else 5e-2
    assert report.relative_gap == pytest.approx(np.mean(ends) / np.mean(ways), rel=tolerance)
    assert report.drift_correction == pytest.approx(np.mean(drifts), rel=tolerance)
    assert report.mean_speed == pytest.approx(np.mean(speeds), rel=tolerance)
    assert report.min_determinant == pytest.approx(min(determinants), rel=1e-5)


def test_what_is_told_of_the_network_itself(report):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(residual().blocks, eqx.is_array))]
    assert report.roughness == pytest.approx(DEPTH * max(np.abs(np.diff(leaf, axis=0)).max() for leaf in leaves))
    # 2 to 3, four blocks of 3 to 5 to 3, 3 to 2, with biases.
    assert report.parameters == 3 * 3 + DEPTH * (5 * 4 + 3 * 6) + 2 * 4
    assert (report.architecture, report.scheme, report.depth) == ("ResidualNetwork", "explicit Euler", DEPTH)
    assert (report.state_size, report.inputs, report.n, report.layer_time) == (WIDTH, 3, REFINED, 0.25)
    assert report.expected_order == 1
    np.testing.assert_allclose(report.flops / report.flops[0], REFINED)
    assert report.flops[0] > DEPTH * 4 * WIDTH * 5


def test_residuals_are_rounding_and_without_noise_there_is_no_viscosity(report):
    assert 0 <= report.costate_residual <= ROUNDING
    assert 0 <= report.network_residual <= ROUNDING
    np.testing.assert_array_equal(report.effective_viscosity, np.zeros((WIDTH, WIDTH)))
    assert report.predicted_viscosity is None
    assert report.operator is None
    assert report.operator_gap is None


def test_the_fields_the_table_and_the_figure(report):
    for name in FIELDS:
        assert getattr(report, name) is not None
    assert set(report.summary()) >= FIELDS | {"kind", "n", "parameter_error", "relative_gap", "roughness"}
    table = report.table()
    assert [row["n"] for row in table.rows] == list(REFINED)
    np.testing.assert_allclose([row["forward_error"] for row in table.rows], report.forward_error)
    report.plot().draw_without_rendering()


@needs_float64
def test_a_residual_network_is_of_order_h(report):
    assert report.kind == "order h"
    assert report.verdict.startswith("order h: explicit Euler")
    assert "h = 0.25, observed order 1.0" in report.verdict
    assert f"the network ends {100 * report.relative_gap:.2g} % of the way off" in report.verdict


@pytest.mark.slow
def test_means_over_inputs():
    """Of what are means of differences; one input alone may come without an axis of its own."""
    model, X = residual(), inputs()
    whole = hjpde.compare(model, X, readout=bent, n_refine=(1, 2))
    single = [hjpde.compare(model, x, readout=bent, n_refine=(1, 2)) for x in X]
    tolerance = 1e-8 if DOUBLE else 2e-2
    for name in ("forward_error", "gradient_error", "drift_correction", "mean_speed"):
        mean = np.mean([getattr(one, name) for one in single], axis=0)
        np.testing.assert_allclose(getattr(whole, name), mean, rtol=tolerance, atol=1e-10 if DOUBLE else 1e-5)
    determinants = [one.min_determinant for one in single if one.min_determinant is not None]
    assert whole.min_determinant == pytest.approx(min(determinants))
    assert [one.inputs for one in single] == [1, 1, 1]


@pytest.fixture(scope="module")
def noisy():
    model = architectures.NoisyNetwork(residual(), architectures.Dropout(0.8))
    return [hjpde.compare(model, inputs(), n_refine=(1, 2), key=jax.random.key(k)) for k in (0, 0, 1)]


@pytest.mark.slow
def test_dropout_shows_its_viscosity(noisy, by_hand):
    r"""$\frac h2 \frac{1-q}{q} W_2\,\mathrm{diag}(\sigma^2)\,W_2^\top$, measured within five standard errors of it."""
    z, h = by_hand.start(inputs()[0]), 1 / DEPTH
    units, W2 = np.tanh(by_hand.inner[0][0] @ z + by_hand.inner[1][0]), by_hand.outer[0][0]
    formula = h / 2 * 0.25 * W2 @ np.diag(units**2) @ W2.T
    report = noisy[0]
    np.testing.assert_allclose(report.predicted_viscosity, formula, rtol=1e-10 if DOUBLE else 1e-3, atol=1e-7)
    masks = np.random.default_rng(0).random((100_000, 5)) < 0.8
    steps = h * (masks / 0.8 - 1) * units @ W2.T
    products = steps[:, :, None] * steps[:, None, :] / (2 * h)
    errors = products.std(axis=0) / np.sqrt(4096)
    assert np.all(np.abs(report.effective_viscosity - formula) <= 5 * errors)
    assert np.abs(formula).max() > 10 * errors.max()


@pytest.mark.slow
def test_the_key_decides(noisy):
    first, again, other = noisy
    np.testing.assert_array_equal(first.effective_viscosity, again.effective_viscosity)
    np.testing.assert_array_equal(first.forward_error, again.forward_error)
    np.testing.assert_array_equal(first.forward_error, other.forward_error)
    assert not np.array_equal(first.effective_viscosity, other.effective_viscosity)


@pytest.mark.slow
def test_keeps_float32():
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, residual())
    single = hjpde.compare(model, inputs().astype(jnp.float32), readout=bent, n_refine=REFINED)
    assert single.rounding > 1e-6
    assert single.costate_residual <= 1e-5
    # Rounding of float32 in what float64 would have to 1e-16.
    assert single.costate_residual == 0 or single.costate_residual > 1e-10
    whole = ByHand(model)
    gaps = [whole.value(whole.states(x)[-1]) - whole.value(whole.end(x)) for x in inputs()]
    assert single.native_gap == pytest.approx(np.mean(np.abs(gaps)), abs=1e-5)


@pytest.mark.slow
def test_a_held_input_makes_a_state_space_model_exact():
    """By the zero-order hold; the bilinear rule for the same equation is not."""
    rng = np.random.default_rng(0)
    arrays = (-0.2 - rng.random(3), rng.normal(size=(3, 2)), rng.normal(size=(2, 3)))
    held = hjpde.compare(architectures.LinearStateSpace(*arrays, step=0.5), inputs(2, (5, 2)), n_refine=(1, 2))
    assert held.kind == "exact"
    assert math.isinf(held.forward_order)
    assert math.isinf(held.gradient_order)
    assert held.verdict.startswith("exact: ")
    assert held.costate_residual <= ROUNDING
    assert held.forward_error.max() <= held.rounding
    assert held.relative_gap <= (1e-8 if DOUBLE else 1e-3)


@needs_float64
@pytest.mark.slow
def test_the_bilinear_rule_is_of_order_two_and_not_exact():
    rng = np.random.default_rng(0)
    arrays = (-0.2 - rng.random(3), rng.normal(size=(3, 2)), rng.normal(size=(2, 3)))
    model = architectures.LinearStateSpace(*arrays, step=0.5, rule="bilinear")
    report = hjpde.compare(model, inputs(2, (5, 2)), n_refine=(1, 2, 4, 8))
    assert report.kind == "order h"
    assert "exact" not in report.verdict
    assert report.forward_order == pytest.approx(2, abs=0.15)


def test_a_log_sum_exp_layer_is_exact():
    rng = np.random.default_rng(0)
    layer = hjpde.LogSumExp(rng.normal(size=(12, 3)), rng.normal(size=12), 0.3)
    report = hjpde.compare(layer, inputs(4, (3,)))
    assert report.kind == "exact"
    assert "for every time t" in report.verdict
    assert report.costate_residual <= ROUNDING
    assert report.forward_error.max() <= report.rounding <= (1e-11 if DOUBLE else 1e-2)
    np.testing.assert_allclose(report.effective_viscosity, 0.3 * np.eye(3), rtol=1e-6)
    with pytest.raises(ValueError, match="`x` must have 3 entries a point"):
        hjpde.compare(layer, inputs(4, (2,)))


@pytest.mark.slow
def test_a_recurrent_network_with_large_weights_is_structural_only():
    """Its step is one of Euler, and still it is no approximation of its flow, so no other claim is made."""
    model = quick_jit(lambda key: architectures.RNN(2, 4, 2, key=key), 0)(jax.random.key(1))
    model = jax.tree.map(lambda leaf: 4 * leaf if eqx.is_inexact_array(leaf) else leaf, model)
    report = hjpde.compare(model, inputs(2, (5, 2)), n_refine=(1, 2))
    assert report.kind == "structural"
    assert report.relative_gap > 0.1
    assert report.verdict.startswith("structural only: formally ")
    assert "exact" not in report.verdict
    assert report.costate_residual <= ROUNDING


@pytest.mark.slow
def test_a_layer_that_turns_the_state_around_is_no_flow():
    r"""$x \mapsto x - 2x$ has the derivative $-1$; its flow contracts to $e^{-2}x$."""
    network = architectures.FieldNetwork(lambda s, z: -2 * z, 1)
    report = hjpde.compare(network, inputs(2, (1,)), n_refine=(1, 2))
    assert report.min_determinant == pytest.approx(-1, abs=1e-6)
    assert report.reverses
    assert report.kind == "structural"
    assert "reverses the orientation" in report.verdict
    assert report.relative_gap == pytest.approx((1 + np.exp(-2)) / (1 - np.exp(-2)), rel=1e-4)


class Own(eqx.Module):
    """A network of a user's own: Euler steps of a field, and a head."""

    field: SmoothField
    head: eqx.nn.Linear

    def __call__(self, x):
        for k in range(4):
            x = x + self.field(k / 4, x) / 4
        return self.head(x)


class Unknown(eqx.Module):
    """A module that nobody has registered."""

    def __call__(self, x):
        return x


@hjpde.as_hamiltonian.register
def _(network: Own, readout=None):
    readout = jnp.sum if readout is None else readout
    return architectures.DepthFlow(architectures.FieldNetwork(network.field, 4), lambda z: readout(network.head(z)))


@pytest.mark.slow
def test_a_module_of_ones_own():
    network = Own(SmoothField(2), eqx.nn.Linear(2, 2, key=jax.random.key(0)))
    report = hjpde.compare(network, inputs(2), readout=bent, n_refine=(1, 2))
    assert (report.architecture, report.depth, report.roughness) == ("Own", 4, 0)
    exact = jax.vmap(lambda x: bent(network.head(hjpde.as_hamiltonian(network).exact(x))))(inputs(2))
    expected = np.mean(np.abs(np.asarray(jax.vmap(lambda x: bent(network(x)))(inputs(2)) - exact)))
    assert report.native_gap == pytest.approx(expected, rel=1e-6 if DOUBLE else 1e-2)


def test_a_module_that_nobody_registered():
    with pytest.raises(TypeError, match=r"for Unknown: register one with `@hjpde\.as_hamiltonian\.register`"):
        hjpde.compare(Unknown(), inputs(2))


def changed(value):
    """The residual network with one bias set to something."""
    return eqx.tree_at(lambda m: m.blocks.inner.bias, residual(), residual().blocks.inner.bias.at[1, 2].set(value))


MISTAKES: list[tuple[Any, Any, dict[str, Any], str]] = [
    (None, (2, 3, 2), {}, r"`x` must have 1 axes for one input of ResidualNetwork, or 2 for several, got shape \(2, 3"),
    (None, (), {}, r"`x` must have 1 axes for one input of ResidualNetwork, or 2 for several, got shape \(\)"),
    (None, (0, 2), {}, r"`x` must not be empty, got shape \(0, 2\)"),
    (None, float("nan"), {}, "`x` .*finite"),
    (None, float("inf"), {}, "`x` .*finite"),
    (float("nan"), (2, 2), {}, "`architecture`: the weights .*inner.*bias hold NaN or infinite entries"),
    (float("inf"), (2, 2), {}, "`architecture`: the weights .*inner.*bias hold NaN or infinite entries"),
    (None, (2, 2), {"n_refine": (2, 4)}, r"`n_refine` must be increasing whole numbers that start with 1, got \(2, 4"),
    (None, (2, 2), {"n_refine": (1, 4, 4)}, "`n_refine` must be increasing"),
    (None, (2, 2), {"n_refine": (1, 4, 2)}, "`n_refine` must be increasing"),
    (None, (2, 2), {"n_refine": ()}, "`n_refine` must be increasing"),
    (
        None,
        (2, 2),
        {"n_refine": (1, 2)} | {"readout": lambda y: y},
        r"`readout` must return a scalar, got shape \(2,\)",
    ),
]


@pytest.mark.parametrize("weight, x, options, message", MISTAKES)
def test_mistakes(weight, x, options, message):
    model = residual() if weight is None else changed(weight)
    points = jnp.ones(x) if isinstance(x, tuple) else jnp.asarray([[1.0, x]])
    with pytest.raises(ValueError, match=message):
        hjpde.compare(model, points, **options)


def test_inputs_of_another_width():
    message = r"`x`: ResidualNetwork does not take an input of shape \(5,\): "
    with pytest.raises(ValueError, match=message) as caught:
        hjpde.compare(residual(), inputs(2, (5,)), n_refine=(1, 2))
    assert "\n" not in str(caught.value)
