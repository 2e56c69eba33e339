"""The Gaussian convolution in the log domain against direct sums, theta functions and the laws of Gaussians."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.special import logsumexp

from hjpde.solvers.convolutions._gaussian_sum import log_gaussian_sum
from hjpde.solvers.convolutions._log_convolution import continued, cut_off, log_convolution, sharpest, tile_sizes

DOUBLE = jnp.result_type(float) == jnp.float64
ROUNDOFF = float(jnp.finfo(float).eps)
N = 64
needs_digits = pytest.mark.skipif(not DOUBLE, reason="compares with differences below the roundoff of float32")

convolve = jax.jit(log_convolution, static_argnums=(3, 4))


@pytest.mark.slow
@pytest.mark.parametrize("q", [1e-3, 0.5, 3.1, 3.2, 40.0, 600.0])
def test_the_gaussian_sum_is_jacobis(q):
    offsets = np.array([0.0, 0.17, -0.3, 0.5])
    found = log_gaussian_sum(jnp.asarray(q), jnp.asarray(offsets))
    slopes = jax.vmap(jax.grad(log_gaussian_sum), (None, 0))(jnp.asarray(q), jnp.asarray(offsets))

    def exact(q, o):
        return mpmath.log(mpmath.nsum(lambda k: mpmath.exp(-q * (k + o) ** 2), [-200, 200]))

    with mpmath.workdps(30):
        # The number that the library sees.
        q, offsets = mpmath.mpf(float(jnp.asarray(q))), np.asarray(jnp.asarray(offsets), float)
        expected = [float(exact(q, mpmath.mpf(o))) for o in offsets.tolist()]
        rates = [float(mpmath.diff(lambda q, o=o: exact(q, mpmath.mpf(o)), q)) for o in offsets.tolist()]
    np.testing.assert_allclose(found, expected, rtol=20 * ROUNDOFF, atol=20 * ROUNDOFF)
    np.testing.assert_allclose(slopes, rates, rtol=100 * ROUNDOFF, atol=100 * ROUNDOFF)


def test_the_gaussian_sum_has_finite_derivatives_at_both_ends():
    info = jnp.finfo(float)
    for q in (1e10 * float(info.tiny), 1e-10, 1e10):
        for slope in jax.grad(log_gaussian_sum, (0, 1))(jnp.asarray(q), jnp.asarray(0.4)):
            assert np.isfinite(slope)


def lines(periodic):
    """A smooth line, one with a kink of either sign, a steep one and a rough one; straight where they end."""
    x = np.arange(N) / N
    rough = np.cumsum(np.random.default_rng(0).normal(size=N)) / 8
    kink = np.abs(x - 0.4) - 2 * np.abs(x - 0.7)
    steep = 20 * np.abs(x - 0.5)
    smooth = np.cos(2 * np.pi * x) if periodic else np.log(np.cosh(30 * (x - 0.5))) / 30
    rough[[0, -1]] = rough[[1, -2]]
    return jnp.asarray(np.stack([smooth, kink, steep, rough], axis=1))


def direct_sum(g, kappa, epsilon, periodic):
    """The definition, over three periods to either side or as far as linear values go on."""
    n = g.shape[0]
    g, far = np.asarray(g, float), 3 * n if periodic else n
    values = np.asarray(continued(jnp.asarray(g), far, far, periodic), float)
    costs = kappa * (np.arange(n)[:, None] - np.arange(-far, n + far)[None]) ** 2
    total = np.asarray(logsumexp(-(values.T[:, None, :] + costs[None]) / epsilon, axis=2)).T
    with mpmath.workdps(30):
        norm = float(mpmath.log(mpmath.jtheta(3, 0, mpmath.exp(-mpmath.mpf(kappa) / epsilon))))
    return epsilon * (norm - total)


SETTINGS = [(1e-3, 0.5), (5e-3, 0.1), (1e-3, 1e-3), (0.02, 1e-3), (0.1, 1e-5), (0.1, 1e-12)]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("kappa, epsilon", SETTINGS)
def test_every_tile_gives_the_sum(kappa, epsilon, periodic):
    g, dtype = lines(periodic), jnp.result_type(float)
    kappa, epsilon = jnp.asarray(kappa), jnp.asarray(epsilon)
    exact = direct_sum(g, float(kappa), float(epsilon), periodic)
    choice = [tile for tile in tile_sizes(N) if float(kappa / epsilon) <= sharpest(N, tile, periodic, dtype)]
    # A Gaussian that is wider than the axis is for the matrix alone.
    wide = float(kappa / epsilon) * N**2 < 40
    for tile in choice[:1] if wide else choice:
        found = convolve(g, kappa, epsilon, tile, periodic)
        np.testing.assert_allclose(found, exact, rtol=0, atol=30 * ROUNDOFF * (1 + np.abs(exact).max()))


@pytest.mark.slow
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_tile_underflows_up_to_its_limit_whatever_the_data(dtype, periodic):
    if dtype == np.float64 and not DOUBLE:
        pytest.skip("float64 is off")
    random = np.random.default_rng(1)
    for tile in tile_sizes(N)[:-1]:
        q = dtype(0.99 * sharpest(N, tile, periodic, np.dtype(dtype)))
        # Steps of up to 300 temperatures in both directions, and spikes.
        g = random.normal(size=(N, 8)) * np.array([1, 30, 300, 1, 30, 300, 3000, 0])
        g[:, 3:6] = np.cumsum(g[:, 3:6], axis=0) / 8
        g[:2], g[-2:] = g[1], g[-2]
        g = jnp.asarray(g, dtype)
        found = convolve(g, jnp.asarray(q), jnp.asarray(1, dtype), tile, periodic)
        exact = direct_sum(g, float(q), 1.0, periodic)
        # The exponents that matter are of the size of the values; each is rounded a few times.
        scale = 1 + np.abs(exact).max(axis=0) + float(q) * N
        assert np.all(np.abs(found - exact) <= 8 * np.finfo(dtype).eps * scale[None])


def test_a_small_temperature_gives_the_minimum():
    kappa, gaps = 0.02, []
    g = lines(True)
    values = np.asarray(continued(g, N, N, True), float)
    hard = np.min(values.T[:, None] + kappa * (np.arange(N)[:, None] - np.arange(-N, 2 * N)) ** 2, axis=2).T
    for epsilon in (1e-2, 1e-3, 1e-4):
        soft = np.asarray(convolve(g, jnp.asarray(kappa), jnp.asarray(epsilon), 1, True), float)
        gap = hard - soft
        # Between one and all of the terms attain the minimum, and the norm lies between the same bounds.
        assert np.all(np.abs(gap) <= epsilon * np.log(3 * N) + 20 * ROUNDOFF)
        gaps.append(np.abs(gap).max())
    assert gaps[2] <= gaps[1] <= gaps[0]


@pytest.mark.parametrize("tile", [N, 32, 8, 1])
@pytest.mark.parametrize("periodic", [True, False])
def test_constants_stay_and_order_is_kept(tile, periodic):
    kappa, epsilon = jnp.asarray(0.02), jnp.asarray(0.1)
    g = lines(periodic) / 10
    ones = jnp.full_like(g, 3.0)
    np.testing.assert_allclose(convolve(ones, kappa, epsilon, tile, periodic), ones, rtol=10 * ROUNDOFF)
    u = np.asarray(convolve(g, kappa, epsilon, tile, periodic))
    np.testing.assert_allclose(convolve(g + 3, kappa, epsilon, tile, periodic), u + 3, rtol=20 * ROUNDOFF)
    if periodic:
        room = 10 * ROUNDOFF
        assert np.all((u.min(axis=0) >= np.min(g, axis=0) - room) & (u.max(axis=0) <= np.max(g, axis=0) + room))
        bump = g.at[20].add(0.1)
        assert np.all(np.asarray(convolve(bump, kappa, epsilon, tile, periodic)) >= u - 10 * ROUNDOFF)


@pytest.mark.parametrize("tile", [N, 32, 8, 1])
def test_two_gaussians_make_one(tile):
    g, epsilon = lines(True), jnp.asarray(0.1)
    one, other = jnp.asarray(0.02), jnp.asarray(0.03)
    twice = convolve(convolve(g, one, epsilon, tile, True), other, epsilon, tile, True)
    once = convolve(g, one * other / (one + other), epsilon, tile, True)
    # The Gaussians are wide enough for sums of products to be integrals, to rounding.
    np.testing.assert_allclose(twice, once, atol=1e-13 if DOUBLE else 2e-5)


@pytest.mark.slow
@needs_digits
@pytest.mark.parametrize(
    "tile, epsilon, periodic",
    [
        (8, 0.02, True),
        (16, 0.1, False),
        pytest.param(16, 0.1, True, marks=pytest.mark.slow),
        pytest.param(8, 0.02, False, marks=pytest.mark.slow),
        pytest.param(1, 3e-3, True, marks=pytest.mark.slow),
        pytest.param(1, 3e-3, False, marks=pytest.mark.slow),
    ],
)
def test_derivatives_in_both_modes_and_twice(tile, epsilon, periodic):
    x = np.arange(16) / 16
    g = jnp.asarray(np.stack([np.cos(2 * np.pi * x) / 5, np.sin(2 * np.pi * x) / 5], axis=1))
    point = g, jnp.asarray(0.02), jnp.asarray(epsilon)
    along = jnp.asarray(np.random.default_rng(2).normal(size=g.shape)) / 10, jnp.asarray(0.01), jnp.asarray(epsilon / 3)

    def loss(g, kappa, epsilon):
        return jnp.sum(log_convolution(g, kappa, epsilon, tile, periodic) ** 3)

    @jax.jit
    def derivatives(*point):
        value, forward = jax.jvp(loss, point, along)
        slope = lambda *p: jax.jvp(loss, p, along)[1]  # noqa: E731
        return value, forward, jax.grad(loss, (0, 1, 2))(*point), jax.grad(slope, (0, 1, 2))(*point)

    def inner(gradient):
        return sum(jnp.sum(a * b) for a, b in zip(gradient, along, strict=True))

    _, forward, gradient, second = derivatives(*point)
    h = 1e-5
    left, right = (derivatives(*(p + e * a for p, a in zip(point, along, strict=True))) for e in (-h, h))
    np.testing.assert_allclose(forward, inner(gradient), rtol=1e-10)
    np.testing.assert_allclose(forward, (right[0] - left[0]) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(inner(second), (right[1] - left[1]) / (2 * h), rtol=1e-6)


@needs_digits
@pytest.mark.parametrize("slope", [0.5, 0.0, -0.3])
def test_what_extrapolation_leaves_out_is_told(slope):
    n, kappa, epsilon = 20, 5e-3, 0.1
    g = jnp.asarray(slope * np.abs(np.arange(n) - n / 2))[:, None]
    k = np.arange(4000)
    terms = -(slope * k + kappa * k**2) / epsilon
    left_out = np.exp(terms[n + 1 :]).sum() / np.exp(terms).sum()
    told = float(cut_off(g, jnp.asarray(kappa), jnp.asarray(epsilon)))
    assert left_out <= told <= 20 * left_out + 1e-300


def test_what_lies_far_beyond_an_end_is_told_in_full():
    falling = -10.0 * jnp.arange(8.0)[:, None]
    assert float(cut_off(falling, jnp.asarray(0.1), jnp.asarray(0.1))) == 1


def test_a_batch_of_temperatures():
    g, kappa = lines(True), jnp.asarray(0.02)
    epsilons = jnp.asarray([0.02, 0.1])
    together = jax.jit(jax.vmap(partial(log_convolution, g, kappa, tile=8, periodic=True)))(epsilons)
    for found, epsilon in zip(together, epsilons, strict=True):
        np.testing.assert_allclose(found, convolve(g, kappa, epsilon, 8, True), atol=20 * ROUNDOFF)
