"""Gaussian fields on the sphere: pure models in closed form, thresholds, breaking, optimality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln, ive

from hjpde import landscape
from hjpde.landscape import field_breaking, field_replica_symmetric, ground_state, layer_covariance, mixture, pure

RELU = layer_covariance("relu", 2**0.5)
SIN = layer_covariance("sin", 1.5)


@pytest.mark.parametrize(("beta", "value"), [(0.5, 0.1129936), (1.0, 0.3774281), (2.0, 1.0912460), (5.0, 3.6703018)])
def test_linear_field(beta, value):
    found = field_replica_symmetric(pure(1), beta)
    assert found.free_energy == pytest.approx(value, abs=1e-7)
    t = (np.sqrt(1 + 4 * beta**2) - 1) / (2 * beta)
    assert found.free_energy == pytest.approx(beta * t + np.log1p(-(t**2)) / 2, abs=1e-12)
    assert (found.energy, found.entropy) == pytest.approx((-t, np.log1p(-(t**2)) / 2), abs=1e-12)
    assert found.overlaps[0] == pytest.approx(t**2, abs=1e-12)


def test_linear_field_of_finite_dimension():
    """E exp(-beta h.x) over the sphere of N dimensions is a Bessel function; theory is its limit."""

    def finite(N, beta):
        k, nu = beta * N, N / 2 - 1
        return (gammaln(N / 2) + nu * np.log(2 / k) + np.log(ive(nu, k)) + k) / N

    limit = field_replica_symmetric(pure(1), 1.0).free_energy
    for N, value in ((20, 0.3813518), (100, 0.3782160), (400, 0.3776251)):
        assert finite(N, 1.0) == pytest.approx(value, abs=1e-6)
    assert 400 * (finite(400, 1.0) - limit) == pytest.approx(0.079, abs=1e-3)


@pytest.mark.parametrize(
    ("p", "value"), [(2, 1.414214), (3, 1.656998), (4, 1.794085), (5, 1.887989), (6, 1.958666), (10, 2.135364)]
)
def test_ground_states_of_pure_models(p, value):
    assert -ground_state(pure(p), 1).energy == pytest.approx(value, abs=1e-5)
    assert ground_state(pure(p), 0).energy == pytest.approx(-np.sqrt(p), abs=1e-12)


def test_thresholds_of_three_spins():
    found = landscape.complexity_thresholds(pure(3))
    assert found == pytest.approx((0.866025, 0.5, 0.828805, 0.645007), abs=1e-5)
    # Below T_s a one-step saddle takes over, at the overlap that it starts with.
    assert landscape.classify(pure(3), 1 / (found.static * 1.01)) == "replica symmetric"
    assert landscape.classify(pure(3), 1 / (found.static * 0.97)) == "one step"
    below = field_breaking(pure(3), 1 / (found.static * 0.9999))
    assert below.overlaps[-1] == pytest.approx(found.static_overlap, abs=1e-3)
    assert below.levels[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("beta", [0.3, 0.7071, 0.7072, 1.0, 3.0])
def test_two_spins_in_closed_form(beta):
    b = np.sqrt(2) * beta
    found = field_replica_symmetric(pure(2), beta)
    value, overlap = (b - 0.75 - np.log(b) / 2, 1 - 1 / b) if b > 1 else (b**2 / 4, 0.0)
    assert found.free_energy == pytest.approx(value, abs=1e-10)
    assert found.overlaps[0] == pytest.approx(overlap, abs=1e-10)


def test_two_spins_are_the_largest_eigenvalue():
    """x.Gx over the sphere is largest at an eigenvector, N^(-2/3) below the edge."""
    rng, N = np.random.default_rng(0), 100
    tops = []
    for _ in range(160):
        G = rng.normal(size=(N, N))
        tops.append(np.linalg.eigvalsh((G + G.T) / (2 * np.sqrt(N)))[-1])
    expected = -ground_state(pure(2), 0).energy - 0.8531 * N ** (-2 / 3)
    assert expected == pytest.approx(1.3746, abs=1e-4)
    assert np.mean(tops) == pytest.approx(expected, abs=0.01)


def test_relu_breaks_its_symmetry_fully():
    onset = landscape.almeida_thouless(RELU)
    assert onset is not None
    assert onset == pytest.approx((0.94168, 17.630), abs=1e-3)
    assert onset.overlap == pytest.approx(0.94168, abs=1e-4)
    frozen = landscape.full_breaking_ground_state(RELU)
    assert frozen is not None
    assert frozen.energy == pytest.approx(-0.991171, abs=1e-5)
    assert ground_state(RELU, 0).energy == pytest.approx(-1, abs=1e-12)
    assert landscape.classify(RELU, onset.beta * 0.99) == "replica symmetric"
    assert landscape.classify(RELU, onset.beta * 1.01) == "full"
    assert landscape.full_breaking(RELU, onset.beta * 0.99) is None
    # Steps approach the continuous order parameter from above.
    full = landscape.full_breaking(RELU, 40.0)
    assert full is not None
    gaps = [field_breaking(RELU, 40.0, k).free_energy - full.free_energy for k in (0, 1, 2)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 1e-3 * gaps[0]


@pytest.mark.parametrize(("depth", "beta"), [(2, 5.773), (3, 4.098), (5, 3.710), (10, 4.819), (20, 8.339)])
def test_onset_of_deep_relu(depth, beta):
    network = landscape.RandomNetwork([1.0] * depth, "relu", 2**0.5)
    onset = landscape.almeida_thouless(landscape.network_covariance(network))
    assert onset is not None
    assert onset.beta == pytest.approx(beta, abs=1e-3)


def test_sin_never_breaks_fully():
    assert landscape.classify(SIN, 2.0) == "replica symmetric"
    assert landscape.classify(SIN, 4.0) == "one step"
    assert landscape.full_breaking_ground_state(SIN) is None
    assert landscape.full_breaking(SIN, 8.0) is None


def test_a_stable_saddle_need_not_be_the_minimum():
    beta = 1 / 0.82
    symmetric = field_replica_symmetric(pure(3), beta)
    assert landscape.field_replicon(pure(3), symmetric) == 0
    assert landscape.optimality_gap(pure(3), symmetric) > 5e-3
    assert landscape.optimality_gap(pure(3), field_breaking(pure(3), beta)) < 1e-6


@given(beta=st.floats(0.1, 6), linear=st.floats(0.05, 2), cubic=st.floats(0, 2))
def test_thermodynamics(beta, linear, cubic):
    """The energy is the slope of the free energy, which is convex and below Jensen's bound."""
    xi, d = mixture([0.3, linear, 0.0, cubic]), 1e-4
    here, up, down = (field_replica_symmetric(xi, b) for b in (beta, beta + d, beta - d))
    assert here.entropy <= 1e-12
    assert here.free_energy <= beta**2 * (linear + cubic) / 2 + 1e-12
    if max(abs(up.overlaps[0] - here.overlaps[0]), abs(down.overlaps[0] - here.overlaps[0])) < 1e-2:
        assert (up.free_energy - down.free_energy) / (2 * d) == pytest.approx(-here.energy, abs=1e-5)


@given(q=st.floats(0, 0.9), width=st.floats(0.01, 0.09), level=st.floats(0.05, 1))
def test_levels_that_are_equal_are_one(q, width, level):
    one = landscape.free_energy_functional(SIN, 2.0, np.array([q / 2, q + width]), np.array([level]))
    two = landscape.free_energy_functional(SIN, 2.0, np.array([q / 2, q, q + width]), np.array([level, level]))
    assert two == pytest.approx(one, abs=1e-12)


def test_no_transition_without_one():
    assert landscape.almeida_thouless(pure(1)) is None
    assert landscape.almeida_thouless(layer_covariance("tanh", 1.0)) is None
    assert landscape.almeida_thouless(pure(2)) == pytest.approx((0.0, 2**-0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: field_replica_symmetric(pure(2), -1.0), "`beta` must be a finite inverse temperature"),
        (lambda: field_replica_symmetric(pure(2), float("nan")), "`beta` must be a finite inverse temperature"),
        (lambda: field_breaking(pure(2), 1.0, -1), "`steps` must not be negative"),
        (lambda: ground_state(pure(2), -1), "`steps` must not be negative"),
        (lambda: landscape.complexity_thresholds(SIN), "`xi` must have no linear and no quadratic part"),
        (
            lambda: landscape.free_energy_functional(SIN, 1.0, np.array([0.5, 0.2]), np.array([0.5])),
            "`overlaps` must be k",
        ),
        (lambda: landscape.free_energy_functional(SIN, 1.0, np.array([0.5]), np.array([0.5])), "`overlaps` must be k"),
        (
            lambda: landscape.free_energy_functional(SIN, 1.0, np.array([0.2, 0.5]), np.array([0.0])),
            "`levels` must be in",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_figure():
    ax = landscape.plot_field_phase(field_breaking(pure(3), 1.5))
    assert ax.get_ylabel()
    assert landscape.plot_field_phase(field_replica_symmetric(SIN, 1.0), ax) is ax
