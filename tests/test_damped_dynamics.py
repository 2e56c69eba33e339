"""Training with friction: its mechanics, its steps and its energy, against closed forms and small networks."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import training

DOUBLE = jnp.result_type(float) == jnp.float64
double = pytest.mark.skipif(not DOUBLE, reason="differences this small need float64")


def quartic(t, w):
    """The double well of the reference, with a coupled second direction."""
    del t
    return w[0] ** 4 / 4 - w[0] ** 2 / 2 + 0.3 * w[0] * w[1] + w[1] ** 2


START = np.array([0.4, -0.8])


def slope(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def oscillator(t, friction, curvature, q, v):
    """The solution of q'' + friction q' + curvature q = 0 from (q, v), with its velocity."""
    root = np.sqrt(complex(friction**2 - 4 * curvature))
    s = np.array([(-friction + root) / 2, (-friction - root) / 2])
    a = np.array([v - s[1] * q, s[0] * q - v]) / (s[0] - s[1])
    waves = np.exp(np.multiply.outer(np.asarray(t), s))
    return (waves @ a).real, (waves @ (a * s)).real


@pytest.fixture(scope="module")
def small_network():
    """A model of 41 parameters, its data, and its dynamics."""
    rng = np.random.default_rng(0)
    model = eqx.nn.MLP(2, 1, 10, 1, jnp.tanh, key=jax.random.key(0))
    X, y = jnp.asarray(rng.normal(size=(16, 2))), jnp.asarray(rng.normal(size=(16, 1)))
    return model, training.DampedDynamics(lambda t, model: jnp.mean((jax.vmap(model)(X) - y) ** 2), 2.0)


def test_momentum_and_hamiltonian_are_those_of_the_weighted_lagrangian():
    dynamics, t, v = training.DampedDynamics(quartic, 1.7), 0.6, jnp.array([0.3, -1.1])

    def weighted(v):
        return jnp.exp(1.7 * t) * dynamics.lagrangian(t, jnp.asarray(START), v)

    P = dynamics.momentum(t, v)
    np.testing.assert_allclose(P, jax.grad(weighted)(v), rtol=1e-6)
    np.testing.assert_allclose(dynamics.velocity(t, P), v, rtol=1e-6)
    H = dynamics.hamiltonian(t, jnp.asarray(START), P)
    np.testing.assert_allclose(H, P @ v - weighted(v), rtol=1e-5)
    np.testing.assert_allclose(H, np.exp(1.7 * t) * dynamics.energy(t, jnp.asarray(START), v), rtol=1e-5)
    np.testing.assert_allclose(dynamics.as_hamiltonian(jnp.asarray(START))(t, jnp.asarray(START), P), H, rtol=1e-6)


def test_hamilton_s_equations_are_the_second_order_equation():
    dynamics, t, q, v = training.DampedDynamics(quartic, 1.7), 0.6, jnp.asarray(START), jnp.array([0.3, -1.1])
    H, P = dynamics.as_hamiltonian(q), dynamics.momentum(t, v)
    np.testing.assert_allclose(jax.grad(H, 2)(t, q, P), v, rtol=1e-5)
    # P' = e^{gamma t}(gamma v + a) and P' = -H_q.
    rate = np.exp(1.7 * t) * (1.7 * v + dynamics.acceleration(t, q, v))
    np.testing.assert_allclose(-jax.grad(H, 1)(t, q, P), rate, rtol=1e-4, atol=1e-5)


@double
@given(friction=st.floats(0.2, 5.0), curvature=st.floats(0.1, 4.0), q=st.floats(-2, 2), t=st.floats(0.0, 1.0))
def test_hamilton_jacobi_equation_of_a_quadratic_cost(friction, curvature, q, t):
    """S = e^{gamma t} (y'/y) q^2 / 2 solves it for every solution y of the equation of motion."""
    y, v = oscillator(t, friction, curvature + 1e-3, 3.0, 1.0)
    curvature, ratio = curvature + 1e-3, v / y
    if abs(y) < 0.1:
        return
    dynamics = training.DampedDynamics(lambda t, w: curvature * w @ w / 2, friction)
    weight = np.exp(friction * t)
    acceleration = -friction * v - curvature * y
    in_time = weight * q**2 / 2 * (friction * ratio + acceleration / y - ratio**2)
    H = dynamics.as_hamiltonian(jnp.zeros(1))(t, jnp.array([q]), jnp.array([weight * ratio * q]))
    assert float(in_time + H) == pytest.approx(0, abs=1e-9 * (1 + abs(float(H)) + abs(in_time)))


def test_a_model_of_equinox_moves_and_keeps_its_functions(small_network):
    model, dynamics = small_network
    path = training.simulate(dynamics, model, step_size=0.05, steps=3)
    last = jax.tree.map(lambda leaf: leaf[-1] if eqx.is_array(leaf) else leaf, path.positions)
    assert last.activation is model.activation
    assert jax.vmap(last)(jnp.zeros((4, 2))).shape == (4, 1)
    assert path.positions.layers[0].weight.shape == (4, 10, 2)
    assert path.times.dtype == model.layers[0].weight.dtype


def test_float32_is_kept():
    path = training.simulate(
        training.DampedDynamics(quartic, 3.0), jnp.asarray(START, jnp.float32), step_size=0.1, steps=2
    )
    assert path.positions.dtype == path.velocities.dtype == path.times.dtype == jnp.float32


@double
@given(friction=st.floats(0.1, 50.0), h=st.floats(1e-3, 0.3))
def test_the_step_is_heavy_ball(friction, h):
    dynamics = training.DampedDynamics(quartic, friction)
    q = np.asarray(training.simulate(dynamics, jnp.asarray(START), step_size=h, steps=50, form="heavy ball").positions)
    momentum, rate = training.heavy_ball(h, friction)

    def gradient(w):
        return np.array([w[0] ** 3 - w[0] + 0.3 * w[1], 2 * w[1] + 0.3 * w[0]])

    balls = [q[0], q[0] - rate * gradient(q[0])]
    for _ in range(49):
        balls.append(balls[-1] + momentum * (balls[-1] - balls[-2]) - rate * gradient(balls[-1]))
    np.testing.assert_allclose(q, np.array(balls), atol=1e-13)
    assert training.from_heavy_ball(momentum, rate) == pytest.approx((h, friction), rel=1e-9)


@pytest.mark.parametrize(("form", "order"), [("heavy ball", 1.0), ("strang", 2.0)])
@double
def test_order_of_the_steps_against_the_closed_form(form, order):
    dynamics, sizes = training.DampedDynamics(lambda t, w: 2 * w @ w, 1.0), np.array([0.1, 0.05, 0.025])

    def error(h):
        steps = round(2 / h)
        q = training.simulate(dynamics, jnp.array([1.0]), jnp.array([0.5]), step_size=h, steps=steps, form=form)
        return abs(q.positions[-1, 0] - oscillator(2.0, 1.0, 4.0, 1.0, 0.5)[0])

    assert slope(sizes, [error(h) for h in sizes]) == pytest.approx(order, abs=0.1)


@double
@pytest.mark.parametrize("form", ["heavy ball", "strang"])
def test_a_step_shrinks_the_symplectic_form_as_friction_does(form):
    dynamics, h = training.DampedDynamics(quartic, 1.3), 0.2

    def step(state):
        return jnp.concatenate(training.conformal_symplectic_step(dynamics, 0.0, state[:2], state[2:], h, form))

    M = np.asarray(jax.jacobian(step)(jnp.array([0.4, -0.8, 0.3, 0.1])))
    J = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    np.testing.assert_allclose(M.T @ J @ M, np.exp(-1.3 * h) * J, atol=1e-14)


def test_the_optimiser_is_that_of_optax_with_its_momentum():
    optimiser, other = training.conformal_symplectic(0.1, 3.0), optax.sgd(0.01, momentum=np.exp(-0.3))
    theta: Any = {"a": jnp.asarray(START)}
    ours: Any = theta
    state, twin = optimiser.init(ours), other.init(theta)
    for _ in range(20):
        moves, state = optimiser.update(jax.grad(lambda p: quartic(0.0, p["a"]))(ours), state)
        ours = optax.apply_updates(ours, moves)
        moves, twin = other.update(jax.grad(lambda p: quartic(0.0, p["a"]))(theta), twin)
        theta = optax.apply_updates(theta, moves)
    np.testing.assert_allclose(ours["a"], theta["a"], rtol=1e-6 if not DOUBLE else 1e-12)


def test_the_optimiser_takes_a_schedule():
    optimiser = training.conformal_symplectic(lambda count: jnp.where(count == 0, 0.1, 0.2), 3.0)
    state = optimiser.init(jnp.ones(1))
    first, state = optimiser.update(jnp.ones(1), state)
    second, _ = optimiser.update(jnp.ones(1), state)
    np.testing.assert_allclose(np.asarray(first), -0.01, rtol=1e-6)
    assert float(np.asarray(second)[0]) == pytest.approx(0.2 * (-0.1 * np.exp(-0.6) - 0.2), rel=1e-6)


@double
@pytest.mark.parametrize(("form", "order"), [("heavy ball", 1.0), ("strang", 2.0)])
def test_energy_balance_closes_at_the_order_of_the_form(small_network, form, order):
    model, dynamics = small_network
    sizes = np.array([0.02, 0.01, 0.005])
    paths = [training.simulate(dynamics, model, step_size=h, steps=round(4 / h), form=form) for h in sizes]
    defects = [float(training.energy_balance(dynamics, path).relative_defect) for path in paths]
    assert slope(sizes, defects) == pytest.approx(order, abs=0.1)


@double
def test_energy_balance_of_strang_closes_to_a_millionth(small_network):
    model, dynamics = small_network
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))) <= 50
    path = training.simulate(dynamics, model, step_size=5e-4, steps=8000)
    balance = training.energy_balance(dynamics, path)
    assert float(balance.relative_defect) < 1e-6
    assert float(balance.cost[-1]) < float(balance.cost[0])


@double
def test_a_cost_that_changes_by_itself_brings_energy():
    dynamics = training.DampedDynamics(lambda t, w: (2 + jnp.sin(3 * t)) * w @ w / 2, 0.5)
    path = training.simulate(dynamics, jnp.array([1.0, -0.4]), step_size=1e-3, steps=3000)
    balance = training.energy_balance(dynamics, path)
    assert float(jnp.ptp(balance.injected)) > 0.1
    assert float(balance.relative_defect) < 1e-5
    power = dynamics.power(path.times[1000], path.positions[1000], path.velocities[1000])
    energy = balance.kinetic + balance.cost
    assert float((energy[1001] - energy[999]) / 2e-3) == pytest.approx(float(power), rel=1e-4)


@double
def test_action_of_a_quadratic_cost_is_its_ends():
    """An integration by parts leaves e^{gamma t} q q' / 2 at both ends."""
    dynamics = training.DampedDynamics(lambda t, w: 2 * w @ w, 1.0)
    path = training.simulate(dynamics, jnp.array([1.0]), jnp.array([0.5]), step_size=1e-3, steps=1500)
    q, v = oscillator(1.5, 1.0, 4.0, 1.0, 0.5)
    expected = (np.exp(1.5) * q * v - 0.5) / 2
    assert float(training.action(dynamics, path)) == pytest.approx(expected, abs=1e-5)


def test_refusals_of_the_dynamics():
    with pytest.raises(ValueError, match="`friction` must be positive and finite, got -1"):
        training.DampedDynamics(quartic, -1.0)
    with pytest.raises(ValueError, match="`friction` must be positive and finite, got nan"):
        training.DampedDynamics(quartic, float("nan"))
    dynamics = training.DampedDynamics(quartic, 1.0)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        training.simulate(dynamics, jnp.ones(2), step_size=0.1, steps=0)
    with pytest.raises(ValueError, match="`step_size` must be positive and finite, got 0"):
        training.simulate(dynamics, jnp.ones(2), step_size=0.0, steps=1)
    with pytest.raises(ValueError, match="`form` must be one of"):
        training.simulate(dynamics, jnp.ones(2), step_size=0.1, steps=1, form="euler")
    with pytest.raises(ValueError, match="`theta` must hold floating arrays, got none"):
        training.simulate(dynamics, {"a": 3}, step_size=0.1, steps=1)
    with pytest.raises(ValueError, match="`theta` must be finite, got 1 entries"):
        training.simulate(dynamics, jnp.array([1.0, np.nan]), step_size=0.1, steps=1)
    with pytest.raises(ValueError, match="`momentum` must be below 1, got 1"):
        training.from_heavy_ball(1.0, 0.1)
    with pytest.raises(ValueError, match="`step_size` must be positive"):
        training.conformal_symplectic(-0.1, 1.0)


def test_figure_of_the_balance(small_network):
    model, dynamics = small_network
    path = training.simulate(dynamics, model, step_size=0.05, steps=40)
    ax = training.plot_energy_balance(training.energy_balance(dynamics, path))
    assert ax.get_xlabel() == "time t"
    assert ax.get_legend_handles_labels()[1] == ["cost", "kinetic", "dissipated", "put in"]
