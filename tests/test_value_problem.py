"""The value of a network beside the initial-value problem that it discretises, in one dimension and in two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from _fields import TorusField, bent, slope

import hjpde
from hjpde import architectures, solvers
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
PERIOD = 2 * np.pi
LINE = hjpde.Domain([0.0], [PERIOD], periodic=True)
PLANE = hjpde.Domain([0.0, 0.0], [PERIOD, PERIOD], periodic=True)
DEPTHS = (8, 16, 32, 64)


def wave(x):
    return jnp.sin(x[0]) + 0.5 * jnp.cos(2 * x[0])


def waves(x):
    return jnp.sin(x[0]) + 0.5 * jnp.cos(x[1]) + 0.3 * jnp.cos(x[0] - x[1])


def line_flow(depth, noise=None, moving=False):
    network = architectures.FieldNetwork(TorusField(1, moving=moving), depth)
    return hjpde.as_hamiltonian(network if noise is None else architectures.NoisyNetwork(network, noise), wave)


def plane_flow(depth, noise=None, moving=True):
    network = architectures.FieldNetwork(TorusField(2, seed=4, moving=moving, speed=0.8), depth)
    return hjpde.as_hamiltonian(network if noise is None else architectures.NoisyNetwork(network, noise), waves)


@functools.cache
def line(n=64):
    return solvers.Grid.over(LINE, n)


def worst(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def by_matrix_exponential(problem, n=64):
    r"""$u(1, \cdot)$ at the nodes of the line, for an autonomous problem that is linear in `u`: by Fourier modes.

    The coefficients are read from the problem's own Hamiltonian and viscosity.
    """
    grid = line(n)
    at = jax.vmap(lambda x: (problem.hamiltonian(0.3, x, jnp.ones(1)), problem.viscosity.matrix(0.3, x)[0, 0]))
    speeds, viscosities = (np.asarray(leaf) for leaf in at(grid.points))
    waves = 1j * np.fft.fftfreq(n, 1 / n)[:, None]
    modes, back = np.fft.fft(np.eye(n), axis=0), functools.partial(np.fft.ifft, axis=0)
    first, second = back(waves * modes).real, back(waves**2 * modes).real
    start = np.asarray(jax.vmap(problem.initial_data)(grid.points))
    return scipy.linalg.expm(-speeds[:, None] * first + viscosities[:, None] * second) @ start


def test_the_sign_and_the_order_of_the_layers():
    """Of a network that reads a sequence, with two vectors in its state: the last layer is next to the datum."""
    model = quick_jit(lambda key: architectures.LSTM(2, 3, 2, key=key), 0)(jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
    flow = hjpde.as_hamiltonian(model, bent)
    problem = hjpde.value_problem(flow, x=x)
    z, p = (jnp.asarray(np.random.default_rng(k).normal(size=6)) for k in (1, 2))
    state = model.start(x)
    rows = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    restore = jax.tree.unflatten(jax.tree.structure(state), [z[: rows[0].size], z[rows[0].size :]])
    tolerance = 1e-12 if DOUBLE else 1e-5
    np.testing.assert_allclose(problem.initial_data(z), flow.g(restore), rtol=tolerance)
    horizon = flow.T(x)
    for k in range(4):
        layer = jax.tree.map(lambda leaf, k=k: leaf[k], model.layers(x))
        s = (k + 0.5) * model.layer_time
        velocity = jnp.concatenate(jax.tree.leaves(model.velocity(s, restore, layer)))
        np.testing.assert_allclose(problem.hamiltonian(horizon - s, z, p), -jnp.dot(velocity, p), rtol=10 * tolerance)
        # And at the edge after it, as from there time goes on into this layer.
        edge = horizon - (k + 1) * model.layer_time
        np.testing.assert_allclose(problem.hamiltonian(edge, z, p), -jnp.dot(velocity, p), rtol=10 * tolerance)


@pytest.mark.slow
def test_a_residual_network_along_characteristics():
    """Weights that jump from layer to layer, a state of three numbers: the value of the flow, and its co-state."""
    build = functools.partial(architectures.ResidualNetwork, 2, 2, 3, 2, activation="tanh", norm=False)
    model = quick_jit(lambda key: build(key=key), 0)(jax.random.key(3))
    flow = hjpde.as_hamiltonian(model, bent)
    X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    starts = jax.vmap(model.start)(X)
    problem = hjpde.value_problem(flow)
    box = jnp.asarray(np.random.default_rng(1).uniform(-3, 3, (64, 3)))
    solution = hjpde.solve(problem, 1.0, solvers.Characteristics(starts=box, jumps=[0.5]))
    exact = quick_jit(jax.vmap(lambda x: architectures.continuous_costate(flow, x)), 0)(X)
    tolerance = 1e-7 if DOUBLE else 1e-3
    np.testing.assert_allclose(solution.batch(1.0, starts), exact.value, rtol=tolerance, atol=tolerance)
    slopes = solution.batch_gradient(1.0, starts)
    np.testing.assert_allclose(slopes, exact.costates[:, 0], rtol=tolerance, atol=tolerance)


def test_the_corrected_velocity():
    r"""$F - \frac h2 (F_s + DF\,F)$ with the weights at depth $T - t$, by differences of the field."""
    flow = plane_flow(10)
    z, p, t, h = jnp.asarray([0.4, 1.3]), jnp.asarray([1.0, -0.7]), 0.35, 0.1
    field, s = TorusField(2, seed=4, speed=0.8), 1.0 - t
    F = field(s, z)
    step = 1e-5 if DOUBLE else 1e-2
    along = (field(s + step, z + step * F) - field(s - step, z - step * F)) / (2 * step)
    found = hjpde.value_problem(flow, corrected=True, domain=PLANE).hamiltonian(t, z, p)
    np.testing.assert_allclose(found, -p @ (F - h / 2 * along), rtol=1e-8 if DOUBLE else 1e-3)
    plain = hjpde.value_problem(flow, domain=PLANE)
    np.testing.assert_allclose(plain.hamiltonian(t, z, p), -p @ F, rtol=1e-12 if DOUBLE else 1e-5)
    assert not np.any(np.asarray(plain.viscosity.matrix(t, z)))
    # The horizon given: the depth at which time 0 is.
    shorter = hjpde.value_problem(flow, horizon=0.8, domain=PLANE)
    np.testing.assert_allclose(shorter.hamiltonian(t - 0.2, z, p), -p @ F, rtol=1e-12 if DOUBLE else 1e-5)


def test_without_noise_the_transfer_operator_is_the_network():
    flow, grid = line_flow(8), line(128)
    found = hjpde.network_value(flow, grid)
    expected = jax.vmap(lambda x: flow.g(flow.native(x)))(grid.points)
    assert worst(found, expected) <= (1e-9 if DOUBLE else 1e-4)


@needs_float64
def test_a_deterministic_network_has_a_drift_and_no_viscosity():
    """Order 1 to the transport equation, order 2 to that of the modified velocity, on the line."""
    exact = by_matrix_exponential(hjpde.value_problem(line_flow(8), domain=LINE))
    nodes, plain, corrected = line().points, [], []
    for depth in DEPTHS:
        flow = line_flow(depth)
        values = quick_jit(jax.vmap(lambda x, flow=flow: flow.g(flow.native(x))), 0)(nodes)
        plain.append(worst(values, exact))
        corrected.append(worst(values, by_matrix_exponential(hjpde.value_problem(flow, corrected=True, domain=LINE))))
    assert slope(plain) == pytest.approx(1, abs=0.15)
    assert slope(corrected) >= 1.8


@needs_float64
def test_gaussian_noise_is_the_viscous_equation_to_first_order():
    """Exact expectations against `solvers.Spectral`."""
    noise = architectures.GaussianNoise(0.05)
    problem = hjpde.value_problem(line_flow(8, noise), domain=LINE)
    solution = hjpde.solve(problem, 1.0, solvers.Spectral(line(128)))
    exact = solution.batch(1.0, line().points)
    assert worst(exact, by_matrix_exponential(problem, 128)[::2]) < 1e-8
    gaps = [worst(hjpde.network_value(line_flow(depth, noise), line()), exact) for depth in DEPTHS]
    assert 0.9 <= slope(gaps) <= 1.1


@pytest.mark.parametrize("noise", [architectures.GaussianNoise(0.05), architectures.StochasticDepth(0.8)])
def test_samples_agree_with_the_transfer_operator(noise):
    """Within four standard errors of the mean over random passes."""
    network = architectures.NoisyNetwork(architectures.FieldNetwork(TorusField(1, moving=False), 8), noise)
    flow, grid, n = hjpde.as_hamiltonian(network, wave), line(), 20_000
    values = np.asarray(hjpde.network_value(flow, grid))[:: 64 // 4]

    def passes(x, keys):
        return jax.vmap(lambda key: wave(network.sample(x, key)))(keys)

    keys = jax.vmap(lambda key: jax.random.split(key, n))(jax.random.split(jax.random.key(5), 4))
    samples = np.asarray(quick_jit(jax.vmap(passes), 1)(grid.points[:: 64 // 4], keys))
    errors = samples.std(axis=1, ddof=1) / np.sqrt(n)
    assert np.all(np.abs(samples.mean(axis=1) - values) <= 4 * errors)
    # The bound is one that another value would miss: that without noise is further off.
    calm = np.asarray(hjpde.network_value(line_flow(8), grid))[:: 64 // 4]
    assert np.any(np.abs(samples.mean(axis=1) - calm) > 8 * errors)


@needs_float64
@pytest.mark.parametrize(
    "keep", [0.8, pytest.param(0.9, marks=pytest.mark.slow), pytest.param(0.5, marks=pytest.mark.slow)]
)
def test_stochastic_depth_needs_both_corrections(keep):
    """The effective viscosity and the drift, both of order `h`: with them order 2, without the drift order 1."""
    noise, half, both = architectures.StochasticDepth(keep), [], []
    for depth in DEPTHS:
        flow = line_flow(depth, noise)
        values = hjpde.network_value(flow, line())
        half.append(worst(values, by_matrix_exponential(hjpde.value_problem(flow, domain=LINE))))
        both.append(worst(values, by_matrix_exponential(hjpde.value_problem(flow, corrected=True, domain=LINE))))
    assert slope(both) >= 1.8
    assert slope(half) == pytest.approx(1, abs=0.15)
    assert both[-1] < half[-1] / 5


@needs_float64
@pytest.mark.slow
def test_finite_differences_solve_the_problem_of_stochastic_depth():
    """The viscosity depends on the place, and is of rank one."""
    problem = hjpde.value_problem(line_flow(8, architectures.StochasticDepth(0.5)), corrected=True, domain=LINE)
    exact = by_matrix_exponential(problem, 128)
    gaps = []
    for n in (64, 128):
        solution = hjpde.solve(problem, 1.0, solvers.FiniteDifference(line(n)))
        gaps.append(worst(solution.batch(1.0, line(n).points), exact[:: 128 // n]))
    assert gaps[1] < 2e-3
    assert gaps[1] < gaps[0] / 3


@needs_float64
@pytest.mark.slow
@pytest.mark.parametrize("theta", [0.5, 0.2, -0.5])
def test_pooled_outcomes_are_a_quadratic_hamiltonian_to_first_order(theta):
    noise = architectures.GaussianNoise(0.1)
    problem = hjpde.value_problem(line_flow(8, noise), temperature=theta, domain=LINE)
    assert type(problem.hamiltonian).__name__ == "RiskSensitive"
    exact = hjpde.solve(problem, 1.0, solvers.Spectral(line(128))).batch(1.0, line(128).points)
    gaps = [
        worst(hjpde.network_value(line_flow(depth, noise), line(128), temperature=theta), exact) for depth in DEPTHS
    ]
    assert 0.9 <= slope(gaps) <= 1.1


def test_pooling_without_drift_is_the_hopf_cole_formula():
    r"""With no velocity $\theta \log E \exp(g/\theta)$ is the heat semigroup of $\exp(g/\theta)$, here in one mode."""

    def still(s, x):
        return jnp.zeros_like(x)

    theta, nu, a = 0.5, 0.1, 0.6
    network = architectures.NoisyNetwork(architectures.FieldNetwork(still, 4), architectures.GaussianNoise(nu))
    flow = hjpde.as_hamiltonian(network, lambda x: theta * jnp.log(1 + a * jnp.cos(x[0])))
    exact = theta * np.log(1 + a * np.exp(-nu) * np.cos(np.asarray(line().points[:, 0])))
    assert worst(hjpde.network_value(flow, line(), temperature=theta), exact) <= (1e-12 if DOUBLE else 1e-5)


@functools.cache
def thousand():
    return jnp.asarray(np.random.default_rng(7).uniform(0, PERIOD, (1000, 2)))


def network_at(flow, X):
    return quick_jit(jax.vmap(lambda x: flow.g(flow.native(x))), 0)(X)


def on_a_grid(problem, n):
    return hjpde.solve(problem, 1.0, solvers.FiniteDifference(solvers.Grid.over(PLANE, n))).batch(1.0, thousand())


@needs_float64
@pytest.mark.slow
def test_in_the_plane_the_network_converges_to_the_value_of_the_equation():
    """With weights that vary with depth, at 1,000 points; the grid's own error is a tenth of the least step squared."""
    solution = on_a_grid(hjpde.value_problem(plane_flow(8), domain=PLANE), 256)
    flow = plane_flow(8)
    exact = quick_jit(jax.vmap(lambda x: flow.g(flow.exact(x, 1e-11))), 0)(thousand())
    assert worst(solution, exact) < 0.1 / 64**2
    gaps = [worst(network_at(plane_flow(depth), thousand()), solution) for depth in DEPTHS]
    assert slope(gaps) == pytest.approx(1, abs=0.15)


@needs_float64
@pytest.mark.slow
def test_in_the_plane_the_corrected_equation_is_a_second_order_closer():
    gaps = []
    for depth in DEPTHS:
        problem = hjpde.value_problem(plane_flow(depth), corrected=True, domain=PLANE)
        gaps.append(worst(network_at(plane_flow(depth), thousand()), on_a_grid(problem, 256)))
    assert slope(gaps) >= 1.8


@pytest.mark.slow
def test_characteristics_of_the_plane_are_the_flow():
    """Values at points by the exact solver, which goes on through the whole space along periodic axes."""
    flow, X = plane_flow(8), thousand()[:8]
    solution = hjpde.solve(hjpde.value_problem(flow, domain=PLANE), 1.0, solvers.Characteristics())
    exact = quick_jit(jax.vmap(lambda x: flow.g(flow.exact(x))), 0)(X)
    assert worst(solution.batch(1.0, X), exact) <= (1e-8 if DOUBLE else 1e-3)


@needs_float64
@pytest.mark.slow
def test_in_the_plane_noise_is_viscosity_to_first_order():
    noise, grid = architectures.GaussianNoise(0.05), solvers.Grid.over(PLANE, 64)
    problem = hjpde.value_problem(plane_flow(8, noise), domain=PLANE)
    exact = hjpde.solve(problem, 1.0, solvers.Spectral(grid)).batch(1.0, grid.points)
    gaps = [worst(hjpde.network_value(plane_flow(depth, noise), grid), exact) for depth in DEPTHS]
    assert 0.9 <= slope(gaps) <= 1.1


def test_what_cannot_be_asked_for():
    flow = line_flow(4)
    with pytest.raises(ValueError, match="`temperature` needs a network with `GaussianNoise`"):
        hjpde.value_problem(flow, temperature=0.5)
    recurrent = hjpde.as_hamiltonian(quick_jit(lambda key: architectures.RNN(2, 3, 1, key=key), 0)(jax.random.key(0)))
    with pytest.raises(ValueError, match="`x` or `horizon` must be given"):
        hjpde.value_problem(recurrent)
    with pytest.raises(ValueError, match="`flow` must be a network on vectors, of fixed depth"):
        hjpde.network_value(recurrent, line())
    with pytest.raises(ValueError, match="`grid` must be periodic in 1 or 2 dimensions"):
        hjpde.network_value(flow, solvers.Grid([0.0], [1.0], (8,)))
    with pytest.raises(ValueError, match="`temperature` must be finite and not zero, got 0"):
        hjpde.network_value(flow, line(), temperature=0.0)
    dropped = quick_jit(lambda key: architectures.ResidualNetwork(1, 1, 1, 2, key=key), 0)(jax.random.key(0))
    dropped = architectures.NoisyNetwork(dropped, architectures.Dropout(0.5))
    with pytest.raises(ValueError, match="`flow`: no transfer operator is known for Dropout; take samples"):
        hjpde.network_value(hjpde.as_hamiltonian(dropped), line())
