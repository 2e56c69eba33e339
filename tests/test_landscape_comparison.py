"""Samples of finite networks beside the theory of infinite ones; long chains are marked slow.

The claims of the same subject are measured at small sizes in the fast tests.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, ive

from hjpde import landscape
from hjpde._plotting import new_figure
from hjpde.landscape import HamiltonianMonteCarlo, RandomNetwork
from hjpde.landscape._landscape_comparison import _limit

RNG = jax.random.key(2025)


@pytest.mark.slow
def test_a_table_of_samples_and_both_theories():
    """One hidden layer of tanh: at these widths the field of a wide network is far off, and the saddle is not."""
    network = RandomNetwork(1.0, "tanh")
    found = landscape.compare_with_samples(
        network, 4.0, (30, 60), key=RNG, samples=24, steps=1500, move=landscape.langevin()
    )
    assert np.all(np.abs(found.deviations(found.proportional)) < 3.5)
    assert np.all(np.abs(found.deviations(found.wide)) > 4)
    assert np.all(np.abs(found.limit - found.proportional) < 3.5 * found.limit_errors)
    lines = found.report().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        [N, quantity] for N in ("30", "60", "limit") for quantity in ("energy", "overlap")
    ]
    assert f"{found.measured[1, 0]:.4f}" in lines[3]
    for quantity in ("energy", "overlap"):
        _, ax = new_figure(4.0, 3.0)
        assert landscape.plot_comparison(found, ax, quantity) is ax
        assert len(ax.get_legend_handles_labels()[1]) == 4
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        landscape.plot_comparison(found, quantity="entropy")


def test_the_limit_of_a_line_in_one_over_n():
    N = np.array([50.0, 100.0, 200.0])
    errors = np.array([[0.01, 0.02], [0.02, 0.01], [0.01, 0.01]])
    limit, limit_errors = _limit(N, np.stack([0.3 + 2 / N, 0.5 - 1 / N], axis=1), errors)
    assert limit == pytest.approx([0.3, 0.5])
    # With equal errors, the textbook's variance of an intercept.
    x = 1 / N
    _, equal = _limit(N, np.zeros((3, 2)), np.full((3, 2), 0.01))
    assert equal == pytest.approx(0.01 * np.sqrt(1 / 3 + x.mean() ** 2 / np.sum((x - x.mean()) ** 2)))
    assert np.all(limit_errors > 0)
    assert np.isnan(_limit(N[:1], np.zeros((1, 2)), errors[:1])[0]).all()


@pytest.mark.slow
def test_chains_that_have_not_mixed_have_no_row():
    found = landscape.compare_with_samples(RandomNetwork(1.0, "tanh"), 4.0, (30, 60), key=RNG, samples=24, steps=80)
    assert np.isnan(found.measured).all()
    assert all(result != landscape.CHAINS.successful for result in found.results)
    assert len(found.report().splitlines()) == 1


@pytest.mark.parametrize("arguments", [{"dimensions": ()}, {"samples": 1}])
def test_refusals(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        landscape.compare_with_samples(RandomNetwork(1.0, "tanh"), 1.0, key=RNG, **arguments)


def test_the_wide_field_has_the_units_of_the_network():
    """A linear network of top width `a` has the vector field of length sqrt(a)."""
    energy, overlap = landscape.wide_theory(RandomNetwork([3.0, 4.0], "linear"), 0.7)
    b = 0.7 * 2
    t = (np.sqrt(1 + 4 * b**2) - 1) / (2 * b)
    assert (energy, overlap) == pytest.approx((-2 * t, t**2), abs=1e-8)


@pytest.mark.slow
def test_entropy_in_two_ways_and_the_exact_one_of_a_linear_network():
    """Sample by sample log Z of a linear energy is a Bessel function; fluctuations give the same entropy."""
    N, betas = 30, np.linspace(0, 2, 9)
    energies = landscape.draw_network(RandomNetwork(1.0, "linear"), N, 8, key=RNG)
    found = landscape.thermodynamic_integration(energies, betas, key=RNG, steps=1500)
    v = np.einsum("si,sij->sj", np.asarray(energies.readout, float), np.asarray(energies.weights[0], float))
    k = betas[-1] * np.sqrt(N) * np.linalg.norm(v, axis=1)
    log_z = gammaln(N / 2) + (N / 2 - 1) * np.log(2 / k) + np.log(ive(N / 2 - 1, k)) + k
    # The step of Simpson's rule and the chains' noise, each of some parts in a thousand.
    assert found.free_energy[-1] == pytest.approx(np.mean(log_z / N), rel=0.02)
    assert found.entropy_of_fluctuations[-1] == pytest.approx(found.entropy[-1], rel=0.05)
    assert np.all(np.diff(found.entropy) < 0)
    _, ax = new_figure(4.0, 3.0)
    assert landscape.plot_thermodynamic_integral(found, ax) is ax


@pytest.mark.parametrize("count", [pytest.param(1000, marks=pytest.mark.slow), 200])
def test_covariance_of_finite_widths(count):
    """Check 21: of 60 networks with three layers of ReLU, at q = 0.3."""
    network, products = RandomNetwork([count / 2] * 3, "relu", 2**0.5), []
    angle = np.arccos(0.3)
    points = 2**0.5 * np.array([[1, 0], [np.cos(angle), np.sin(angle)]])
    for batch in range(6):
        energies = landscape.draw_network(network, 2, 10, key=jax.random.fold_in(RNG, batch))
        h = np.broadcast_to(points.T, (10, 2, 2))
        for W in energies.weights:
            h = np.maximum(np.asarray(W) @ h, 0)
        products.append((h[..., 0] * h[..., 1]).mean(1))
    products = np.concatenate(products)
    expected = float(landscape.network_covariance(network)(0.3))
    assert expected == pytest.approx(0.67582, abs=1e-5)
    assert abs(products.mean() - expected) < 3 * products.std(ddof=1) / 60**0.5


CASES = {
    "tanh": (RandomNetwork(1.0, "tanh"), 4.0, (100, 200), 32),
    "two layers of tanh": (RandomNetwork([1.0, 1.0], "tanh", 1.5), 3.0, (60, 120), 32),
    "sin": (RandomNetwork(1.0, "sin"), 3.0, (100, 200), 32),
    "ReLU": (RandomNetwork(1.0, "relu", 2**0.5), 4.0, (50, 100, 200), 128),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_samples_agree_with_proportional_widths(name):
    """Checks 15 to 18."""
    network, beta, dimensions, samples = CASES[name]
    # Chains of Metropolis mix in tens of thousands of moves.
    move = landscape.langevin()
    found = landscape.compare_with_samples(network, beta, dimensions, key=RNG, samples=samples, steps=12_000, move=move)
    print(found.report())
    if name == "ReLU":
        # Of 2048 networks each, energies are -0.835(3), -0.848(2) and -0.848(2) at N = 50, 100 and 200, against -0.854:
        # at finite N they are above the limit by as much as the errors here.
        assert abs(found.limit[0] - found.proportional[0]) < 3 * found.limit_errors[0]
    else:
        assert np.all(np.abs(found.deviations(found.proportional)) < 3)
    if name in ("tanh", "sin"):
        assert np.all(np.abs(found.deviations(found.wide)) > 4)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_overlaps_swing_as_far_as_the_replicon_says(depth):
    """Without it, they would swing by (1 - q)^2; replicons are those of one to three layers."""
    network, beta, dimensions = RandomNetwork([1.0] * depth, "sin", 1.5), 2.0, (30, 60, 120)
    saddle, swings = landscape.replica_symmetric(network, beta), []
    for N in dimensions:
        energies = landscape.draw_network(network, N, 64, key=jax.random.fold_in(RNG, N))
        found = landscape.sample(
            energies, beta, key=RNG, replicas=4, steps=6000, every=10, move=HamiltonianMonteCarlo()
        )
        assert landscape.diagnose(found).result == landscape.CHAINS.successful
        swings.append(landscape.overlap_susceptibility(found))
        print(depth, N, swings[-1], landscape.diagnose(found).r_hat)
    limit, error = _limit(np.array(dimensions, float), *(np.array(part)[:, None] for part in zip(*swings, strict=True)))
    free = (1 - saddle.overlaps[0]) ** 2
    print(limit, error, free / (1 - saddle.replicon), free, saddle.replicon)
    assert abs(limit - free / (1 - saddle.replicon)) < 3 * error
    assert abs(limit - free) > 5 * error


@pytest.mark.slow
def test_deep_linear_layers():
    """Check 19: energy, norms and overlaps of all layers."""
    network = RandomNetwork([1.0] * 3, "linear")
    energies = landscape.draw_network(network, 100, 16, key=RNG)
    found = landscape.thermal_averages(landscape.sample(energies, 1.0, key=RNG, steps=4000))
    saddle = landscape.replica_symmetric(network, 1.0)
    print(found.energy, found.energy_error, found.diagonals, found.diagonal_errors, found.overlaps)
    assert abs(found.energy - saddle.energy) < 3 * found.energy_error
    assert np.all(np.abs(found.diagonals - saddle.diagonals)[1:] < 3 * found.diagonal_errors[1:])
    assert np.all(np.abs(found.overlaps - saddle.overlaps) < 3 * found.overlap_errors)


@pytest.mark.slow
def test_free_energy_by_integration():
    """Check 20."""
    energies = landscape.draw_network(RandomNetwork(1.0, "tanh"), 80, 24, key=RNG)
    found = landscape.thermodynamic_integration(energies, np.linspace(0, 4, 9), key=RNG, steps=3000)
    saddle = landscape.replica_symmetric(RandomNetwork(1.0, "tanh"), 4.0)
    print(found.free_energy[-1], found.free_energy_error[-1], found.entropy[-1], found.entropy_of_fluctuations[-1])
    assert abs(found.free_energy[-1] - saddle.free_energy) < 3 * found.free_energy_error[-1]
    assert abs(found.entropy[-1] - saddle.entropy) < 3 * found.entropy_error[-1]
    assert found.entropy_of_fluctuations[-1] == pytest.approx(found.entropy[-1], rel=0.03)


@pytest.mark.slow
def test_overlaps_of_sin_are_broader_than_of_tanh():
    """Below the instability of sin; the replicon of tanh at the same temperature is below 1."""
    beta, widths = 8.0, {}
    for name in ("sin", "tanh"):
        network = RandomNetwork(1.0, name, 1.5)
        energies = landscape.draw_network(network, 60, 16, key=RNG)
        found = landscape.temper(energies, np.geomspace(1, beta, 8), key=RNG, steps=6000, move=landscape.langevin())
        found = found.samples[-1]
        assert landscape.diagnose(found).result == landscape.CHAINS.successful
        q = found.overlaps.mean(2)
        # Within networks, of which each has a mean of its own at finite N.
        widths[name] = q.std(0)
    print({name: (w.mean(), w.std() / 4) for name, w in widths.items()})
    assert landscape.replica_symmetric(RandomNetwork(1.0, "sin", 1.5), beta).replicon > 1
    assert landscape.replica_symmetric(RandomNetwork(1.0, "tanh", 1.5), beta).replicon < 1
    differences = widths["sin"] - widths["tanh"]
    assert differences.mean() > 3 * differences.std(ddof=1) / 4


@pytest.mark.slow
def test_three_spins_below_their_static_temperature():
    """Two peaks of P(q), whose positions tend to 0 and to q1, and the weight of the upper one.

    At N = 200 it takes 6000 moves until pairs of chains share their states; the energy settles before.
    """
    beta = 1 / 0.75
    assert landscape.complexity_thresholds(landscape.pure(3)).static > 0.75
    theory = landscape.field_breaking(landscape.pure(3), beta)
    # Couplings are read once for all chains of a sample: replicas cost little where they are many.
    sizes, peaks, weights = {50: (48, 2, 2000), 100: (24, 2, 2000), 200: (4, 4, 5000)}, [], np.zeros(1)
    for N, (samples, replicas, steps) in sizes.items():
        energies = landscape.draw_spins(3, N, samples, key=jax.random.fold_in(RNG, N))
        energies = jax.tree.map(lambda J: J.astype(jnp.float32), energies)
        start = np.random.default_rng(N).normal(size=(6, samples, replicas, N)).astype("float32")
        found = landscape.temper(
            energies, np.linspace(1.05, beta, 6), key=RNG, replicas=replicas, steps=steps, burn_in=7000 if N == 200 else
            steps // 2, every=20, start=start, move=HamiltonianMonteCarlo(),
        )  # fmt: skip
        cold = found.samples[-1]
        peaks.append(landscape.overlap_distribution(cold, bandwidth=0.06).peaks)
        weights = (cold.overlaps > 0.4).mean((0, 2))
        error = weights.std(ddof=1) / samples**0.5
        print(N, peaks[-1], "above 0.4:", weights.mean(), error, found.exchanges.min(), landscape.diagnose(cold).r_hat)
        assert landscape.diagnose(cold).result == landscape.CHAINS.successful
        assert len(peaks[-1]) == 2
    limit = np.polyfit(1 / np.array(list(sizes)), np.array(peaks), 1)[1]
    print(limit, theory.overlaps, theory.levels)
    # The weight of pairs in one state, at the largest N: it falls with N, as peaks overlap less.
    assert abs(weights.mean() - (1 - theory.levels[0])) < 3 * weights.std(ddof=1) / weights.size**0.5
    assert np.all(np.abs(limit - [0, theory.overlaps[1]]) < 0.05)
