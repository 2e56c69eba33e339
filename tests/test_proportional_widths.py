"""Random networks of proportional widths: the saddle against closed forms, derivatives and the wide limit; breaking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import landscape
from hjpde.landscape import RESULTS, RandomNetwork, parisi_breaking, replica_symmetric
from hjpde.landscape._tilted_layer import layer_averages

SQRT2 = 2**0.5
TWO_LAYERS = RandomNetwork([1, 1], "tanh", 1.5)


def brute_force(phi, s, spread, r, root, points):
    """The averages of a layer on a plain grid of three normals."""
    xi = np.linspace(-6, 6, points)
    w = np.exp(-(xi**2) / 2)
    w /= w.sum()
    z, step = np.linspace(-20, 20, 1601, retstep=True)
    found = np.zeros(9)
    for y, weight in zip(xi, w, strict=True):
        p = phi(spread * xi[:, None] + s * z[None])
        logs = -(z[None] ** 2) / 2 + r * p**2 / 2 + root * y * p
        top = logs.max(axis=1, keepdims=True)
        mass = np.exp(logs - top)
        total = mass.sum(axis=1)
        mean, square, z1, z2, cross = ((mass * x).sum(axis=1) / total for x in (p, p**2, z, z**2, z * p))
        f = top[:, 0] + np.log(total * step / np.sqrt(2 * np.pi))
        f_h, f_hh, f_hu, f_uu = z1 / s, (z2 - z1**2 - 1) / s**2, (cross - z1 * mean) / s, square - mean**2
        rows = [f, square, mean**2, y * mean, f_h**2, f_hh, f_hh**2, f_hu**2, f_uu**2]
        found += weight * np.array([w @ row for row in rows])
    return found


@pytest.mark.parametrize("name", ["tanh", "sin", "relu"])
def test_averages_of_a_layer(name):
    g, q, r, o, sigma = 1.1, 0.7, 0.3, 4.0, 1.2
    averages = layer_averages(landscape.ACTIVATIONS[name], sigma, (g, q), (r, o), resolution=2.0)
    plain = brute_force(landscape.ACTIVATIONS[name].values, sigma * (g - q) ** 0.5, sigma * q**0.5, r, o**0.5, 121)
    # A plain grid errs at a kink by the square of its step.
    np.testing.assert_allclose(averages, plain, rtol=1e-7 if name != "relu" else 2e-4, atol=1e-9)


@given(r=st.floats(-0.5, 0.5), o=st.floats(0, 9), q=st.floats(0, 0.9))
def test_a_kink_of_no_angle_is_none(r, o, q):
    """The closed form of two slopes that are equal against the matrix products of a smooth function."""
    smooth = landscape.Activation("line", lambda z: z, lambda z: z)
    closed = layer_averages(landscape.ACTIVATIONS["linear"], 1.0, (1.0, q), (r, o))
    np.testing.assert_allclose(layer_averages(smooth, 1.0, (1.0, q), (r, o)), closed, rtol=1e-6, atol=1e-6)


def test_a_tilt_that_outgrows_the_gaussian_is_not_a_number():
    assert np.all(np.isnan(layer_averages(landscape.ACTIVATIONS["relu"], 1.0, (1.0, 0.2), (2.0, 1.0))))


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("widths", [(1.0, 1.0, 1.0), (2.0, 0.5)])
def test_deep_linear_networks_are_exact(widths, beta):
    found = replica_symmetric(RandomNetwork(widths, "linear"), beta)
    b = beta * widths[-1] ** 0.5
    t = (np.sqrt(1 + 4 * b**2) - 1) / (2 * b)
    assert found.free_energy == pytest.approx(b * t + np.log1p(-(t**2)) / 2, abs=1e-8)
    assert found.energy == pytest.approx(-t * widths[-1] ** 0.5, abs=1e-8)
    assert found.entropy == pytest.approx(np.log1p(-(t**2)) / 2, abs=1e-8)
    growth = 1 + np.concatenate([[0.0], np.cumsum(1 / np.array(widths))])
    np.testing.assert_allclose(found.overlaps, t**2 * growth, rtol=1e-8)
    np.testing.assert_allclose(found.diagonals, 1 - t**2 + t**2 * growth, rtol=1e-8)
    np.testing.assert_allclose(found.duals[:, 0], 0, atol=1e-9)
    assert found.replicon == pytest.approx(0, abs=1e-12)


def test_shallow_tanh():
    found = replica_symmetric(RandomNetwork([1], "tanh"), 4.0)
    assert (found.overlaps[0], found.free_energy, found.energy) == pytest.approx((0.58207, 1.37523, -0.46691), abs=2e-4)
    assert found.duals[-1].tolist() == [0, 16]
    assert found.stable


def test_shallow_relu():
    found = replica_symmetric(RandomNetwork([1], "relu", SQRT2), 4.0)
    measured = (found.overlaps[0], found.free_energy, found.energy, found.replicon)
    assert measured == pytest.approx((0.77185, 2.60474, -0.85386, 0.3284), abs=2e-4)


def test_two_layers_of_tanh():
    found = replica_symmetric(TWO_LAYERS, 3.0)
    measured = (*found.overlaps[:2], found.diagonals[1], found.free_energy, found.energy, found.replicon)
    assert measured == pytest.approx((0.39314, 0.33460, 0.56278, 0.912411, -0.425013, 0.1926), abs=5e-4)


@pytest.mark.parametrize(
    ("network", "energy"), [(TWO_LAYERS, -0.4250126), (RandomNetwork([1], "tanh", 1.5), -0.5318392)]
)
def test_the_energy_is_minus_the_slope_of_the_free_energy(network, energy):
    d = 1e-3
    here, up, down = (replica_symmetric(network, b) for b in (3.0, 3.0 + d, 3.0 - d))
    assert here.energy == pytest.approx(energy, abs=1e-5)
    assert -(up.free_energy - down.free_energy) / (2 * d) == pytest.approx(here.energy, abs=1e-5)
    assert here.entropy == pytest.approx(here.free_energy + 3 * here.energy)


def test_wide_layers_are_a_gaussian_field():
    """At alpha = 100 and the field's beta 16, the replicon is close to the field's; closer at 10^4."""
    xi = landscape.layer_covariance("relu", SQRT2)
    field = landscape.field_replica_symmetric(xi, 16.0)
    limit = landscape.field_replicon(xi, field)
    assert limit == pytest.approx(0.954, abs=1e-3)
    wide, wider = (replica_symmetric(RandomNetwork([a], "relu", SQRT2), 16 / a**0.5) for a in (1e2, 1e4))
    assert wide.replicon == pytest.approx(0.9736, abs=2e-4)
    assert abs(wider.replicon - limit) < 0.1 * abs(wide.replicon - limit)
    assert wider.overlaps[0] == pytest.approx(field.overlaps[0], abs=1e-3)


@pytest.mark.parametrize("name", ["tanh", "sin", "relu"])
def test_five_layers_and_finer_quadrature(name):
    network = RandomNetwork([1, 2, 1, 0.5, 1], name, 1.2)
    found, finer = replica_symmetric(network, 2.0), replica_symmetric(network, 2.0, resolution=2.0)
    assert found.result == RESULTS.successful
    assert found.residual < 1e-9
    assert found.free_energy == pytest.approx(finer.free_energy, abs=1e-6)
    assert found.energy == pytest.approx(finer.energy, abs=1e-6)
    assert np.all(found.overlaps < found.diagonals)


def test_uniform_inputs():
    found = replica_symmetric(RandomNetwork([1, 1], "tanh"), 0.0)
    assert (found.free_energy, found.energy, found.entropy) == pytest.approx((0, 0, 0), abs=1e-9)
    assert found.overlaps[0] == pytest.approx(0, abs=1e-9)


def test_no_convergence_is_a_result_and_not_a_number():
    with pytest.raises(RuntimeError, match=r"No saddle at beta = 3: the sweeps did not settle.*residual"):
        replica_symmetric(TWO_LAYERS, 3.0, max_sweeps=2)
    found = replica_symmetric(TWO_LAYERS, 3.0, max_sweeps=2, throw=False)
    assert found.result == RESULTS.max_sweeps_reached
    assert found.residual > 1e-9
    assert np.all(np.isnan([found.energy, found.entropy, found.free_energy, found.replicon, *found.overlaps]))
    assert not found.stable
    warm = replica_symmetric(TWO_LAYERS, 3.01, start=replica_symmetric(TWO_LAYERS, 3.0))
    assert warm.energy == pytest.approx(replica_symmetric(TWO_LAYERS, 3.01).energy, abs=1e-8)


def test_the_range_in_which_shallow_networks_are_stable():
    stable = [replica_symmetric(RandomNetwork([1], "relu", SQRT2), b).stable for b in (8.0, 13.0, 15.0)]
    assert stable == [True, True, False]
    assert replica_symmetric(RandomNetwork([1], "tanh"), 32.0).replicon == pytest.approx(0.4815, abs=2e-3)


@pytest.mark.slow
def test_sin_breaks_its_symmetry():
    network = RandomNetwork([1], "sin")
    unbroken = replica_symmetric(network, 4.0)
    assert parisi_breaking(network, 4.0, 0).free_energy == pytest.approx(unbroken.free_energy, abs=1e-6)
    assert unbroken.free_energy == pytest.approx(1.540741, abs=2e-6)
    symmetric, once = (parisi_breaking(network, 8.0, k) for k in (0, 1))
    assert replica_symmetric(network, 8.0).replicon > 2
    assert symmetric.free_energy == pytest.approx(3.798534, abs=3e-6)
    assert once.free_energy == pytest.approx(3.797669, abs=3e-6)
    assert once.energy > symmetric.energy


@pytest.mark.slow
def test_more_steps_of_sin_spread():
    network = RandomNetwork([1], "sin")
    once, twice, thrice = (parisi_breaking(network, 8.0, k) for k in (1, 2, 3))
    assert twice.free_energy == pytest.approx(3.7976651, abs=3e-6)
    assert thrice.free_energy == pytest.approx(3.7976648, abs=3e-6)
    assert once.free_energy - twice.free_energy > 10 * (twice.free_energy - thrice.free_energy) > 0
    assert np.ptp(thrice.levels) > np.ptp(twice.levels)
    # Where symmetry holds, steps gain nothing.
    assert parisi_breaking(network, 4.0, 1).free_energy == pytest.approx(1.540742, abs=1e-6)


def test_entropy_of_a_linear_network():
    curve = landscape.entropy_curve(RandomNetwork([1, 1], "linear"), np.linspace(0.2, 3, 15))
    e = np.array([-0.2, -0.5, 0.5])
    np.testing.assert_allclose(curve.at_energy(e), np.log1p(-(e**2)) / 2, atol=5e-5)
    ground = landscape.ground_state_energy(RandomNetwork([1, 1], "linear"))
    assert ground.energy == pytest.approx(-1, abs=1e-6)
    with pytest.raises(ValueError, match="`energy` must be between"):
        curve.at_energy(-0.99)


def test_a_phase_diagram():
    diagram = landscape.phase_diagram("sin", [0.5, 1.5], [0.12, 1.0])
    assert (diagram.replicons < 1).tolist() == [[True, True], [False, True]]
    single = replica_symmetric(RandomNetwork([1], "sin", 1.5), 1.0)
    assert diagram.energies[1, 1] == pytest.approx(single.energy, abs=1e-8)
    assert landscape.plot_phase_diagram(diagram).get_ylabel()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RandomNetwork([], "tanh"), "`widths` must be one or more positive"),
        (lambda: RandomNetwork([1.0, 0.0], "tanh"), "`widths` must be one or more positive"),
        (lambda: RandomNetwork([1.0], "tanh", -1.0), "`sigma_w` must be a positive number"),
        (lambda: RandomNetwork([1.0], "thanh"), "`activation` 'thanh' is not known"),
        (lambda: replica_symmetric(TWO_LAYERS, -1.0), "`beta` must be a finite inverse temperature"),
        (lambda: replica_symmetric(TWO_LAYERS, float("nan")), "`beta` must be a finite inverse temperature"),
        (lambda: replica_symmetric(TWO_LAYERS, 1.0, max_sweeps=0), "`max_sweeps` and `resolution` must be positive"),
        (
            lambda: replica_symmetric(TWO_LAYERS, 1.0, start=replica_symmetric(RandomNetwork([1], "tanh"), 1.0)),
            "`start` must be a saddle of depth 2",
        ),
        (lambda: parisi_breaking(RandomNetwork([1], "tanh"), 1.0), "one hidden layer of a periodic"),
        (lambda: parisi_breaking(RandomNetwork([1, 1], "sin"), 1.0), "one hidden layer of a periodic"),
        (lambda: parisi_breaking(RandomNetwork([1], "sin"), 0.0), "`beta` must be a positive"),
        (lambda: parisi_breaking(RandomNetwork([1], "sin"), 1.0, -1), "`steps` must not be negative"),
        (lambda: landscape.entropy_curve(TWO_LAYERS, [2.0, 1.0]), "`betas` must be positive and increasing"),
        (lambda: landscape.ground_state_energy(TWO_LAYERS, [1.0, 2.0]), "`betas` must be at least 3"),
        (lambda: landscape.phase_diagram("sin", [], [1.0]), "`sigmas` must be one or more"),
        (lambda: landscape.phase_diagram("sin", [1.0], [-1.0]), "`temperatures` must be one or more"),
        (
            lambda: landscape.plot_phase_diagram(landscape.phase_diagram("linear", [1.0], [1.0])),
            "`diagram` must have two",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_figures():
    ax = landscape.plot_replica_symmetric(replica_symmetric(TWO_LAYERS, 1.0))
    assert ax.get_xlabel()
    curve = landscape.entropy_curve(RandomNetwork([1], "sin", 1.5), [2.0, 4.0])
    assert landscape.plot_entropy_curve(curve, ax) is ax
