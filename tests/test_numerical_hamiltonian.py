"""Numerical Hamiltonians: consistent, monotone, and the Lax-Friedrichs ones never less diffusive than Godunov's."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hjpde
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.grids._over_grid import over_grid
from hjpde.solvers.stepping._numerical_hamiltonian import choose_flux, dissipation, numerical_hamiltonian
from hjpde.solvers.stepping._speed_bound import speed_bound_of

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
FLUXES = ("godunov", "global", "local", "local-local")
SHAPE = (3, 2)
AXES = (np.linspace(-1, 1, 3), np.linspace(0, 1, 2))


def rotation(t, x):
    del t
    return jnp.stack([-x[1], x[0]])


HAMILTONIANS = {
    "quadratic": hjpde.Quadratic(),
    "diagonal": hjpde.Quadratic(np.diag([2.0, 0.5])),
    "eikonal": hjpde.Eikonal(2.0),
    "transport": hjpde.Transport(rotation),
    "power": hjpde.Power(3.0),
    "reversed": hjpde.TimeReversed(hjpde.Quadratic(), 1.0),
}
NOT_SEPARABLE = {
    "full": hjpde.Quadratic(np.asarray([[2.0, 0.5], [0.5, 1.0]])),
    "car": hjpde.ControlAffine(rotation, [[0.0], [1.0]], controls=hjpde.Box([-1.0], [1.0]), dim=2),
    "non-convex": hjpde.MomentumFunction(lambda p: jnp.cos(p[0]) * p[1]),
}
ALL = HAMILTONIANS | NOT_SEPARABLE
# Each is a compilation: every flux on a Hamiltonian of its own kind, and Godunov's on all that have it.
CASES = [
    *((name, "godunov") for name in HAMILTONIANS),
    *(("quadratic", flux) for flux in FLUXES[1:]),
    ("eikonal", "local-local"),
    ("car", "global"),
    ("full", "local"),
    ("non-convex", "local"),
]


slopes = st.lists(st.floats(-2, 2, width=16), min_size=12, max_size=12)


def as_field(values):
    return jnp.asarray(values, float).reshape(2, *SHAPE)


def on_grid(flux, H, bound, left, right):
    axes = tuple(jnp.asarray(axis, float) for axis in AXES)
    return numerical_hamiltonian(flux, H, bound, 0.3, axes, tuple(left), tuple(right))


@functools.cache
def compiled(name, flux):
    H = ALL[name]
    return jax.jit(functools.partial(on_grid, flux, H, speed_bound_of(H)[0]))


@functools.cache
def trials(name, flux):
    """The value at equal slopes beside `H`; and how the value changes as one side's slopes rise.

    Monotonicity is that of the scheme with given coefficients: those that hold for the slopes before and after.
    """
    H, axes = ALL[name], tuple(jnp.asarray(axis, float) for axis in AXES)
    bound = speed_bound_of(H)[0]

    @jax.jit
    def run(left, right, rise):
        exact = over_grid(lambda x, p: H(0.3, x, p), axes, tuple(left))
        low, high = jnp.minimum(left, right), jnp.maximum(left, right) + rise
        alphas = jnp.stack(dissipation(flux, bound, 0.3, axes, tuple(low), tuple(high)))

        def value(left, right):
            if flux == "godunov":
                return on_grid(flux, H, bound, left, right)
            central = on_grid("local", H, lambda t, x, box: jnp.zeros_like(x), left, right)
            return central - jnp.sum(alphas * (right - left), axis=0) / 2

        before = value(left, right)
        changes = value(left + rise, right) - before, value(left, right + rise) - before
        return on_grid(flux, H, bound, left, left), exact, before, changes

    return run


@pytest.mark.parametrize("name, flux", CASES)
@settings(max_examples=8)
@given(slopes, slopes, st.integers(0, 11), st.floats(0, 1.5, width=16))
def test_consistent_and_monotone(name, flux, left, right, place, rise):
    bump = np.zeros(12)
    bump[place] = rise
    equal, exact, before, (raised, lowered) = trials(name, flux)(as_field(left), as_field(right), as_field(bump))
    np.testing.assert_allclose(equal, exact, atol=100 * EPS * (1 + float(jnp.abs(exact).max())))
    room = 200 * EPS * (1 + float(jnp.abs(before).max()))
    assert float(raised.min()) >= -room
    assert float(lowered.max()) <= room


@pytest.mark.parametrize("name", ["quadratic", "eikonal"])
@settings(max_examples=10)
@given(slopes, slopes)
def test_the_more_diffusive_the_wider_the_box(name, left, right):
    r"""$\hat H$ falls with $D^+ - D^-$ where that is positive, the more the larger the coefficients are."""
    left, right = as_field(left), as_field(right)
    low, high = jnp.minimum(left, right), jnp.maximum(left, right)
    values = [np.asarray(compiled(name, flux)(low, high)) for flux in ("local-local", "local", "global")]
    room = 200 * EPS * (1 + np.abs(values[-1]).max())
    for narrow, wide in itertools.pairwise(values):
        assert np.all(wide <= narrow + room)
    # Over an interval from left to right Godunov's is the least H there is, and Lax and Friedrichs' lies below.
    assert np.all(values[0] <= np.asarray(compiled(name, "godunov")(low, high)) + room)


def test_godunov_is_the_extremum_over_the_interval():
    """Of a separable Hamiltonian, component by component, against a search."""
    random = np.random.default_rng(0)
    left, right = random.uniform(-2, 2, (2, *SHAPE)), random.uniform(-2, 2, (2, *SHAPE))
    found = np.zeros(SHAPE)
    for component, a in enumerate((2.0, 0.5)):
        s = np.linspace(0, 1, 4001)[:, None, None]
        values = a * (left[component] + s * (right[component] - left[component])) ** 2
        found += np.where(left[component] <= right[component], values.min(0), values.max(0))
    got = compiled("diagonal", "godunov")(jnp.asarray(left, float), jnp.asarray(right, float))
    np.testing.assert_allclose(got, found, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_the_choice(name):
    H = ALL[name]
    expected = "godunov" if name in HAMILTONIANS else "local"
    assert choose_flux("auto", H) == expected
    for flux in ("global", "local", "local-local"):
        assert choose_flux(flux, H) == flux


class Unknown(AbstractHamiltonian):
    """A user's own, with neither a bound nor Godunov's form."""

    dim: int = 2  # pyright: ignore

    def __call__(self, t, x, p):
        return p[0] * p[1]


def test_refusals():
    with pytest.raises(ValueError, match=r"`flux` 'godunov' does not apply: Unknown is not known to be a sum"):
        choose_flux("godunov", Unknown())
    with pytest.raises(ValueError, match=r"`flux` 'godunov' does not apply: `A` is not diagonal.*Use 'local'"):
        choose_flux("godunov", NOT_SEPARABLE["full"])
    with pytest.raises(ValueError, match=r"`flux` must be 'auto' or one of 'godunov', 'global'.*, got 'roe'"):
        choose_flux("roe", hjpde.Quadratic())
