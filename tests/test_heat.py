"""The heat flow on a grid: eigenfunctions, the laws of a semigroup, and Gaussians."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde.solvers.stepping._heat import HeatFlow

SHAPE = (8, 7, 6, 9)
KINDS = ("periodic", "neumann", "dirichlet", "periodic")
SPACING = np.array([0.3, 0.2, 0.25, 0.1])
MIXED = np.array([[0.5, 0.0, 0.0, 0.3], [0.0, 0.2, 0.0, 0.0], [0.0, 0.0, 0.7, 0.0], [0.3, 0.0, 0.0, 0.4]])
CONSTANT = 1.5


@eqx.filter_jit
def _flowed(flow, s, v):
    return flow(s, v)


def flowed(flow, s, v):
    """Compiled once for all `s`."""
    return _flowed(flow, jnp.asarray(s, v.dtype), v)


def roundoff(factor=100.0):
    return factor * float(jnp.finfo(jnp.result_type(float)).eps)


def flow_of(N=MIXED, shape=SHAPE, kinds=KINDS, spacing=SPACING, constant=CONSTANT):
    return HeatFlow(shape, spacing, kinds, N, constant)


usual_flow = functools.cache(flow_of)


def nodes(shape, spacing):
    return np.meshgrid(*[h * np.arange(n) for n, h in zip(shape, spacing, strict=True)], indexing="ij")


@pytest.mark.parametrize("numbers", [(1, 2, 3, 2), (3, 6, 1, -4), (0, 0, 4, 0)])
def test_an_eigenfunction_decays_at_its_own_rate(numbers):
    x = nodes(SHAPE, SPACING)
    lengths = [
        n * h if kind == "periodic" else 2 * (n - 1) * h for n, h, kind in zip(SHAPE, SPACING, KINDS, strict=True)
    ]
    k = 2 * np.pi * np.array(numbers) / np.array(lengths)
    v = CONSTANT + np.cos(k[0] * x[0] + k[3] * x[3] + 0.4) * np.cos(k[1] * x[1]) * np.sin(k[2] * x[2])
    s = 0.01
    expected = CONSTANT + np.exp(-s * k @ MIXED @ k) * (v - CONSTANT)
    np.testing.assert_allclose(flowed(usual_flow(), s, jnp.asarray(v)), expected, atol=roundoff())


def test_the_nyquist_mode_keeps_its_square_and_drops_its_mixed_terms():
    flow = HeatFlow((6, 6), [1.0, 1.0], ("periodic", "periodic"), np.array([[1.0, 0.9], [0.9, 1.0]]))
    i, j = np.meshgrid(np.arange(6), np.arange(6), indexing="ij")
    v = jnp.asarray((-1.0) ** i * np.cos(2 * np.pi * j / 6 + 0.3))
    expected = np.exp(-0.2 * (np.pi**2 + (2 * np.pi / 6) ** 2)) * v
    np.testing.assert_allclose(flowed(flow, 0.2, v), expected, atol=roundoff())


def random_values(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@given(seed=st.integers(0, 1000), s=st.floats(0, 0.2), t=st.floats(0, 0.2))
def test_a_contraction_semigroup(seed, s, t):
    v, flow = random_values(SHAPE, seed), usual_flow()
    once = flowed(flow, s + t, v)
    twice = flowed(flow, t, flowed(flow, s, v))
    np.testing.assert_allclose(once, twice, atol=roundoff(1e3))
    start = flowed(flow, 0.0, v)
    np.testing.assert_allclose(start[:, :, 1:-1], v[:, :, 1:-1], atol=roundoff())
    np.testing.assert_array_equal(np.asarray(once)[:, :, [0, -1]], np.asarray(CONSTANT, v.dtype))
    # The trapezoidal sum is the mean of a cosine or sine series' square.
    weights = np.ones(SHAPE[1])
    weights[[0, -1]] = 0.5
    squares = [float(np.sum(weights[:, None, None] * np.asarray(u - CONSTANT) ** 2)) for u in (start, once)]
    assert squares[1] <= squares[0] * (1 + roundoff())


def test_one_transform_serves_several_increments():
    v, flow = random_values(SHAPE, 0), usual_flow()
    modes = flow.forward(v)
    for s in (0.01, 0.1):
        np.testing.assert_allclose(flow.inverse(flow.decay(s, modes)), flowed(flow, s, v), atol=roundoff())


def gaussian(x, mean, covariance):
    gap = np.stack(np.broadcast_arrays(*x), axis=-1) - mean
    precision = np.linalg.inv(covariance)
    return np.exp(-0.5 * np.einsum("...i,ij,...j", gap, precision, gap)) / np.sqrt(
        np.linalg.det(2 * np.pi * covariance)
    )


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_rotated_gaussian_spreads_along_the_eigenvectors_of_N(angle):
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    N = rotation @ np.diag([0.9, 0.2]) @ rotation.T
    shape, spacing = (64, 65), np.array([0.25, 0.25])
    x, mean, covariance, s = nodes(shape, spacing), np.array([8.0, 8.0]), 0.5 * np.eye(2), 0.2
    flow = HeatFlow(shape, spacing, ("periodic",) * 2, N)
    spread = flowed(flow, s, jnp.asarray(gaussian(x, mean, covariance)))
    np.testing.assert_allclose(spread, gaussian(x, mean, covariance + 2 * s * N), atol=roundoff(1e2))
    # Resolved data keep their sign and their bound.
    assert float(spread.min()) >= -roundoff()
    assert float(spread.max()) <= gaussian([0, 0], np.zeros(2), covariance)


@pytest.mark.parametrize("kind, sign", [("neumann", 1.0), ("dirichlet", -1.0)])
def test_borders_reflect(kind, sign):
    n, spacing, s, eps = 129, np.array([0.1]), 0.5, 0.3
    x = 0.1 * np.arange(n)
    flow = HeatFlow((n,), spacing, (kind,), eps, 0.0)

    def images(variance):
        # The images about both borders, near enough to be seen.
        copies = [(1.0, 1.3), (sign, -1.3), (sign, 2 * 12.8 - 1.3)]
        return sum(a * np.exp(-((x - c) ** 2) / (2 * variance)) / np.sqrt(variance) for a, c in copies)

    np.testing.assert_allclose(flowed(flow, s, jnp.asarray(images(0.2))), images(0.2 + 2 * eps * s), atol=roundoff())


@pytest.mark.parametrize("kind", ["periodic", "neumann"])
def test_the_mean_is_kept(kind):
    v = random_values((12, 10), 1)
    after = flowed(HeatFlow((12, 10), [0.1, 0.2], (kind, "periodic"), 1.0), 0.3, v)
    weights = np.ones(12)
    if kind == "neumann":
        weights[[0, -1]] = 0.5
    means = [np.average(np.asarray(u).mean(axis=1), weights=weights) for u in (v, after)]
    np.testing.assert_allclose(*means, atol=roundoff())


def test_the_order_of_axes_does_not_matter():
    order = (2, 3, 1, 0)
    v = random_values(SHAPE, 2)
    permuted = flow_of(
        MIXED[np.ix_(order, order)],
        tuple(SHAPE[i] for i in order),
        tuple(KINDS[i] for i in order),
        SPACING[list(order)],
    )
    left = flowed(permuted, 0.05, jnp.transpose(v, order))
    np.testing.assert_allclose(left, jnp.transpose(flowed(usual_flow(), 0.05, v), order), atol=roundoff())


@pytest.mark.slow
def test_five_periodic_axes():
    # One transform of XLA takes three axes at most.
    shape = (4, 3, 4, 3, 5)
    x = nodes(shape, 2 * np.pi / np.array(shape))
    v = np.cos(x[0] - x[1] + x[2] + x[3] - 2 * x[4])
    flow = HeatFlow(shape, 2 * np.pi / np.array(shape), ("periodic",) * 5, 0.1)
    np.testing.assert_allclose(flowed(flow, 1.0, jnp.asarray(v)), np.exp(-0.8) * v, atol=roundoff())


def test_the_dtype_is_kept():
    flow = HeatFlow((6, 5), np.ones(2, np.float32), ("periodic", "dirichlet"), np.float32(0.1), 1.0)
    out = flowed(flow, jnp.asarray(0.1), jnp.ones((6, 5), jnp.float32))
    assert out.dtype == jnp.float32
    assert flow.symbol.dtype == jnp.float32


@pytest.mark.skipif(jnp.result_type(float) != jnp.float64, reason="finite differences need digits")
def test_derivatives_of_both_modes():
    v, direction = random_values(SHAPE, 3), random_values(SHAPE, 4)

    @jax.jit
    def loss(scale, s, v):
        flow = HeatFlow(SHAPE, SPACING, KINDS, scale * MIXED, CONSTANT)
        return jnp.sum(jnp.sin(flow(s, v)))

    point, along, h = (jnp.array(1.2), jnp.array(0.05), v), (jnp.array(0.7), jnp.array(0.03), direction), 1e-5
    forward = jax.jvp(loss, point, along)[1]
    reverse = sum(jnp.vdot(g, a) for g, a in zip(jax.grad(loss, (0, 1, 2))(*point), along, strict=True))
    ends = [loss(*jax.tree.map(lambda p, a, e=e: p + e * a, point, along)) for e in (-h, h)]
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    np.testing.assert_allclose(forward, (ends[1] - ends[0]) / (2 * h), rtol=1e-8)


def test_a_batch():
    flow, v = usual_flow(), jnp.stack([random_values(SHAPE, seed) for seed in (5, 6)])
    s = jnp.array([0.02, 0.2])
    together = eqx.filter_jit(jax.vmap(flow))(s, v)
    for i in range(2):
        np.testing.assert_allclose(together[i], flowed(flow, s[i], v[i]), atol=roundoff())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"shape": (8, 7, 6)}, "one entry for each axis"),
        ({"shape": (8, 1, 6, 9)}, "at least 2 nodes"),
        ({"kinds": ("periodic", "neumann", "robin", "periodic")}, "'dirichlet'"),
        ({"N": np.eye(4) + np.eye(4, k=1) + np.eye(4, k=-1)}, "no mixed derivatives"),
        ({"N": np.triu(np.ones((4, 4)))}, "`N` must be symmetric"),
    ],
)
def test_mistakes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        flow_of(**change)


def test_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`v` must have the grid's shape"):
        flow_of()(0.1, jnp.zeros((8, 7, 6, 8)))


def test_a_traced_mixed_derivative_is_found_when_it_runs():
    @eqx.filter_jit
    def run(off):
        N = jnp.eye(2) + off * jnp.array([[0.0, 1.0], [1.0, 0.0]])
        return HeatFlow((4, 4), np.ones(2), ("periodic", "neumann"), N)(0.1, jnp.ones((4, 4)))

    run(0.0)
    with pytest.raises(eqx.EquinoxRuntimeError, match="no mixed derivatives"):
        run(0.5)
