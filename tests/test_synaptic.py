"""Weights as fields: the ring network, its couplings and action, locality, expansions, the string, what they miss."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hjpde import training

DOUBLE = jnp.result_type(float) == jnp.float64
needs_x64 = pytest.mark.skipif(not DOUBLE, reason="needs float64")

R, Q = 0.3, 0.9


def w1(x):
    return 0.7 + 0.3 * np.cos(x)


def w2(x):
    return 0.5 + 0.4 * np.sin(x)


def inputs(x):
    return np.stack([1 + 0.2 * np.sin(2 * x), 0.4 + 0.5 * np.cos(x)])


def targets(x):
    return np.stack([0.8 + 0.1 * np.cos(3 * x), -0.3 + 0.6 * np.sin(x)])


def random_chain(sites=32, seed=0, quadratic=0.4):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, sites // 2))
    X, Y = rng.normal(size=(2, 3, sites // 4))
    return training.ToyChain(first, second, constant=R, linear=Q, quadratic=quadratic), X, Y


def compare(change=None, **options):
    return training.compare_action(w1, w2, inputs, targets, constant=R, linear=Q, change=change, **options)


# ---- The ring network ------------------------------------------------------------------------------------------


def test_the_network_is_its_loop():
    chain, X, Y = random_chain()
    n, cost = chain.sites, 0.0
    W1, W2 = np.zeros(n), np.zeros(n)
    W1[1::2], W2[1::2] = chain.first, chain.second
    for x, y in zip(X, Y, strict=True):
        field = np.zeros(n)
        field[::4] = x
        for k in range(0, n, 4):
            Z = 0.0
            for s in (1, -1):
                h = k + 2 * s
                u = sum(W1[(h + t) % n] * field[(h + 2 * t) % n] for t in (1, -1))
                Z += W2[(k + s) % n] * (R + Q * u + 0.2 * u**2)
            cost += (y[k // 4] - Z) ** 2
    assert float(chain.cost(X, Y)) == pytest.approx(cost, rel=1e-13 if DOUBLE else 1e-5)


def test_from_fields_reads_odd_sites():
    chain = training.ToyChain.from_fields(w1, w2, 16, constant=R, linear=Q)
    x = np.arange(1, 16, 2) * 2 * np.pi / 16
    np.testing.assert_allclose(chain.first, w1(x), rtol=1e-6)
    np.testing.assert_array_equal(chain.weight_sites, [*range(1, 16, 2)] * 2)


@pytest.mark.parametrize("sites", [6, 10, 4, 0])
def test_the_ring_has_a_multiple_of_four_sites(sites):
    with pytest.raises(ValueError, match=f"multiple of 4 sites, at least 8, got {sites}"):
        training.ToyChain.from_fields(w1, w2, sites, constant=R, linear=Q)


def test_the_ring_refuses():
    with pytest.raises(ValueError, match="multiple of 4 sites, at least 8, got 10"):
        training.ToyChain(np.ones(5), np.ones(5), constant=R, linear=Q)
    with pytest.raises(ValueError, match="`first` and `second` must have one shape"):
        training.ToyChain(np.ones(4), np.ones(6), constant=R, linear=Q)
    with pytest.raises(ValueError, match="`second` must be finite"):
        training.ToyChain(np.ones(4), np.full(4, np.nan), constant=R, linear=Q)
    with pytest.raises(ValueError, match="`length` must be positive"):
        training.ToyChain.from_fields(w1, w2, 8, length=-1.0, constant=R, linear=Q)
    chain, X, Y = random_chain()
    with pytest.raises(ValueError, match=r"`inputs` and `targets` must have shape \(samples, 8\)"):
        chain.cost(X[:, :4], Y[:, :4])


# ---- Couplings and action --------------------------------------------------------------------------------------


@needs_x64
def test_couplings_are_those_of_the_table():
    a, x = 0.05, np.arange(64) * 2 * np.pi / 64
    X, Y = inputs(x), targets(x)
    dX = np.stack([0.4 * np.cos(2 * x), -0.5 * np.sin(x)])
    ddX = np.stack([-0.8 * np.sin(2 * x), -0.5 * np.cos(x)])
    table = {
        "mass_squared": 8 * 2 * R**2 / a,
        "J1": (Y**2).sum(0) / a,
        "J2": -4 * R * Y.sum(0) / a,
        "J3": -8 * Q * ((X + 4 * a**2 * ddX) * Y).sum(0) / a,
        "K1": -48 * Q * a * (Y * dX).sum(0),
        "K2": 4 * a * 2 * R**2,
        "K3": -20 * Q * a * (X * Y).sum(0),
        "K4": -16 * Q * a * (X * Y).sum(0),
        "K5": -16 * Q * a * (Y * dX).sum(0),
        "K6": -2 * R * a * Y.sum(0),
        "K7": -4 * Q * a * (X * Y).sum(0),
    }
    source, canonical = (
        training.synaptic_couplings(X, Y, constant=R, linear=Q, spacing=a, scaling=scaling)
        for scaling in ("source", "canonical")
    )
    for name, expected in table.items():
        size = np.abs(expected).max()
        np.testing.assert_allclose(getattr(source, name), expected, rtol=1e-12, atol=1e-12 * size)
        np.testing.assert_allclose(getattr(canonical, name), a / 2 * expected, rtol=1e-12, atol=1e-12 * size)
    assert float(canonical.mass_squared) == pytest.approx(4 * 2 * R**2, rel=1e-12)
    assert float(source.cost(w1(x), w2(x))) == pytest.approx(float(canonical.cost(w1(x), w2(x))), rel=1e-12)


@needs_x64
def test_the_cost_is_the_action_up_to_the_fourth_order():
    found = compare()
    assert found.order == pytest.approx(4.0, abs=0.2)
    np.testing.assert_allclose(found.errors, [1.5e-4, 9.6e-6, 6.1e-7, 3.8e-8], rtol=0.02)
    assert found.errors[1] < 1e-5
    # The sign of the couplings that are linear in the targets, and the coupling that could not be read.
    flipped = compare(lambda c: eqx.tree_at(_linear_in_targets, c, replace_fn=lambda v: -v))
    assert flipped.errors.min() > 1
    without = compare(lambda c: eqx.tree_at(lambda c: c.K1, c, replace_fn=jnp.zeros_like))
    assert without.order == pytest.approx(2.0, abs=0.1)


def _linear_in_targets(couplings):
    return [getattr(couplings, name) for name in training.LINEAR_IN_TARGETS]


@needs_x64
@pytest.mark.parametrize("name", training.LINEAR_IN_TARGETS)
def test_each_coupling_is_needed(name):
    # K6 and K7 enter with a^2 as K1 does, and J with order one.
    changed = compare(lambda c: eqx.tree_at(lambda c: getattr(c, name), c, replace_fn=jnp.zeros_like), sites=(64, 128))
    assert changed.order < 2.5


@needs_x64
def test_the_canonical_mass_is_the_curvature_of_a_uniform_weight():
    chain = training.ToyChain(np.zeros(16), np.zeros(16), constant=R, linear=Q)
    X = Y = np.zeros((2, 8))
    found = training.cost_locality(lambda c: c.cost(X, Y), chain)
    block = found.hessian[16:, 16:]
    assert block.sum() / 16 == pytest.approx(4 * 2 * R**2, rel=1e-10)
    assert np.unique(np.round(np.linalg.eigvalsh(block), 12)).tolist() == [0, 0.72]


def test_couplings_and_action_refuse():
    X = np.ones((2, 8))
    options: dict[str, Any] = {"constant": R, "linear": Q, "spacing": 0.1}
    with pytest.raises(ValueError, match="`scaling` must be 'canonical' or 'source', got 'slides'"):
        training.synaptic_couplings(X, X, scaling="slides", **options)
    with pytest.raises(ValueError, match="`inputs` and `targets` must have one shape"):
        training.synaptic_couplings(X[:, :7], X, **options)
    with pytest.raises(ValueError, match=r"got \(0, 8\)"):
        training.synaptic_couplings(X[:0], X[:0], **options)
    with pytest.raises(ValueError, match="`targets` must be finite"):
        training.synaptic_couplings(X, np.nan * X, **options)
    with pytest.raises(ValueError, match="`spacing` must be positive"):
        training.synaptic_couplings(X, X, constant=R, linear=Q, spacing=0.0)
    with pytest.raises(ValueError, match="`length` must be positive"):
        training.synaptic_couplings(X, X, length=-1.0, **options)
    couplings = training.synaptic_couplings(X, X, **options)
    with pytest.raises(ValueError, match=r"`first` and `second` must have shape \(8,\)"):
        couplings.potential(np.ones(7), np.ones(7))
    with pytest.raises(ValueError, match="at least two different rings"):
        compare(sites=(64, 64))
    with pytest.raises(ValueError, match="multiple of 4 sites"):
        compare(sites=(64, 66))


# ---- Locality and expansion ------------------------------------------------------------------------------------


@needs_x64
def test_the_ring_is_local_over_six_four_and_two_sites():
    assert training.chain_ranges(*random_chain()) == {"w1 w1": 6, "w1 w2": 4, "w2 w2": 2}


def mlp_cost(seed=0):
    mlp = eqx.nn.MLP(2, 1, 6, 2, jnp.tanh, key=jax.random.key(seed))
    X = jax.random.normal(jax.random.key(1), (20, 2))
    return (lambda m: jnp.sum((jax.vmap(m)(X)[:, 0] - X[:, 0] * X[:, 1]) ** 2)), mlp


@needs_x64
def test_a_general_network_is_not_local():
    cost, mlp = mlp_cost()
    found = training.cost_locality(cost, mlp)
    chain, X, Y = random_chain()
    ring = training.cost_locality(lambda c: c.cost(X, Y), chain, chain.weight_sites, chain.sites)
    assert ring.fraction_beyond(6) < 1e-24
    assert found.fraction_beyond(6) > 0.1
    assert found.fraction_beyond(-1) == pytest.approx(1)
    assert found.reach() == len(found.positions) - 1


@needs_x64
def test_the_expansion_is_of_third_order(getkey):
    cost, mlp = mlp_cost()
    P = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(mlp, eqx.is_inexact_array)))
    found = training.remainder_order(cost, mlp, np.random.default_rng(0).normal(size=P), (0.04, 0.02, 0.01))
    assert found.order == pytest.approx(3, abs=0.1)


@needs_x64
def test_a_quadratic_cost_is_its_expansion():
    rng = np.random.default_rng(0)
    H, g, theta, delta = (rng.normal(size=s) for s in ((4, 4), 4, 4, 4))
    expansion = training.expand_cost(lambda v: v @ H @ v + g @ v + 1, jnp.asarray(theta))
    np.testing.assert_allclose(expansion.J2, (H + H.T) / 2, atol=1e-13)
    moved = theta + delta
    assert float(expansion(jnp.asarray(delta))) == pytest.approx(moved @ H @ moved + g @ moved + 1, abs=1e-11)


def test_expansion_and_locality_refuse():
    def cost(v):
        return jnp.sum(v**2)

    with pytest.raises(ValueError, match="`parameters` must hold 1 to 4000 floating numbers, got 4001"):
        training.expand_cost(cost, jnp.zeros(4001))
    with pytest.raises(ValueError, match="got 0"):
        training.expand_cost(cost, {})
    with pytest.raises(ValueError, match="`parameters` must be finite"):
        training.expand_cost(cost, jnp.full(3, jnp.nan))
    with pytest.raises(ValueError, match=r"`direction` must have shape \(3,\)"):
        training.remainder_order(cost, jnp.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="`sizes` must hold at least two"):
        training.remainder_order(cost, jnp.ones(3), np.ones(3), (0.1, -0.1))
    with pytest.raises(ValueError, match=r"`positions` must have shape \(3,\)"):
        training.cost_locality(cost, jnp.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"`positions` must lie in \[0, period\)"):
        training.cost_locality(cost, jnp.ones(3), np.arange(3), 2)


# ---- String and staggered mode ---------------------------------------------------------------------------------


def test_the_lattice_becomes_a_string():
    strings = [training.lattice_string(n, density=0.7, tension=2.0, restoring=0.3) for n in (16, 32, 64, 128)]
    finest = strings[-1]
    expected = 2.0 / 0.7 * 4 / finest.spacing**2 * np.sin(finest.k * finest.spacing / 2) ** 2 + 0.3 / 0.7
    np.testing.assert_allclose(finest.lattice, expected, rtol=1e-11)
    slope = np.polyfit([np.log(s.spacing) for s in strings], [np.log(s.error(3)) for s in strings], 1)[0]
    assert slope == pytest.approx(2, abs=0.1)


def test_training_excites_the_staggered_mode():
    waves, sites, r = 6, 64, 0.5
    found = training.staggered_mode(sites, waves, constant=r, samples=2)
    cosine = np.cos(2 * np.pi * waves / sites)
    tight = 1e-12 if DOUBLE else 1e-5
    assert found.rayleigh == pytest.approx(4 * 2 * r**2 * cosine**2, rel=tight)
    np.testing.assert_allclose(found.eigenvalues, [0, 4 * 2 * r**2], atol=tight)
    expected = cosine**2 * np.exp(-4 * 2 * r**2 * found.t) + 1 - cosine**2
    np.testing.assert_allclose(found.smooth, expected, atol=tight)
    # Early on the field's equation is right to second order in time; in the end it misses sin^2(ka).
    early = training.staggered_mode(sites, waves, constant=r, samples=2, times=[0.01, 0.02])
    gap = early.smooth - early.field
    if DOUBLE:
        assert gap[1] / gap[0] == pytest.approx(4, rel=0.05)
    assert found.smooth[-1] - found.field[-1] > 0.25


def test_string_and_staggered_mode_refuse():
    with pytest.raises(ValueError, match="`masses` must be at least 3"):
        training.lattice_string(2)
    with pytest.raises(ValueError, match="`tension` must be positive"):
        training.lattice_string(8, tension=0.0)
    with pytest.raises(ValueError, match="`restoring` must be at least 0"):
        training.lattice_string(8, restoring=-1.0)
    with pytest.raises(ValueError, match="`waves` must be from 1 to below sites / 8 = 8, got 8"):
        training.staggered_mode(64, 8)
    with pytest.raises(ValueError, match="`constant` must not be 0"):
        training.staggered_mode(constant=0.0)
    with pytest.raises(ValueError, match="multiple of 4"):
        training.staggered_mode(66, 2)


def test_figures():
    cost, mlp = mlp_cost()
    locality = training.cost_locality(cost, mlp)
    axes = [
        training.plot_action(compare(sites=(64, 128))),
        training.plot_locality({"MLP": locality}),
        training.plot_lattice_string(training.lattice_string(8)),
        training.plot_staggered_mode(training.staggered_mode()),
        training.plot_remainder(training.remainder_order(cost, mlp, np.ones(len(locality.positions)), (0.2, 0.1))),
    ]
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_legend() is not None for ax in axes)
    assert training.plot_staggered_mode(training.staggered_mode(), axes[1]) is axes[1]
