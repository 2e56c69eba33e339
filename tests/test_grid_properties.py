"""Laws that solutions on a grid obey, for all data: comparison, translations, constants, semigroup, finite speed."""

import functools

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import hjpde
from hjpde import problems, solvers

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
SIZE, TIME = 48, 0.5
# Dyadic spacing, so that data are looked up without rounding.
RING = solvers.Grid([0.0], [float(SIZE // 8)], (SIZE,), True)
FLUXES = ("godunov", "global", "local", "local-local")


class Tabulated(eqx.Module):
    """The datum that has given values at the nodes."""

    grid: solvers.Grid
    values: jax.Array

    def __call__(self, x):
        indices = jnp.round((x - self.grid.lower) / self.grid.spacing).astype(int)
        return self.values[tuple(indices[i] for i in range(self.grid.dim))]


HAMILTONIANS = {
    "eikonal": hjpde.Eikonal(),
    "quadratic": hjpde.Quadratic(),
    # Of the same speed everywhere, and non-convex.
    "wavy": hjpde.MomentumFunction(lambda p: jnp.sum(jnp.sin(p))),
}


@functools.cache
def evolution(name, flux, order=1, times=(TIME,)):
    """Compiled: the values at the saved times, and the number of steps, from the values at 0."""
    return on(RING, name, flux, order, times)


def on(grid, name, flux, order=1, times=(TIME,)):
    bound = [1.0] * grid.dim if name == "wavy" else None
    solver = solvers.FiniteDifference(grid, order, flux=flux, speed_bound=bound, cfl=0.9, max_steps=400)

    @jax.jit
    def run(values):
        problem = hjpde.InitialValueProblem(Tabulated(grid, values), HAMILTONIANS[name])
        solution = hjpde.solve(problem, jnp.asarray(times), solver=solver)
        return solution.evaluator.us[1:], solution.stats["steps"]

    return run


fields = st.lists(st.floats(-1, 1, width=16), min_size=SIZE, max_size=SIZE).map(lambda v: jnp.asarray(v, float))
MONOTONE = [("eikonal", flux) for flux in FLUXES] + [("wavy", "local"), ("wavy", "global")]


@pytest.mark.parametrize("name, flux", MONOTONE)
@settings(max_examples=10)
@given(fields, st.lists(st.floats(0, 1, width=16), min_size=SIZE, max_size=SIZE))
def test_comparison_principle(name, flux, low, rise):
    """Larger data have larger solutions, and no solution leaves the range of its datum: H(0) = 0.

    The two runs take the same steps, as these Hamiltonians' speeds do not depend on the slopes.
    """
    run = evolution(name, flux)
    before, steps = run(low)
    # Flat data take longer steps, which is monotone all the same, but not the same map.
    after, others = run(low + jnp.asarray(rise, float))
    if int(steps) == int(others):
        assert float((after - before).min()) >= -50 * EPS
    assert float(low.min()) - 50 * EPS <= float(before.min())
    assert float(before.max()) <= float(low.max()) + 50 * EPS


CASES = [("eikonal", "godunov", 1), ("quadratic", "local", 5)]


@pytest.mark.parametrize("name, flux, order", CASES)
@settings(max_examples=10)
@given(fields, st.integers(1, SIZE - 1), st.sampled_from([-3.0, 0.5, 100.0]))
def test_translations_and_constants(name, flux, order, values, shift, constant):
    values = smooth(values) if order > 1 else values
    run = evolution(name, flux, order)
    after, _ = run(values)
    size = 1 + float(jnp.abs(after).max())
    # Rounding in the place of a node is all that differs.
    np.testing.assert_allclose(run(jnp.roll(values, shift))[0], jnp.roll(after, shift, axis=-1), atol=1e4 * EPS * size)
    room = 1e5 * EPS * (abs(constant) + size)
    np.testing.assert_allclose(run(values + constant)[0], after + constant, atol=room)


def smooth(values):
    """A few Fourier modes of the values: rounding is not blown up by a kink's weights."""
    modes = jnp.fft.rfft(values)
    return jnp.fft.irfft(jnp.where(jnp.arange(modes.size) < 4, modes, 0), SIZE) * 3


@pytest.mark.parametrize("name, flux, order", CASES)
@settings(max_examples=10)
@given(fields)
def test_a_mirror(name, flux, order, values):
    """x to -x: these Hamiltonians are even."""
    values = smooth(values) if order > 1 else values
    run = evolution(name, flux, order)

    def mirrored(v):
        return jnp.roll(v[..., ::-1], 1, axis=-1)

    np.testing.assert_allclose(run(mirrored(values))[0], mirrored(run(values)[0]), atol=1e4 * EPS * 4)


@pytest.mark.parametrize("name, flux, order", CASES)
@settings(max_examples=10)
@given(fields)
def test_semigroup(name, flux, order, values):
    """Saved on the way and started anew from there: the same, as H does not depend on time."""
    values = smooth(values) if order > 1 else values
    both, _ = evolution(name, flux, order, (TIME, 2 * TIME))(values)
    run = evolution(name, flux, order)
    first = run(values)[0][0]
    np.testing.assert_allclose(both[0], first, atol=100 * EPS)
    np.testing.assert_allclose(both[1], run(first)[0][0], atol=1e4 * EPS * 4)


@pytest.mark.parametrize("flux", FLUXES)
@settings(max_examples=10)
@given(fields, st.integers(0, SIZE - 1), st.floats(-1, 1, width=16))
def test_finite_speed(flux, values, place, change):
    """Of first order a step reaches one node further: beyond, not a bit changes."""
    # Slopes everywhere, so that both runs take the same steps.
    values = values.at[::2].add(4.0)
    run = evolution("eikonal", flux)
    before, steps = run(values)
    after, others = run(values.at[place].add(change))
    assert int(steps) == int(others) < SIZE // 2
    distance = (np.arange(SIZE) - place + SIZE // 2) % SIZE - SIZE // 2
    far = np.abs(distance) > int(steps)
    assert far.any()
    np.testing.assert_array_equal(np.asarray(before[0])[far], np.asarray(after[0])[far])


def test_a_square_looks_the_same_from_both_axes():
    """Transposition, on random data in two dimensions, where H is isotropic."""
    grid = solvers.Grid([0.0, 0.0], [1.5, 1.5], (12, 12), True)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)))
    run = on(grid, "eikonal", "local")
    np.testing.assert_allclose(run(values.T)[0][0], run(values)[0][0].T, atol=100 * EPS)


@pytest.mark.slow
def test_vanishing_viscosity():
    """u_eps tends to the viscosity solution: at the rate eps in L1, past the kink."""
    inviscid = problems.BurgersPotential()
    domain = inviscid.problem.domain
    grid = solvers.Grid.over(domain, 128)  # pyright: ignore
    exact = grid.sample(lambda x: inviscid(1.5, x))

    @jax.jit
    def distance(epsilon):
        problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), hjpde.Quadratic([[0.5]]), epsilon, domain=domain)
        u = hjpde.solve(problem, 1.5, solver=solvers.FiniteDifference(grid)).evaluator.us[-1]
        return jnp.mean(jnp.abs(u - exact)), jnp.max(jnp.abs(u - exact)), jnp.min(u - exact)

    viscosities = np.asarray([0.2, 0.1, 0.05, 0.025])
    found = np.asarray([distance(jnp.asarray(epsilon, float)) for epsilon in viscosities])
    rates = np.log2(found[:-1] / found[1:])
    assert np.all(rates[:, 0] >= 0.8), rates
    assert np.all(rates[:, 1] >= 0.5), rates
    # Where viscosity and the kink's concavity meet it lowers u; where g is convex it raises it.
    assert np.all(found[:, 2] < 0)
