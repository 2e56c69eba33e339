"""Fits of power laws with their intervals, and the rates of quadrature, of training and of the best viscosity."""

import jax.numpy as jnp
import numpy as np
import pytest

from hjpde import analysis

SIZES = np.array([8, 16, 32, 64, 128])
X64 = jnp.result_type(float) == jnp.float64
needs_x64 = pytest.mark.skipif(not X64, reason="needs float64")


def cone(y):
    return jnp.sqrt(jnp.sum(y**2))


def bowl(y):
    return 0.5 * jnp.sum(y**2)


# ---- Fits ------------------------------------------------------------------------------------------------------


def test_a_power_law_is_found_exactly():
    fit = analysis.fit_rate(SIZES, 3.0 * SIZES**-0.7)
    assert (fit.exponent, fit.constant) == (pytest.approx(-0.7), pytest.approx(3.0))
    assert fit.high - fit.low < 1e-10
    np.testing.assert_allclose(fit([10.0]), 3 * 10**-0.7)
    assert str(fit) == "-0.70 [-0.70, -0.70]"


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    fits = [analysis.fit_rate(SIZES, SIZES**-1.0 * np.exp(0.3 * rng.normal(size=(3, 5)))) for _ in range(2000)]
    covered = np.mean([fit.low <= -1 <= fit.high for fit in fits])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(
    "sizes, errors, options, words",
    [
        (SIZES, np.ones(4), {}, "`errors` must have shape"),
        ([1, 2], np.ones(2), {}, "three distinct"),
        ([1, 2, -3], np.ones(3), {}, "three distinct positive"),
        (SIZES, np.zeros(5), {}, "`errors` must be positive"),
        (SIZES, np.full(5, np.nan), {}, "`errors` must be positive"),
        (SIZES, np.ones(5), {"confidence": 1.0}, "`confidence` must lie"),
    ],
)
def test_fits_refuse(sizes, errors, options, words):
    with pytest.raises(ValueError, match=words):
        analysis.fit_rate(sizes, errors, **options)


# ---- Quadrature ------------------------------------------------------------------------------------------------


@needs_x64
def test_midpoints_are_of_second_order_and_equal_weights_with_ends_of_first():
    X = np.linspace(-1.5, 1.5, 31)[:, None]
    counts = [16, 32, 64, 128, 256]
    midpoints = analysis.quadrature_rate(cone, 1, counts, points=X, reference_count=2**14)
    ends = analysis.quadrature_rate(cone, 1, counts, points=X, reference_count=2**14, rule="endpoints")
    assert midpoints.exponent == pytest.approx(-2, abs=0.02)
    assert ends.exponent == pytest.approx(-1, abs=0.05)
    with pytest.raises(ValueError, match="`reference_count` must be above"):
        analysis.quadrature_rate(cone, 1, counts, points=X, reference_count=256)


# ---- The best viscosity ----------------------------------------------------------------------------------------


@needs_x64
def test_the_best_viscosity_of_plain_sums_depends_on_the_smoothness_of_the_datum():
    X, counts = np.linspace(-1.2, 1.2, 41)[:, None], [32, 64, 128, 256]
    kinked = analysis.optimal_viscosity(cone, X, np.zeros(41), counts)
    smooth = analysis.optimal_viscosity(bowl, X, X[:, 0] ** 2 / 12, counts)
    for result, exponent in ((kinked, -1), (smooth, -2)):
        assert result.viscosity_rate is not None
        assert result.viscosity_rate.exponent == pytest.approx(exponent, abs=0.1)
    weighted = analysis.optimal_viscosity(cone, X, np.zeros(41), counts, weighted=True)
    assert weighted.viscosity_rate is None
    assert np.all(weighted.viscosities == 0)
    ax = analysis.plot_optimal_viscosity({"kinked": kinked, "smooth": smooth, "weighted": weighted})
    assert len(ax.lines) == 3


def test_the_best_viscosity_refuses():
    with pytest.raises(ValueError, match="`points` must have shape"):
        analysis.optimal_viscosity(cone, np.zeros((3, 1)), np.zeros(2), [4, 8, 16])
    with pytest.raises(ValueError, match="`lowest` must lie"):
        analysis.optimal_viscosity(cone, np.zeros((3, 1)), np.zeros(3), [4, 8, 16], lowest=2.0)


# ---- Trained layers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scaling():
    return analysis.width_scaling(cone, 1, [4, 8, 16], samples=64, seeds=1, steps=400)


@needs_x64
def test_two_neurons_at_the_tied_viscosity_scale_as_the_whole_width_does(scaling):
    assert list(scaling) == ["tied", "fixed", "trained", "narrow"]
    assert scaling["narrow"].exponent < -0.7
    assert scaling["tied"].exponent < -0.7
    assert scaling["fixed"].high > scaling["tied"].exponent
    ax = analysis.plot_rates(scaling, expected={"tied": -1.0})
    assert ax.get_xscale() == ax.get_yscale() == "log"


@pytest.mark.slow
@needs_x64
def test_one_layer_beats_the_minimax_rate_on_a_convex_target_and_stalls_on_another():
    sizes = [32, 64, 128, 256, 512]
    convex = analysis.generalisation_rate(cone, 1, sizes)
    valley = analysis.generalisation_rate(lambda x: jnp.abs(cone(x) - 1), 1, sizes)
    two = analysis.generalisation_rate(lambda x: jnp.abs(cone(x) - 1), 1, sizes, layers=2)
    assert convex.exponent <= -1 / 3 + 0.05
    assert valley.low > -1 / 3
    assert two.exponent <= -1 / 3 + 0.05


@pytest.mark.slow
@needs_x64
def test_the_sweep_passes_the_threshold_and_correlates_error_with_curvature():
    sweep = analysis.interpolation_sweep(lambda x: jnp.abs(cone(x) - 1), 2, [2, 4, 8, 16, 32], steps=1000)
    assert sweep.parameters[0] < sweep.samples < sweep.parameters[-1]
    assert np.all(np.diff(sweep.train_error.mean(axis=0))[:2] < 0)
    assert sweep.error_with_curvature.low <= sweep.error_with_curvature.value <= sweep.error_with_curvature.high
    assert np.all((sweep.shock_density >= 0) & (sweep.shock_density <= 1))
    assert analysis.plot_interpolation_sweep(sweep).get_xlabel() == "number of parameters"


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: analysis.generalisation_rate(cone, 1, [8, 16, 32], layers=3), "`layers` must be 1 or 2"),
        (lambda: analysis.generalisation_rate(cone, 1, [8, 16]), "`sizes` must hold three"),
        (lambda: analysis.width_scaling(cone, 1, [4, 8]), "`widths` must hold three"),
        (lambda: analysis.width_scaling(cone, 1, [4, 8, 16], fixed_viscosity=0.0), "`fixed_viscosity` must be"),
        (lambda: analysis.interpolation_sweep(cone, 1, [1, 2, 3]), "`widths` must hold three"),
    ],
)
def test_trained_rates_refuse(call, words):
    with pytest.raises(ValueError, match=words):
        call()
