"""Modes, the limit of large friction, and the expanding space, against closed forms; networks of digits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from hjpde import training
from hjpde.architectures import ResidualNetwork

DOUBLE = jnp.result_type(float) == jnp.float64
double = pytest.mark.skipif(not DOUBLE, reason="differences this small need float64")

START = np.array([0.4, -0.8])
RATES = np.array([0.1, 0.05, 0.025])


def quartic(t, w):
    return w[0] ** 4 / 4 - w[0] ** 2 / 2 + 0.3 * w[0] * w[1] + w[1] ** 2


@given(curvature=st.floats(-5, 50), friction=st.floats(0.1, 20))
def test_rates_solve_their_equation(curvature, friction):
    modes = training.mode_rates([curvature], friction)
    residual = modes.rates**2 + friction * modes.rates + curvature
    assert np.abs(residual).max() < 1e-12 * (friction**2 + abs(curvature))
    np.testing.assert_allclose(modes.rates.sum(), -friction, rtol=1e-12)
    assert bool(modes.overdamped[0]) == bool(np.all(np.imag(modes.rates) == 0))


def test_slow_rates_have_no_cancellation():
    modes = training.mode_rates([1e-14, 0.0], 2.0)
    np.testing.assert_allclose(modes.rates[:, 0], [-5e-15, 0.0], rtol=1e-13)


def test_modes_turn_to_oscillations_at_the_critical_mass():
    mass = float(training.DeSitter(3.0, 3).critical_mass)
    below, above = (training.mode_rates([(mass * factor) ** 2], 3.0) for factor in (0.999, 1.001))
    assert below.overdamped.all()
    assert not above.overdamped.any()


@double
def test_slow_root_has_its_correction_at_order_two():
    """-gamma s = lambda + lambda^2 eta^2 + ..., the numbers of the reference at lambda = 1."""
    for eta, expected in ((0.1, -1.010205), (0.05, -1.002513)):
        assert training.mode_rates([1.0], 1 / eta).rates[0, 0].real / eta == pytest.approx(expected, abs=5e-7)


@double
@pytest.mark.parametrize("which", ["largest", "smallest", "both"])
def test_lanczos_finds_the_eigenvalues(which):
    rng = np.random.default_rng(0)
    X, y = jnp.asarray(rng.normal(size=(20, 3))), jnp.asarray(rng.normal(size=(20, 1)))
    model = eqx.nn.MLP(3, 1, 12, 2, jnp.tanh, key=jax.random.key(0))
    dynamics = training.DampedDynamics(lambda t, model: jnp.mean((jax.vmap(model)(X) - y) ** 2), 1.5)
    found = training.training_modes(dynamics, model, count=6, which=which)
    flat, unravel = ravel_pytree(eqx.filter(model, eqx.is_inexact_array))
    rest = eqx.filter(model, eqx.is_inexact_array, inverse=True)
    hessian = jax.jit(jax.hessian(lambda x: dynamics.cost(0.0, eqx.combine(unravel(x), rest))))(flat)
    exact = np.linalg.eigvalsh(np.asarray(hessian))[::-1]
    wanted = {"largest": exact[:6], "smallest": exact[-6:], "both": np.concatenate([exact[:3], exact[-3:]])}[which]
    np.testing.assert_allclose(found.curvatures, wanted, atol=1e-9 * exact[0])


@double
def test_few_parameters_take_the_whole_hessian():
    modes = training.training_modes(training.DampedDynamics(quartic, 3.0), jnp.asarray(START), count=2)
    exact = np.linalg.eigvalsh([[3 * 0.16 - 1, 0.3], [0.3, 2.0]])[::-1]
    np.testing.assert_allclose(modes.curvatures, exact, rtol=1e-12)


@double
@pytest.mark.parametrize("start", ["slow", "rest"])
def test_inertia_goes_at_order_two_and_euler_s_error_at_order_one(start):
    dynamics = training.DampedDynamics(quartic, 1.0)
    limit = training.high_viscosity_limit(dynamics, jnp.asarray(START), RATES, slow_time=1.5, start=start)
    assert limit.orders["inertial"] == pytest.approx(2, abs=0.1)
    assert limit.orders["discrete"] == pytest.approx(1, abs=0.1)
    if start == "slow":
        assert limit.orders["corrected"] == pytest.approx(4, abs=0.2)
    else:
        np.testing.assert_allclose(limit.inertial, [1.6e-3, 4.1e-4, 1.0e-4], rtol=0.05)
        np.testing.assert_allclose(limit.discrete, [0.0117, 0.0059, 0.0030], rtol=0.02)
    assert "with inertia: order 2.0" in training.plot_high_viscosity(limit).get_legend_handles_labels()[1][1]


@double
def test_slow_velocity_of_a_quadratic_cost():
    A = np.array([[2.0, 0.3], [0.3, 0.7]])
    dynamics = training.DampedDynamics(lambda t, w: w @ jnp.asarray(A) @ w / 2, 10.0)
    force = -A @ START
    np.testing.assert_allclose(training.slow_velocity(dynamics, 0.0, jnp.asarray(START), 0), force, rtol=1e-13)
    found = training.slow_velocity(dynamics, 0.0, jnp.asarray(START))
    np.testing.assert_allclose(found, force - 0.01 * A @ A @ START, rtol=1e-13)


@double
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_space_is_that_of_de_sitter(dim):
    """Ricci's scalar from the metric alone, by Christoffel symbols and automatic differentiation."""
    space = training.DeSitter(1.7, dim)

    def metric(point):
        return space.metric(point[0])

    def christoffel(point):
        slopes = jax.jacfwd(metric)(point)
        lower = (slopes.transpose(0, 2, 1) + slopes - slopes.transpose(2, 0, 1)) / 2
        return jnp.einsum("as,smn->amn", jnp.linalg.inv(metric(point)), lower)

    @jax.jit
    def ricci(point):
        gamma, slopes = christoffel(point), jax.jacfwd(christoffel)(point)
        tensor = (
            jnp.einsum("amna->mn", slopes)
            - jnp.einsum("aman->mn", slopes)
            + jnp.einsum("aas,smn->mn", gamma, gamma)
            - jnp.einsum("ans,sma->mn", gamma, gamma)
        )
        return jnp.sum(jnp.linalg.inv(metric(point)) * tensor)

    point = jnp.array([0.4, *[0.1] * dim])
    assert float(ricci(point)) == pytest.approx(float(space.ricci_scalar), rel=1e-12)
    assert float(jnp.sqrt(-jnp.linalg.det(space.metric(0.4)))) == pytest.approx(np.exp(1.7 * 0.4), rel=1e-13)
    assert float(space.volume_factor(0.4)) == pytest.approx(float(space.scale_factor(0.4)) ** dim, rel=1e-13)
    assert float(space.hubble) == pytest.approx(1.7 / dim)


def test_figures():
    ax = training.plot_modes(training.mode_rates([5.0, 2.0, 0.1, -0.3], 2.0))
    assert ax.get_legend_handles_labels()[1][-1] == "λ = γ²/4"
    assert len(training.plot_de_sitter(2.0).get_lines()) == 4


def test_refusals():
    dynamics = training.DampedDynamics(quartic, 3.0)
    theta = jnp.asarray(START)
    with pytest.raises(ValueError, match="`dim` must be at least 1, got 0"):
        training.DeSitter(1.0, 0)
    with pytest.raises(ValueError, match="`friction` must be positive"):
        training.DeSitter(0.0, 3)
    with pytest.raises(ValueError, match="`curvatures` must be finite and have shape"):
        training.mode_rates([np.nan], 1.0)
    with pytest.raises(ValueError, match="`friction` must be positive"):
        training.mode_rates([1.0], -1.0)
    with pytest.raises(ValueError, match="`count` must be from 1 to the 2 parameters, got 3"):
        training.training_modes(dynamics, theta, count=3)
    with pytest.raises(ValueError, match="`which` must be one of"):
        training.training_modes(dynamics, theta, count=1, which="middle")
    with pytest.raises(ValueError, match="`corrections` must be 0 or 1, got 2"):
        training.slow_velocity(dynamics, 0.0, theta, 2)
    for rates in ([0.1], [0.1, -0.1], [0.1, 0.1], [0.1, np.nan]):
        with pytest.raises(ValueError, match="`learning_rates` must hold at least two different positive numbers"):
            training.high_viscosity_limit(dynamics, theta, rates)
    with pytest.raises(ValueError, match="`start` must be 'slow' or 'rest'"):
        training.high_viscosity_limit(dynamics, theta, RATES, start="fast")
    with pytest.raises(ValueError, match="`theta` must have 1 axes, got shape"):
        training.high_viscosity_limit(dynamics, jnp.ones((2, 2)), RATES)
    with pytest.raises(ValueError, match="`slow_time` must be positive"):
        training.high_viscosity_limit(dynamics, theta, RATES, slow_time=0.0)


@pytest.mark.slow
def test_the_digits_of_the_main_job_are_learnt_as_well_as_with_adam():
    """The residual network of the main job, three splits: accuracies, and the modes where training ended."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, labels = (np.asarray(a) for a in load_digits(return_X_y=True))
    steps, accuracies = 1500, {"adam": [], "conformal": []}
    h, friction = training.from_heavy_ball(0.9, 0.3)
    optimisers = {
        "adam": optax.adam(optax.cosine_decay_schedule(0.03, steps)),
        "conformal": training.conformal_symplectic(optax.cosine_decay_schedule(h, steps), friction),
    }

    def loss(network, X, y):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network)(X), y).mean()

    @eqx.filter_jit
    def trained(network, optimiser, X, y, batches):
        moving, rest = eqx.partition(network, eqx.is_inexact_array)

        def step(carry, rows):
            moving, state = carry
            gradient = jax.grad(lambda q: loss(eqx.combine(q, rest), X[rows], y[rows]))(moving)
            updates, state = optimiser.update(gradient, state)
            return (eqx.apply_updates(moving, updates), state), None

        return eqx.combine(jax.lax.scan(step, (moving, optimiser.init(moving)), batches)[0][0], rest)

    dynamics, network = training.DampedDynamics(quartic, friction), None
    for seed in range(3):
        split = train_test_split(X / 16, labels, test_size=0.3, random_state=seed, stratify=labels)
        X_train, X_test, y_train, y_test = (jnp.asarray(part) for part in split)
        batches = jnp.asarray(np.random.default_rng(seed).integers(0, X_train.shape[0], (steps, 128)))
        start = ResidualNetwork(64, 10, width=24, depth=4, key=jax.random.key(seed))
        for name, optimiser in optimisers.items():
            network = trained(start, optimiser, X_train, y_train, batches)
            found = jnp.argmax(jax.vmap(network)(X_test), axis=1)
            accuracies[name].append(float(jnp.mean(found == y_test)))
        dynamics = training.DampedDynamics(lambda t, network, X=X_train, y=y_train: loss(network, X, y), friction)
    assert np.mean(accuracies["conformal"]) > np.mean(accuracies["adam"]) - 0.01
    modes = training.training_modes(dynamics, network, count=20)
    # Power iteration finds the largest curvature by another way.
    moving, rest = eqx.partition(network, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(moving)
    gradient = jax.grad(lambda x: dynamics.cost(0.0, eqx.combine(unravel(x), rest)))
    product = jax.jit(lambda v: jax.jvp(gradient, (flat,), (v,))[1])
    v = jnp.asarray(np.random.default_rng(0).normal(size=flat.size), flat.dtype)
    for _ in range(500):
        v = product(v / jnp.linalg.norm(v))
    assert float(jnp.linalg.norm(v)) == pytest.approx(modes.curvatures[0], rel=1e-3)
