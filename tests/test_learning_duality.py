"""Learning as the dual of activation: symplectic steps, Klein-Gordon and Dirac networks, gauge, spectra, recovery."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import training

DOUBLE = jnp.result_type(float) == jnp.float64
needs_x64 = pytest.mark.skipif(not DOUBLE, reason="needs float64")

N = 64
SETTING: dict[str, Any] = {"spacing": 0.1, "step": 0.03, "mass": 1.3}
ZERO = (np.zeros(N), np.zeros(N))


def klein_gordon(rule="identity"):
    return training.KleinGordon(training.klein_gordon_operator(N, **SETTING), rule)


def networks():
    """Name of the formula, network and the structure of its state."""
    return {
        "klein-gordon": (klein_gordon(), ZERO),
        "commuting": (klein_gordon("commuting"), ZERO),
        "cayley": (training.Dirac(N, **SETTING), np.zeros((2, N))),
        "exponential": (training.Dirac(N, propagator="exponential", **SETTING), np.zeros((2, N))),
        "staggered": (training.StaggeredDirac(N, **SETTING), ZERO),
    }


@pytest.fixture(scope="module")
def matrices():
    return {name: np.asarray(training.one_step_matrix(*pair)) for name, pair in networks().items()}


def symplectic_defect(M):
    n = len(M) // 2
    J = np.block([[np.zeros((n, n)), np.eye(n)], [-np.eye(n), np.zeros((n, n))]])
    return np.abs(M.T @ J @ M - J).max()


def pendulum(phi):
    return jnp.sum(1 - jnp.cos(phi)) + 0.1 * jnp.sum((jnp.roll(phi, 1) - phi) ** 4)


# ---- The engine ------------------------------------------------------------------------------------------------


@needs_x64
def test_learning_through_activation_is_symplectic_euler(getkey):
    eps, force = 0.1, jax.jit(jax.grad(pendulum))
    q, p = jax.random.normal(getkey(), (2, 5))
    path = training.evolve(training.Newtonian(pendulum, eps), (q, eps * p), 50)
    for phi, beta in zip(*path, strict=True):
        np.testing.assert_allclose(phi, q, rtol=0, atol=1e-12)
        np.testing.assert_allclose(beta, eps * p, rtol=0, atol=1e-12)
        q = q + eps * p
        p = p - eps * force(q)


@needs_x64
def test_the_derivative_is_total(getkey):
    # Against central differences of the loss through the activation; the partial derivative alone is another.
    system = training.LearningSystem(lambda phi, beta: jnp.sin(phi) + beta**2, lambda phi, beta: jnp.sum(phi**3 * beta))
    phi, beta = jax.random.normal(getkey(), (2, 3))
    h = 1e-6

    def after(b):
        return float(system.loss(system.activate(phi, b), b))

    expected = [(after(beta + h * e) - after(beta - h * e)) / (2 * h) for e in jnp.eye(3)]
    total = system.total_derivative(phi, beta)
    np.testing.assert_allclose(total, expected, atol=1e-7)
    partial = jax.grad(system.loss, 1)(system.activate(phi, beta), beta)
    assert np.abs(partial - total).max() > 0.1
    np.testing.assert_allclose(system((phi, beta))[1], beta - total, atol=1e-15)


@needs_x64
def test_nonlinear_steps_are_symplectic(getkey):
    state = tuple(jax.random.normal(getkey(), (2, 4)))
    M = np.asarray(training.one_step_matrix(training.Newtonian(pendulum, 0.2), state))
    assert symplectic_defect(M) < 1e-12


def test_evolve_keeps_the_start_and_the_dtype():
    phi = jnp.ones(4, jnp.float32)
    path = training.evolve(training.Newtonian(lambda v: v @ v / 2, 0.1), (phi, 0 * phi), 3)
    assert path[0].shape == (4, 4)
    assert path[0].dtype == jnp.float32
    np.testing.assert_array_equal(path[0][0], phi)
    assert training.evolve(lambda v: 2 * v, jnp.ones(2), 0).shape == (1, 2)


def test_the_engine_refuses():
    with pytest.raises(ValueError, match="`step` must be positive"):
        training.Newtonian(pendulum, 0.0)
    with pytest.raises(ValueError, match="`steps` must be at least 0, got -1"):
        training.evolve(training.Newtonian(pendulum, 0.1), ZERO, -1)


# ---- Klein-Gordon ----------------------------------------------------------------------------------------------


@needs_x64
@pytest.mark.parametrize("rule", ["identity", "commuting"])
def test_the_second_order_equation_holds(rule, getkey):
    network = klein_gordon(rule)
    phi = training.evolve(network, tuple(jax.random.normal(getkey(), (2, N))), 20)[0]
    residual = phi[2:] - 2 * phi[1:-1] + phi[:-2] + phi[1:-1] @ network.operator
    assert np.abs(residual).max() < 1e-12


@needs_x64
def test_many_to_one():
    one, two = klein_gordon(), klein_gordon("commuting")
    before = np.exp(np.cos(2 * np.pi * np.arange(N) / N))
    paths = [training.evolve(network, network.start(before, 1.01 * before), 1000) for network in (one, two)]
    np.testing.assert_allclose(paths[0][0], paths[1][0], rtol=0, atol=1e-10)
    # The learning variables are not the same: one field, two networks.
    assert np.abs(paths[0][1] - paths[1][1]).max() > 1e-3


@needs_x64
def test_energy_is_kept():
    network = klein_gordon()
    before = np.exp(np.cos(2 * np.pi * np.arange(N) / N))
    energies = np.asarray(network.energy(*training.evolve(network, network.start(before, before), 10_000)))
    assert np.ptp(energies) < 1e-12 * energies[0]


@needs_x64
def test_a_gradient_knows_the_symmetric_part_alone(getkey):
    A = jax.random.normal(getkey(), (5, 5))
    system = training.LearningSystem(lambda phi, beta: phi + beta, lambda phi, beta: phi @ A @ phi / 2)
    phi, beta = jax.random.normal(getkey(), (2, 5))
    np.testing.assert_allclose(system.total_derivative(phi, beta), (A + A.T) / 2 @ (phi + beta), atol=1e-12)


@needs_x64
def test_imposed_antisymmetric_hopping_is_unstable():
    a, eps, one = 0.1, 0.04, np.eye(N)
    right = np.roll(one, 1, 1)
    laplacian = (right + right.T - 2 * one) / a**2
    A = eps**2 * (1.7**2 * one - laplacian - 0.3 * (right - right.T) / a**2)
    M = np.block([[one, one], [-A, one - A]])
    assert np.abs(np.linalg.eigvals(M)).max() == pytest.approx(1.110, abs=5e-4)
    with pytest.raises(ValueError, match="`operator` must be symmetric"):
        training.KleinGordon(A)


def test_klein_gordon_refuses():
    A = training.klein_gordon_operator(8, spacing=0.1, step=0.03, mass=1.0)
    # max eig A = eps^2 (m^2 + 4/a^2)
    with pytest.raises(ValueError, match=r"unstable: the largest eigenvalue of `operator` must be below 4, got 4\.85"):
        training.KleinGordon(training.klein_gordon_operator(8, spacing=0.1, step=0.11, mass=1.0))
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        training.KleinGordon(-np.eye(3))
    with pytest.raises(ValueError, match="`rule` must be 'identity' or 'commuting', got 'dual'"):
        training.KleinGordon(A, "dual")
    with pytest.raises(ValueError, match="`operator` must be square"):
        training.KleinGordon(np.ones((2, 3)))
    with pytest.raises(ValueError, match="`operator` must be finite"):
        training.KleinGordon(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="W = 1 - A has no inverse"):
        training.KleinGordon(np.eye(3), "commuting")
    with pytest.raises(ValueError, match="`sites` must be at least 3"):
        training.klein_gordon_operator(2, **SETTING)
    with pytest.raises(ValueError, match="`spacing` must be positive"):
        training.klein_gordon_operator(8, spacing=-1.0, step=0.1, mass=1.0)
    with pytest.raises(ValueError, match=r"`before` and `now` must have shape \(8,\)"):
        training.KleinGordon(A).start(np.zeros(7), np.zeros(7))


# ---- Spectra ---------------------------------------------------------------------------------------------------


@needs_x64
def test_steps_are_symplectic_or_orthogonal(matrices):
    for name in ("klein-gordon", "commuting"):
        assert symplectic_defect(matrices[name]) < 1e-12
    # Staggered: in the state and the momentum -M beta.
    M = np.asarray(networks()["staggered"][0].coupling)
    momenta = np.block([[np.eye(N), np.zeros((N, N))], [np.zeros((N, N)), -M]])
    assert symplectic_defect(momenta @ matrices["staggered"] @ np.linalg.inv(momenta)) < 1e-12
    for name in ("cayley", "exponential"):
        np.testing.assert_allclose(matrices[name].T @ matrices[name], np.eye(2 * N), atol=1e-12)


@needs_x64
def test_frequencies_are_those_of_the_formulas(matrices):
    for name, M in matrices.items():
        scheme = "klein-gordon" if name == "commuting" else name
        found = training.dispersion(M, N, spacing=0.1, step=0.03)
        np.testing.assert_allclose(
            found.frequencies, training.lattice_frequency(found.k, scheme, **SETTING), atol=1e-10
        )
        np.testing.assert_allclose(found.growth, 1, atol=1e-12)
        # All eigenvalues at once, without plane waves.
        angles = np.sort(np.abs(np.angle(np.linalg.eigvals(M)))) / 0.03
        np.testing.assert_allclose(angles, np.sort(np.tile(found.frequencies, 2)), atol=1e-9)


@pytest.mark.parametrize("scheme, ratio, order", [("klein-gordon", 0.4, 2), ("cayley", 0.3, 2), ("staggered", 0.3, 1)])
def test_order_of_the_continuum(scheme, ratio, order):
    spacings = 2 * np.pi / np.array([32, 64, 128, 256])
    errors = [
        abs(training.lattice_frequency(3.0, scheme, spacing=a, step=ratio * a, mass=1.3) - np.hypot(3, 1.3))
        for a in spacings
    ]
    assert np.polyfit(np.log(spacings), np.log(errors), 1)[0] == pytest.approx(order, abs=0.15)


@needs_x64
def test_doublers(matrices):
    limit = 1.05 * SETTING["mass"]
    found = {name: training.dispersion(M, N, spacing=0.1, step=0.03) for name, M in matrices.items()}
    assert {name: d.modes_below(limit) for name, d in found.items()} == {
        "klein-gordon": 1,
        "commuting": 1,
        "cayley": 2,
        "exponential": 2,
        "staggered": 1,
    }
    assert np.sum(np.hypot(found["cayley"].k, 1.3) < limit) == 1


@needs_x64
def test_explicit_euler_and_a_symmetric_mass_are_unstable():
    G = np.asarray(training.dirac_generator(N, spacing=0.1, mass=1.3))
    np.testing.assert_array_equal(G, -G.T)
    E = np.sqrt(1.3**2 + np.sin(training.wavenumbers(N, 0.1) * 0.1) ** 2 / 0.01)
    euler = training.dispersion(np.eye(2 * N) + 0.03 * G, N, spacing=0.1, step=0.03)
    assert euler.growth.max() == pytest.approx(np.sqrt(1 + 0.03**2 * E.max() ** 2), abs=1e-12)
    assert euler.growth.max() == pytest.approx(1.04476, abs=5e-6)
    massless = np.asarray(training.dirac_generator(N, spacing=0.1, mass=0.0))
    symmetric = massless - 1.3 * np.kron([[0, 1], [1, 0]], np.eye(N))
    assert np.linalg.eigvals(symmetric).real.max() == pytest.approx(1.3, abs=1e-10)


def test_majorana_matrices_satisfy_the_clifford_relations():
    s1, s2, s3, one = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1]), np.eye(2)
    matrices = [np.kron(s1, s1), np.kron(s1, s3), np.kron(s3, one), np.kron(s1, s2)]
    for i, a in enumerate(matrices):
        for j, b in enumerate(matrices):
            np.testing.assert_array_equal(a @ b + b @ a, 2 * (i == j) * np.eye(4))
    assert all(np.array_equal(m, m.T) and np.isrealobj(m) for m in matrices[:3])
    np.testing.assert_array_equal(matrices[3], -matrices[3].T)


def test_dirac_and_dispersion_refuse():
    with pytest.raises(ValueError, match="`propagator` must be 'cayley' or 'exponential', got 'euler'"):
        training.Dirac(8, propagator="euler", **SETTING)
    with pytest.raises(ValueError, match="`sites` must be at least 3, got 2"):
        training.Dirac(2, **SETTING)
    with pytest.raises(ValueError, match=r"largest energy max\(m, \|m - 2/a\|\) must be below 2, got 2\.8"):
        training.StaggeredDirac(8, spacing=0.1, step=0.15, mass=1.0)
    with pytest.raises(ValueError, match="`scheme` must be one of klein-gordon"):
        training.lattice_frequency(1.0, "wilson", **SETTING)
    with pytest.raises(ValueError, match=r"`step` = 0\.3 is unstable"):
        training.lattice_frequency(31.0, "klein-gordon", spacing=0.1, step=0.3, mass=1.0)
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(c N, c N\) with N = 3"):
        training.dispersion(np.eye(4), 3, spacing=1.0, step=1.0)
    with pytest.raises(ValueError, match="`matrix` must commute with shifts"):
        training.dispersion(np.diag([1.0, 2, 3]), 3, spacing=1.0, step=1.0)
    with pytest.raises(ValueError, match="`spacing` and `step` must be positive"):
        training.dispersion(np.eye(3), 3, spacing=0.0, step=1.0)


# ---- Gauge -----------------------------------------------------------------------------------------------------


@jax.jit
def transformed_and_stepped(theta, later, spatial, temporal, psi):
    """One step after a change of the gauge, and one step without it."""
    field = training.GaugeField(spatial, temporal)
    moved = field.transformed(theta, later, spacing=0.1, step=0.03)
    before = training.GaugedDirac(moved, **SETTING)(jnp.exp(1j * theta)[None] * psi)
    return before, training.GaugedDirac(field, **SETTING)(psi)


@needs_x64
@given(seed=st.integers(0, 1000))
def test_gauge_covariance(seed):
    rng = np.random.default_rng(seed)
    theta, later, spatial, temporal = (jnp.asarray(v) for v in rng.normal(size=(4, 16)))
    psi = jnp.asarray(rng.normal(size=(2, 16)) + 1j * rng.normal(size=(2, 16)))
    before, after = transformed_and_stepped(theta, later, spatial, temporal, psi)
    np.testing.assert_allclose(before, jnp.exp(1j * later)[None] * after, atol=1e-12)
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(psi), rel=1e-12)


@needs_x64
def test_a_constant_potential_shifts_the_wavenumber():
    A = 0.7
    generator = training.covariant_generator(training.GaugeField(np.full(N, A), np.zeros(N)), spacing=0.1, mass=1.3)
    k = training.wavenumbers(N, 0.1) + A
    expected = np.sqrt(1.3**2 + np.sin(k * 0.1) ** 2 / 0.01)
    energies = np.linalg.eigvalsh(1j * np.asarray(generator))
    np.testing.assert_allclose(np.sort(energies[energies > 0]), np.sort(expected), atol=1e-10)


def test_without_potential_it_is_the_plain_network():
    field = training.GaugeField(np.zeros(8), np.zeros(8))
    np.testing.assert_allclose(
        training.GaugedDirac(field, **SETTING).weights, training.Dirac(8, **SETTING).weights, atol=1e-5
    )
    with pytest.raises(ValueError, match="`spatial` and `temporal` must have one shape"):
        training.GaugeField(np.zeros(8), np.zeros(7))
    with pytest.raises(ValueError, match="`temporal` must be finite"):
        training.GaugeField(np.zeros(8), np.full(8, np.inf))


# ---- Packets and recovery --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [training.wave_packet, training.spinor_packet])
def test_packets_move_with_the_group_velocity(make):
    packet = make(sites=128, steps=80, width=1.8)
    assert packet.values.shape == (81, 128)
    velocity = np.polyfit(packet.t, packet.centres(), 1)[0]
    # The spread of wavenumbers, 1/(2 width) and less, changes the mean velocity in second order.
    assert velocity == pytest.approx(packet.velocity, abs=(1 / 3.6) ** 2 / 2)
    assert packet.centres()[0] == pytest.approx(packet.start, abs=0.1)
    with pytest.raises(ValueError, match="`width` must lie between 0 and length / 8"):
        make(width=3.0)


def field_data(steps=80, mass=1.2, speed=0.8, self_coupling=0.5):
    a, x = 0.2, np.arange(32) * 0.2

    def potential(phi):
        slope = (jnp.roll(phi, -1) - phi) / a
        return jnp.sum((mass * phi) ** 2 / 2 + (speed * slope) ** 2 / 2 + self_coupling * phi**4 / 4)

    phi = jnp.asarray(np.cos(2 * np.pi * x / 6.4) + 0.5 * np.sin(4 * np.pi * x / 6.4) + 0.3)
    return np.asarray(training.evolve(training.Newtonian(potential, 0.05), (phi, 0 * phi), steps - 1)[0])


@needs_x64
def test_mass_and_couplings_are_recovered():
    found = training.recover_field(field_data(), spacing=0.2, step=0.05)
    np.testing.assert_allclose([found.mass, found.speed, found.self_coupling], [1.2, 0.8, 0.5], rtol=1e-8)
    noise = 0.02
    data = field_data() + noise * np.random.default_rng(0).normal(size=(80, 32))
    found = training.recover_field(data, spacing=0.2, step=0.05)
    # The misfit is that of the noise, less the parameters that were fitted: 64 of the start and three constants.
    assert found.error == pytest.approx(noise * np.sqrt(1 - 67 / data.size), rel=3 / np.sqrt(2 * data.size))
    errors = np.abs(np.array([found.mass / 1.2, found.speed / 0.8, found.self_coupling / 0.5]) - 1)
    assert errors.max() < 0.05
    assert errors[2] < abs(found.first_guess[2] / 0.5 - 1)


def test_recovery_refuses():
    for bad, words in (
        (np.zeros(5), r"must have shape \(T, N\) or \(B, T, N\)"),
        (np.zeros((2, 5)), r"T, N >= 3, got \(2, 5\)"),
        (np.full((5, 5), np.nan), "`observations` must be finite"),
        (np.ones((5, 5)), "do not tell mass and couplings apart"),
    ):
        with pytest.raises(ValueError, match=words):
            training.recover_field(bad, spacing=0.1, step=0.1)
    with pytest.raises(ValueError, match="`iterations` must be at least 0"):
        training.recover_field(np.ones((5, 5)), spacing=0.1, step=0.1, iterations=-1)


def test_figures():
    packet = training.wave_packet(sites=64, steps=20)
    ax = training.plot_space_time(packet)
    assert ax.get_xlabel() == "position x [length]"
    M = training.one_step_matrix(*networks()["cayley"])
    found = training.dispersion(M, N, spacing=0.1, step=0.03) if DOUBLE else None
    if found is not None:
        ax = training.plot_dispersion(found, scheme="cayley", mass=1.3)
        assert len(ax.lines) == 3
    recovered = training.recover_field(field_data(20), spacing=0.2, step=0.05, iterations=0)
    assert training.plot_recovery(recovered, ax) is ax


def test_networks_are_modules_with_arrays():
    network = klein_gordon()
    doubled = eqx.tree_at(lambda n: n.operator, network, replace_fn=lambda A: 2 * A)
    np.testing.assert_allclose(doubled.operator, 2 * network.operator)
    assert network.rule == "identity"
