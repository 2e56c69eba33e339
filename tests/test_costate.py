"""Backpropagation is the co-state of a Hamiltonian system: what it equals, what it conserves, where it goes."""

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
ROUNDING = 1e-13 if DOUBLE else 1e-5
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
STEPPINGS = ("euler", "reflected", "symplectic-euler", "leapfrog")


def point(d=4, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=d))


def network(getkey, **options):
    sizes = {"in_size": 4, "out_size": 3, "width": 4, "depth": 6, "hidden": 6, "activation": "tanh"}
    return quick_jit(lambda key: architectures.ResidualNetwork(**(sizes | options), key=key), 0)(getkey())


def field_flow(depth=8, **options):
    return hjpde.as_hamiltonian(architectures.FieldNetwork(SmoothField(**options), depth), bent)


def gradients_and_costates(model, x):
    """Of the network's own call by `jax.grad`, and by the recursion."""
    weights, static = eqx.partition(model, eqx.is_inexact_array)

    def both(weights, x):
        path = architectures.discrete_costate(hjpde.as_hamiltonian(eqx.combine(weights, static), bent), x)
        value = jax.grad(lambda weights, x: bent(eqx.combine(weights, static)(x)), (0, 1))
        return value(weights, x), (path.parameter_gradient, path.input_gradient), path

    return quick_jit(both, 0)(weights, x)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_the_discrete_costate_is_the_gradient(getkey, stepping):
    """In the input and in all weights."""
    model, x = network(getkey, stepping=stepping), point()
    expected, found, path = gradients_and_costates(model, x)
    assert largest_difference(found[0], expected[0]) <= ROUNDING
    assert largest_difference(found[1], expected[1]) <= ROUNDING
    np.testing.assert_allclose(path.value, bent(model(x)), rtol=10 * ROUNDING)
    # The co-state at the start, pulled back through the affine map that reads the input.
    p = path.costates[0] if model.has_momentum else path.costates
    p = np.where(np.asarray(model.start(x)) > 0, p[0], 0) if stepping == "reflected" else p[0]
    np.testing.assert_allclose(path.input_gradient, np.asarray(model.embed.weight).T @ p, rtol=1e-5, atol=10 * ROUNDING)


@pytest.mark.parametrize("stepping", ["euler", "leapfrog"])
def test_the_discrete_costate_is_the_gradient_in_float32(getkey, stepping):
    model = network(getkey, stepping=stepping)
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, model)
    expected, found, path = gradients_and_costates(model, point().astype(jnp.float32))
    assert largest_difference(found, expected) <= 1e-5
    assert {leaf.dtype for leaf in jax.tree.leaves((found, path.states, path.costates))} == {jnp.dtype(jnp.float32)}


def test_the_costates_of_a_field_network_by_hand():
    """The recursion by numpy, with the derivative of the velocity written out, at its left end."""
    flow, x, L = field_flow(5), point(), 5
    field = SmoothField()
    A, b, C = (np.asarray(leaf) for leaf in (field.A, field.b, field.C))
    states, jacobians, h = [np.asarray(x)], [], 1 / L
    for k in range(L):
        A_s, C_s = A[0] + np.sin(2 * k * h) * A[1], C[0] + k * h * C[1]
        hidden = np.tanh(A_s @ states[-1] + b)
        jacobians.append(C_s @ np.diag(1 - hidden**2) @ A_s)
        states.append(states[-1] + h * C_s @ hidden)
    end = states[-1]
    p = np.cos(end) + 0.5 * np.array([end[1], end[0], 0, 0])
    costates = [p]
    for J in reversed(jacobians):
        p = p + h * J.T @ p
        costates.insert(0, p)
    path = quick_jit(architectures.discrete_costate, 0)(flow, x)
    np.testing.assert_allclose(path.states, np.stack(states), rtol=10 * ROUNDING, atol=10 * ROUNDING)
    np.testing.assert_allclose(path.costates, np.stack(costates), rtol=10 * ROUNDING, atol=10 * ROUNDING)
    np.testing.assert_allclose(path.input_gradient, costates[0], rtol=10 * ROUNDING, atol=10 * ROUNDING)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_the_pairing_is_kept_along_the_network(getkey, stepping):
    flow, x = hjpde.as_hamiltonian(network(getkey, stepping=stepping), bent), point()
    start = flow.architecture.start(x)
    direction = jax.tree.map(lambda leaf: jnp.arange(1.0, 1 + leaf.size), start)
    for n in (1, 3):
        along = quick_jit(architectures.pairing_along, 0)(flow, x, direction, n)
        assert along.shape == (6 * n + 1,)
        assert float(jnp.max(jnp.abs(along - along[0]))) <= ROUNDING * max(1.0, abs(float(along[0])))
    # And is the change of the value.
    derivative = jax.grad(lambda z: flow.g(end_from(flow, z)))(start)
    pairs = zip(jax.tree.leaves(derivative), jax.tree.leaves(direction), strict=True)
    change = sum(jnp.sum(a * b) for a, b in pairs)
    np.testing.assert_allclose(along_once(flow, x, direction), change, rtol=10 * ROUNDING)


def along_once(flow, x, direction):
    return quick_jit(architectures.pairing_along, 0)(flow, x, direction)[0]


def end_from(flow, z):
    network = flow.architecture
    for k in range(network.layer_count):
        layer = jax.tree.map(lambda leaf, k=k: leaf[k], network.layers(None))
        z = network.step(k * network.layer_time, z, network.layer_time, layer)
    return z


@pytest.mark.parametrize("stepping", ["euler", "symplectic-euler", "leapfrog"])
def test_the_step_of_states_and_costates_is_symplectic(getkey, stepping):
    model = network(getkey, stepping=stepping)
    flow = hjpde.as_hamiltonian(model, bent)
    z = model.start(point())
    p = jax.tree.map(lambda leaf: jnp.arange(1.0, 1 + leaf.size), z)
    defect = quick_jit(architectures.symplectic_defect, 0)(flow, 0.0, z, p, 0.1, flow.layer_at(0.0))
    assert float(defect) <= (1e-13 if DOUBLE else 1e-4)


def test_the_costate_from_the_right_end_is_not_symplectic():
    r"""$(x, p) \mapsto (x + hF(x), (I + h\,DF(x_{k+1}))^{-\top} p)$, next to the one with the derivative at `x`."""
    field, d, h = SmoothField(moving=False), 4, 0.1

    def map_with(place):
        def canonical(both):
            x, p = both[:d], both[d:]
            new = x + h * field(0.0, x)
            J = jax.jacfwd(lambda x: field(0.0, x))(x if place == "left" else new)
            return jnp.concatenate([new, jnp.linalg.solve((jnp.eye(d) + h * J).T, p)])

        return canonical

    start = jnp.concatenate([point(), jnp.arange(1.0, 1 + d)])
    omega = np.block([[np.zeros((d, d)), np.eye(d)], [-np.eye(d), np.zeros((d, d))]])
    defects = {}
    for place in ("left", "right"):
        M = np.asarray(quick_jit(jax.jacfwd(map_with(place)), 0)(start))
        defects[place] = np.abs(M.T @ omega @ M - omega).max()
    assert defects["left"] <= (1e-13 if DOUBLE else 1e-5)
    assert defects["right"] > 1e-3


@needs_float64
def test_the_costate_from_the_right_end_is_of_order_one_and_another():
    x, gaps = point(), []
    flow = field_flow(8)
    for n in (1, 2, 4, 8):
        right = quick_jit(architectures.right_endpoint_costate, 0)(flow, x, n)
        left = quick_jit(architectures.discrete_costate, 0)(flow, x, n).costates[0]
        gaps.append(float(jnp.max(jnp.abs(right - left))))
    assert gaps[0] > 1e-3
    assert slope(gaps) == pytest.approx(1, abs=0.15)


def test_the_continuous_costate_is_the_solution_of_its_equation():
    """Integrated there and back by scipy: states forward, then both together backward from the end."""
    flow, x = field_flow(4), point()
    field = SmoothField()
    A, b, C = (np.asarray(leaf, np.float64) for leaf in (field.A, field.b, field.C))
    d, edges = 4, np.linspace(0, 1, 5)

    def velocity(s, z):
        A_s = A[0] + np.sin(2 * s) * A[1]
        hidden = np.tanh(A_s @ z + b)
        C_s = C[0] + s * C[1]
        return C_s @ hidden, C_s @ ((1 - hidden**2)[:, None] * A_s)

    def both(s, zp):
        F, J = velocity(s, zp[:d])
        return np.concatenate([F, -J.T @ zp[d:]])

    tight = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    end = solve_ivp(lambda s, z: velocity(s, z)[0], (0, 1), np.asarray(x, float), **tight).y[:, -1]
    p = np.cos(end) + 0.5 * np.array([end[1], end[0], 0, 0])
    back = solve_ivp(both, (1, 0), np.concatenate([end, p]), t_eval=edges[::-1], **tight).y.T[::-1]
    path = quick_jit(lambda x: architectures.continuous_costate(flow, x, 1e-12 if DOUBLE else None), 0)(x)
    tolerance = 1e-9 if DOUBLE else 2e-4
    np.testing.assert_allclose(path.states, back[:, :d], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(path.costates, back[:, d:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("of", ["residual", "field"])
def test_any_number_of_steps_in_one_program(getkey, of):
    """With a traced `n` below the greatest the path goes on with its last state, and all else is as with `n` fixed."""
    flow = field_flow(3) if of == "field" else hjpde.as_hamiltonian(network(getkey, depth=3), bent)
    x, most = point(), 5
    one_program = quick_jit(lambda x, n: architectures.refined_costate(flow, x, n, most), 0)
    for n in (1, 3, 5):
        fixed = quick_jit(architectures.discrete_costate, 0)(flow, x, n)
        found = one_program(x, jnp.asarray(n))
        parts = ("value", "input_gradient", "parameter_gradient")
        one, other = ([getattr(path, name) for name in parts] for path in (found, fixed))
        assert largest_difference(one, other) <= ROUNDING
        # Its edges are those of the fixed path, then copies of the layer's end.
        states = np.asarray(found.states)[:-1].reshape(3, most, -1)
        np.testing.assert_allclose(states[:, :n].reshape(3 * n, -1), fixed.states[:-1], rtol=1e-4, atol=10 * ROUNDING)
        ends = np.asarray(fixed.states)[n::n]
        np.testing.assert_allclose(states[:, n:], np.repeat(ends[:, None], most - n, axis=1), rtol=1e-4)
        np.testing.assert_allclose(found.states[-1], fixed.states[-1], rtol=10 * ROUNDING)


def test_the_costate_around_a_resting_state_that_decays_fast():
    """A channel whose input is 0 rests at 0: only the derivative sees its rates. The network is its flow, exactly."""
    model = architectures.SelectiveStateSpace(2, 2, key=jax.random.key(0))
    model = eqx.tree_at(lambda model: model.log_decay, model, jnp.log(jnp.array([[1.0, 2.0], [300.0, 500.0]])))
    x = jnp.stack([jnp.linspace(0.5, 1.5, 4), jnp.zeros(4)], axis=1)
    expected = quick_jit(jax.grad(lambda x: jnp.sum(model(x))), 0)(x)
    flow = hjpde.as_hamiltonian(model, jnp.sum)
    found = quick_jit(architectures.continuous_costate, 0)(flow, x).input_gradient
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 if DOUBLE else 1e-4)
