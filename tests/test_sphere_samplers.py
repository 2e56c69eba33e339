"""Chains on the sphere: against exact measures, and that they say where they have not arrived."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ive

from hjpde import landscape
from hjpde._plotting import new_figure
from hjpde.landscape import CHAINS, HamiltonianMonteCarlo, Metropolis, RandomNetwork, langevin
from hjpde.landscape._sphere import along_circle, tangent, uniform_points

DOUBLE = jnp.result_type(float) == jnp.float64
MOVES = {"metropolis": Metropolis(), "hamiltonian": HamiltonianMonteCarlo(), "langevin": langevin()}


def mean_and_error(values):
    """Over the first axis, with the standard error."""
    return values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5


def field_of(energies):
    """The vector `v` of deep linear networks, $H = v\\cdot x$, in numpy."""
    v = np.asarray(energies.readout, float)
    for W in reversed(energies.weights):
        v = np.einsum("si,sij->sj", v, np.asarray(W, float))
    return v


def exact_linear_susceptibility(v, beta):
    """tr C^2 / N of the measure of von Mises and Fisher: the variances along `v` and across."""
    N = v.shape[1]
    k = beta * np.sqrt(N) * np.linalg.norm(v, axis=1)
    mean = ive(N / 2, k) / ive(N / 2 - 1, k)
    across = N * mean / k
    along = N * (1 - (N - 1) * mean / k - mean**2)
    return ((N - 1) * across**2 + along**2) / N


def exact_linear_energy(v, beta):
    r"""$\langle v\cdot x\rangle/N = -|v| I_{N/2}(k)/(\sqrt N I_{N/2-1}(k))$ with $k = \beta\sqrt N|v|$."""
    N, norm = v.shape[1], np.linalg.norm(v, axis=1)
    k = beta * np.sqrt(N) * norm
    return -norm / np.sqrt(N) * ive(N / 2, k) / ive(N / 2 - 1, k)


@pytest.mark.parametrize("name", ["metropolis", "hamiltonian", pytest.param("langevin", marks=pytest.mark.slow)])
def test_moves_have_the_measure_of_von_mises_and_fisher(name, getkey):
    """For linear networks the mean energy is a ratio of Bessel functions, sample by sample."""
    energies = landscape.draw_network(RandomNetwork([1.0, 1.0], "linear"), 20, 12, key=getkey())
    found = landscape.sample(energies, 1.5, key=getkey(), move=MOVES[name], replicas=4, steps=2000, every=10)
    differences = found.energies.mean(0) - exact_linear_energy(field_of(energies), 1.5)[:, None]
    mean, error = mean_and_error(differences.ravel())
    assert abs(mean) < 3.5 * error
    assert error < 0.01
    assert found.acceptance.mean() == pytest.approx(MOVES[name].target, abs=0.08) or name == "hamiltonian"
    assert found.acceptance.min() > 0.2


def test_susceptibility_of_the_measure_of_von_mises_and_fisher(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, "linear"), 12, 30, key=getkey())
    found = landscape.sample(energies, 1.5, key=getkey(), replicas=6, steps=4000, every=10)
    swings = landscape.overlap_susceptibility(found)
    assert swings.error < 0.02
    # The disorder is the same on both sides: its part of the error is not in the difference.
    assert abs(swings.value - exact_linear_susceptibility(field_of(energies), 1.5).mean()) < 2 * swings.error
    few = landscape.sample(energies, 1.5, key=getkey(), replicas=3, steps=40)
    with pytest.raises(ValueError, match="at least 4 replicas of 2 samples of the disorder, got 3 of 30"):
        landscape.overlap_susceptibility(few)


@pytest.mark.parametrize("x64", [False, True])
def test_chains_have_the_precision_of_the_block_around_them(x64):
    """In whatever threads they run, and with as many samples as do not share out equally."""
    with jax.enable_x64(x64):
        dtypes = []

        def watched(x):
            dtypes.append(x.dtype)
            return x.sum()

        networks = landscape.draw_network(RandomNetwork(1.0, "linear"), 4, 3, key=jax.random.key(0))
        watching = landscape.ModelEnergy(lambda x: watched(x) + networks.readout.sum(), 4)
        energies = landscape.ShiftedEnergy(watching, jnp.zeros(3), jnp.ones(3))
        found = landscape.sample(energies, 1.0, key=jax.random.key(1), steps=4, every=2)
        lowest = landscape.lowest_energies(energies, key=jax.random.key(1), starts=2, steps=4)
    assert {str(dtype) for dtype in dtypes} == {"float64" if x64 else "float32"}
    assert found.energies.shape == (2, 3, 2)
    assert lowest.points.shape == (3, 2, 4)
    assert len(np.unique(found.points)) == found.points.size


@pytest.mark.slow
def test_without_temperature_points_are_uniform(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, "tanh"), 12, 8, key=getkey())
    found = landscape.sample(energies, 0.0, key=getkey(), steps=3000, every=10)
    assert np.all(found.acceptance == 1)
    # Of uniform points E q = 0, E q^2 = 1/N.
    q = found.overlaps.ravel()
    assert q.mean() == pytest.approx(0, abs=4 / (12 * q.size) ** 0.5 * 2)
    assert 12 * np.mean(q**2) == pytest.approx(1, abs=0.12)


def test_tempering_keeps_each_temperature(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, "linear"), 16, 10, key=getkey())
    betas = [0.4, 1.0, 2.0]
    found = landscape.temper(energies, betas, key=getkey(), replicas=4, steps=2000, every=10)
    v = field_of(energies)
    for beta, samples in zip(betas, found.samples, strict=True):
        assert samples.beta == beta
        mean, error = mean_and_error((samples.energies.mean(0) - exact_linear_energy(v, beta)[:, None]).ravel())
        assert abs(mean) < 3.5 * error
    assert found.exchanges.shape == (2,)
    assert np.all((found.exchanges > 0.2) & (found.exchanges < 1))
    assert np.allclose(np.sum(found.samples[0].points ** 2, -1), 16, rtol=1e-4)


@pytest.mark.slow
def test_exchanges_reorder_whole_places(getkey):
    """After tempering, the energies that the chains report are those of the points where they are."""
    energies = landscape.draw_network(RandomNetwork(1.0, "tanh"), 10, 3, key=getkey())
    found = landscape.temper(energies, [1.0, 3.0], key=getkey(), steps=50, every=1)
    for samples in found.samples:
        points = jnp.asarray(samples.points, jnp.result_type(float))
        values = eqx.filter_vmap(lambda energy, x: jax.vmap(energy)(x) / 10)(energies, points)
        assert np.allclose(values, samples.energies[-1], atol=1e-5)


@given(st.integers(2, 9), st.floats(0.01, 3.0), st.integers(0, 2**31 - 1))
def test_great_circles_are_reversible_and_stay(N, time, seed):
    first, second = jax.random.split(jax.random.key(seed))
    x = uniform_points(first, (N,))
    v = tangent(x, jax.random.normal(second, (N,)))
    tolerance = 1e-9 if DOUBLE else 1e-3
    y, w = along_circle(x, v, jnp.asarray(time))
    assert float(y @ y) == pytest.approx(N, rel=tolerance)
    assert float(y @ w) == pytest.approx(0, abs=tolerance * N)
    assert float(w @ w) == pytest.approx(float(v @ v), rel=tolerance)
    back, velocity = along_circle(y, -w, jnp.asarray(time))
    assert np.allclose(back, x, atol=10 * tolerance)
    assert np.allclose(velocity, -v, atol=10 * tolerance)


def test_spins_have_their_covariance_and_gradient(getkey):
    energies = landscape.draw_spins(3, 5, 4000, key=getkey())
    x, y = (np.asarray(a, float) for a in uniform_points(getkey(), (2, 5)))
    J = np.asarray(energies.couplings, float)
    at_x, at_y = (np.einsum("sijk,i,j,k->s", J, a, a, a) for a in (x, y))
    products = at_x * at_y
    expected = 5 * (x @ y / 5) ** 3
    assert products.mean() == pytest.approx(expected, abs=3.5 * products.std() / 4000**0.5)
    first = jax.tree.map(lambda a: a[0], energies)
    value, gradient = jax.value_and_grad(first)(jnp.asarray(x, jnp.result_type(float)))
    assert float(value) == pytest.approx(at_x[0], rel=1e-4)
    # Couplings drawn are symmetric, which the gradient relies on.
    assert np.allclose(gradient, 3 * np.einsum("ijk,j,k->i", J[0], x, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["network", "shifted network", "2 spins", "3 spins", "4 spins"])
def test_energies_laid_out_for_many_points_are_the_same(name, getkey):
    """Values, and gradients against central differences of the energy as it was."""
    if "spins" in name:
        energies = landscape.draw_spins(int(name[0]), 6, 2, key=getkey())
    else:
        energies = landscape.draw_network(RandomNetwork([1.5, 0.5], "tanh", 1.3), 6, 2, key=getkey())
    if "shifted" in name:
        energies = landscape.centred(energies, key=getkey(), points=50, unit_variance=True)
    energy = jax.tree.map(lambda part: part[1], energies)
    x, v = uniform_points(getkey(), (2, 6))
    value, gradient = jax.value_and_grad(energy.laid_out())(x)
    h = 1e-5 if DOUBLE else 1e-2
    tolerance = 1e-8 if DOUBLE else 1e-2
    assert float(value) == pytest.approx(float(energy(x)), rel=tolerance)
    assert float(energy.laid_out()(x)) == pytest.approx(float(energy(x)), rel=tolerance)
    slope = (float(energy(x + h * v)) - float(energy(x - h * v))) / (2 * h)
    assert float(gradient @ v) == pytest.approx(slope, rel=tolerance, abs=tolerance)
    for here, there in zip(energy.layers(x)[0], energy.laid_out().layers(x)[0], strict=True):
        assert np.allclose(here, there, rtol=1e-5)


def test_lowest_energies_of_exact_minima(getkey):
    """A linear energy has the minimum $-|v|/\\sqrt N$."""
    linear = landscape.draw_network(RandomNetwork([1.0, 2.0], "linear"), 15, 5, key=getkey())
    found = landscape.lowest_energies(linear, key=getkey(), starts=2, steps=300)
    assert np.allclose(found.lowest, -np.linalg.norm(field_of(linear), axis=1) / 15**0.5, rtol=1e-4)
    assert found.agreement == 1
    assert found.points.shape == (5, 2, 15)


@pytest.mark.slow
def test_lowest_energies_of_quadratic_forms(getkey):
    quadratic = landscape.draw_spins(2, 15, 5, key=getkey())
    found = landscape.lowest_energies(quadratic, key=getkey(), starts=2, steps=300)
    least = np.linalg.eigvalsh(np.asarray(quadratic.couplings, float))[:, 0]
    assert np.allclose(found.lowest, least, rtol=2e-3)
    assert np.all(found.lowest >= least - 1e-5)


def test_pure_spin_ground_states_of_two_spins():
    """Check 7 of the mean top eigenvalue: sqrt(2) less 0.8531 N^(-2/3)."""
    energies = landscape.draw_spins(2, 100, 48, key=jax.random.key(3))
    top = np.linalg.eigvalsh(np.asarray(energies.couplings, float))[:, -1]
    assert top.mean() == pytest.approx(2**0.5 - 0.8531 * 100 ** (-2 / 3), abs=0.01)


def test_centred_energies_lose_the_offset_of_relu(getkey):
    r"""The mean of $H$ over the sphere is $\sum a_i |w_i| E|x_1|/2$."""
    energies = landscape.draw_network(RandomNetwork(1.0, "relu", 2**0.5), 200, 4, key=getkey())
    shifted = landscape.centred(energies, key=getkey(), points=4000)
    W, a = (np.asarray(part, float) for part in (energies.weights[0], energies.readout))
    # E |x_1| of the sphere and of the Gaussian differ by a part of order 1/N.
    expected = (a * np.linalg.norm(W, axis=2)).sum(1) / np.sqrt(2 * np.pi)
    even_part = np.sqrt(np.sum(a**2) / 4)
    assert np.allclose(shifted.offset, expected, atol=5 * even_part * 2 / 4000**0.5 + 0.01 * np.abs(expected).max())
    unit = landscape.centred(energies, key=getkey(), unit_variance=True)
    again = landscape.centred(unit, key=getkey(), unit_variance=True)
    assert np.allclose(again.scale, 1, atol=0.06)


def test_overlaps_of_layers(getkey):
    """Against loops over pairs of replicas in numpy."""
    energies = landscape.draw_network(RandomNetwork([1.0, 0.5], "tanh", 1.5), 8, 2, key=getkey())
    found = landscape.sample(energies, 2.0, key=getkey(), replicas=3, steps=40, every=1)
    for s in range(2):
        h = found.points[s]
        layers = [h]
        for W in energies.weights:
            h = np.tanh(h @ np.asarray(W[s], float).T)
            layers.append(h)
        pairs = [(0, 1), (0, 2), (1, 2)]
        assert np.allclose(found.overlaps[-1, s], [layers[0][i] @ layers[0][j] / 8 for i, j in pairs], atol=1e-5)
        for l, h in enumerate(layers):
            assert found.diagonals[-1, s, l] == pytest.approx(np.mean(h**2), abs=1e-5)
            assert found.layer_overlaps[-1, s, l] == pytest.approx(
                np.mean([np.mean(h[i] * h[j]) for i, j in pairs]), abs=1e-5
            )


def test_autocorrelation_time_of_an_autoregression():
    """$\\tau = (1 + \\rho)/(1 - \\rho)$ for $x_{t+1} = \\rho x_t + $ noise."""
    rng, rho = np.random.default_rng(0), 0.8
    x = np.zeros((20_000, 8))
    for t in range(1, len(x)):
        x[t] = rho * x[t - 1] + rng.normal(size=8)
    assert landscape.autocorrelation_time(x) == pytest.approx(9, rel=0.1)
    assert landscape.autocorrelation_time(rng.normal(size=(5000, 8))) == pytest.approx(1, abs=0.1)
    assert landscape.autocorrelation_time(np.ones((10, 2))) == 1


def test_r_hat_of_equal_and_of_shifted_chains():
    noise = np.random.default_rng(1).normal(size=(400, 6, 2))
    assert landscape.r_hat(noise) == pytest.approx(1, abs=0.02)
    # Between chains a unit apart the variance of four halves is 1/3.
    assert landscape.r_hat(noise + np.array([0.0, 1.0])) == pytest.approx((1 + 1 / 3) ** 0.5, rel=0.05)
    assert landscape.r_hat(np.ones((8, 2, 2))) == 1
    assert landscape.r_hat(np.broadcast_to([0.0, 1.0], (8, 2, 2))) == np.inf


def test_chains_that_have_not_mixed_are_no_number(getkey):
    """Of the same spins at a low temperature, a few moves from uniform points."""
    energies = landscape.draw_spins(3, 20, 4, key=getkey())
    found = landscape.sample(energies, 8.0, key=getkey(), steps=40, burn_in=0, every=2)
    averages = landscape.thermal_averages(found, throw=False)
    assert averages.result == CHAINS.not_mixed
    assert np.isnan([averages.energy, averages.energy_error, *averages.overlaps, *averages.diagonal_errors]).all()
    assert averages.diagnosis.r_hat > 1.1
    with pytest.raises(RuntimeError, match=r"Chains at beta = 8: replicas and halves .* Increase `steps`"):
        landscape.thermal_averages(found)


@pytest.mark.slow
def test_no_free_energy_of_chains_that_have_not_mixed(getkey):
    energies = landscape.draw_spins(3, 20, 4, key=getkey())
    integral = landscape.thermodynamic_integration(
        energies, [0.0, 6.0, 12.0], key=getkey(), steps=20, every=2, throw=False
    )
    assert integral.result != CHAINS.successful
    assert np.isnan([*integral.free_energy, *integral.entropy_of_fluctuations]).all()
    with pytest.raises(RuntimeError, match="No free energy"):
        landscape.thermodynamic_integration(energies, [0.0, 6.0, 12.0], key=getkey(), steps=20, every=2)


@pytest.mark.slow
def test_moves_that_are_never_accepted_are_stuck(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, "linear"), 20, 4, key=getkey())
    start = landscape.lowest_energies(energies, key=getkey(), starts=2, steps=50).points
    found = landscape.sample(energies, 1e5, key=getkey(), steps=80, burn_in=0, every=2, start=start)
    assert landscape.thermal_averages(found, throw=False).result == CHAINS.stuck


@pytest.mark.slow
def test_two_starts_agree_in_the_end_and_not_before(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, "tanh"), 20, 8, key=getkey())
    long = landscape.two_starts(energies, 2.0, key=getkey(), steps=2000, every=10)
    assert long.result == CHAINS.successful
    assert abs(long.gap) <= 3 * long.error
    short = landscape.two_starts(energies, 2.0, key=getkey(), steps=8, every=1)
    assert short.result != CHAINS.successful
    assert short.gap < 0


def test_overlap_distribution_of_known_overlaps():
    rng = np.random.default_rng(0)
    q = np.where(rng.random((4000, 3, 1)) < 0.4, 0.0, 0.6) + 0.05 * rng.normal(size=(4000, 3, 1))
    nothing = np.zeros((1, 3, 2))
    samples = landscape.Samples(1.0, nothing, q, nothing, nothing, nothing, nothing, nothing)
    found = landscape.overlap_distribution(samples, bandwidth=0.03)
    assert found.peaks == pytest.approx([0, 0.6], abs=0.02)
    assert np.sum(found.density * np.diff(found.edges)) == pytest.approx(1)
    assert found.per_sample.shape == (3, 50)
    assert found.mean == pytest.approx(0.36, abs=0.01)
    assert found.width == pytest.approx((0.24 * 0.36 + 0.05**2) ** 0.5, rel=0.02)
    _, ax = new_figure(4.0, 3.0)
    assert landscape.plot_overlap_distribution(found, ax) is ax
    assert landscape.plot_overlap_distribution(found).get_xlabel()
    refused: tuple[dict[str, Any], ...] = ({"bins": 1}, {"bandwidth": 0.0}, {"bandwidth": float("nan")})
    for options in refused:
        with pytest.raises(ValueError, match=next(iter(options))):
            landscape.overlap_distribution(samples, **options)


def test_a_model_of_equinox_is_an_energy(getkey):
    models = eqx.filter_vmap(lambda key: eqx.nn.MLP(6, "scalar", 5, 1, jnp.tanh, key=key))(
        jax.random.split(getkey(), 3)
    )
    energies = landscape.ModelEnergy(models, 6)
    x = np.asarray(uniform_points(getkey(), (6,)), float)
    values = eqx.filter_vmap(lambda energy: energy(jnp.asarray(x, jnp.result_type(float))))(energies)
    first, last = models.layers
    for s in range(3):
        h = np.tanh(np.asarray(first.weight[s], float) @ x + np.asarray(first.bias[s]))
        assert float(values[s]) == pytest.approx(
            6 * float((np.asarray(last.weight[s]) @ h + np.asarray(last.bias[s])).item()), rel=1e-4
        )


def refusals():
    network = RandomNetwork(1.0, "tanh")
    energies = landscape.draw_network(network, 4, 2, key=jax.random.key(0))
    key = jax.random.key(1)
    one = landscape.draw_network(network, 4, 1, key=key)
    broken = landscape.ModelEnergy(lambda x: jnp.nan * x[0], 4)
    return {
        "`beta` must be finite inverse temperatures >= 0, got": lambda: landscape.sample(energies, -1.0, key=key),
        r"got \[nan\]": lambda: landscape.sample(energies, float("nan"), key=key),
        r"`beta` must be .* got \[\]": lambda: landscape.temper(energies, [], key=key),
        "at least 2 `replicas`": lambda: landscape.sample(energies, 1.0, key=key, replicas=1),
        "`steps` >= `every`": lambda: landscape.sample(energies, 1.0, key=key, steps=3, every=5),
        r"`start` must have shape \(1, 2, 2, 4\)": lambda: landscape.sample(
            energies, 1.0, key=key, start=np.ones((2, 2, 3))
        ),
        "`start` must have 3 axes": lambda: landscape.sample(energies, 1.0, key=key, start=np.ones((2, 4))),
        "`energies` must have a leading axis": lambda: landscape.sample(broken, 1.0, key=key),
        "`dimension` must be at least 2": lambda: landscape.draw_network(network, 1, key=key),
        "`samples` at least 1": lambda: landscape.draw_network(network, 4, 0, key=key),
        "without a neuron": lambda: landscape.draw_network(RandomNetwork(0.01, "tanh"), 4, key=key),
        "`widths` must be": lambda: RandomNetwork(0.0, "tanh"),
        "'tahn' is not known; did you mean tanh": lambda: RandomNetwork(1.0, "tahn"),
        "`order` must be at least 1": lambda: landscape.draw_spins(0, 4, key=key),
        "`points` must be at least 1": lambda: landscape.centred(energies, key=key, points=0),
        "`leapfrogs` must be at least 1": lambda: HamiltonianMonteCarlo(0),
        "`target` between 0 and 1": lambda: langevin(1.0),
        "`starts` and `steps` must be": lambda: landscape.lowest_energies(energies, key=key, starts=0),
        "`betas` positive and increasing": lambda: landscape.lowest_energies(energies, key=key, betas=(2.0, 1.0)),
        "`betas` must increase from 0": lambda: landscape.thermodynamic_integration(energies, [1.0, 2, 3], key=key),
        "at least 2 samples of the disorder": lambda: landscape.thermodynamic_integration(
            one, [0.0, 1, 2], key=key, steps=40
        ),
        "`series` must have at least 4": lambda: landscape.autocorrelation_time([1.0, 2.0]),
        r"`series` must have shape \(records": lambda: landscape.r_hat(np.ones((5, 2))),
    }


@pytest.mark.parametrize("message", list(refusals()))
def test_refusals(message):
    with pytest.raises(ValueError, match=message):
        refusals()[message]()


def test_energies_that_are_not_finite(getkey):
    energies = landscape.draw_network(RandomNetwork(1.0, lambda z: jnp.log(z)), 4, 2, key=getkey())
    with pytest.raises(ValueError, match="`energies` must be finite on the sphere"):
        landscape.sample(energies, 1.0, key=getkey(), steps=40)
